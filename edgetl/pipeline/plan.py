"""What a release would do, without doing it: each stage's state, why, and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from edgetl.errors import EdgetlError
from edgetl.files import canonical_json, parse_json
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.estimate import Estimate, Estimator
from edgetl.pipeline.graph import Stage, key_inputs
from edgetl.pipeline.readiness import Check, readiness
from edgetl.pipeline.run_folder import RunFolder, stage_key

State = Literal["done", "new", "again", "perhaps", "not allowed"]
"""``done``: nothing to do. ``new``: never finished here. ``again``: what it is made from changed.
``perhaps``: a stage that it needs runs, and may give another result. ``not allowed``: a bundle
whose verdict is no PASS."""

_MOST_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """What one stage would do.

    Attributes:
        name: The stage's.
        state: What would happen.
        why: What changed, or what it waits for; empty when there is nothing to say.
        seconds: How long it may take; None when nothing is known, 0 when nothing is done.
        basis: How the seconds were estimated.
        folder: Where its results are or will be.
    """

    name: str
    state: State
    why: str
    seconds: float | None
    basis: str
    folder: str

    @property
    def runs(self) -> bool:
        """Whether the stage runs, or may have to."""
        return self.state in ("new", "again", "perhaps")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a release would do.

    Attributes:
        name, version: The release's.
        until: The last stage that was asked for.
        folder: The run's folder.
        stages: One entry a stage, in order.
        checks: What was checked already, and how it went.
    """

    name: str
    version: str
    until: str
    folder: str
    stages: tuple[StagePlan, ...]
    checks: tuple[Check, ...]

    @property
    def seconds(self) -> float:
        """What is known of the time that it takes, in seconds."""
        return sum(stage.seconds or 0.0 for stage in self.stages if stage.runs)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The stages that would run for a time that nobody knows."""
        return tuple(stage.name for stage in self.stages if stage.runs and stage.seconds is None)

    @property
    def problem(self) -> EdgetlError | None:
        """What would stop the release, or None. Bad input comes before what is not installed."""
        failures = [check.error for check in self.checks if check.error is not None]
        return min(failures, key=lambda error: error.exit_code, default=None)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data, ``edgetl.plan/1``."""
        return {
            "schema": "edgetl.plan/1",
            "name": self.name,
            "version": self.version,
            "until": self.until,
            "folder": self.folder,
            "stages": [asdict(stage) for stage in self.stages],
            "seconds": self.seconds,
            "unknown": list(self.unknown),
            "checks": [check.to_json() for check in self.checks],
            "ready": self.problem is None,
        }


def make_plan(config: ReleaseConfig, folder: RunFolder, stages: tuple[Stage, ...]) -> Plan:
    """Plan the stages of a release. Nothing is written, and nothing is run.

    Args:
        config: The release's.
        folder: The run's; it need not exist.
        stages: The stages that were asked for, in order.
    """
    plans: dict[str, StagePlan] = {}
    estimator = Estimator(config, folder)
    for stage in stages:
        state, why = _state(stage, config, folder, plans)
        estimate = Estimate(seconds=0.0, basis="")
        if state in ("new", "again", "perhaps"):
            estimate = estimator.estimate(stage.name)
        plans[stage.name] = StagePlan(
            name=stage.name,
            state=state,
            why=why,
            seconds=estimate.seconds,
            basis=estimate.basis,
            folder=str(folder.stage(stage.name)),
        )
    return Plan(
        name=config.name,
        version=config.version,
        until=stages[-1].name,
        folder=str(folder.root),
        stages=tuple(plans.values()),
        checks=readiness(config, folder, tuple(plans)),
    )


def _state(
    stage: Stage, config: ReleaseConfig, folder: RunFolder, plans: Mapping[str, StagePlan]
) -> tuple[State, str]:
    waiting = tuple(name for name in stage.needs if plans[name].runs)
    # What a stage that runs first will have made is not known yet.
    known = replace(stage, needs=tuple(name for name in stage.needs if name not in waiting))
    refused = _refused(stage, folder, waiting)
    if refused:
        return "not allowed", refused
    record = folder.record(stage.name)
    inputs = key_inputs(known, config, folder)
    begun = not waiting and folder.is_begun(stage.name, stage_key(inputs))
    resumed = "; goes on where it was stopped" if begun else ""
    if record is None:
        return "new", ("stopped before its end" if begun else "not run yet") + resumed
    reasons = tuple(_changes(record.get("inputs"), inputs, waiting))
    if reasons:
        return "again", _shortened(reasons) + resumed
    if not folder.is_current(stage.name, str(record.get("key"))):
        return "again", "its files were changed or removed" + resumed
    if waiting:
        return "perhaps", f"if {' or '.join(waiting[:2])} gives another result"
    return "done", ""


def _refused(stage: Stage, folder: RunFolder, waiting: tuple[str, ...]) -> str:
    if stage.name != "bundle" or waiting:
        return ""
    path = folder.stage("gate") / "verdict.json"
    verdict = parse_json(path.read_bytes(), str(path)).get("verdict")
    return "" if verdict == "PASS" else f"the verdict is {verdict}"


def _changes(before: Any, now: Mapping[str, Any], waiting: tuple[str, ...]) -> Iterator[str]:
    """A phrase for each thing that a stage was made from and that is another now."""
    # By way of JSON, as the record went: tuples become lists.
    new = dict(_leaves(parse_json(canonical_json(now), "inputs")))
    old = dict(_leaves(before)) if isinstance(before, dict) else {}
    for key in sorted(old.keys() | new.keys()):
        made_by = key[1] if key[0] == "needs" and len(key) > 1 else None
        if made_by not in waiting and old.get(key) != new.get(key):
            yield _told(key, old.get(key), new.get(key))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*path, name))
    elif value != {}:
        yield path, value


def _told(key: tuple[str, ...], before: Any, now: Any) -> str:
    match key:
        case ("config", *parts):
            name = f"[{'.'.join(parts[:-1])}] {parts[-1]}" if len(parts) > 1 else parts[0]
            return f"{name} is {_short(now)}, was {_short(before)}"
        case ("needs", stage, *_):
            return f"{stage} gave another result"
        case ("packages", package):
            return f"{package} {now}, was {before}"
        case ("outside", *parts):
            change = "is new" if before is None else "is gone" if now is None else "changed"
            return f"the file {'.'.join(parts)} {change}"
        case ("machine",):
            return "another machine"
        case ("threads",):
            return f"{now} threads, was {before}"
        case _:
            return f"{'.'.join(key)} is {_short(now)}, was {_short(before)}"


def _short(value: Any) -> str:
    # As TOML has it: true, not True.
    text = (
        "not set"
        if value is None
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return text if len(text) <= 32 else text[:31] + "…"


def _shortened(reasons: tuple[str, ...]) -> str:
    distinct = tuple(dict.fromkeys(reasons))
    more = len(distinct) - _MOST_REASONS
    return "; ".join(distinct[:_MOST_REASONS]) + (f"; and {more} more" if more > 0 else "")

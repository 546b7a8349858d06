"""A release from config to bundle: the stages as one resumable graph.

Each stage runs in a process of its own. So names that a library numbers by itself begin at one,
no stage's memory or threads reach the next, and the caller never imports torch.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgetl.errors import ConfigError, EdgetlError
from edgetl.files import parse_json
from edgetl.gate.verdict import counted
from edgetl.pipeline.config import ReleaseConfig, load_config
from edgetl.pipeline.events import Event, Listener, ignore
from edgetl.pipeline.graph import STAGES, Stage, current_key
from edgetl.pipeline.plan import Plan, make_plan
from edgetl.pipeline.process import run_in_process
from edgetl.pipeline.processes import ALONE, Launch, check_launch
from edgetl.pipeline.readiness import require
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.summary import Row, summary_rows

REPORT = "report.html"
EXIT_CODES = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 4}


@dataclass(frozen=True, kw_only=True)
class ReleaseResult:
    """What a release came to.

    Attributes:
        folder: The run's folder.
        verdict: PASS, FAIL or INCONCLUSIVE; None when the stages asked for end before the gate.
        bundle: The bundle's folder; None unless the verdict is PASS and the bundle was made.
        report: The HTML page; None when the stages asked for end before it.
        rows: The reference and every candidate, for the closing table.
        open_gates: What was not decided: a sentence a gate, with the number of further images
            (rounds of measurement, or calls) that would decide it with 80 % power.
    """

    folder: Path
    verdict: str | None
    bundle: Path | None
    report: Path | None
    rows: tuple[Row, ...]
    open_gates: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 PASS or no verdict asked for, 1 FAIL, 4 INCONCLUSIVE."""
        return 0 if self.verdict is None else EXIT_CODES[self.verdict]


def release(
    config: ReleaseConfig | Path | str,
    *,
    out: Path | None = None,
    until: str = "report",
    listen: Listener = ignore,
    launch: Launch = ALONE,
) -> ReleaseResult:
    """Run the stages of a release; what is already there and unchanged is not done again.

    Args:
        config: A config, or the path of its TOML file.
        out: The run's folder; ``runs/NAME`` when left out.
        until: The last stage to run.
        listen: Hears what happens.
        launch: In how many processes the finetune stage trains. Its results are then the same up
            to rounding, so that they are not made again for another number.

    Returns:
        The verdict, the bundle and a row per candidate. Without a PASS no bundle is made.

    Raises:
        EdgetlError: What a stage refused, with the four parts of its message.
        UnavailableError: A backend or device of a candidate is not here.
    """
    if not isinstance(config, ReleaseConfig):
        config = load_config(Path(config))
    folder = _run_folder(config, out)
    stages = _stages_until(until)
    check_launch(launch, config)
    require(config, [stage.name for stage in stages])
    new = not folder.root.exists()
    try:
        with folder.locked(config.name) as lock:
            for stage in stages:
                if stage.name == "bundle" and _verdict(folder)["verdict"] != "PASS":
                    continue
                _run_stage(stage, config, folder, lock, listen, launch)
                if stage.name == "gate":
                    _withdraw_bundle(folder, listen)
    except EdgetlError:
        if new and folder.record("data") is None:
            # Refused before anything was made: no trace is left.
            shutil.rmtree(folder.root, ignore_errors=True)
        raise
    return _result(config, folder, until)


def plan_release(
    config: ReleaseConfig | Path | str, *, out: Path | None = None, until: str = "report"
) -> Plan:
    """What `release` with the same arguments would do; nothing is run and nothing is written.

    Raises:
        EdgetlError: For a config, a stage or a data source that cannot be read. What else would
            stop the release is in `Plan.checks`.
    """
    if not isinstance(config, ReleaseConfig):
        config = load_config(Path(config))
    return make_plan(config, _run_folder(config, out), _stages_until(until))


def _run_folder(config: ReleaseConfig, out: Path | None) -> RunFolder:
    return RunFolder(Path("runs") / config.name if out is None else out)


def _stages_until(last: str) -> tuple[Stage, ...]:
    names = [stage.name for stage in STAGES]
    if last not in names:
        raise ConfigError(
            "stage", got=repr(last), expected="one of " + ", ".join(names), fix="correct the name"
        )
    return STAGES[: names.index(last) + 1]


def _withdraw_bundle(folder: RunFolder, listen: Listener) -> None:
    """A bundle that an earlier verdict allowed does not outlive a verdict that does not."""
    if _verdict(folder)["verdict"] != "PASS" and folder.withdraw("bundle"):
        listen(
            Event(stage="bundle", kind="note", text="the earlier bundle is withdrawn: no PASS now")
        )


def _run_stage(
    stage: Stage,
    config: ReleaseConfig,
    folder: RunFolder,
    lock: int,
    listen: Listener,
    launch: Launch,
) -> None:
    folder.clear_leftovers(stage.name)
    key = current_key(stage, config, folder)
    if folder.is_current(stage.name, key):
        listen(Event(stage=stage.name, kind="fresh", text="unchanged"))
        return
    listen(Event(stage=stage.name, kind="start"))
    began = time.monotonic()
    run_in_process(stage.name, key, config, folder, listen, keep_open=(lock,), launch=launch)
    listen(Event(stage=stage.name, kind="done", seconds=time.monotonic() - began))


def _verdict(folder: RunFolder) -> dict[str, Any]:
    path = folder.stage("gate") / "verdict.json"
    document: dict[str, Any] = parse_json(path.read_bytes(), str(path))
    return document


def _open_gates(document: dict[str, Any]) -> Iterator[str]:
    for variant in document["variants"]:
        for gate in variant["gates"]:
            if gate["verdict"] == "INCONCLUSIVE":
                yield f"{variant['id']} {gate['name']}: {_what_is_missing(gate)}"


def _what_is_missing(gate: dict[str, Any]) -> str:
    what = counted(gate["name"])
    if gate["more_samples"] is not None:
        return f"{gate['more_samples']} more {what} would decide it (80 % power)"
    if gate["upper"] is None:
        return gate.get("detail") or "nothing in these data bounds it"
    return f"no number of {what} would decide it: the harm seen is at its limit"


def _result(config: ReleaseConfig, folder: RunFolder, until: str) -> ReleaseResult:
    judged = until in ("gate", "bundle", "report")
    document = _verdict(folder) if judged else None
    verdict = None if document is None else str(document["verdict"])
    bundle = folder.stage("bundle") / f"{config.name}-{config.version}.edgetl"
    made = until in ("bundle", "report") and verdict == "PASS"
    report = folder.stage("report") / REPORT
    return ReleaseResult(
        folder=folder.root,
        verdict=verdict,
        bundle=bundle if made else None,
        report=report if until == "report" else None,
        rows=summary_rows(folder) if judged else (),
        open_gates=tuple(_open_gates(document)) if document else (),
    )

"""How long a stage may take: from how long it took before, scaled by what it has to do.

A stage's record holds its seconds and the config that it was made from. An earlier run of the
same network on as many threads, in this folder or beside it, gives the time of one unit of work;
the units are counted in `_work`. Without such a run the time is unknown, and is said to be.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgetl.errors import DataError
from edgetl.files import parse_json
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.graph import STAGES
from edgetl.pipeline.run_folder import RunFolder

UNKNOWN = "unknown until it has run once"
# Enough for anybody's runs folder, and no search of a crowded one without end.
_MOST_NEIGHBOURS = 200


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds, None when nothing is known, and how they were found."""

    seconds: float | None
    basis: str


@dataclass(frozen=True)
class _Past:
    """What is known of a run: the config its stages were made from, the splits' sizes, where."""

    config: Mapping[str, Any]
    sizes: Mapping[str, int]
    threads: Mapping[str, int | None]
    seconds: Mapping[str, float]
    machine: tuple[str, ...]


class Estimator:
    """Estimates the stages of one release.

    Args:
        config: The release's.
        folder: Its run folder. The folders beside it are searched for other runs.
    """

    def __init__(self, config: ReleaseConfig, folder: RunFolder) -> None:
        self._folder = folder
        self._threads = config.used_threads
        table = config.to_json()
        sizes = {name: table["data"][name] for name in ("train", "val", "calib", "test")}
        own = _past(folder)
        if own is not None and own.config.get("data") == _plain(table["data"]):
            sizes = dict(own.sizes)
        self._now = _Past(
            config=table,
            sizes={name: size for name, size in sizes.items() if size is not None},
            threads={},
            seconds={},
            machine=_this_machine(),
        )
        self._own = own

    def estimate(self, stage: str) -> Estimate:
        """How long a stage may take."""
        if self._own is not None:
            factor = self._factor(stage, self._own)
            if factor is not None:
                return _scaled(stage, self._own, factor, "last time")
        found = [
            (factor, place, past)
            for place, past in self._neighbours
            if (factor := self._factor(stage, past)) is not None
        ]
        if found:
            # The run that is most like this one.
            factor, place, past = min(found, key=lambda one: abs(math.log(one[0])))
            return _scaled(stage, past, factor, f"in {place}")
        if stage == "bench":
            limit = float(self._now.config["bench"]["max_seconds"])
            return Estimate(seconds=limit, basis="[bench] max_seconds, and some cold starts")
        return Estimate(seconds=None, basis=UNKNOWN)

    def _factor(self, stage: str, past: _Past) -> float | None:
        """How many times the work of an earlier run a stage has; None when none can be told."""
        if stage not in past.seconds or not _alike(stage, self._now.config, past.config):
            return None
        # A container's name changes with every start: what counts is the kind and the cores.
        if past.machine[1:] != self._now.machine[1:]:
            return None
        if stage != "data" and past.threads.get(stage) != self._threads:
            return None
        now, before = _work(stage, self._now), _work(stage, past)
        return now / before if now and before else None

    @cached_property
    def _neighbours(self) -> list[tuple[Path, _Past]]:
        parent = self._folder.root.parent
        if not parent.is_dir():
            return []
        beside = sorted(path.parent for path in parent.glob("*/run.json"))
        found = []
        for root in beside[:_MOST_NEIGHBOURS]:
            past = None if root == self._folder.root else _past(RunFolder(root))
            if past is not None:
                found.append((root, past))
        return found


def _scaled(stage: str, past: _Past, factor: float, where: str) -> Estimate:
    seconds = past.seconds[stage]
    told = f"{where} {seconds:.1f} s"
    if past.machine[0] != platform.node():
        told += f" on {past.machine[0]}"
    # A tenth is less than what two runs of the same work differ by.
    if abs(factor - 1) >= 0.1:
        told += f", now {factor:.2g} times the work"
    return Estimate(seconds=seconds * factor, basis=told)


def _past(folder: RunFolder) -> _Past | None:
    config: dict[str, Any] = {}
    threads: dict[str, int | None] = {}
    seconds: dict[str, float] = {}
    machine = _this_machine()
    for name, record in _records(folder):
        config |= record["inputs"]["config"]
        threads[name] = record["inputs"].get("threads")
        seconds[name] = float(record["seconds"])
        machine = tuple(str(part) for part in record["inputs"].get("machine", machine))
    sizes = _sizes(folder)
    if sizes is None or not seconds:
        return None
    return _Past(config, sizes, threads, seconds, machine)


def _this_machine() -> tuple[str, ...]:
    """As the records of the stages that measure hold it: name, kind, cores."""
    return (platform.node(), platform.machine(), str(len(os.sched_getaffinity(0))))


def _records(folder: RunFolder) -> Iterator[tuple[str, dict[str, Any]]]:
    for stage in STAGES:
        record = folder.record(stage.name)
        inputs = record.get("inputs") if record else None
        if (
            record
            and isinstance(record.get("seconds"), float | int)
            and isinstance(inputs, dict)
            and isinstance(inputs.get("config"), dict)
        ):
            yield stage.name, record


def _sizes(folder: RunFolder) -> dict[str, int] | None:
    path = folder.stage("data") / "splits.json"
    try:
        splits = parse_json(path.read_bytes(), str(path))["splits"]
        return {str(name): int(entry["images"]) for name, entry in splits.items()}
    except (DataError, OSError, KeyError, TypeError, ValueError, AttributeError):
        # A run that an older edgetl or a kill left incomplete teaches nothing.
        return None


def _alike(stage: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether one run's time says anything about the other's: the same source, or network."""
    if stage == "data":
        return _kind(now) == _kind(before)
    network = _network(before)
    return network is not None and network == _network(now)


def _kind(config: Mapping[str, Any]) -> str:
    source = str((config.get("data") or {}).get("source"))
    return source if source.startswith("builtin:") else source.partition(":")[0]


def _network(config: Mapping[str, Any]) -> str | None:
    section = config.get("finetune") or config.get("model") or {}
    named = section.get("architecture") or section.get("onnx")
    return None if named is None else str(named)


def _work(stage: str, run: _Past) -> float | None:
    """Units of a stage's work; only their ratio between two runs of one network is used."""
    try:
        return _units(stage, run.config, run.sizes) * (1 if stage == "data" else _area(run.config))
    except (KeyError, TypeError):
        # A number of images that is only known once the data stage has run.
        return None


def _units(stage: str, config: Mapping[str, Any], sizes: Mapping[str, int]) -> float:
    """Images that pass through a network once, roughly; 1 where their number does not matter."""
    variants = len(config["compile"]["variants"]) if stage in ("bench", "gate") else 0
    match stage:
        case "data":
            return float(sum(sizes[name] for name in ("train", "val", "calib", "test")))
        case "finetune" if config.get("finetune"):
            return float(sizes["train"]) * _epochs(config["finetune"])
        case "calibrate":
            return float(sizes["calib"])
        case "export":
            return float(config["export"]["parity_images"])
        case "quantize":
            return float(config["quantize"]["ptq_samples"] + sizes["calib"])
        case "bench":
            return float(config["bench"]["calls"] * config["bench"]["rounds"] * (variants + 1))
        case "gate":
            return float(sizes["val"] * (variants + 1) + sizes["test"])
        case _:
            return 1.0


def _epochs(section: Mapping[str, Any]) -> float:
    # A head phase runs the backbone forwards only: about a third of a whole step.
    head = section["head_epochs"] if section["recipe"] == "two-stage" else 0
    if section["recipe"] == "linear-probe":
        return float(section["epochs"]) / 3
    return float(section["epochs"]) + head / 3


def _area(config: Mapping[str, Any]) -> float:
    """Pixels of an image, or values of a tensor: convolutions take time in proportion."""
    section = config["input"]
    parts = list(section.get("parts", {}).values()) or [section]
    return float(
        sum(
            math.prod(part["shape"]) if part["kind"] == "tensor" else part["height"] * part["width"]
            for part in parts
        )
    )


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    """A config's section as a record holds it: with lists for tuples."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in table.items()
    }

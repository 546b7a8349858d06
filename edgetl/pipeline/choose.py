"""`edgetl choose`: which backbone to fine-tune, before anyone trains.

Latency comes first, on candidates of random weights: it does not depend on the weights, and who
misses the budget costs nothing more. Of the others the features of a few hundred images are
scored, a head is solved on them, and its candidates are measured and held against it. Every step
runs in a process of its own and is kept, so that a comparison that is stopped goes on.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgetl.bench.result import BenchResult
from edgetl.errors import EdgetlError
from edgetl.files import parse_json, write_atomic, write_json
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.choose_backbones import Backbone, backbones_of
from edgetl.pipeline.choose_config import ChooseRequest, Comparison, comparison_of
from edgetl.pipeline.choose_graph import (
    BACKBONES,
    MEASURE,
    PROBE,
    SCREEN,
    SHAPE,
    WORKER,
    BackboneFolder,
)
from edgetl.pipeline.choose_picture import picture_of
from edgetl.pipeline.choose_rank import BackboneFound, VariantFound, judged, ranked, screened
from edgetl.pipeline.choose_result import CHOSEN, DOCUMENT, PICTURE, Choice, chosen_config
from edgetl.pipeline.config import ReleaseConfig
from edgetl.pipeline.events import Event, Listener, ignore
from edgetl.pipeline.graph import STAGES, Stage, current_key
from edgetl.pipeline.process import error_to_json, run_in_process
from edgetl.pipeline.readiness import require
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.bench import RESULT

_DATA = next(stage for stage in STAGES if stage.name == "data")
_SCORES, _HARMS = "transferability.json", "harms.json"
_RELEASE_WORKER = "edgetl.pipeline.worker"


def choose(request: ChooseRequest, *, out: Path | None = None, listen: Listener = ignore) -> Choice:
    """Rank backbones by transferability among those that ship within a budget on this device.

    The run's folder gets ``choose.json``, ``choose.svg``, ``chosen.toml`` (a release config with
    the first of the ranking, when a data source was given) and a folder a backbone. What is there
    already and unchanged is not done again; another budget measures nothing anew.

    Args:
        request: What is asked.
        out: The run's folder; ``runs/choose-NAME`` when left out.
        listen: Hears what happens.

    Returns:
        Every backbone with its verdict. One that fails says why, and does not end the run.

    Raises:
        UsageError, ConfigError: For a request that cannot be carried out.
        DataError: For data that cannot be read or split.
        UnavailableError: When a backend of the candidates is not here.

    Example::

        choice = choose(ChooseRequest(data="folder:photos", budget_ms=10.0))
        print(choice.sentence)
    """
    comparison = comparison_of(request)
    backbones = backbones_of(
        request.backbones, weights=request.weights, input=comparison.input, grey=comparison.grey
    )
    folder = RunFolder(Path("runs") / comparison.name if out is None else out)
    # The data stage reads nothing of the network, and what is required is the same for all.
    any_of_them = comparison.of(replace(backbones[0], weights="none"))
    require(any_of_them, ("finetune", "export", "quantize"))
    new = not folder.root.exists()
    with folder.locked(comparison.name) as lock:
        try:
            _step(_DATA, any_of_them, folder, lock, listen, module=_RELEASE_WORKER)
        except EdgetlError:
            if new:
                # Refused before anything was made: no trace is left.
                shutil.rmtree(folder.root, ignore_errors=True)
            raise
        run = _Comparing(comparison, request, folder, lock, listen)
        found = tuple(
            run.compared(one, f"{number} of {len(backbones)}")
            for number, one in enumerate(backbones, start=1)
        )
        choice = Choice(
            folder=folder.root,
            comparison=comparison,
            budget_ms=request.budget_ms,
            batch=any_of_them.gate.policy.objective.batch,
            threads=any_of_them.used_threads,
            data=_sizes(folder),
            found=ranked(found),
        )
        _write(choice)
    return choice


@dataclass(frozen=True)
class _Comparing:
    """One run of a comparison."""

    comparison: Comparison
    request: ChooseRequest
    folder: RunFolder
    lock: int
    listen: Listener

    def compared(self, backbone: Backbone, place: str) -> BackboneFound:
        """One backbone's steps; what stops it is its result."""
        root = self.folder.root / BACKBONES / backbone.folder
        root.mkdir(parents=True, exist_ok=True)
        folder = BackboneFolder.of(root)
        self._say(backbone, f"backbone {place}, weights: {Path(backbone.weights).name}")
        try:
            found = self._found(backbone, folder)
        except EdgetlError as error:
            found = BackboneFound(
                backbone=backbone, verdict="failed", reason=str(error), error=error_to_json(error)
            )
        found = replace(found, seconds=_seconds(folder))
        self._say(backbone, f"{found.told}: {found.reason}")
        return found

    def _found(self, backbone: Backbone, folder: BackboneFolder) -> BackboneFound:
        config = self.comparison.of(backbone)
        for stage in (SHAPE, SCREEN):
            self._step(stage, backbone, config, folder)
        budget = self.request.budget_ms
        dropped = screened(backbone, _variants(config, folder, SCREEN, SHAPE, "."), budget)
        if dropped is not None:
            return dropped
        for stage in (PROBE, MEASURE):
            self._step(stage, backbone, config, folder)
        scores = _json(folder.stage(PROBE.name) / _SCORES)
        return judged(backbone, _measured(config, folder), scores, budget)

    def _step(
        self, stage: Stage, backbone: Backbone, config: ReleaseConfig, folder: BackboneFolder
    ) -> None:
        def hear(event: Event) -> None:
            if event.kind in ("progress", "note"):
                self.listen(replace(event, stage=backbone.label))

        _step(stage, config, folder, self.lock, hear, module=WORKER)

    def _say(self, backbone: Backbone, text: str) -> None:
        self.listen(Event(stage=backbone.label, kind="note", text=text))


def _step(
    stage: Stage,
    config: ReleaseConfig,
    folder: RunFolder,
    lock: int,
    listen: Listener,
    *,
    module: str,
) -> None:
    """Run one step, unless its result is there."""
    folder.clear_leftovers(stage.name)
    key = current_key(stage, config, folder)
    if folder.is_current(stage.name, key):
        listen(Event(stage=stage.name, kind="fresh", text="unchanged"))
        return
    listen(Event(stage=stage.name, kind="start"))
    began = time.monotonic()
    run_in_process(stage.name, key, config, folder, listen, keep_open=(lock,), module=module)
    listen(Event(stage=stage.name, kind="done", seconds=time.monotonic() - began))


def _variants(
    config: ReleaseConfig, folder: BackboneFolder, bench: Stage, files: Stage, below: str
) -> tuple[VariantFound, ...]:
    """The candidates' latency and size, without their harm."""
    result = BenchResult.load(folder.stage(bench.name) / RESULT)
    batch, root = config.gate.policy.objective.batch, folder.stage(files.name) / below
    found = []
    for name in config.compile.variants:
        cell = result.cell(name, batch=batch)
        size = sum((root / file).stat().st_size for file in CANDIDATES[name].variant().files)
        found.append(
            VariantFound(
                id=name,
                p50_ms=cell.p50_ms,
                p50_interval_ms=cell.p50_interval_ms,
                size_mb=size / (1 << 20),
            )
        )
    return tuple(found)


def _measured(config: ReleaseConfig, folder: BackboneFolder) -> tuple[VariantFound, ...]:
    """The candidates with the real weights, with what they do to the answers."""
    told: Mapping[str, Any] = _json(folder.stage(MEASURE.name) / _HARMS)["variants"]
    return tuple(
        replace(
            one,
            harmless=bool(told[one.id]["harmless"]),
            why_not=str(told[one.id]["reason"]),
            harms=told[one.id]["harms"],
        )
        for one in _variants(config, folder, MEASURE, PROBE, "compile")
    )


def _seconds(folder: BackboneFolder) -> dict[str, float]:
    """What each finished step took, when it was run."""
    records = {stage.name: folder.record(stage.name) for stage in (SHAPE, SCREEN, PROBE, MEASURE)}
    return {name: float(one["seconds"]) for name, one in records.items() if one is not None}


def _sizes(folder: RunFolder) -> dict[str, int]:
    described = _json(folder.stage("data") / "splits.json")
    sizes = {name: int(described["splits"][name]["images"]) for name in ("train", "val", "calib")}
    return {"classes": len(described["classes"])} | sizes


def _json(path: Path) -> Any:
    return parse_json(path.read_bytes(), str(path))


def _write(choice: Choice) -> None:
    """The document, the picture and the config to go on with, whole or not at all."""
    root = choice.folder
    write_json(root / DOCUMENT, choice.to_json())
    picture = picture_of(choice)
    if picture is None:
        (root / PICTURE).unlink(missing_ok=True)
    else:
        write_atomic(root / PICTURE, picture.encode())
    chosen = choice.chosen
    if chosen is None or choice.comparison.config is not None:
        (root / CHOSEN).unlink(missing_ok=True)
        return
    config = choice.comparison.of(chosen.backbone)
    write_atomic(root / CHOSEN, chosen_config(config, choice.comparison).encode())

"""The report stage: everything that a person looks at, on one page, whatever the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.backends.base import Backend
from edgetl.bench.result import BenchResult
from edgetl.data.decode import decode_image, encode_png
from edgetl.data.preprocess import to_inputs
from edgetl.files import parse_json, write_json
from edgetl.gate import Predictions
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.flips import FLIPS, KeptFlip, read_flips
from edgetl.pipeline.release import REPORT
from edgetl.pipeline.stages.bench import REFERENCE, RESULT
from edgetl.pipeline.summary import SUMMARY
from edgetl.pipeline.transfer import CONFORMAL, THRESHOLDS
from edgetl.pipeline.transfer_check import TRANSFER_FILE
from edgetl.pipeline.waterfall import waterfall_to_json, waterfalls
from edgetl.pipeline.waterfall_run import default_variants
from edgetl.report import Flip, ReportData, occlusion_map, write_report
from edgetl.report.training_labels import MAX_LABELS
from edgetl.spec import Array, ImageInput

WATERFALLS = "waterfall.json"
"""The document ``edgetl.waterfalls/1``, as `edgetl waterfall --json` writes it."""

SUSPICIOUS_FILE = "suspicious.json"
"""The document ``edgetl.suspicious/1`` of the finetune stage."""

Predict = Callable[[Array], NDArray[np.float32]]


def run(context: StageContext, out: Path) -> None:
    """Gather what the stages left, look at the flips, and write the page."""
    steps = _waterfalls(context)
    write_json(out / WATERFALLS, {"schema": "edgetl.waterfalls/1", "waterfalls": list(steps)})
    data = _gathered(context, _flips(context), steps)
    write_report(out / REPORT, data)
    size = (out / REPORT).stat().st_size
    drawn = sum(flip.picture is not None for flip in data.flips)
    context.reporter.note(f"one page, {size / 1e6:.1f} MB; pictures of changed answers: {drawn}")


def _waterfalls(context: StageContext) -> tuple[dict[str, Any], ...]:
    images = context.config.report.waterfall_images
    found = waterfalls(context, default_variants(context), images=images) if images else ()
    return tuple(waterfall_to_json(one) for one in found)


def _gathered(
    context: StageContext, flips: tuple[Flip, ...], steps: tuple[dict[str, Any], ...]
) -> ReportData:
    bench = BenchResult.load(context.folder.stage("bench") / RESULT)
    objective = context.config.gate.policy.objective
    cell = bench.cell(REFERENCE, batch=objective.batch, threads=context.threads)
    openings = context.folder.root / "test-openings.json"
    splits = context.splits
    suspicious = _kept(context, "finetune", SUSPICIOUS_FILE)
    return ReportData(
        verdict=context.json("gate", "verdict.json"),
        name=context.config.name,
        version=context.config.version,
        bench=context.json("bench", RESULT),
        samples=dict(bench.samples[cell.samples]),
        predictions=_predictions(context),
        history=_kept(context, "finetune", "history.json"),
        calibration=context.json("calibrate", "calibration.json"),
        refit=context.json("quantize", "refit.json"),
        execution=context.json("compile", "execution.json"),
        selection=context.json("gate", "selection.json"),
        rows=context.json("gate", SUMMARY)["rows"],
        flips=flips,
        config=context.config.to_json(),
        hashes={f"{name} split": splits.hashes[name] for name in splits.hashes}
        | {f"model {name}": digest for name, digest in context.folder.outputs("compile").items()},
        openings=parse_json(openings.read_bytes(), str(openings))["openings"]
        if openings.is_file()
        else None,
        waterfalls=steps,
        thresholds=_kept(context, "gate", THRESHOLDS),
        conformal=_kept(context, "gate", CONFORMAL),
        transfer_check=_kept(context, "finetune", TRANSFER_FILE),
        suspicious=suspicious,
        suspicious_pictures=_suspicious_pictures(context, suspicious),
    )


def _suspicious_pictures(
    context: StageContext, document: dict[str, Any] | None
) -> dict[int, bytes]:
    """The training images that are shown among the labels that look wrong."""
    if document is None or not isinstance(context.input, ImageInput):
        return {}
    wrong = [image["index"] for image in document["images"] if image["looks_wrong"]][:MAX_LABELS]
    if not wrong:
        return {}
    train = context.splits.load("train")
    return {
        at: encode_png(next(iter(to_inputs(train.images[at : at + 1], context.input).values()))[0])
        for at in wrong
    }


def _kept(context: StageContext, stage: str, name: str) -> dict[str, Any] | None:
    """A document that a stage leaves only sometimes: the gate when the test split was opened, the
    training when it was asked to compare."""
    if not (context.folder.stage(stage) / name).is_file():
        return None
    document: dict[str, Any] = context.json(stage, name)
    return document


def _predictions(context: StageContext) -> dict[str, dict[str, Predictions]]:
    found: dict[str, dict[str, Predictions]] = {}
    for path in sorted((context.folder.stage("gate") / "predictions").glob("*.npz")):
        split, _, name = path.stem.partition("-")
        found.setdefault(split, {})[name] = Predictions.load(path)
    return found


def _flips(context: StageContext) -> tuple[Flip, ...]:
    kept = read_flips(context.folder.stage("gate") / FLIPS)
    if not kept:
        return ()
    answers = _predictions(context)["test"]
    with ExitStack() as stack:
        looks = _looks(context, kept, stack)
        return tuple(_flip(context, flip, answers, look) for flip, look in looks)


def _looks(
    context: StageContext, kept: tuple[KeptFlip, ...], stack: ExitStack
) -> Iterator[tuple[KeptFlip, tuple[Predict, Predict] | None]]:
    """Each flip with the two that can be asked about it, while there is time."""
    drawn = [flip for flip in kept if flip.picture is not None]
    seconds = context.config.report.occlusion_seconds
    if not drawn or not seconds:
        yield from ((flip, None) for flip in kept)
        return
    name = context.input.tensors[0].name
    reference = partial(_ask, stack.enter_context(context.reference()), name)
    variants = {
        one: partial(_ask, stack.enter_context(context.variant(context.candidate(one))), name)
        for one in sorted({flip.variant for flip in drawn})
    }
    end = time.monotonic() + seconds
    for done, flip in enumerate(kept):
        context.reporter.progress("what each flip was seen by", done, len(kept))
        late = time.monotonic() > end
        yield flip, None if late or flip.picture is None else (reference, variants[flip.variant])
    if time.monotonic() > end:
        context.reporter.note(
            f"occlusion maps stopped after {seconds:.0f} s; [report] occlusion_seconds allows more"
        )


def _ask(backend: Backend, name: str, batch: Array) -> NDArray[np.float32]:
    return backend.run({name: batch})["probabilities"]


def _flip(
    context: StageContext,
    flip: KeptFlip,
    answers: dict[str, Predictions],
    look: tuple[Predict, Predict] | None,
) -> Flip:
    classes = context.splits.classes
    rows = [answers[name].probabilities[flip.index] for name in (REFERENCE, flip.variant)]
    best = [int(row.argmax()) for row in rows]
    picture = None
    maps: list[NDArray[np.float32] | None] = [None, None]
    if flip.picture is not None:
        path = context.folder.stage("gate") / FLIPS / flip.picture
        picture = path.read_bytes()
        if look is not None:
            pixels = _fitted(context, picture)
            maps = [
                occlusion_map(ask, pixels, target) for ask, target in zip(look, best, strict=True)
            ]
    return Flip(
        index=flip.index,
        content_id=flip.content_id,
        label=classes[flip.label],
        reference_class=classes[best[0]],
        candidate_class=classes[best[1]],
        reference_probability=float(rows[0][best[0]]),
        candidate_probability=float(rows[1][best[1]]),
        variant=flip.variant,
        negative=flip.negative,
        picture=picture,
        reference_map=maps[0],
        variant_map=maps[1],
    )


def _fitted(context: StageContext, picture: bytes) -> NDArray[np.uint8]:
    assert isinstance(context.input, ImageInput)
    return np.ascontiguousarray(decode_image(picture)[..., : context.input.channel_count])

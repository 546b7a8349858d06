"""The bundle stage: the winners, a golden set with everyone's answers, the verdict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.backends.base import Backend
from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, verify_bundle, write_bundle
from edgetl.bundle.fields import Node
from edgetl.bundle.golden import GoldenInputs
from edgetl.bundle.tables import read_conformal, read_thresholds
from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_batch
from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.errors import BundleError, GateError
from edgetl.gate import Predictions
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.stages.bench import REFERENCE
from edgetl.pipeline.stages.gate import prediction_file
from edgetl.pipeline.transfer import CONFORMAL, THRESHOLDS
from edgetl.runtime.answers import answers
from edgetl.spec import (
    Array,
    ClassifierInput,
    ImageInput,
    SeveralInputs,
    SingleInput,
    Variant,
    named_parts,
)

Ask = Callable[[Backend], NDArray[np.float32]]

_SYNTHETIC_SIDE = 64
_GOLDEN_SIDE = 1024


def run(context: StageContext, out: Path) -> None:
    """Pack what passed, then read it back as a device would."""
    verdict = context.json("gate", "verdict.json")
    if verdict["verdict"] != "PASS":
        raise GateError(
            "bundle",
            got=f"the verdict {verdict['verdict']}",
            expected="PASS",
            fix=f"read {context.folder.stage('gate') / 'verdict.md'}; nothing else is shipped",
        )
    passed = [entry for entry in verdict["variants"] if entry["verdict"] == "PASS"]
    variants = {entry["id"]: context.candidate(entry["id"]) for entry in passed}
    context.reporter.note("packing " + ", ".join(variants))
    folder = write_bundle(out, _content(context, verdict, variants))
    problems = verify_bundle(folder)
    if problems:
        raise BundleError(
            str(folder),
            got="; ".join(map(str, problems)),
            expected="a bundle that verifies",
            fix="check the disk and run the stage again",
        )


def _content(
    context: StageContext, verdict: dict[str, Any], variants: dict[str, Variant]
) -> BundleContent:
    compiled = context.folder.stage("compile")
    winner = next(entry for entry in verdict["variants"] if entry["id"] in variants)
    return BundleContent(
        name=context.config.name,
        version=context.config.version,
        classes=context.splits.classes,
        input=context.input,
        variants=tuple(_entry(context, variant) for variant in variants.values()),
        models={name: compiled / name for variant in variants.values() for name in variant.files},
        golden=_golden(context, variants),
        verdict=(context.folder.stage("gate") / "verdict.json").read_bytes(),
        reference=winner["metrics"]["reference"],
    )


def _entry(context: StageContext, variant: Variant) -> ManifestVariant:
    base = float(context.json("calibrate", "calibration.json")["temperature"])
    refit = context.json("quantize", "refit.json").get(variant.id, {"temperature": 1.0})
    cells = context.json("bench", "bench.json")["cells"]
    cell = next(cell for cell in cells if cell["variant"] == variant.id)
    return ManifestVariant(
        variant=variant,
        verdict="PASS",
        temperature=base * float(refit["temperature"]),
        p50_ms=float(cell["p50_ms"]),
        execution=context.json("compile", "execution.json")[variant.id],
        thresholds=read_thresholds(_table(context, THRESHOLDS, variant.id)),
        conformal=read_conformal(_table(context, CONFORMAL, variant.id)),
    )


def _table(context: StageContext, name: str, variant: str) -> Node:
    """What an app may carry over from the reference, as the gate stage found it."""
    return Node(context.json("gate", name)["variants"][variant], f"{name}: {variant}")


def _golden(context: StageContext, variants: dict[str, Variant]) -> GoldenSet | None:
    kind = context.config.bundle.golden
    if kind == "none":
        return None
    chosen = _chosen(context) if kind == "real" else None
    samples = _synthetic(context) if chosen is None else context.splits.load("val").images[chosen]
    inputs = _golden_inputs(samples, context.input)
    golden = partial(GoldenSet, kind=kind, inputs=inputs)
    # The path that a device's self-test takes, decoding included.
    rows = golden(reference=np.empty((0, 0), np.float32), answers={}).rows()
    ask = partial(answers, inputs=rows, spec=context.input, classes=len(context.splits.classes))
    own = {}
    for variant in variants.values():
        with context.variant(variant) as backend:
            own[variant.id] = ask(backend)
    return golden(reference=_reference_answers(context, chosen, samples, ask), answers=own)


def _reference_answers(
    context: StageContext, chosen: NDArray[np.int64] | None, samples: Samples, ask: Ask
) -> NDArray[np.float32]:
    """From the gate's stored predictions where the inputs are the val split's own."""
    if chosen is not None and not _has_large(samples):
        stored = context.folder.stage("gate") / prediction_file("val", REFERENCE)
        return Predictions.load(stored).probabilities[chosen].astype(np.float32)
    with context.reference() as reference:
        return ask(reference)


def _has_large(samples: Samples) -> bool:
    parts = samples.parts.values() if isinstance(samples, SeveralSamples) else (samples,)
    return any(
        max(image.shape[:2]) > _GOLDEN_SIDE
        for part in parts
        if isinstance(part, EncodedImages) or part.dtype == np.uint8
        for image in part
    )


def _golden_inputs(
    samples: Samples, spec: ClassifierInput
) -> GoldenInputs | dict[str, GoldenInputs]:
    if isinstance(samples, SeveralSamples) and isinstance(spec, SeveralInputs):
        return {name: _part(samples.parts[name], part) for name, part in spec.parts.items()}
    assert not isinstance(samples, SeveralSamples) and not isinstance(spec, SeveralInputs)
    return _part(samples, spec)


def _part(samples: Array | EncodedImages, spec: SingleInput) -> GoldenInputs:
    if isinstance(spec, ImageInput):
        return tuple(encode_png(_bounded(image)) for image in samples)
    return to_batch(samples, spec)


def _bounded(image: Array) -> Array:
    """A photo of millions of pixels, made smaller: a golden set is a few images, not an album."""
    height, width = image.shape[:2]
    if max(height, width) <= _GOLDEN_SIDE:
        return image
    picture = Image.fromarray(image)
    picture.thumbnail((_GOLDEN_SIDE, _GOLDEN_SIDE))
    return np.asarray(picture)


def _chosen(context: StageContext) -> NDArray[np.int64]:
    """Validation images, never test ones: the test split is opened for the gate alone."""
    images = context.splits.sizes["val"]
    count = min(context.config.bundle.golden_images, images)
    generator = np.random.default_rng(context.config.seed)
    return np.sort(generator.choice(images, size=count, replace=False))


def _synthetic(context: StageContext) -> Samples:
    generator = np.random.default_rng(context.config.seed)
    count = context.config.bundle.golden_images
    parts = {
        name: _noise(part, count, generator) for name, part in named_parts(context.input).items()
    }
    return SeveralSamples(parts) if len(parts) > 1 else next(iter(parts.values()))


def _noise(spec: SingleInput, count: int, generator: np.random.Generator) -> Array:
    """Smooth coloured noise: nobody's data, and different from image to image."""
    if not isinstance(spec, ImageInput):
        return generator.uniform(size=(count, *spec.shape)).astype(np.float32)
    coarse = generator.uniform(size=(count, 4, 4, 3))
    repeats = _SYNTHETIC_SIDE // 4
    smooth = coarse.repeat(repeats, axis=1).repeat(repeats, axis=2)
    return (smooth * 255).astype(np.uint8)

"""The bundle stage: the winners, a golden set with everyone's answers, the verdict."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgetl.bundle import BundleContent, GoldenSet, ManifestVariant, verify_bundle, write_bundle
from edgetl.bundle.golden import GoldenInputs
from edgetl.data.decode import encode_png
from edgetl.data.preprocess import to_batch
from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.errors import BundleError, GateError
from edgetl.pipeline.context import StageContext
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
    )


def _golden(context: StageContext, variants: dict[str, Variant]) -> GoldenSet | None:
    kind = context.config.bundle.golden
    if kind == "none":
        return None
    pixels = _real(context) if kind == "real" else _synthetic(context)
    inputs = _golden_inputs(pixels, context.input)
    golden = partial(GoldenSet, kind=kind, inputs=inputs)
    # The path that a device's self-test takes, decoding included.
    rows = golden(reference=np.empty((0, 0), np.float32), answers={}).rows()
    ask = partial(answers, inputs=rows, spec=context.input, classes=len(context.splits.classes))
    with context.reference() as reference:
        expected = ask(reference)
    own = {}
    for variant in variants.values():
        with context.variant(variant) as backend:
            own[variant.id] = ask(backend)
    return golden(reference=expected, answers=own)


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


def _real(context: StageContext) -> Samples:
    """Validation images, never test ones: the test split is opened for the gate alone."""
    val = context.splits.load("val")
    count = min(context.config.bundle.golden_images, len(val.labels))
    generator = np.random.default_rng(context.config.seed)
    return val.images[np.sort(generator.choice(len(val.labels), size=count, replace=False))]


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

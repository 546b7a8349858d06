"""Where a candidate's answers move away from the reference's: one step after another.

The same val inputs are answered along the whole way from the user's own picture pipeline to the
backend on its device; each step compares two neighbours. docs/waterfall.md defines the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.errors import UnavailableError, UsageError
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.waterfall_steps import Step, Trail
from edgetl.pipeline.waterfall_transform import OwnAnswers, own_answers
from edgetl.quantize.as_written import load_as_written
from edgetl.quantize.sqnr import LayerSqnr, layer_sqnr
from edgetl.spec import Array, ImageInput, Precision, SeveralInputs, Variant

SCHEMA = "edgetl.waterfall/1"
SPLIT = "val"
LAYER_IMAGES = 32
"""On how many of the inputs the layers' SQNR is taken."""

LOWEST = 5
"""How many layers are named."""

# As the export stage writes it; importing that stage would import torch.
FP32_MODEL = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """One candidate's way from the reference's answers to its own.

    Attributes:
        variant: The candidate's id.
        split: ``val``: the test split stays closed.
        n: How many inputs were answered.
        steps: decode, resize, export, precision, backend, device, in this order; each compares
            with what the step before it gave.
        total: First and last compared. Flips of the steps need not add up to its flips: an answer
            may change and change back, or change twice.
        layers: Of an INT8 candidate the layers with the lowest SQNR, lowest first.
        layer_n: On how many of the inputs that was taken; 0 without layers.
    """

    variant: str
    split: str
    n: int
    steps: tuple[Step, ...]
    total: Step
    layers: tuple[LayerSqnr, ...]
    layer_n: int


def waterfall(context: StageContext, variant_id: str, *, images: int) -> Waterfall:
    """Follow one candidate's answers from the reference to the device.

    Args:
        context: A run that is finished up to its compile stage.
        variant_id: One of the run's candidates.
        images: How many val inputs to ask; all of them when there are fewer.

    Raises:
        UsageError: When the run has no such candidate, or a stage has not been run.
        UnavailableError: When the candidate's backend or device is not here.
        ModelError: When a file of the run is refused, or the user's own transform fails.

    Example::

        found = waterfall(context, "ov-int8", images=256)
        worst = max(found.steps, key=lambda step: step.mean_kl)
    """
    (found,) = waterfalls(context, (variant_id,), images=images)
    return found


def waterfalls(
    context: StageContext, variant_ids: Sequence[str], *, images: int
) -> tuple[Waterfall, ...]:
    """As `waterfall`, for several candidates: what they have in common is asked once."""
    for name in variant_ids:
        _check_variant(context, name)
    part = context.splits.load(SPLIT).first(images)
    fp32 = (context.folder.stage("export") / FP32_MODEL).read_bytes()
    common = _exported(context, _prepared(context, part), part, fp32)
    return tuple(_waterfall(context, name, common, part, fp32) for name in variant_ids)


def waterfall_to_json(waterfall: Waterfall) -> dict[str, Any]:
    """The waterfall as plain data, edgetl.waterfall/1 (docs/schemas/waterfall-1.json)."""
    return {
        "schema": SCHEMA,
        "variant": waterfall.variant,
        "split": waterfall.split,
        "n": waterfall.n,
        "steps": [step.to_json() for step in waterfall.steps],
        "total": waterfall.total.to_json(),
        "layers": [asdict(layer) for layer in waterfall.layers],
        "layer_n": waterfall.layer_n,
    }


def _check_variant(context: StageContext, name: str) -> None:
    context.folder.outputs("compile")
    variants = context.config.compile.variants
    if name not in variants:
        raise UsageError(
            "variant",
            got=repr(name),
            expected=f"one of the run's candidates: {', '.join(variants)}",
            fix="correct the name, or add it to [compile] variants and run the release again",
        )


def _prepared(context: StageContext, part: SplitPart) -> Trail:
    """From the user's own decoder and transform to the reference as the gate asks it."""
    with context.reference() as reference:
        said = "PyTorch"
        if reference.facts()["backend"] != "pytorch":
            said = "the ONNX file as it came"
        answers = context.predict(reference, part, what="the reference")
    own = own_answers(context, len(part))
    if own is None:
        note = _why_no_transform(context)
        trail = Trail.begun(said, answers)
        return trail.skipped("decode", note).skipped("resize", note)
    transform = f"{said}, own transform"
    if own.decoded is None:
        trail = Trail.begun(transform, own.transformed).skipped("decode", _WHY_NO_DECODER)
    else:
        trail = Trail.begun(f"{transform} and decoder", own.decoded)
        trail = trail.to("decode", transform, own.transformed)
    return trail.to("resize", said, answers, _pixels(own))


_WHY_NO_DECODER = (
    "the transform takes a picture that is decoded: it has no decode(data) of its own, or the "
    "data is pixels"
)


def _why_no_transform(context: StageContext) -> str:
    if isinstance(context.input, SeveralInputs):
        return "several inputs: no transform of one picture feeds the network"
    if not isinstance(context.input, ImageInput):
        return "a tensor is used as it is"
    if context.config.model is None:
        return "edgetl trained the network on the very pixels that it ships"
    return "the config names no transform of the network's own ([model] transform)"


def _pixels(own: OwnAnswers) -> str:
    return (
        "resizing, colours and normalisation together; the worst pixel is "
        f"{own.pixel_difference:.2g} of 255 off, the mean {own.mean_pixel_difference:.2g}"
    )


def _exported(context: StageContext, trail: Trail, part: SplitPart, fp32: bytes) -> Trail:
    answers = _as_written(context, fp32, part, what="the FP32 ONNX file")
    return trail.to("export", "FP32 ONNX, as written", answers)


def _as_written(context: StageContext, model: bytes, part: SplitPart, *, what: str) -> Array:
    backend = load_as_written(model, subject=what, threads=context.threads)
    try:
        return context.predict(backend, part, what=what)
    finally:
        backend.close()


def _waterfall(
    context: StageContext, name: str, trail: Trail, part: SplitPart, fp32: bytes
) -> Waterfall:
    model = (context.folder.stage("quantize") / f"{name}.onnx").read_bytes()
    layers: tuple[LayerSqnr, ...] = ()
    if CANDIDATES[name].precision is Precision.INT8:
        answers = _as_written(context, model, part, what=f"{name} as written")
        trail = trail.to("precision", "INT8 ONNX, as written", answers, _refitted(context, name))
        layers = _lowest(context, part, fp32, model)
    else:
        trail = trail.skipped("precision", _why_no_precision(name))
    trail = _on_device(context, name, trail, part)
    return Waterfall(
        variant=name,
        split=SPLIT,
        n=len(part),
        steps=trail.steps,
        total=trail.total(),
        layers=layers,
        layer_n=min(LAYER_IMAGES, len(part)) if layers else 0,
    )


def _why_no_precision(name: str) -> str:
    precision = CANDIDATES[name].precision
    if precision is Precision.FP32:
        return "the candidate's file is the FP32 file"
    return f"{precision} is computed by the backend, from the FP32 file: it is in the next step"


def _refitted(context: StageContext, name: str) -> str:
    found = context.json("quantize", "refit.json").get(name)
    if found is None:
        return ""
    return f"with the temperature fitted again, × {found['temperature']:.4f}"


def _lowest(
    context: StageContext, part: SplitPart, fp32: bytes, model: bytes
) -> tuple[LayerSqnr, ...]:
    context.reporter.progress("the layers' SQNR", 0, 1)
    some = to_inputs(part.first(LAYER_IMAGES).images, context.input)
    found = layer_sqnr(fp32, model, some, threads=context.threads)
    context.reporter.progress("the layers' SQNR", 1, 1)
    return found[:LOWEST]


def _on_device(context: StageContext, name: str, trail: Trail, part: SplitPart) -> Trail:
    """The backend on the CPU, then on the device that the config names."""
    on_cpu, chosen = CANDIDATES[name].variant(), context.candidate(name)
    device = str(chosen.settings.get("device", "CPU"))
    said = f"{chosen.backend}, {chosen.precision}"
    try:
        answers = _answers(context, on_cpu, part)
    except UnavailableError as error:
        if device == "CPU":
            raise
        trail = trail.skipped("backend", f"not on the CPU ({error.got}): it is in the next step")
    else:
        trail = trail.to("backend", f"{said}, CPU", answers, _backend_note(context, on_cpu))
    if device == "CPU":
        return trail.skipped("device", "it runs on the CPU")
    return trail.to("device", f"{said}, {device}", _answers(context, chosen, part))


def _backend_note(context: StageContext, variant: Variant) -> str:
    if variant.precision in (Precision.FP32, Precision.INT8):
        return ""
    together = f"precision and backend in one: {variant.precision} is computed by the backend"
    return ", ".join(filter(None, [together, _refitted(context, variant.id)]))


def _answers(context: StageContext, variant: Variant, part: SplitPart) -> Array:
    device = variant.settings.get("device", "CPU")
    with context.variant(variant) as backend:
        return context.predict(backend, part, what=f"{variant.id} on {device}")

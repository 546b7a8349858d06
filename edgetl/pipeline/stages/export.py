"""The export stage: the reference as one FP32 ONNX file, checked on real images.

The preprocessing is held against the model's own transform first, when the config names one; then
the file's answers against the reference's.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edgetl.data.preprocess import to_inputs
from edgetl.data.samples import SeveralSamples
from edgetl.errors import ConfigError
from edgetl.export.onnx_from_onnx import onnx_from_onnx
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.own_decoder import check_decoder
from edgetl.export.parity import check_parity
from edgetl.export.preprocess_parity import PreprocessParity, check_preprocessing
from edgetl.files import write_atomic, write_json
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.stages.calibrate import reference_on_calib
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import ONNX_ARCHITECTURE, ClassifierDescription, read_description
from edgetl.reference.normalised import normalised_network
from edgetl.reference.onnx_checkpoint import load_onnx_classifier
from edgetl.reference.user_code import load_object
from edgetl.spec import ImageInput

MODEL = "model.onnx"
PREPROCESSING_IMAGES = 64


def run(context: StageContext, out: Path) -> None:
    """Check the preprocessing, export, then hold the file against the reference's own answers."""
    section = context.config.export
    folder = context.folder.stage("calibrate")
    description, _ = read_description(folder)
    if (preprocessing := _preprocessing(context, folder, description)) is not None:
        write_json(out / "preprocessing.json", asdict(preprocessing))
    model = _exported(context, folder, description)
    some = context.splits.load("calib").first(section.parity_images)
    expected = reference_on_calib(context)[: len(some)]
    parity = check_parity(model, expected, to_inputs(some.images, description.input))
    write_atomic(out / MODEL, model)
    write_json(out / "parity.json", asdict(parity))
    context.reporter.note(
        f"ONNX, {len(model) / 1e6:.1f} MB; worst difference from the reference on "
        f"{len(some)} inputs {parity.difference:.1e}"
    )


def _exported(context: StageContext, folder: Path, description: ClassifierDescription) -> bytes:
    section = context.config.export
    if description.architecture == ONNX_ARCHITECTURE:
        model, _ = load_onnx_classifier(folder)
        return onnx_from_onnx(
            model,
            input=description.input,
            head=description.head,
            opset=section.opset,
            logits=section.logits,
            output=description.output,
        )
    network, _ = load_classifier(folder, code=context.code)
    return onnx_from_torch(
        network,
        input=description.input,
        head=description.head,
        opset=section.opset,
        logits=section.logits,
    )


def _preprocessing(
    context: StageContext, folder: Path, description: ClassifierDescription
) -> PreprocessParity | None:
    """The first images through the model's own transform and through edgetl's."""
    model = context.config.model
    if model is None or model.transform is None:
        return None
    if not isinstance(description.input, ImageInput):
        raise ConfigError(
            "model.transform",
            got="a transform of pictures for an input that is not one image",
            expected='kind = "image"',
            fix="remove the transform: tensors are used as they are",
        )
    section = context.config.export
    images = context.splits.load("val").first(PREPROCESSING_IMAGES).images
    assert not isinstance(images, SeveralSamples)
    transform = load_object(model.transform, context.code)
    check_decoder(transform, images, count=PREPROCESSING_IMAGES)
    parity = check_preprocessing(
        images,
        transform,
        description.input,
        normalised_network(folder, code=context.code, threads=context.threads),
        max_pixel_difference=section.max_pixel_difference,
        max_probability_difference=section.max_probability_difference,
    )
    context.reporter.note(
        f"preprocessing against {model.transform} on {parity.images} images: worst pixel "
        f"{parity.pixel_difference:.2g} of 255, worst probability "
        f"{parity.probability_difference:.1e}, {parity.flips} flips"
    )
    return parity

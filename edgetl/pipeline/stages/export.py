"""The export stage: the reference as one FP32 ONNX file, checked against PyTorch on real images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import check_parity
from edgetl.files import write_atomic, write_json
from edgetl.pipeline.context import StageContext
from edgetl.reference.checkpoint import load_classifier

MODEL = "model.onnx"


def run(context: StageContext, out: Path) -> None:
    """Export, then hold the file against the reference's own answers."""
    section = context.config.export
    network, description = load_classifier(context.folder.stage("calibrate"))
    model = onnx_from_torch(
        network,
        input=description.input,
        head=description.head,
        opset=section.opset,
        logits=section.logits,
    )
    val = context.splits.load("val")
    some = SplitPart(
        ids=val.ids[: section.parity_images],
        labels=val.labels[: section.parity_images],
        images=val.images[: section.parity_images],
    )
    with context.reference() as reference:
        probabilities = context.predict(reference, some, what="reference on val")
    parity = check_parity(model, probabilities, to_inputs(some.images, description.input))
    write_atomic(out / MODEL, model)
    write_json(out / "parity.json", asdict(parity))
    context.reporter.note(
        f"ONNX opset {section.opset}, {len(model) / 1e6:.1f} MB; worst difference from PyTorch on "
        f"{len(some.labels)} images {parity.difference:.1e}"
    )

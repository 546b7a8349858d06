"""The quantize stage: an ONNX file a candidate, its temperature fitted again below FP32."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl.backends import registry
from edgetl.calibration import fit_temperature_report
from edgetl.compile.openvino_from_onnx import openvino_from_onnx
from edgetl.data.preprocess import to_inputs
from edgetl.data.store import SplitPart
from edgetl.files import write_atomic, write_json
from edgetl.metrics import ece, nll
from edgetl.pipeline.candidates import CANDIDATES, Candidate
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.ptq import ptq_part
from edgetl.pipeline.stages.export import MODEL
from edgetl.quantize.qdq import int8_from_fp32
from edgetl.quantize.refit import scale_head
from edgetl.spec import Precision

# Below this a probability is rounding error of the softmax, and its logarithm is noise.
_FLOOR = 1e-12


def run(context: StageContext, out: Path) -> None:
    """Make every candidate's ONNX file and say what the second temperature did."""
    fp32 = (context.folder.stage("export") / MODEL).read_bytes()
    candidates = [CANDIDATES[name] for name in context.config.compile.variants]
    int8 = None
    if any(candidate.precision is Precision.INT8 for candidate in candidates):
        part = ptq_part(context)
        samples = to_inputs(part.images, context.input)
        context.reporter.note(f"INT8 ranges from {len(part)} training inputs")
        int8 = int8_from_fp32(fp32, samples, threads=context.threads)
    parts = {name: context.splits.load(name) for name in ("calib", "val")}
    report: dict[str, Any] = {}
    for candidate in candidates:
        model = int8 if candidate.precision is Precision.INT8 else fp32
        assert model is not None
        if candidate.precision is not Precision.FP32:
            model, report[candidate.id] = _refit(context, candidate, model, parts)
        write_atomic(out / f"{candidate.id}.onnx", model)
    write_json(out / "refit.json", report)


def _refit(
    context: StageContext, candidate: Candidate, model: bytes, parts: Mapping[str, SplitPart]
) -> tuple[bytes, dict[str, Any]]:
    """Fit the temperature again on what the backend really answers, and fold it again.

    The logarithms of the probabilities are the logits less a constant of each image, which the
    softmax does not see: so they serve as logits.
    """
    calib, val = parts["calib"], parts["val"]
    answers, before = _answers(context, candidate, model, parts)
    fit = fit_temperature_report(np.log(np.maximum(answers, _FLOOR)), calib.labels)
    temperature = 1.0 if fit.at_bound else fit.temperature
    model = scale_head(model, temperature)
    (after,) = _answers(context, candidate, model, {"val": val})
    context.reporter.note(
        f"{candidate.id}: temperature × {temperature:.4f}; "
        f"val NLL {nll(before, val.labels):.4f} → {nll(after, val.labels):.4f}"
    )
    return model, {
        "temperature": temperature,
        "at_bound": fit.at_bound,
        "n": fit.n,
        "val_nll": {"before": nll(before, val.labels), "after": nll(after, val.labels)},
        "val_ece": {"before": ece(before, val.labels), "after": ece(after, val.labels)},
    }


def _answers(
    context: StageContext, candidate: Candidate, model: bytes, parts: Mapping[str, SplitPart]
) -> list[NDArray[np.float32]]:
    variant = context.candidate(candidate.id)
    contents = openvino_from_onnx(model) if candidate.backend == "openvino" else (model,)
    files = dict(zip(variant.files, contents, strict=True))
    with closing(registry.load(variant, files, threads=context.threads)) as backend:
        return [
            context.predict(backend, part, what=f"{candidate.id} on {split}")
            for split, part in parts.items()
        ]

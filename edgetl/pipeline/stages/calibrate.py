"""The calibrate stage: one temperature, fitted on the calib split."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetl.calibration import TemperatureFit, fit_temperature_report
from edgetl.data.class_order import is_reordered
from edgetl.data.sources import read_source
from edgetl.errors import EdgetlError
from edgetl.files import write_json
from edgetl.metrics import ece, nll, softmax
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.output_order import check_output_order
from edgetl.reference.description import (
    DESCRIPTION_FILE,
    description_to_json,
    read_description,
)

RAW_LOGITS = "calib-logits.npy"
"""The reference's raw logits of the calib split, float32 [n, classes], in its order."""


def run(context: StageContext, out: Path) -> None:
    """Fit the temperature on raw logits and write the finished reference beside its weights."""
    calib = context.splits.load("calib")
    with context.reference("finetune") as reference:
        raw = context.predict(reference, calib, what="reference on calib", output="logits")
    np.save(out / RAW_LOGITS, raw, allow_pickle=False)
    if context.config.model is not None:
        warning = check_output_order(raw, calib.labels, names=lambda: _written_names(context))
        if warning is not None:
            context.reporter.note(warning)
    fit = fit_temperature_report(raw, calib.labels)
    # A calib split classified without error asks for ever more confidence: no finite temperature
    # is right, so the network's own is kept.
    temperature = 1.0 if fit.at_bound else fit.temperature
    source = context.folder.stage("finetune")
    description, weights = read_description(source)
    shutil.copyfile(source / description.weights_file, out / description.weights_file)
    finished = replace(description, head=replace(description.head, temperature=temperature))
    write_json(out / DESCRIPTION_FILE, description_to_json(finished, weights))
    before, after = softmax(raw), softmax(raw / temperature)
    change = nll(before, calib.labels), nll(after, calib.labels)
    write_json(
        out / "calibration.json",
        {
            "temperature": temperature,
            "at_bound": fit.at_bound,
            "standard_error_log": fit.standard_error_log,
            "n": fit.n,
            "nll": dict(zip(("before", "after"), change, strict=True)),
            "ece": {"before": ece(before, calib.labels), "after": ece(after, calib.labels)},
        },
    )
    if fit.at_bound:
        accuracy = float((raw.argmax(axis=1) == calib.labels).mean())
        context.reporter.note(_why_kept(fit, accuracy, raw.shape[1]))
    else:
        context.reporter.note(
            f"temperature {temperature:.4f}: calib NLL {change[0]:.4f} → {change[1]:.4f}"
        )


def reference_on_calib(context: StageContext) -> NDArray[np.float64]:
    """What the reference answers on the calib split, [n, classes], in its order.

    It said so when the temperature was fitted, and need not run again.
    """
    raw = np.load(context.folder.stage("calibrate") / RAW_LOGITS, allow_pickle=False)
    return softmax(raw / context.json("calibrate", "calibration.json")["temperature"])


def _why_kept(fit: TemperatureFit, accuracy: float, classes: int) -> str:
    if fit.temperature < 1:
        errors = "without error" if accuracy == 1 else f"at an accuracy of {accuracy:.4f}"
        return (
            f"temperature kept at 1: the calib split is classified {errors}, so that no finite "
            "confidence is enough; more calib images would settle it"
        )
    return (
        f"temperature kept at 1: the network's confidence says nothing of the calib split "
        f"(accuracy {accuracy:.4f}, chance {1 / classes:.4f}), so none fits; check its weights, "
        "the preprocessing in [input] and the order of the classes"
    )


def _written_names(context: StageContext) -> tuple[str, ...]:
    """For each label the name by which `classes` in the config can give it another place."""
    data, names = context.config.data, context.splits.classes
    if data.classes is None:
        return names
    try:
        own = read_source(data.source).classes
    except EdgetlError:
        return names
    # Classes that were renamed are in the source's order; only its own names can change that.
    return names if is_reordered(own, names) or len(own) != len(names) else own

"""The calibrate stage: one temperature, fitted on the calib split."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgetl.calibration import fit_temperature_report
from edgetl.files import write_json
from edgetl.metrics import ece, nll, softmax
from edgetl.pipeline.context import StageContext
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
        context.reporter.note(
            "temperature kept at 1: the calib split is classified without error (or worse than "
            "by chance), so none fits; more calib images would settle it"
        )
    else:
        context.reporter.note(
            f"temperature {temperature:.4f}: calib NLL {change[0]:.4f} → {change[1]:.4f}"
        )

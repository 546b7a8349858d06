"""Metrics of predictions: numpy only, pure functions, everything in float64."""

from __future__ import annotations

from edgetl.metrics.accuracy import correct, top1
from edgetl.metrics.agreement import flips, kl, paired_counts
from edgetl.metrics.calibration_error import (
    classwise_ece,
    debiased_l2,
    ece,
    ece_if_calibrated,
    mce,
)
from edgetl.metrics.probability import (
    aurc,
    brier,
    entropy,
    nll,
    per_image_brier,
    per_image_nll,
    softmax,
)

__all__ = [
    "aurc",
    "brier",
    "classwise_ece",
    "correct",
    "debiased_l2",
    "ece",
    "ece_if_calibrated",
    "entropy",
    "flips",
    "kl",
    "mce",
    "nll",
    "paired_counts",
    "per_image_brier",
    "per_image_nll",
    "softmax",
    "top1",
]

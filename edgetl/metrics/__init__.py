"""Metrics of predictions: numpy only, pure functions, everything in float64.

Probabilities and logits are different arguments: what takes logits has them in its name, `softmax`
apart. NaN, infinity and what does not fit together are errors; each function says what it
answers for a class without images, for ties, and for probabilities of 0 and 1. Input is taken in
chunks of rows, so that a metric needs little memory beside it, and equals to the last bit what
all rows at once would give.
"""

from __future__ import annotations

from edgetl.metrics.accuracy import correct, macro_recall, recall_per_class, top1, topk
from edgetl.metrics.agreement import (
    flips,
    js,
    kl,
    negative_flips,
    paired_counts,
    topk_overlap,
    tv,
)
from edgetl.metrics.calibration_error import (
    classwise_ece,
    debiased_l2,
    ece,
    ece_if_calibrated,
    mce,
)
from edgetl.metrics.decomposition import BrierDecomposition, brier_decomposition
from edgetl.metrics.logits import logit_cosine, logit_sqnr_db
from edgetl.metrics.probability import (
    aurc,
    brier,
    entropy,
    nll,
    per_image_brier,
    per_image_nll,
    softmax,
)
from edgetl.metrics.smooth import smooth_ece

__all__ = [
    "BrierDecomposition",
    "aurc",
    "brier",
    "brier_decomposition",
    "classwise_ece",
    "correct",
    "debiased_l2",
    "ece",
    "ece_if_calibrated",
    "entropy",
    "flips",
    "js",
    "kl",
    "logit_cosine",
    "logit_sqnr_db",
    "macro_recall",
    "mce",
    "negative_flips",
    "nll",
    "paired_counts",
    "per_image_brier",
    "per_image_nll",
    "recall_per_class",
    "smooth_ece",
    "softmax",
    "top1",
    "topk",
    "topk_overlap",
    "tv",
]

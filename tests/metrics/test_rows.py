"""Chunks are no part of an answer, and memory stays small beside the input."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from edgetl import metrics
from edgetl.errors import DataError
from edgetl.metrics import checks

LABELLED = (
    *("correct", "top1", "recall_per_class", "macro_recall"),
    *("per_image_nll", "nll", "per_image_brier", "brier", "brier_decomposition"),
    *("ece", "mce", "classwise_ece", "debiased_l2", "smooth_ece", "aurc"),
)
PAIRED = ("flips", "kl", "tv", "js")
PAIRED_LABELLED = ("negative_flips", "paired_counts")
LOGITS = ("logit_cosine", "logit_sqnr_db")


def calls(p, q, labels) -> dict[str, Callable[[], object]]:
    """Every public metric, and every scheme, called with these predictions; logits are logs."""
    found = {name: partial(getattr(metrics, name), p, labels) for name in LABELLED}
    found |= {name: partial(getattr(metrics, name), p, q) for name in PAIRED}
    found |= {name: partial(getattr(metrics, name), p, q, labels) for name in PAIRED_LABELLED}
    # Probabilities are finite floating point, and so may be taken for logits.
    found |= {name: partial(getattr(metrics, name), p, q) for name in LOGITS}
    for name in ("ece", "mce", "classwise_ece", "debiased_l2", "brier_decomposition"):
        scheme = "width" if name == "debiased_l2" else "mass"
        found[f"{name} by {scheme}"] = partial(getattr(metrics, name), p, labels, scheme=scheme)
    return found | {
        "entropy": partial(metrics.entropy, p),
        "softmax": partial(metrics.softmax, p),
        "topk": partial(metrics.topk, p, labels, 2),
        "topk_overlap": partial(metrics.topk_overlap, p, q, 2),
        "ece_if_calibrated": partial(metrics.ece_if_calibrated, p, draws=20),
    }


def test_every_public_metric_is_called_here(predict):
    p, labels = predict(n=10)
    values = {"BrierDecomposition"}
    public = {name for name in metrics.__all__ if name not in values}
    assert {name.split(" by ")[0] for name in calls(p, p, labels)} == public


@pytest.mark.parametrize("values_at_once", [1, 7, 50, 333, 10**9])
def test_no_bit_of_an_answer_depends_on_the_chunks(predict, monkeypatch, values_at_once):
    p, labels = predict(seed=0)
    q, _ = predict(seed=1)
    usual = {name: call() for name, call in calls(p, q, labels).items()}
    monkeypatch.setattr(checks, "CHUNK_VALUES", values_at_once)
    for name, call in calls(p, q, labels).items():
        np.testing.assert_array_equal(call(), usual[name], err_msg=name)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble, ">f4"])
def test_every_dtype_is_computed_in_float64(predict, dtype):
    (p, labels), (q, _) = predict(seed=0), predict(seed=1)
    p, q = p.astype(dtype), q.astype(dtype)
    exact = calls(p.astype(np.float64), q.astype(np.float64), labels)
    for name, call in calls(p, q, labels.astype(np.int16)).items():
        np.testing.assert_array_equal(call(), exact[name](), err_msg=name)


def test_layout_is_no_part_of_an_answer_and_arrays_are_left_alone(predict):
    (p, labels), (q, _) = predict(seed=0), predict(seed=1)
    usual = {name: call() for name, call in calls(p, q, labels).items()}
    turned = np.asfortranarray(p), np.repeat(q, 2, axis=0)[::2], np.repeat(labels, 2)[::2]
    for array in turned:
        array.flags.writeable = False
    for name, call in calls(*turned).items():
        np.testing.assert_array_equal(call(), usual[name], err_msg=name)
    lists = p[:5].tolist(), q[:5].tolist(), labels[:5].tolist()
    usual = calls(p[:5], q[:5], labels[:5])
    for name, call in calls(*lists).items():
        np.testing.assert_array_equal(call(), usual[name](), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_stays_within_twice_the_input(predict, dtype):
    (p, labels), (q, _) = (
        predict(seed=0, n=200_000, classes=10),
        predict(seed=1, n=200_000, classes=10),
    )
    p, q = p.astype(dtype), q.astype(dtype)
    for name, call in calls(p, q, labels).items():
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            result = call()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        extra = peak - before - getattr(result, "nbytes", 0)
        assert extra <= 2 * p.nbytes, name


def test_errors_name_the_row_of_the_whole_array(predict, monkeypatch):
    monkeypatch.setattr(checks, "CHUNK_VALUES", 35)
    (p, labels), (q, _) = predict(seed=0), predict(seed=1)
    good = calls(p, q, labels)
    p = p.copy()
    p[431, 2] = np.nan
    for name, call in calls(p, q, labels).items():
        good[name]()
        with pytest.raises(DataError, match="row 431"):
            call()
    p[431] = 0.3
    with pytest.raises(DataError, match=r"row 431 with the sum 2\.1"):
        metrics.nll(p, labels)


@pytest.mark.parametrize("name", [*LABELLED, *PAIRED_LABELLED])
def test_labels_are_checked_by_every_metric_that_takes_them(predict, name):
    p, labels = predict(n=20)
    assert labels.max() == 6 and labels.min() == 0
    both = (p, p) if name in PAIRED_LABELLED else (p,)
    for bad in (labels[:19], labels - 1, labels + 1, labels.astype(float), labels > 2):
        with pytest.raises(DataError, match="labels"):
            getattr(metrics, name)(*both, bad)

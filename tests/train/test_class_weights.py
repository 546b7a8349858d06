"""Class weights against scikit-learn and the paper's own formula."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from edgetl.errors import ConfigError, DataError
from edgetl.train.class_weights import class_counts, class_weights, describe_class_weights

COUNTS = np.array([500, 30, 1, 70])


def test_balanced_is_scikit_learns() -> None:
    labels = np.repeat(np.arange(4), COUNTS)
    want = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    got = class_weights(class_counts(labels, 4), "balanced")
    assert got == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
def test_effective_has_the_papers_ratios(beta: float) -> None:
    # Equation 2 as a sum: the effective number is 1 + beta + ... + beta^(n-1).
    effective = np.array([sum(beta**k for k in range(n)) for n in COUNTS])
    got = class_weights(COUNTS, "effective", beta=beta)
    assert got is not None
    assert got / got[2] == pytest.approx(effective[2] / effective, rel=1e-9)
    assert (got * COUNTS).sum() == pytest.approx(COUNTS.sum())


def test_beta_goes_from_no_weights_to_balanced_ones() -> None:
    near = class_weights(COUNTS, "effective", beta=1 - 1e-9)
    assert near == pytest.approx(class_weights(COUNTS, "balanced"), rel=1e-5)
    assert class_weights(COUNTS, "effective", beta=0.0) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_a_beta_that_is_no_share_is_refused(beta: float) -> None:
    with pytest.raises(ConfigError, match="beta"):
        class_weights(COUNTS, "effective", beta=beta)


def test_an_empty_class_has_no_weight() -> None:
    with pytest.raises(DataError, match="no training image of class 1, 3"):
        class_weights(np.array([3, 0, 2, 0]), "effective")
    assert class_weights(np.array([3, 0]), "none") is None


def test_what_the_history_stores() -> None:
    names = ("a", "b", "c", "d")
    described = json.loads(json.dumps(describe_class_weights(COUNTS, "effective", names)))
    assert described["beta"] == 0.999 and described["imbalance"] == 500
    assert [row["images"] for row in described["classes"]] == COUNTS.tolist()
    plain = describe_class_weights(np.array([3, 0]), "none", ("a", "b"))
    assert plain["imbalance"] is None
    assert [row["weight"] for row in plain["classes"]] == [1.0, 1.0]

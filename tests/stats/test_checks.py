from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from edgetl.errors import DataError
from edgetl.stats.checks import as_sample, check_confidence, check_counts, normal_quantile


@pytest.mark.parametrize("probability", [1e-9, 0.025, 0.5, 0.8, 0.95, 0.975, 0.9999])
def test_normal_quantile_agrees_with_scipy(probability):
    expected = scipy.stats.norm.ppf(probability)
    assert normal_quantile(probability) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, float("nan"), 95])
def test_a_confidence_outside_of_the_unit_interval_is_refused(value):
    with pytest.raises(DataError, match="confidence"):
        check_confidence(value)


@pytest.mark.parametrize("value", [-1, 1.0, 0.5, float("nan"), "3", None])
def test_a_count_that_is_no_count_is_refused(value):
    with pytest.raises(DataError, match="count b"):
        check_counts(a=1, b=value)


def test_a_numpy_integer_is_a_count():
    check_counts(a=np.int64(3), b=np.uint8(0))


@pytest.mark.parametrize("values", [[1.0], [], 3.0, [[1.0, 2.0]], [1.0, float("nan")], [1, np.inf]])
def test_a_sample_that_is_none_is_refused(values):
    with pytest.raises(DataError, match="times"):
        as_sample(values, "times")

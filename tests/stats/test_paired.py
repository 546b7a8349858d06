from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from edgetl.errors import DataError
from edgetl.stats import (
    clopper_pearson,
    holm,
    mcnemar,
    newcombe,
    paired_t_bounds,
    structural_minimum,
    tango,
)
from edgetl.stats.paired import score_parts

# (both right, b, c, neither right), the limits published for them at 95 %.
BENTUR_2009 = (1, 1, 7, 12)
CAVO_2012 = (59, 6, 16, 80)


@pytest.mark.parametrize(
    ("b", "c", "n", "confidence", "low", "high", "digits"),
    [
        # Fagerland, Lydersen and Laake, Statistics in Medicine 2014, and Statistical Analysis of
        # Contingency Tables, chapter 8: the tables of Bentur 2009 and Cavo 2012.
        (1, 7, 21, 0.95, -0.517, -0.026, 3),
        (6, 16, 161, 0.95, -0.1240, -0.0054, 4),
        # R's PropCIs: scoreci.mp(25, 28, 618, 0.90).
        (28, 25, 618, 0.90, -0.0148, 0.0247, 4),
    ],
)
def test_tango_gives_the_published_limits(b, c, n, confidence, low, high, digits):
    got = tango(b, c, n, confidence)
    assert (round(got[0], digits), round(got[1], digits)) == (low, high)


def slow_tango(b: int, c: int, n: int, confidence: float) -> tuple[float, float]:
    """The same interval without any formula of Tango's: the likelihood is maximised by search,
    and the limits are found by bisection on the variance of the trinomial."""
    z = scipy.stats.norm.ppf(0.5 + confidence / 2)

    def statistic(difference: float) -> float:
        def loss(q: float) -> float:
            cells = ((b, q + difference), (c, q), (n - b - c, 1 - 2 * q - difference))
            return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

        edges = (max(0.0, -difference), (1 - difference) / 2)
        q = scipy.optimize.minimize_scalar(
            loss, bounds=edges, method="bounded", options={"xatol": 1e-13}
        ).x
        variance = (2 * q + difference - difference**2) / n
        return ((b - c) / n - difference) / math.sqrt(max(variance, 1e-300))

    estimate = (b - c) / n
    nudge = 1e-9
    low = scipy.optimize.bisect(lambda d: statistic(d) - z, -1 + nudge, estimate - nudge)
    high = scipy.optimize.bisect(lambda d: statistic(d) + z, estimate + nudge, 1 - nudge)
    return low, high


@pytest.mark.parametrize(
    ("b", "c", "n"), [(3, 9, 50), (12, 2, 50), (20, 25, 2000), (1, 0, 30), (0, 4, 60), (5, 5, 12)]
)
def test_tango_agrees_with_a_search_of_the_likelihood(b, c, n):
    np.testing.assert_allclose(tango(b, c, n), slow_tango(b, c, n, 0.95), atol=2e-6)
    np.testing.assert_allclose(tango(b, c, n, 0.9), slow_tango(b, c, n, 0.9), atol=2e-6)


@pytest.mark.parametrize("n", [1, 2, 30, 539, 10_000, 1_000_000])
def test_tango_without_discordant_images_has_its_closed_form(n):
    z = scipy.stats.norm.ppf(0.95)
    limit = z * z / (n + z * z)
    np.testing.assert_allclose(tango(0, 0, n, 0.9), (-limit, limit), rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 30, 5000])
def test_tango_with_only_one_kind_of_image_has_its_closed_form(n):
    z = scipy.stats.norm.ppf(0.975)
    limit = (n - z * z) / (n + z * z)
    np.testing.assert_allclose(tango(n, 0, n), (limit, 1.0), rtol=1e-10)
    np.testing.assert_allclose(tango(0, n, n), (-1.0, -limit), rtol=1e-10)


counts = st.integers(0, 400)


@given(counts, counts, counts, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
@example(0, 0, 1, 0.95)
@example(400, 400, 0, 0.95)
@example(1, 400, 0, 0.99)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_tango_is_an_interval_that_mirrors_and_solves_its_equation(b, c, rest, confidence):
    n = b + c + rest
    assume(n > 0)
    low, high = tango(b, c, n, confidence)
    assert -1.0 <= low <= (b - c) / n <= high <= 1.0
    assert tango(c, b, n, confidence) == (-high, -low)
    wider = tango(b, c, n, 0.999)
    assert wider[0] <= low
    assert high <= wider[1]
    z = scipy.stats.norm.ppf(0.5 + confidence / 2)
    for limit, target in ((low, z), (high, -z)):
        if abs(limit) < 1.0:
            above, error = score_parts(b, c, n, limit)
            assert above / error == pytest.approx(target, rel=1e-6)


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.005, 0.01, 0.02, 0.1]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_the_bound_is_above_the_margin_where_the_score_says_so(b, c, margin):
    n = 1000
    above, error = score_parts(b, c, n, -margin)
    passes = above > scipy.stats.norm.ppf(0.95) * error
    assert passes == (tango(b, c, n, 0.9)[0] > -margin)


@pytest.mark.parametrize("margin", [0.005, 0.01, 0.02])
def test_the_structural_minimum_is_where_no_flips_begin_to_pass(margin):
    n = structural_minimum(margin)
    assert tango(0, 0, n, 0.9)[0] > -margin
    assert tango(0, 0, n - 1, 0.9)[0] <= -margin


@pytest.mark.parametrize("discordance", [0.02, 0.03, 0.05])
def test_a_candidate_on_the_margin_passes_at_about_alpha(discordance):
    """Simulated: Tango at the margin, against two rules that look alike and are not."""
    margin, n, runs = 0.01, 1000, 4000
    random = np.random.default_rng(7)
    cells = [(discordance - margin) / 2, (discordance + margin) / 2, 1 - discordance]
    draws = random.multinomial(n, cells, size=runs)[:, :2].tolist()
    low = functools.cache(lambda b, c: tango(b, c, n, 0.9)[0])
    p_value = functools.cache(mcnemar)
    assert np.mean([low(b, c) > -margin for b, c in draws]) == pytest.approx(0.05, abs=0.012)
    small_drop = np.mean([(c - b) / n <= margin for b, c in draws])
    assert 0.5 < small_drop < 0.6
    not_significant = np.mean([p_value(b, c) > 0.05 for b, c in draws])
    assert 0.26 < not_significant < 0.82


@pytest.mark.parametrize(
    ("table", "low", "high", "digits"),
    [
        # Newcombe 1998 (paired), and Altman et al., Statistics with Confidence, table 6.2.
        ((36, 12, 2, 0), 0.0569, 0.3404, 4),
        ((14, 5, 0, 22), 0.011, 0.226, 3),
        # R's MKinfer: binomDiffCI(212, 144, 256, 707, paired = TRUE).
        ((212, 144, 256, 707), -0.1142, -0.0554, 4),
        (BENTUR_2009, -0.507, -0.026, 3),
        (CAVO_2012, -0.1186, -0.0046, 4),
    ],
)
def test_newcombe_gives_the_published_limits(table, low, high, digits):
    got = newcombe(*table)
    assert got == pytest.approx((low, high), abs=0.6 * 10**-digits)


def test_newcombe_without_correlation_is_square_and_add_of_wilson_limits():
    # Independent margins: both * neither = b * c.
    both, b, c, neither = 40, 20, 20, 10
    low_1, high_1 = proportion_confint(60, 90, method="wilson")
    difference = 0.0
    half = math.hypot(60 / 90 - low_1, high_1 - 60 / 90)
    assert newcombe(both, b, c, neither) == pytest.approx((difference - half, difference + half))


def test_newcombe_stays_in_range_where_a_margin_is_empty():
    for table in ((54, 0, 0, 0), (0, 0, 0, 54), (0, 54, 0, 0), (0, 0, 54, 0), (53, 1, 0, 0)):
        low, high = newcombe(*table)
        assert -1.0 <= low < high <= 1.0
    assert newcombe(54, 0, 0, 0) == pytest.approx((-0.0664, 0.0664), abs=1e-4)


@given(counts, counts, counts, counts)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_newcombe_mirrors_and_is_near_tango(both, b, c, neither):
    n = both + b + c + neither
    assume(n > 200)
    low, high = newcombe(both, b, c, neither)
    mirrored = newcombe(both, c, b, neither)
    assert mirrored == pytest.approx((-high, -low), abs=1e-12)
    assert (low, high) == pytest.approx(tango(b, c, n), abs=0.05)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 300), (81, 263), (1, 1), (0, 1)])
def test_clopper_pearson_agrees_with_statsmodels_and_scipy(k, n, confidence):
    expected = proportion_confint(k, n, alpha=1 - confidence, method="beta")
    np.testing.assert_allclose(clopper_pearson(k, n, confidence), expected, rtol=1e-9, atol=1e-15)
    exact = scipy.stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    np.testing.assert_allclose(clopper_pearson(k, n, confidence), tuple(exact), rtol=1e-7)


@pytest.mark.parametrize(("b", "c"), [(1, 7), (6, 16), (0, 5), (30, 31), (8, 8), (0, 1)])
def test_mcnemar_agrees_with_statsmodels(b, c):
    expected = statsmodels_mcnemar([[10, b], [c, 10]], exact=True).pvalue
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_gives_the_published_values():
    # Fagerland, Lydersen and Laake 2013: Bentur 2009 and Cavo 2012.
    assert mcnemar(6, 16, "exact") == pytest.approx(0.052479, abs=5e-7)
    assert mcnemar(6, 16, "mid-p") == pytest.approx(0.034690, abs=5e-7)
    assert mcnemar(1, 7, "mid-p") == pytest.approx(0.0391, abs=5e-5)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (2, 9), (7, 6), (5, 0)])
def test_mid_p_counts_half_of_the_outcomes_as_likely_as_the_observed(b, c):
    outcomes = scipy.stats.binom.pmf(np.arange(b + c + 1), b + c, 0.5)
    seen = outcomes[b]
    equal = np.isclose(outcomes, seen)
    expected = outcomes[(outcomes < seen) & ~equal].sum() + outcomes[equal].sum() / 2
    assert mcnemar(b, c, "mid-p") == pytest.approx(expected, rel=1e-12)
    assert mcnemar(b, c, "mid-p") == pytest.approx(mcnemar(c, b, "mid-p"), rel=1e-12)


def test_mcnemar_without_discordant_images_finds_nothing():
    assert mcnemar(0, 0) == mcnemar(0, 0, "mid-p") == 1.0
    with pytest.raises(DataError, match="method"):
        mcnemar(1, 2, "asymptotic")


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_paired_t_bounds_agree_with_scipy_and_statsmodels(confidence):
    sample = np.random.default_rng(0).normal(0.01, 0.2, 57)
    got = paired_t_bounds(sample, confidence)
    expected = scipy.stats.ttest_1samp(sample, 0.0).confidence_interval(confidence)
    np.testing.assert_allclose(got, tuple(expected), rtol=1e-10)
    other = DescrStatsW(sample).tconfint_mean(alpha=1 - confidence)
    np.testing.assert_allclose(got, other, rtol=1e-10)


def test_paired_t_bounds_of_an_identical_candidate_are_zero():
    assert paired_t_bounds(np.zeros(100)) == (0.0, 0.0)


def test_a_paired_nll_on_the_margin_passes_at_about_alpha():
    """Simulated with skewed differences, as NLL differences are."""
    margin, n, runs = 0.02, 1000, 3000
    random = np.random.default_rng(3)
    differences = random.exponential(0.15, (runs, n)) * random.choice([-1.0, 1.0], (runs, n))
    differences += margin
    passes = [paired_t_bounds(row, 0.9)[1] < margin for row in differences]
    assert np.mean(passes) == pytest.approx(0.05, abs=0.015)


@pytest.mark.parametrize("seed", range(5))
def test_holm_agrees_with_statsmodels(seed):
    p_values = np.random.default_rng(seed).uniform(0, 0.2, 6)
    p_values[3] = p_values[1]
    expected = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values.tolist()), expected, rtol=1e-12)


def test_holm_of_few_or_large_values():
    assert holm([]) == []
    assert holm([0.3]) == [0.3]
    assert holm([0.9, 0.8, 1.0]) == [1.0, 1.0, 1.0]


NAN = float("nan")


@pytest.mark.parametrize(
    "call",
    [
        lambda: tango(-1, 0, 10),
        lambda: tango(6, 5, 10),
        lambda: tango(0, 0, 0),
        lambda: tango(1.5, 0, 10),
        lambda: tango(NAN, 0, 10),
        lambda: tango(1, 1, 10, 0.0),
        lambda: tango(1, 1, 10, NAN),
        lambda: newcombe(0, 0, 0, 0),
        lambda: newcombe(1, -1, 0, 0),
        lambda: newcombe(1, 1, 1, 1, 1.0),
        lambda: clopper_pearson(3, 2),
        lambda: clopper_pearson(0, 0),
        lambda: clopper_pearson(1, 2, 95),
        lambda: mcnemar(-1, 2),
        lambda: paired_t_bounds([0.1]),
        lambda: paired_t_bounds([0.1, NAN]),
        lambda: paired_t_bounds([0.1, 0.2], NAN),
        lambda: holm([0.1, NAN]),
        lambda: holm([1.2]),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(DataError):
        call()

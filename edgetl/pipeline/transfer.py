"""What an app may carry over from the reference to a variant: thresholds and sets of labels.

Fitted on calib, measured on test, from the predictions that the gate stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgetl.calibration.conformal import (
    METHODS,
    ConformalFit,
    Method,
    coverage_range,
    fit_conformal,
    label_scores,
)
from edgetl.calibration.thresholds import ThresholdTransfer, transfer_thresholds
from edgetl.errors import GateError
from edgetl.files import write_json
from edgetl.gate import Predictions
from edgetl.metrics import correct
from edgetl.pipeline.stages.bench import REFERENCE
from edgetl.stats import clopper_pearson, tango

THRESHOLDS = "thresholds.json"
CONFORMAL = "conformal.json"
SHOWN_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
SHOWN_COVERAGES = (0.8, 0.9, 0.95, 0.99)

_MEASURED = ("measured", "low", "high", "expected_low", "expected_high", "mean_size", "empty")

# Confidences, and whether the answer is right.
Answers = tuple[NDArray[np.float64], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """The sets of one method and coverage on test; None where calib is too small for them."""

    method: Method
    coverage: float
    covered: NDArray[np.bool_] | None
    sizes: NDArray[np.int64] | None


def write_transfer(
    out: Path, *, calib: Mapping[str, Predictions], test: Mapping[str, Predictions]
) -> None:
    """Write ``thresholds.json`` and ``conformal.json`` of a release.

    Args:
        out: The gate's folder.
        calib: Answers to the calib split: the key ``reference`` and each variant's id.
        test: Answers to the test split, with the same keys.

    Raises:
        GateError: When the two have other keys, no reference, or predictions without labels or
            not about the same inputs.
    """
    _check(calib, test)
    variants = [name for name in calib if name != REFERENCE]
    answers = {name: _answers(one) for name, one in test.items()}
    thresholds = {name: _thresholds(calib, answers, name) for name in variants}
    write_json(out / THRESHOLDS, {"schema": "edgetl.thresholds/1", "variants": thresholds})
    fits = {name: fit_conformal(one.probabilities, _labels(one)) for name, one in calib.items()}
    seen = {name: _seen_on_test(fit, test[name]) for name, fit in fits.items()}
    base, n = seen[REFERENCE], test[REFERENCE].n
    write_json(
        out / CONFORMAL,
        {
            "schema": "edgetl.conformal/1",
            "reference": _conformal(fits[REFERENCE], base, None, n),
            "variants": {name: _conformal(fits[name], seen[name], base, n) for name in variants},
        },
    )


def _check(calib: Mapping[str, Predictions], test: Mapping[str, Predictions]) -> None:
    if REFERENCE not in calib or calib.keys() != test.keys():
        raise GateError(
            "predictions of calib and test",
            got=f"{', '.join(calib) or 'none'}; {', '.join(test) or 'none'}",
            expected=f"'{REFERENCE}' and the same variants in both",
            fix="let everyone answer both splits",
        )
    for split, answers in (("calib", calib), ("test", test)):
        base = answers[REFERENCE]
        for name, one in answers.items():
            same = one.k == base.k and one.classes == base.classes and one.ids == base.ids
            if not same or not np.array_equal(_labels(one), _labels(base)):
                raise GateError(
                    f"predictions of {name} on {split}",
                    got="other inputs, labels or classes than the reference's",
                    expected="the same inputs in the same order",
                    fix="predict the same data with reference and candidate",
                )


def _labels(one: Predictions) -> NDArray[np.int64]:
    if one.labels is None:
        raise GateError(
            "predictions",
            got="no labels",
            expected="labels: neither precision nor coverage can be known without",
            fix="add an array 'labels'",
        )
    return one.labels


def _thresholds(
    calib: Mapping[str, Predictions], test: Mapping[str, Answers], name: str
) -> dict[str, Any]:
    table = transfer_thresholds(
        calib[REFERENCE].probabilities, calib[name].probabilities, _labels(calib[REFERENCE])
    )
    points = [
        _point(table, table.reference.index(threshold), test[REFERENCE], test[name])
        for threshold in SHOWN_THRESHOLDS
    ]
    return {**table.to_json(), "on_test": {"n": len(test[name][0]), "points": points}}


def _point(
    table: ThresholdTransfer, at: int, reference: Answers, variant: Answers
) -> dict[str, Any]:
    """What acting on one threshold comes to on test: of the reference, and of the variant at the
    same number and at either counterpart."""
    threshold = table.reference[at]
    kept = {"acceptance": table.acceptance, "precision": table.precision}
    return {
        "reference": _acting(reference, threshold),
        "same_number": _acting(variant, threshold),
        **{keep: _acting(variant, columns.threshold[at]) for keep, columns in kept.items()},
    }


def _answers(one: Predictions) -> Answers:
    return one.probabilities.max(axis=1), correct(one.probabilities, _labels(one))


def _acting(answers: Answers, threshold: float | None) -> dict[str, Any] | None:
    if threshold is None:
        return None
    confidences, right = answers
    accepted = confidences >= threshold
    count, hits = int(accepted.sum()), int(right[accepted].sum())
    low, high = clopper_pearson(hits, count) if count else (None, None)
    return {
        "threshold": threshold,
        "accepted": count,
        "acceptance": count / len(confidences),
        "precision": hits / count if count else None,
        "precision_low": low,
        "precision_high": high,
    }


def _seen_on_test(fit: ConformalFit, test: Predictions) -> tuple[_Seen, ...]:
    labels = _labels(test)
    rows = np.arange(test.n)
    found = []
    for method in cast(tuple[Method, ...], METHODS):
        # Once for all coverages: APS sorts every row.
        scores = label_scores(test.probabilities, method)
        quantiles = dict(zip(fit.coverage, fit.lac if method == "lac" else fit.aps, strict=True))
        for coverage in SHOWN_COVERAGES:
            quantile = quantiles[coverage]
            if quantile is None:
                found.append(_Seen(method=method, coverage=coverage, covered=None, sizes=None))
                continue
            inside = scores <= quantile
            covered, sizes = inside[rows, labels], inside.sum(axis=1)
            found.append(_Seen(method=method, coverage=coverage, covered=covered, sizes=sizes))
    return tuple(found)


def _conformal(
    fit: ConformalFit, seen: tuple[_Seen, ...], base: tuple[_Seen, ...] | None, n: int
) -> dict[str, Any]:
    """A side's quantiles and what its sets come to on test; a variant's beside the reference's."""
    sets = [_figures(one, fit.n) for one in seen]
    if base is not None:
        for figures, one, other in zip(sets, seen, base, strict=True):
            figures["difference"] = _difference(one, other)
    return {**fit.to_json(), "on_test": {"n": n, "sets": sets}}


def _figures(one: _Seen, fitted_on: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"method": one.method, "coverage": one.coverage}
    if one.covered is None or one.sizes is None:
        return figures | dict.fromkeys(_MEASURED)
    hits, n = int(one.covered.sum()), len(one.covered)
    low, high = clopper_pearson(hits, n)
    expected_low, expected_high = coverage_range(fitted_on, one.coverage, n)
    return figures | {
        "measured": hits / n,
        "low": low,
        "high": high,
        "expected_low": expected_low,
        "expected_high": expected_high,
        "mean_size": float(one.sizes.mean()),
        "empty": float((one.sizes == 0).mean()),
    }


def _difference(one: _Seen, other: _Seen) -> dict[str, float] | None:
    """Coverage of the variant minus that of the reference, on the same inputs."""
    if one.covered is None or other.covered is None:
        return None
    gained = int((one.covered & ~other.covered).sum())
    lost = int((other.covered & ~one.covered).sum())
    low, high = tango(gained, lost, len(one.covered))
    return {"estimate": (gained - lost) / len(one.covered), "low": low, "high": high}

"""Recompute every bound of a verdict from the stored predictions and latency samples.

    python benchmarks/check_verdict.py RUN/gate/verdict.json [FOLDER]

A second opinion that shares no code with edgetl: numpy, scipy and statsmodels only. Tango's limits
are found as roots of the score equation, in which the constrained likelihood is maximised by
another root search instead of a closed form; Clopper-Pearson and t intervals are statsmodels'.
FOLDER is where the files named in the verdict's `data` lie (default: beside the verdict).

Exit code 0 when all agree within 1e-6, 1 when not, 2 when the files cannot be read.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

TOLERANCE = 1e-6
FLOOR = 1e-12  # a probability below this counts as this in a logarithm (docs/gate.md)

Array = NDArray[Any]
Bounds = tuple[float, float]


class Harm:
    """An estimate, and a function that gives both one-sided bounds at a level alpha."""

    def __init__(self, estimate: float, n: int, bounds: Callable[[float], Bounds]) -> None:
        self.estimate, self.n, self.bounds = estimate, n, bounds


def only_reference_right(b: int, c: int, n: int, difference: float) -> float:
    """The most likely probability of "only the reference right" when the difference is given."""

    low, high = max(0.0, -difference), (1 - difference) / 2
    width = high - low

    # As a share of the way from the least to the most it can be, nothing cancels at either end.
    def slope(share: float) -> float:
        step = width * share
        gain = (b / (max(0.0, difference) + step) if b else 0.0) + (c / (low + step) if c else 0.0)
        return gain - ((n - b - c) / (width * (1 - share)) if n > b + c else 0.0)

    first, last = 1e-18, 1 - 1e-15
    if slope(first) <= 0:
        return low
    if slope(last) >= 0:
        return high
    return low + width * float(brentq(slope, first, last, xtol=1e-18, rtol=1e-15))


def tango(b: int, c: int, n: int, alpha: float) -> Bounds:
    """One-sided score bounds of (b - c) / n, each at 1 - alpha."""
    z = float(norm.isf(alpha))

    def excess(difference: float, sign: float) -> float:
        # The angle of (z error, distance) is 45 degrees where the statistic is z, and stays
        # defined at b = c = 0, where both vanish at the estimate.
        q = only_reference_right(b, c, n, difference)
        error = math.sqrt(max(0.0, n * (2 * q + difference * (1 - difference))))
        return math.atan2(sign * (b - c - n * difference), z * error) - math.pi / 4

    centre, edge = (b - c) / n, 1 - 1e-12
    low = -1.0 if c == n else brentq(excess, -edge, centre, args=(1.0,), xtol=1e-14)
    high = 1.0 if b == n else brentq(excess, centre, edge, args=(-1.0,), xtol=1e-14)
    return float(low), float(high)


def mean_harm(increase: Array) -> Harm:
    """A mean of paired differences with statsmodels' t interval."""
    stats = DescrStatsW(increase)
    return Harm(
        float(increase.mean()),
        len(increase),
        lambda alpha: tuple(map(float, stats.tconfint_mean(alpha=2 * alpha))),
    )


def latency_harm(candidate: Array, reference: Array) -> Harm:
    """The ratio of block medians: a t interval on the logarithms."""
    logs = np.log(np.median(candidate, axis=1)) - np.log(np.median(reference, axis=1))
    inner = mean_harm(logs)
    return Harm(
        math.exp(inner.estimate),
        inner.n,
        lambda alpha: tuple(math.exp(bound) for bound in inner.bounds(alpha)),
    )


def harms(reference: Array, candidate: Array, labels: Array) -> dict[str, Harm]:
    """The harms that images decide."""
    n = len(labels)
    rows = np.arange(n)
    ours, theirs = reference.argmax(axis=1), candidate.argmax(axis=1)
    b = int(((theirs == labels) & (ours != labels)).sum())
    c = int(((theirs != labels) & (ours == labels)).sum())
    k = int((ours != theirs).sum())
    truth = np.eye(reference.shape[1])[labels]

    def drop(alpha: float) -> Bounds:
        low, high = tango(b, c, n, alpha)
        return -high, -low

    def flips(alpha: float) -> Bounds:
        low, high = proportion_confint(k, n, alpha=2 * alpha, method="beta")
        return (0.0 if k == 0 else float(low)), (1.0 if k == n else float(high))

    nll = np.log(np.maximum(reference[rows, labels], FLOOR)) - np.log(
        np.maximum(candidate[rows, labels], FLOOR)
    )
    brier = ((candidate - truth) ** 2).sum(axis=1) - ((reference - truth) ** 2).sum(axis=1)
    return {
        "top1_drop": Harm((c - b) / n, n, drop),
        "nll": mean_harm(nll),
        "brier": mean_harm(brier),
        "flips": Harm(k / n, n, flips),
    }


def load_predictions(path: Path) -> dict[str, Array]:
    """An npz of predictions; logits become probabilities."""
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    if "probabilities" not in found:
        logits = found["logits"].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found["probabilities"] = powers / powers.sum(axis=1, keepdims=True)
    found["probabilities"] = np.clip(found["probabilities"].astype(np.float64), 0, 1)
    return found


def paired(
    reference: Mapping[str, Array], candidate: Mapping[str, Array]
) -> tuple[Array, Array, Array]:
    """Reference, candidate and labels in the reference's order of inputs and classes."""
    theirs = candidate["probabilities"]
    if "classes" in reference and "classes" in candidate:
        names = candidate["classes"].tolist()
        theirs = theirs[:, [names.index(name) for name in reference["classes"].tolist()]]
    ids = [side["ids"].tolist() for side in (reference, candidate) if "ids" in side]
    if len(ids) == 2 and ids[0] != ids[1]:
        place = {identity: row for row, identity in enumerate(ids[1])}
        theirs = theirs[[place[identity] for identity in ids[0]]]
    labels = reference["labels"] if "labels" in reference else candidate["labels"]
    return reference["probabilities"], theirs, labels


def shown(found: Mapping[str, tuple[Harm, float]], alpha: float) -> set[str]:
    """The gates whose harm is shown, by Holm's procedure over all of them."""
    left = dict(found)
    while left:
        level = alpha / len(left)
        over = {name for name, (harm, limit) in left.items() if harm.bounds(level)[0] > limit}
        if not over:
            break
        left = {name: value for name, value in left.items() if name not in over}
    return set(found) - set(left)


def check_variant(variant: Mapping[str, Any], found: Mapping[str, Harm]) -> list[str]:
    """What does not agree with the evidence in one variant."""
    problems, alpha = [], variant["alpha"]
    gates = {gate["name"]: gate for gate in variant["gates"] if gate["verdict"] != "NOT JUDGED"}
    for name in sorted(set(gates) ^ set(found)):
        problems.append(f"{name}: judged in the verdict or stored as evidence, but not both")
    both = {name: (found[name], gates[name]["limit"]) for name in gates if name in found}
    proven = shown(both, alpha)
    for name, (harm, limit) in both.items():
        gate = gates[name]
        lower, upper = harm.bounds(alpha)
        expected = {"estimate": harm.estimate, "lower": lower, "upper": upper, "n": harm.n}
        for key, value in expected.items():
            off = abs(gate[key] - value)
            if not off <= TOLERANCE:
                problems.append(f"{name}: {key} is {gate[key]!r}, recomputed {value!r}")
        outcome = "FAIL" if name in proven else "PASS" if upper < limit else "INCONCLUSIVE"
        if gate["verdict"] != outcome:
            problems.append(f"{name}: says {gate['verdict']}, recomputed {outcome}")
    outcomes = {gate["verdict"] for gate in gates.values()}
    overall = "FAIL" if "FAIL" in outcomes else "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"
    if variant["verdict"] != overall:
        problems.append(f"says {variant['verdict']}, its gates amount to {overall}")
    return problems


def check_limits(document: Mapping[str, Any]) -> list[str]:
    """Gates whose limit is not the policy's, and a share of alpha that is not one."""
    policy, problems = document["policy"], []
    limits = {
        "top1_drop": policy["max_accuracy_drop"],
        "nll": policy["max_nll_increase"],
        "brier": policy["max_brier_increase"],
        "flips": policy["max_flip_rate"],
        "latency": policy["max_p50_ratio"],
    }
    for variant in document["variants"]:
        if variant["alpha"] > policy["alpha"]:
            problems.append(f"{variant['id']}: alpha {variant['alpha']} is over the policy's")
        for gate in variant["gates"]:
            if gate["limit"] != limits[gate["name"]]:
                problems.append(f"{variant['id']}: {gate['name']}: its limit is not the policy's")
        if {gate["name"] for gate in variant["gates"]} != set(limits):
            problems.append(f"{variant['id']}: the gates are not those of the policy")
    return problems


def check_outcome(document: Mapping[str, Any]) -> list[str]:
    """A backend counts as its best variant, the release as its worst backend."""
    order = ["FAIL", "INCONCLUSIVE", "PASS"]
    best = dict.fromkeys(document["required"], 0)
    for variant in document["variants"]:
        rank = order.index(variant["verdict"])
        best[variant["backend"]] = max(best.get(variant["backend"], 0), rank)
    counted = [best[name] for name in document["required"] or best]
    overall = order[min(counted, default=1)]
    if document["verdict"] == overall:
        return []
    return [f"the release says {document['verdict']}, its variants amount to {overall}"]


def check(document: Mapping[str, Any], folder: Path) -> tuple[list[str], int]:
    """Every disagreement, and how many gates were recomputed."""
    data, problems, count = document["data"], check_limits(document) + check_outcome(document), 0
    reference = load_predictions(folder / data["predictions"]["reference"])
    for variant in document["variants"]:
        name = variant["id"]
        candidate = load_predictions(folder / data["predictions"][name])
        found = harms(*paired(reference, candidate))
        if name in data["samples"]:
            with np.load(folder / data["samples"][name], allow_pickle=False) as arrays:
                found["latency"] = latency_harm(arrays[name], arrays["reference"])
        count += len(found)
        problems += [f"{name}: {problem}" for problem in check_variant(variant, found)]
    return problems, count


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the verdict named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verdict", type=Path)
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args(arguments)
    try:
        document = json.loads(options.verdict.read_text(encoding="utf-8"))
        problems, count = check(document, options.folder or options.verdict.parent)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot check {options.verdict}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print(f"{document['verdict']}: {count} gates recomputed, all within {TOLERANCE:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

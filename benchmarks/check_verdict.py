"""Recompute every bound of a verdict from the stored predictions and latency samples.

    python benchmarks/check_verdict.py RUN/gate/verdict.json [FOLDER]

A second opinion that shares no code with edgetl: numpy, scipy and statsmodels only, see
independent_bounds.py beside this file. Size and memory are looked up in the bench result.
FOLDER is where the files named in the verdict's `data` lie (default: beside the verdict).

Exit code 0 when all agree within 1e-6, 1 when not, 2 when the files cannot be read.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from independent_bounds import (
    FLOOR,
    Array,
    Harm,
    drop_of_counts,
    either_way,
    figure,
    mean_harm,
    p99_harm,
    rate_harm,
    ratio_harm,
    temperature_harm,
    worst_of,
)

TOLERANCE = 1e-6

LIMITS = {
    "top1_drop": "max_accuracy_drop",
    "nll": "max_nll_increase",
    "brier": "max_brier_increase",
    "confidence_gap": "max_confidence_gap",
    "log_temperature_ratio": "max_log_temperature_ratio",
    "flips": "max_flip_rate",
    "worst_class": "max_worst_class_drop",
    "latency": "max_p50_ratio",
    "p90_ratio": "max_p90_ratio",
    "p99_ms": "max_p99_ms",
    "size_mb": "max_size_mb",
    "memory_mb": "max_memory_mb",
}
SLICE = "slice:"


@dataclass
class Data:
    """Both sides' answers in the reference's order of inputs and classes."""

    reference: Array
    candidate: Array
    labels: Array
    classes: list[str]
    slices: dict[str, Array]


def answer_harms(data: Data, policy: Mapping[str, Any]) -> dict[str, Harm]:
    """The harms that images decide, for the limits that the policy has."""
    n = len(data.labels)
    rows = np.arange(n)
    ours, theirs = (side.argmax(axis=1) for side in (data.reference, data.candidate))
    truth = np.eye(data.reference.shape[1])[data.labels]
    logs = [
        np.log(np.maximum(s[rows, data.labels], FLOOR)) for s in (data.reference, data.candidate)
    ]
    squares = [((s - truth) ** 2).sum(axis=1) for s in (data.reference, data.candidate)]
    gaps = [
        side.max(axis=1) - (answer == data.labels)
        for side, answer in ((data.reference, ours), (data.candidate, theirs))
    ]

    def drop(members: Array) -> Harm:
        right, left = (answer[members] == data.labels[members] for answer in (theirs, ours))
        return drop_of_counts(
            int((right & ~left).sum()), int((left & ~right).sum()), int(members.sum())
        )

    found = {
        "top1_drop": drop(np.ones(n, bool)),
        "nll": mean_harm(logs[0] - logs[1]),
        "brier": mean_harm(squares[1] - squares[0]),
        "confidence_gap": either_way(gaps[1] - gaps[0]),
        "log_temperature_ratio": temperature_harm(data.reference, data.candidate, data.labels),
        "flips": rate_harm(int((ours != theirs).sum()), n),
        "worst_class": worst_of([drop(data.labels == k) for k in range(truth.shape[1])], n),
    }
    found = {name: harm for name, harm in found.items() if policy.get(LIMITS[name]) is not None}
    if policy.get("max_slice_drop") is not None:
        found |= {SLICE + name: drop(members) for name, members in members_of(data, policy).items()}
    return found


def members_of(data: Data, policy: Mapping[str, Any]) -> dict[str, Array]:
    """The images of each slice that the policy asks for."""
    columns = dict(data.slices)
    columns.setdefault("class", np.array(data.classes)[data.labels])
    found: dict[str, Array] = {}
    for wanted in policy["slices"] or data.slices:
        name, _, value = (wanted, "", "") if wanted in columns else wanted.partition("=")
        column = columns[name].astype(str)
        for one in [value] if wanted not in columns else sorted(set(column.tolist())):
            found[f"{name}={one}"] = column == one
    return found


def measured_harms(document: Mapping[str, Any], name: str, folder: Path) -> dict[str, Harm]:
    """The harms that measurements decide, as far as the evidence lies there."""
    data, policy, found = document["data"], document["policy"], {}
    if name in data["samples"]:
        with np.load(folder / data["samples"][name], allow_pickle=False) as arrays:
            ours, theirs = arrays[name], arrays["reference"]
        found["latency"] = ratio_harm(ours, theirs, 0.5)
        found["p90_ratio"] = ratio_harm(ours, theirs, 0.9)
        found["p99_ms"] = p99_harm(ours)
    if "bench" in data:
        bench = json.loads((folder / data["bench"]).read_text(encoding="utf-8"))
        samples = Path(data["samples"].get(name, "")).name
        for cell in bench["cells"]:
            if cell["variant"] == name and cell["samples"] == samples:
                found["size_mb"] = figure(cell["size_mb"])
                found["memory_mb"] = figure(cell["peak_rss_mb"])
    return {name: harm for name, harm in found.items() if policy.get(LIMITS[name]) is not None}


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


def paired(reference: Mapping[str, Array], candidate: Mapping[str, Array]) -> Data:
    """Both sides in the reference's order of inputs and classes."""
    theirs = candidate["probabilities"]
    if "classes" in reference and "classes" in candidate:
        names = candidate["classes"].tolist()
        theirs = theirs[:, [names.index(name) for name in reference["classes"].tolist()]]
    rows = np.arange(len(theirs))
    ids = [side["ids"].tolist() for side in (reference, candidate) if "ids" in side]
    if len(ids) == 2 and ids[0] != ids[1]:
        place = {identity: row for row, identity in enumerate(ids[1])}
        rows = np.array([place[identity] for identity in ids[0]])
    named = reference if "classes" in reference else candidate
    slices = {name: side[name][at] for side, at in ((candidate, rows), (reference, slice(None)))
              for name in side if name.startswith("slices/")}  # fmt: skip
    return Data(
        reference=reference["probabilities"],
        candidate=theirs[rows],
        labels=reference["labels"] if "labels" in reference else candidate["labels"],
        classes=named["classes"].tolist()
        if "classes" in named
        else [str(k) for k in range(theirs.shape[1])],
        slices={name.removeprefix("slices/"): column for name, column in slices.items()},
    )


def shown(found: Mapping[str, tuple[Harm, float]], alpha: float) -> set[str]:
    """The gates whose harm is shown, by Holm's procedure over all that have an error."""
    tested = {name: value for name, value in found.items() if not value[0].exact}
    over_exactly = {
        name for name, (harm, limit) in found.items() if harm.exact and not harm.estimate <= limit
    }
    left = dict(tested)
    while left:
        level = alpha / len(left)
        over = {name for name, (harm, limit) in left.items() if harm.bounds(level)[0] > limit}
        if not over:
            break
        left = {name: value for name, value in left.items() if name not in over}
    return over_exactly | (set(tested) - set(left))


def check_variant(variant: Mapping[str, Any], found: Mapping[str, Harm]) -> list[str]:
    """What does not agree with the evidence in one variant."""
    problems, alpha = [], variant["alpha"]
    gates = {gate["name"]: gate for gate in variant["gates"] if gate["verdict"] != "NOT JUDGED"}
    found = {name: harm for name, harm in found.items() if name in gates or not harm.undefined}
    for name in sorted(set(gates) ^ set(found)):
        problems.append(f"{name}: judged in the verdict or stored as evidence, but not both")
    both = {name: (found[name], gates[name]["limit"]) for name in gates if name in found}
    proven = shown(both, alpha)
    for name, (harm, limit) in both.items():
        gate = gates[name]
        lower, upper = harm.bounds(alpha)
        expected = {"estimate": harm.estimate, "lower": lower, "upper": upper, "n": harm.n}
        for key, value in expected.items():
            if not agree(gate[key], value):
                problems.append(f"{name}: {key} is {gate[key]!r}, recomputed {value!r}")
        within = upper <= limit if harm.exact else upper < limit
        outcome = "FAIL" if name in proven else "PASS" if within else "INCONCLUSIVE"
        if gate["verdict"] != outcome:
            problems.append(f"{name}: says {gate['verdict']}, recomputed {outcome}")
    outcomes = {gate["verdict"] for gate in gates.values()}
    overall = "FAIL" if "FAIL" in outcomes else "PASS" if outcomes == {"PASS"} else "INCONCLUSIVE"
    if variant["verdict"] != overall:
        problems.append(f"says {variant['verdict']}, its gates amount to {overall}")
    return problems


def agree(told: float | None, recomputed: float) -> bool:
    """Within the tolerance, relative above 1; null where nothing is known."""
    if told is None or not math.isfinite(recomputed):
        return told is None and not math.isfinite(recomputed)
    return abs(told - recomputed) <= TOLERANCE * max(1.0, abs(recomputed))


def check_limits(document: Mapping[str, Any]) -> list[str]:
    """Gates whose limit is not the policy's, and a share of alpha that is not one."""
    policy, problems = document["policy"], []
    expected = {name for name, key in LIMITS.items() if policy.get(key) is not None}
    for variant in document["variants"]:
        if variant["alpha"] > policy["alpha"]:
            problems.append(f"{variant['id']}: alpha {variant['alpha']} is over the policy's")
        for gate in variant["gates"]:
            sliced = gate["name"].startswith(SLICE)
            key = "max_slice_drop" if sliced else LIMITS[gate["name"]]
            if gate["limit"] != policy.get(key):
                problems.append(f"{variant['id']}: {gate['name']}: its limit is not the policy's")
        names = [gate["name"] for gate in variant["gates"]]
        if {name for name in names if not name.startswith(SLICE)} != expected:
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
        found = answer_harms(paired(reference, candidate), document["policy"])
        found |= measured_harms(document, name, folder)
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

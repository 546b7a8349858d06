"""What several sections need to know of a release, looked up once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgetl.bench.compare import Ratio, ratio
from edgetl.gate.predictions import Predictions
from edgetl.metrics import nll
from edgetl.report.content import REFERENCE, ReportData
from edgetl.report.documents import Table
from edgetl.report.numbers import clean, finite
from edgetl.report.theme import SERIES


@dataclass(frozen=True, kw_only=True, eq=False)
class ReleaseFacts:
    """The release as the sections see it.

    Attributes:
        data: What the report was made from.
        outcome: PASS, FAIL or INCONCLUSIVE.
        split, n: What the verdict was taken on.
        judged: Variant id -> its entry in the verdict.
        shipped: The judged variants that passed in a release that passed, fastest first.
        shown: The variants whose answers are shown beside the reference's: those that were
            judged, or every candidate when none was.
        variants: Every variant's id, in the order of the closing table.
        cells: Side -> its cell of the bench at the policy's objective.
        best_fp32: The fastest FP32 variant.
        reference_name: What the reference is called in a sentence.
        released: A release was made, so that something can ship; else answers were compared.
    """

    data: ReportData
    outcome: str
    split: str
    n: int
    judged: Mapping[str, Table]
    shipped: tuple[str, ...]
    shown: tuple[str, ...]
    variants: tuple[str, ...]
    cells: Mapping[str, Table]
    best_fp32: str | None
    reference_name: str
    released: bool

    def scope(self, split: str | None = None) -> str:
        """The split with its n, as every figure shows it."""
        split = split or self.split
        known = next(iter(self.answers(split).values()), None)
        n = self.n if split == self.split else None if known is None else known.n
        return f"{clean(split)} split" if n is None else f"{clean(split)} split, n = {n:,}"

    def answers(self, split: str | None = None) -> Mapping[str, Predictions]:
        """The predictions of a split by side, the verdict's own when None."""
        return self.data.predictions.get(split or self.split, {})

    def series(self, variant: str) -> tuple[str, str]:
        """A variant's colour and marker: the same in every figure."""
        if variant not in self.variants:
            return "ink", "o"
        return SERIES[self.variants.index(variant) % len(SERIES)]

    def faster(self, variant: str, against: str) -> Ratio | None:
        """How many times faster than another side, with the interval at 95 %."""
        samples = self.data.samples
        if variant in samples and against in samples:
            return ratio(samples[against], samples[variant])
        stored = self.cells.get(variant, {}).get("ratio_to_reference")
        if against != REFERENCE or not isinstance(stored, Mapping):
            return None
        values = [finite(stored.get(name)) for name in ("estimate", "lower", "upper")]
        if any(value is None or value <= 0 for value in values):
            return None
        return Ratio(**{str(name): float(stored[name]) for name in stored}).inverse()


def facts_of(data: ReportData) -> ReleaseFacts:
    """Look up what the sections share."""
    verdict = data.verdict
    judged = {str(entry["id"]): entry for entry in verdict["variants"]}
    cells = _cells(data)
    passed = [name for name, entry in judged.items() if entry.get("verdict") == "PASS"]
    passed.sort(key=lambda name: finite(cells.get(name, {}).get("p50_ms")) or float("inf"))
    split = str(verdict["data"].get("split", "test"))
    answers = data.predictions.get(split, {})
    n = verdict["data"].get("n", next((one.n for one in answers.values()), 0))
    variants = _variants(data, judged)
    shown = [name for name in passed if name in answers]
    shown += [name for name in judged if name in answers and name not in shown]
    return ReleaseFacts(
        data=data,
        outcome=str(verdict["verdict"]),
        split=split,
        n=int(n),
        judged=judged,
        shipped=tuple(passed) if verdict["verdict"] == "PASS" else (),
        shown=tuple(shown) or tuple(name for name in variants if name in answers),
        variants=variants,
        cells=cells,
        best_fp32=_best_fp32(data.rows, cells),
        reference_name=_reference_name(data.rows),
        released=bool(data.rows or data.config or verdict.get("required")),
    )


def nll_of(predictions: Predictions) -> float | None:
    """Mean negative log-likelihood, nats; None without labels."""
    return (
        None if predictions.labels is None else nll(predictions.probabilities, predictions.labels)
    )


def _reference_name(rows: Sequence[Table]) -> str:
    """By the backend of the reference's row: the network itself, or the file that was brought."""
    backend = next((row.get("backend") for row in rows if row["id"] == REFERENCE), None)
    names = {"pytorch": "PyTorch", "onnxruntime": "the ONNX file"}
    return names.get(str(backend), "the reference")


def _variants(data: ReportData, judged: Mapping[str, Table]) -> tuple[str, ...]:
    selection: Sequence[Table] = (data.selection or {}).get("entries", ())
    compared: Sequence[Table] = data.verdict.get("selection", ())
    names = [str(row["id"]) for row in (*data.rows, *selection, *compared)]
    return tuple(name for name in dict.fromkeys((*names, *judged)) if name != REFERENCE)


def _cells(data: ReportData) -> dict[str, Table]:
    """The cells at the policy's batch and threads; where it names no threads, the most measured."""
    objective: Mapping[str, Any] = data.verdict["policy"].get("objective") or {}
    batch, threads = objective.get("batch", 1), objective.get("threads")
    found: dict[str, Table] = {}
    for cell in (data.bench or {}).get("cells", ()):
        name = str(cell["variant"])
        if cell["batch"] != batch or threads not in (None, cell["threads"]):
            continue
        if name not in found or cell["threads"] > found[name]["threads"]:
            found[name] = cell
    return found


def _best_fp32(rows: Sequence[Table], cells: Mapping[str, Table]) -> str | None:
    p50 = {
        str(row["id"]): finite(cells.get(str(row["id"]), row).get("p50_ms"))
        for row in rows
        if row.get("precision") == "fp32" and row["id"] != REFERENCE
    }
    known = {name: value for name, value in p50.items() if value is not None}
    return min(known, key=known.__getitem__, default=None)

"""The closing table's rows: what was measured and judged, one row a variant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgetl.bench.result import BenchResult, Cell
from edgetl.files import parse_json
from edgetl.gate import Predictions, Verdict
from edgetl.gate.judge import report_metrics
from edgetl.gate.selection import Entry, Selection
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.run_folder import RunFolder
from edgetl.spec import Precision

SUMMARY = "summary.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """The reference or a candidate.

    Attributes:
        size_mb: The model's files, MiB.
        p50_ms, p99_ms: Latency at the policy's batch and threads, in milliseconds.
        speed_over_reference, speed_over_fp32: Ratios of p50 from one interleaved run: the reference
            over this variant, and the fastest FP32 backend over it.
        top1, nll, ece: On the split that `split` names.
        split: ``test`` for the reference and the winners, ``val`` for the others: the test split
            is opened for the winners only.
        verdict: PASS, FAIL or INCONCLUSIVE; for others why they were not judged.
    """

    id: str
    backend: str
    precision: str
    size_mb: float | None
    p50_ms: float
    p99_ms: float
    speed_over_reference: float
    speed_over_fp32: float | None
    top1: float
    nll: float
    ece: float
    split: str
    verdict: str


def make_rows(
    bench: BenchResult,
    selection: Selection,
    judged: Mapping[str, Verdict],
    reference_on_val: Predictions,
    *,
    threads: int,
    required: Collection[str],
    reference_backend: str = "pytorch",
) -> tuple[Row, ...]:
    """The closing table: the reference first, then the candidates from slow to fast.

    Args:
        bench: One interleaved run at the policy's objective.
        selection: Every candidate's figures on val, and why it was chosen or not.
        judged: The winners' verdicts on test.
        reference_on_val: Serves when there is no winner, and so no test figure.
        threads: What the latency was measured with.
        required: The backends that a verdict is needed for.
        reference_backend: What the reference runs in: ``pytorch``, or ``onnxruntime`` for an
            ONNX file that somebody brought.
    """
    cells = {cell.variant: cell for cell in bench.cells if cell.threads == threads}
    fp32 = [
        cell.p50_ms
        for name, cell in cells.items()
        if name in CANDIDATES and CANDIDATES[name].precision is Precision.FP32
    ]
    best_fp32 = min(fp32, default=None)
    if judged:
        metrics, split = next(iter(judged.values())).metrics["reference"], "test"
    else:
        assert reference_on_val.labels is not None
        metrics, split = (
            report_metrics(reference_on_val.probabilities, reference_on_val.labels),
            "val",
        )
    reference = _row(
        cells["reference"], cells, best_fp32, metrics, split=split, verdict="reference"
    )
    reference = replace(reference, backend=reference_backend)
    rows = []
    for entry in selection.entries:
        if entry.id in judged:
            verdict = judged[entry.id]
            figures, on, word = verdict.metrics["candidate"], "test", str(verdict.verdict)
        else:
            figures, on = entry.metrics, "val"
            word = _unjudged(entry, required)
        rows.append(_row(cells[entry.id], cells, best_fp32, figures, split=on, verdict=word))
    return (reference, *sorted(rows, key=lambda row: -row.p50_ms))


def _unjudged(entry: Entry, required: Collection[str]) -> str:
    if entry.backend not in required:
        return "not required"
    return "not chosen" if entry.eligible else "ruled out"


def _row(
    cell: Cell,
    cells: Mapping[str, Cell],
    best_fp32: float | None,
    metrics: Mapping[str, float],
    *,
    split: str,
    verdict: str,
) -> Row:
    candidate = CANDIDATES.get(cell.variant)
    return Row(
        id=cell.variant,
        backend=candidate.backend if candidate else "",
        precision=str(candidate.precision) if candidate else str(Precision.FP32),
        size_mb=cell.size_mb,
        p50_ms=cell.p50_ms,
        p99_ms=cell.p99_ms,
        speed_over_reference=cells["reference"].p50_ms / cell.p50_ms,
        speed_over_fp32=None if best_fp32 is None else best_fp32 / cell.p50_ms,
        top1=metrics["top1"],
        nll=metrics["nll"],
        ece=metrics["ece"],
        split=split,
        verdict=verdict,
    )


def summary_rows(folder: RunFolder) -> tuple[Row, ...]:
    """The rows that the gate stage wrote."""
    path = folder.stage("gate") / SUMMARY
    rows: list[dict[str, Any]] = parse_json(path.read_bytes(), str(path))["rows"]
    return tuple(Row(**row) for row in rows)

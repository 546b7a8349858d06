"""The gate stage: choose on val, open the test split once for the winners, judge them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from edgetl.bench.result import BenchResult
from edgetl.data.store import SplitPart
from edgetl.files import write_atomic, write_json
from edgetl.gate import (
    JudgedData,
    JudgedVariant,
    Predictions,
    ReleaseVerdict,
    Verdict,
    judge,
)
from edgetl.gate.render import to_json, to_junit, to_markdown
from edgetl.gate.selection import Candidate, Selection, select
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.ptq import ptq_part
from edgetl.pipeline.stages.bench import REFERENCE, RESULT
from edgetl.pipeline.summary import SUMMARY, make_rows


def run(context: StageContext, out: Path) -> None:
    """Select, judge, and write the verdict with the predictions it was taken from."""
    context.splits.check_disjoint()
    bench = BenchResult.load(context.folder.stage("bench") / RESULT)
    names = context.config.compile.variants
    on_val = _answers(context, context.splits.load("val"), names, "val", out)
    selection = _select(context, on_val, bench)
    write_json(out / "selection.json", asdict(selection))
    for entry in selection.entries:
        context.reporter.note(f"{entry.id}: {entry.reason}")
    judged = _judge_winners(context, selection, bench, out) if selection.winners else {}
    verdict = _release_verdict(context, judged, bench, out)
    write_json(out / "verdict.json", to_json(verdict))
    write_atomic(out / "verdict.xml", to_junit(verdict))
    write_atomic(out / "verdict.md", to_markdown(verdict).encode())
    rows = make_rows(bench, selection, judged, on_val[REFERENCE], threads=context.threads)
    write_json(out / SUMMARY, {"rows": [asdict(row) for row in rows]})


def _answers(
    context: StageContext, part: SplitPart, names: tuple[str, ...], split: str, out: Path
) -> dict[str, Predictions]:
    """Everyone's predictions on a split, stored as they are made."""
    answers = {}
    with context.reference() as reference:
        answers[REFERENCE] = context.predict(reference, part, what=f"reference on {split}")
    for name in names:
        with context.variant(CANDIDATES[name].variant()) as backend:
            answers[name] = context.predict(backend, part, what=f"{name} on {split}")
    predictions = {
        name: Predictions(
            ids=part.ids,
            labels=part.labels,
            probabilities=probabilities,
            classes=context.splits.classes,
        )
        for name, probabilities in answers.items()
    }
    for name, one in predictions.items():
        one.save(out / _file(split, name))
    return predictions


def _file(split: str, name: str) -> str:
    return f"predictions/{split}-{name}.npz"


def _select(
    context: StageContext, on_val: Mapping[str, Predictions], bench: BenchResult
) -> Selection:
    objective = context.config.gate.policy.objective
    candidates = {}
    for name in context.config.compile.variants:
        cell = bench.cell(name, batch=objective.batch, threads=context.threads)
        candidates[name] = Candidate(
            backend=CANDIDATES[name].backend,
            predictions=on_val[name],
            p50_ms=cell.p50_ms,
            seconds=bench.samples[cell.samples][name],
        )
    reference = bench.cell(REFERENCE, batch=objective.batch, threads=context.threads)
    required = context.config.required_backends
    return select(
        {name: one for name, one in candidates.items() if one.backend in required},
        on_val[REFERENCE],
        context.config.gate.policy,
        reference_p50_ms=reference.p50_ms,
    )


def _judge_winners(
    context: StageContext, selection: Selection, bench: BenchResult, out: Path
) -> dict[str, Verdict]:
    """Open the test split for the winners and judge each at its share of alpha."""
    winners = tuple(selection.winners.values())
    test = context.splits.open_test(stage="gate", winners=winners)
    openings = context.splits.test_openings()
    if openings > 1:
        context.reporter.note(
            f"warning: the test split of this run was opened for {openings} different sets of "
            "winners; the more often, the less a PASS means: judge the next on new images"
        )
    answers = _answers(context, test, winners, "test", out)
    calib = context.splits.load("calib")
    ptq = ptq_part(context)
    policy = context.config.gate.policy
    return {
        name: judge(
            answers[REFERENCE],
            answers[name],
            policy,
            bench=bench.pair(name, batch=policy.objective.batch, threads=context.threads),
            alpha=selection.alpha,
            calibration_ids=calib.ids,
            ptq_ids=ptq.ids,
        )
        for name in winners
    }


def _release_verdict(
    context: StageContext, judged: Mapping[str, Verdict], bench: BenchResult, out: Path
) -> ReleaseVerdict:
    policy = context.config.gate.policy
    samples: dict[str, str] = {}
    for name in judged:
        cell = bench.cell(name, batch=policy.objective.batch, threads=context.threads)
        samples[name] = cell.samples
        shutil.copyfile(context.folder.stage("bench") / cell.samples, out / cell.samples)
    splits = context.splits
    return ReleaseVerdict(
        policy=policy,
        data=JudgedData(
            name=splits.name,
            split="test",
            n=splits.sizes["test"],
            hash=splits.hashes["test"],
            predictions={name: _file("test", name) for name in (REFERENCE, *judged)}
            if judged
            else {},
            samples=samples,
        ),
        variants=tuple(_judged_variant(name, verdict) for name, verdict in judged.items()),
        required=context.config.required_backends,
    )


def _judged_variant(name: str, verdict: Verdict) -> JudgedVariant:
    variant = CANDIDATES[name].variant()
    return JudgedVariant(
        id=name,
        backend=variant.backend,
        precision=str(variant.precision),
        file=variant.file,
        verdict=verdict,
    )

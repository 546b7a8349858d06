"""The gate stage: choose on val, open the test split once for the winners, judge them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from edgetl.backends.base import Backend
from edgetl.bench.result import BenchResult
from edgetl.data.store import SplitPart
from edgetl.files import write_atomic, write_json
from edgetl.gate import (
    ComparedVariant,
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
from edgetl.pipeline.familiar import familiar_images
from edgetl.pipeline.flips import FLIPS, keep_flips
from edgetl.pipeline.ptq import ptq_part
from edgetl.pipeline.run_folder import stage_key
from edgetl.pipeline.stages.bench import REFERENCE, RESULT
from edgetl.pipeline.stages.calibrate import reference_on_calib
from edgetl.pipeline.summary import SUMMARY, make_rows
from edgetl.pipeline.transfer import write_transfer
from edgetl.reference.description import DESCRIPTION_FILE, ONNX_ARCHITECTURE, read_description
from edgetl.spec import Array


def run(context: StageContext, out: Path) -> None:
    """Select, judge, and write the verdict with the predictions it was taken from."""
    context.splits.check_disjoint()
    bench = BenchResult.load(context.folder.stage("bench") / RESULT)
    names = context.config.compile.variants
    # One process of the reference for both splits: starting it takes longer than most answers.
    with context.reference() as reference:
        val = {"val": context.splits.load("val")}
        on_val = _answers(context, reference, val, names, out)["val"]
        selection = _select(context, on_val, bench)
        write_json(out / "selection.json", asdict(selection))
        for entry in selection.entries:
            context.reporter.note(f"{entry.id}: {entry.reason}")
        judged = _judge_winners(context, reference, selection, bench, on_val[REFERENCE], out)
    verdict = _release_verdict(context, selection, judged, bench, out)
    write_json(out / "verdict.json", to_json(verdict))
    write_atomic(out / "verdict.xml", to_junit(verdict))
    write_atomic(out / "verdict.md", to_markdown(verdict).encode())
    rows = make_rows(
        bench,
        selection,
        judged,
        on_val[REFERENCE],
        threads=context.threads,
        required=context.config.required_backends,
        reference_backend=_reference_backend(context),
    )
    write_json(out / SUMMARY, {"rows": [asdict(row) for row in rows]})


def _answers(
    context: StageContext,
    reference: Backend,
    parts: Mapping[str, SplitPart],
    names: tuple[str, ...],
    out: Path,
    *,
    known: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, dict[str, Predictions]]:
    """Everyone's predictions on each split, stored as they are made.

    A candidate is loaded once for all splits: that can take longer than its answers. `known` has
    what the reference answered to a split before.
    """
    answers: dict[str, dict[str, Predictions]] = {split: {} for split in parts}

    def ask(backend: Backend, name: str, known: Mapping[str, Array]) -> None:
        for split, part in parts.items():
            probabilities = known.get(split)
            if probabilities is None:
                probabilities = context.predict(backend, part, what=f"{name} on {split}")
            found = Predictions(
                ids=part.ids,
                labels=part.labels,
                probabilities=probabilities,
                classes=context.splits.classes,
                slices=part.slices,
            )
            found.save(out / prediction_file(split, name))
            answers[split][name] = found

    ask(reference, REFERENCE, known)
    for name in names:
        with context.variant(context.candidate(name)) as backend:
            ask(backend, name, {})
    return answers


def prediction_file(split: str, name: str) -> str:
    """Where the gate keeps somebody's answers to a split, relative to its folder."""
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
            bench=bench.pair(name, batch=objective.batch, threads=context.threads),
            cell=cell,
        )
    reference = bench.cell(REFERENCE, batch=objective.batch, threads=context.threads)
    return select(
        candidates,
        on_val[REFERENCE],
        context.config.gate.policy,
        reference_p50_ms=reference.p50_ms,
        required=context.config.required_backends,
    )


def _judge_winners(
    context: StageContext,
    reference: Backend,
    selection: Selection,
    bench: BenchResult,
    reference_on_val: Predictions,
    out: Path,
) -> dict[str, Verdict]:
    """Open the test split for the winners and judge each at its share of alpha."""
    winners = tuple(selection.winners.values())
    if not winners:
        return {}
    policy = context.config.gate.policy
    test = context.splits.open_test(
        stage="gate",
        winners=_model_hashes(context, winners),
        reference=_reference_hash(context),
        policy=stage_key(policy.to_json()),
    )
    openings = context.splits.test_openings()
    if openings > 1:
        context.reporter.note(
            f"warning: the test split of this run was opened {openings} times, for other models "
            "or another policy; the more often, the less a PASS means: judge the next on new inputs"
        )
    calib = context.splits.load("calib")
    parts = {"test": test, "calib": calib}
    known = {"calib": reference_on_calib(context)}
    both = _answers(context, reference, parts, winners, out, known=known)
    answers = both["test"]
    keep_flips(
        out / FLIPS,
        test,
        answers[REFERENCE],
        {name: answers[name] for name in winners},
        context.input,
    )
    # What edgetl trains has never met val; of a network that came trained nobody can say so.
    if context.config.model is not None and (
        warning := familiar_images(reference_on_val, answers[REFERENCE])
    ):
        context.reporter.note(warning)
    ptq = ptq_part(context)
    batch = policy.objective.batch
    judged = {
        name: judge(
            answers[REFERENCE],
            answers[name],
            policy,
            bench=bench.pair(name, batch=batch, threads=context.threads),
            cell=bench.cell(name, batch=batch, threads=context.threads),
            alpha=selection.alpha,
            calibration_ids=calib.ids,
            ptq_ids=ptq.ids,
            notes=bench.doubts,
        )
        for name in winners
    }
    write_transfer(out, calib=both["calib"], test=answers)
    return judged


def _model_hashes(context: StageContext, names: Iterable[str]) -> dict[str, str]:
    """Each variant's id -> one hash over its model files."""
    compiled = context.folder.outputs("compile")
    return {
        name: stage_key({file: compiled[file] for file in context.candidate(name).files})
        for name in names
    }


def _reference_backend(context: StageContext) -> str:
    """An ONNX file that somebody brought is its own reference, in the runtime it was made for."""
    description, _ = read_description(context.folder.stage("calibrate"))
    return "onnxruntime" if description.architecture == ONNX_ARCHITECTURE else "pytorch"


def _reference_hash(context: StageContext) -> str:
    calibrated = context.folder.outputs("calibrate")
    description, _ = read_description(context.folder.stage("calibrate"))
    return stage_key(
        {file: calibrated[file] for file in (description.weights_file, DESCRIPTION_FILE)}
    )


def _release_verdict(
    context: StageContext,
    selection: Selection,
    judged: Mapping[str, Verdict],
    bench: BenchResult,
    out: Path,
) -> ReleaseVerdict:
    policy = context.config.gate.policy
    samples: dict[str, str] = {}
    for name in judged:
        cell = bench.cell(name, batch=policy.objective.batch, threads=context.threads)
        samples[name] = cell.samples
        shutil.copyfile(context.folder.stage("bench") / cell.samples, out / cell.samples)
    if judged:
        shutil.copyfile(context.folder.stage("bench") / RESULT, out / RESULT)
    splits = context.splits
    # Without a winner the test split stays closed, and what was seen is val.
    split = "test" if judged else "val"
    shown = judged or context.config.compile.variants
    return ReleaseVerdict(
        policy=policy,
        data=JudgedData(
            name=splits.name,
            split=split,
            n=splits.sizes[split],
            hash=splits.hashes[split],
            predictions={name: prediction_file(split, name) for name in (REFERENCE, *shown)},
            samples=samples,
            bench=RESULT if judged else "",
        ),
        variants=tuple(_judged_variant(context, name, verdict) for name, verdict in judged.items()),
        required=context.config.required_backends,
        selection=tuple(
            ComparedVariant(
                id=entry.id,
                backend=entry.backend,
                eligible=entry.eligible,
                chosen=entry.chosen,
                reason=entry.reason,
                p50_ms=entry.p50_ms,
                metrics=entry.metrics,
            )
            for entry in selection.entries
        ),
    )


def _judged_variant(context: StageContext, name: str, verdict: Verdict) -> JudgedVariant:
    variant = context.candidate(name)
    return JudgedVariant(
        id=name,
        backend=variant.backend,
        precision=str(variant.precision),
        file=variant.file,
        verdict=verdict,
    )

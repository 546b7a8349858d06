"""A backbone's candidates with its real weights: latency, and harm against the solved network.

No torch in this process. The network's own answers are read from where the probe left them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgetl.bench.result import BenchResult
from edgetl.data.store import SplitPart
from edgetl.files import write_json
from edgetl.gate import Predictions
from edgetl.gate.align import align
from edgetl.gate.judge import harms_of
from edgetl.gate.selection import Candidate, select
from edgetl.pipeline.choose_screen import measured
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.stages.bench import RESULT
from edgetl.spec import Array

HARMS = "harms.json"
_ANSWERS = "reference.npy"


def run(context: StageContext, out: Path) -> None:
    """Measure every candidate, then ask each of them the held-out images."""
    files = context.folder.stage("probe") / "compile"
    bench = measured(context, files)
    bench.save(out / RESULT)
    for warning in bench.machine["warnings"]:
        context.reporter.note(f"warning: {warning}")
    write_json(out / HARMS, _harms(context, bench, files))


def _harms(context: StageContext, bench: BenchResult, files: Path) -> dict[str, Any]:
    """For each candidate what the release's own choice would say of it, and the figures."""
    policy = context.config.gate.policy
    val = context.splits.load("val")
    classes = context.splits.classes
    answers = np.load(context.folder.stage("probe") / _ANSWERS, allow_pickle=False)
    reference = _predictions(val, answers, classes)
    given: dict[str, Predictions] = {}
    for name in context.config.compile.variants:
        with context.variant(context.candidate(name), files_root=files) as backend:
            answer = context.predict(backend, val, what=f"{name} on held-out images")
        given[name] = _predictions(val, answer, classes)
    selection = select(
        {
            name: Candidate(
                backend=context.candidate(name).backend,
                predictions=one,
                p50_ms=bench.cell(name, batch=policy.objective.batch).p50_ms,
            )
            for name, one in given.items()
        },
        reference,
        policy,
    )
    found = {}
    for entry in selection.entries:
        harms = harms_of(align(reference, given[entry.id]), policy)
        found[entry.id] = {
            "harmless": entry.eligible,
            "reason": "" if entry.eligible else entry.reason,
            "harms": {
                harm.name: _figures(harm.estimate, harm.bounds(policy.alpha), harm.limit)
                for harm in harms
                if not harm.unknown
            },
        }
    return {"n": len(val), "alpha": policy.alpha, "variants": found}


def _predictions(part: SplitPart, probabilities: Array, classes: tuple[str, ...]) -> Predictions:
    return Predictions(
        ids=part.ids,
        labels=part.labels,
        probabilities=probabilities,
        classes=classes,
        slices={name: np.array(values) for name, values in (part.slices or {}).items()},
    )


def _figures(estimate: float, bounds: tuple[float, float], limit: float) -> Mapping[str, Any]:
    low, high = (bound if math.isfinite(bound) else None for bound in bounds)
    return {"estimate": estimate, "lower": low, "upper": high, "limit": limit}

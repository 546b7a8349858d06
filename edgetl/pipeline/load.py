"""A release's candidates under load: MLPerf LoadGen's scenarios, one candidate after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from edgetl.backends.base import Backend
from edgetl.bench.result import BenchResult
from edgetl.bench.under_load import LoadOptions, measure_under_load
from edgetl.pipeline.config import load_config
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Listener, Reporter, ignore
from edgetl.pipeline.release import release
from edgetl.pipeline.run_folder import RunFolder
from edgetl.pipeline.stages.bench import input_batch
from edgetl.spec import Array

STAGE = "bench"


def measure_load(
    config: Path, options: LoadOptions, *, out: Path | None = None, listen: Listener = ignore
) -> BenchResult:
    """Run a release up to its candidates, and put each of them under load.

    Args:
        config: The release's TOML file; its policy's objective gives the batch, and it the seed.
        options: The load; its batch and seed are the config's.
        out: The run's folder; ``runs/NAME`` when left out.
        listen: Hears what happens.

    Raises:
        EdgetlError: What a stage, a backend or LoadGen refused.
    """
    settings = load_config(config)
    folder = release(settings, out=out, until="compile", listen=listen).folder
    context = StageContext(
        config=settings,
        folder=RunFolder(folder),
        reporter=Reporter(STAGE, listen),
        scratch=folder,
    )
    batch = settings.gate.policy.objective.batch
    options = replace(options, batch=batch, seed=settings.seed)
    sides = _sides(context, options.used_batch)
    return measure_under_load(sides, options, threads=context.threads)


def _sides(context: StageContext, batch: int) -> Iterator[tuple[str, Backend, Mapping[str, Array]]]:
    inputs = input_batch(context, batch)
    names = context.config.compile.variants
    for done, name in enumerate(names):
        context.reporter.progress(f"{name} under load", done, len(names))
        variant = context.candidate(name)
        with context.variant(variant) as backend:
            yield variant.id, backend, inputs

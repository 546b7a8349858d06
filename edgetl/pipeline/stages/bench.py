"""The bench stage: every candidate's latency in one run, interleaved with the reference's."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from edgetl.backends.onnx_wire import read_onnx
from edgetl.bench.compare import precise_to
from edgetl.bench.footprint import Footprint, measure_footprint
from edgetl.bench.machine import activity, disturbances, machine_facts, shares
from edgetl.bench.measure import Block, Samples, in_process, interleave
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.data.preprocess import to_inputs
from edgetl.files import canonical_json, sha256_bytes
from edgetl.pipeline.context import StageContext
from edgetl.spec import Array, Variant

REFERENCE = "reference"
RESULT = "bench.json"


def run(context: StageContext, out: Path) -> None:
    """Measure, keep every sample, and say when the machine was too noisy."""
    variants = [context.candidate(name) for name in context.config.compile.variants]
    footprints = _footprints(context, variants)
    objective = context.config.gate.policy.objective
    before = activity()
    samples = _latency(context, variants, input_batch(context, objective.batch))
    after = activity()
    facts = machine_facts() | shares(before, after)
    facts["warnings"] = disturbances(before, after, facts, settled=samples.settled)
    result = result_of(
        [
            Run(
                samples=samples,
                batch=objective.batch,
                threads=context.threads,
                reference=REFERENCE,
                control_of=REFERENCE,
            )
        ],
        machine=facts,
        footprints=footprints,
        reference_id=_reference_id(context),
    )
    result.save(out / RESULT)
    _say(context, result)


def _reference_id(context: StageContext) -> str:
    """The network's operators and the shapes of its weights, and what runs it.

    The exported file is the reference as a graph, however the user made it. Its weights do not
    count: they change with every training, and not how long a call takes.
    """
    path = context.folder.stage("export") / "model.onnx"
    model = read_onnx(path.read_bytes(), str(path))
    section = context.config.model
    runtime = "onnxruntime" if section is not None and section.onnx is not None else "torch"
    return sha256_bytes(
        canonical_json(
            {
                "operators": [node.op for node in model.nodes],
                "weights": [[list(one.shape), one.element] for one in model.initializers],
                "input": repr(context.input),
                "runtime": [runtime, metadata.version(runtime)],
            }
        )
    )


def input_batch(context: StageContext, batch: int) -> Mapping[str, Array]:
    """A batch of real validation images: zeros would be quicker in some kernels.

    They are repeated when there are fewer than the batch takes.
    """
    images = context.splits.load("val").images
    chosen = images[np.resize(np.arange(len(images)), batch)]
    return to_inputs(chosen, context.input)


def _footprints(context: StageContext, variants: list[Variant]) -> dict[str, Footprint]:
    compiled = context.folder.stage("compile")
    found = {}
    for done, variant in enumerate(variants):
        context.reporter.progress("cold starts", done, len(variants))
        found[variant.id] = measure_footprint(
            variant, {name: compiled / name for name in variant.files}, threads=context.threads
        )
    return found


def _latency(
    context: StageContext, variants: list[Variant], inputs: Mapping[str, Array]
) -> Samples:
    section = context.config.bench
    with ExitStack() as stack:
        reference = stack.enter_context(context.reference())
        sides: dict[str, Block] = {REFERENCE: partial(reference.time_block, inputs)}
        for variant in variants:
            backend = stack.enter_context(context.variant(variant))
            sides[variant.id] = in_process(backend.run, inputs)
        return interleave(
            sides,
            calls=section.calls,
            min_rounds=section.rounds,
            max_seconds=section.max_seconds,
            seed=context.config.seed,
            control=REFERENCE,
            enough=precise_to(REFERENCE),
            progress=lambda done: context.reporter.progress(
                "interleaved rounds, until the ratios are known closely",
                done,
                max(done, section.rounds),
            ),
        )


def _say(context: StageContext, result: BenchResult) -> None:
    if (control := result.control) is not None:
        context.reporter.note(
            f"control (the reference against itself): ratio {control.estimate:.3f} "
            f"[{control.lower:.3f}, {control.upper:.3f}], "
            + ("equivalent" if control.equivalent else "NOT equivalent")
            + f" within {control.margin:.0%}"
        )
    for warning in result.machine["warnings"]:
        context.reporter.note(f"warning: {warning}")

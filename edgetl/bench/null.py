"""A backend that answers at once: what is measured of it is the harness's own cost."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgetl.backends.base import Backend
from edgetl.backends.fake import FakeBackend
from edgetl.bench.compare import precise_to
from edgetl.bench.machine import activity, disturbances, machine_facts, shares
from edgetl.bench.measure import in_process, interleave
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.bench.under_load import LoadOptions, measure_under_load
from edgetl.spec import Array, TensorSpec

NAME = "null"
SIDE, CLASSES = 224, 10
_SECONDS = 20.0


def null_backend() -> tuple[Backend, dict[str, Array]]:
    """A classifier of 224 × 224 images that computes nothing, and an image for it.

    What a call of it costs is the clock, the checks of inputs and outputs that every backend
    makes, and a copy of ten numbers.

    Example:
        >>> backend, inputs = null_backend()
        >>> backend.run(inputs)["probabilities"].shape
        (1, 10)
    """
    image = TensorSpec(name="image", dtype="uint8", shape=(None, SIDE, SIDE, 3))
    answer = TensorSpec(name="probabilities", dtype="float32", shape=(None, CLASSES))
    equal = np.full((1, CLASSES), 1 / CLASSES, np.float32)

    def handler(_inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"probabilities": equal}

    backend = FakeBackend(
        handler, input_spec={"image": image}, output_spec={"probabilities": answer}
    )
    return backend, {"image": np.zeros((1, SIDE, SIDE, 3), np.uint8)}


def measure_null(*, rounds: int = 24, calls: int = 200) -> BenchResult:
    """Measure the null backend as any other side, its control included.

    Args:
        rounds, calls: Of the interleaved run; a call takes microseconds.

    Returns:
        A result with one cell, ``null``, and the control of it.
    """
    backend, inputs = null_backend()
    before = activity()
    samples = interleave(
        {NAME: in_process(backend.run, inputs)},
        calls=calls,
        min_rounds=rounds,
        max_seconds=_SECONDS,
        control=NAME,
        enough=precise_to(NAME),
    )
    backend.close()
    after = activity()
    facts = machine_facts() | shares(before, after)
    facts["warnings"] = disturbances(before, after, facts, settled=samples.settled)
    run = Run(samples=samples, batch=1, threads=1, reference=NAME, control_of=NAME)
    return result_of([run], machine=facts)


def load_null(options: LoadOptions) -> BenchResult:
    """Put the null backend under load: what LoadGen, its queue and its thread cost."""
    backend, inputs = null_backend()
    return measure_under_load([(NAME, backend, inputs)], options, threads=1)

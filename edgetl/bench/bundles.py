"""Two bundles measured together now: is the new release slower than the old one?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edgetl.bench.baseline import Compared, Comparison, check_margin
from edgetl.bench.compare import Ratio, precise_to, ratio
from edgetl.bench.machine import activity, disturbances, machine_facts
from edgetl.bench.measure import CONTROL, in_process, interleave
from edgetl.runtime.classifier import Classifier
from edgetl.spec import Array, TensorSpec

OLD, NEW = "old", "new"

Specs = Mapping[str, TensorSpec]


def compare_bundles(
    old: Path,
    new: Path,
    *,
    margin: float = 0.05,
    variant: str | None = None,
    threads: int | None = None,
    max_seconds: float = 120.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Measure one variant of each of two bundles in interleaved rounds.

    Args:
        old, new: Bundles, which are verified.
        margin: How much slower the new one may be.
        variant: The variant of both; left out, each bundle's own fastest that passed.
        threads: Of both; the backends' default when None.
        max_seconds: The budget; it ends sooner when the ratio, and that of the old one to itself,
            are known within half the margin.
        seed: Of the order, and of the input: noise, the same for both.
        progress: Told the number of rounds done.

    Raises:
        GateError: For a margin that is none.
        EdgetlError: What `Classifier.load` raises.
    """
    check_margin(margin)
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(Classifier.load(path, variant=variant, threads=threads))
            for name, path in ((OLD, old), (NEW, new))
        }
        specs = {name: dict(side.backend.input_spec) for name, side in sides.items()}
        before = activity()
        samples = interleave(
            {
                name: in_process(side.backend.run, _noise(specs[name], seed))
                for name, side in sides.items()
            },
            max_seconds=max_seconds,
            seed=seed,
            control=OLD,
            enough=precise_to(OLD, margin / 2),
            progress=progress,
        )
        after = activity()
        settled = {name: samples.settled[name] for name in sides}
        noise = disturbances(before, after, machine_facts(), settled=settled)
        control = ratio(samples[CONTROL], samples[OLD], 0.90)
        found = ratio(samples[NEW], samples[OLD], 0.90)
        ids = {name: side.variant.id for name, side in sides.items()}
    label = ids[NEW] if ids[OLD] == ids[NEW] else f"{ids[OLD]} -> {ids[NEW]}"
    return Comparison(
        margin=margin,
        method="interleaved",
        compared=(
            Compared(
                variant=label,
                batch=1,
                threads=threads,
                old_p50_ms=float(np.median(samples[OLD])) * 1e3,
                new_p50_ms=float(np.median(samples[NEW])) * 1e3,
                ratio=found,
                outcome=found.outcome(margin),
            ),
        ),
        notes=(*_notes(specs, control, margin), *noise),
    )


def _notes(specs: Mapping[str, Specs], control: Ratio, margin: float) -> Iterator[str]:
    if specs[OLD] != specs[NEW]:
        yield f"their inputs differ: {_listed(specs[OLD])} and {_listed(specs[NEW])}"
    told = f"{control.estimate:.3f} [{control.lower:.3f}, {control.upper:.3f}]"
    if control.within(margin):
        yield f"the old one beside itself: {told}, equal within the margin"
    else:
        yield (
            f"the old one beside itself: {told}, not equal within the margin: the machine was too "
            "noisy for it; to fix: end other work, or allow more --seconds"
        )


def _noise(specs: Specs, seed: int) -> dict[str, Array]:
    """An input of each spec, filled with noise: zeros are quicker in some kernels."""
    random = np.random.default_rng(seed)
    inputs = {}
    for name, spec in specs.items():
        shape = [1 if size is None else size for size in spec.shape]
        if spec.dtype == "uint8":
            inputs[name] = random.integers(0, 256, shape, dtype=np.uint8)
        else:
            inputs[name] = random.random(shape).astype(spec.dtype)
    return inputs


def _listed(specs: Specs) -> str:
    return ", ".join(f"{name} {spec.dtype} {list(spec.shape)}" for name, spec in specs.items())

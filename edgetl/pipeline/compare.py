"""Two releases on the same data: an old bundle as the reference of a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgetl.backends.base import Backend
from edgetl.bench.compare import precise_to
from edgetl.bench.footprint import Footprint, measure_footprint
from edgetl.bench.machine import usable_cores
from edgetl.bench.measure import in_process, interleave
from edgetl.bench.result import BenchResult, Run, result_of
from edgetl.bundle import open_bundle
from edgetl.data.dataset import Dataset
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import open_dataset
from edgetl.errors import GateError
from edgetl.gate import (
    JudgedData,
    JudgedVariant,
    Policy,
    Predictions,
    ReleaseVerdict,
    judge,
)
from edgetl.runtime.answers import Source, answers
from edgetl.runtime.classifier import Classifier
from edgetl.spec import ClassifierInput, Variant

Tell = Callable[[str, int, int], None]
"""Told what is being done, how many of it are done, and of how many."""

REFERENCE = "reference"
CANDIDATE = "candidate"

# A few batches: often enough to see that it goes on.
_AT_ONCE = 256
_LATENCY_LIMITS = ("max_p50_ratio", "max_p90_ratio", "max_p99_ms")
_FITTED = (
    "a bundle does not tell what it was fitted to: that none of these inputs were among it is not "
    "checked here"
)
_FOOTPRINT_LIMITS = ("max_size_mb", "max_memory_mb")


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which variant of each bundle is loaded, as `Classifier.load` takes it."""

    backend: str = "auto"
    variant: str | None = None


@contextmanager
def both_loaded(
    bundles: tuple[Path, Path], loading: Loading, *, threads: int | None
) -> Iterator[tuple[Classifier, Classifier]]:
    """The old and the new bundle's classifiers, for a `with` block.

    Raises:
        GateError: When they do not have the same classes by name.
    """
    with ExitStack() as stack:
        old, new = (
            stack.enter_context(
                Classifier.load(
                    path, backend=loading.backend, variant=loading.variant, threads=threads
                )
            )
            for path in bundles
        )
        if set(old.classes) != set(new.classes):
            only = sorted(set(old.classes) ^ set(new.classes))
            raise GateError(
                f"bundle {bundles[1]}",
                got=f"other classes than {bundles[0]}: {len(only)} are in one of them only, such "
                f"as {only[0]!r}",
                expected="two releases of the same classes",
                fix="compare releases that answer the same question",
            )
        yield old, new


def untold(what: str, done: int, total: int) -> None:
    """A `Tell` that says nothing."""


def answers_to(
    backend: Backend, samples: Sequence[Source], spec: ClassifierInput, classes: int, tell: Tell
) -> NDArray[np.float32]:
    """As `edgetl.runtime.answers`, telling how far it is."""
    parts = []
    for begin in range(0, len(samples), _AT_ONCE):
        some = samples[begin : begin + _AT_ONCE]
        parts.append(answers(backend, some, spec, classes=classes))
        tell("inputs answered", begin + len(some), len(samples))
    return np.concatenate(parts)


def answered(
    classifier: Classifier,
    samples: Sequence[Source],
    *,
    ids: Sequence[str],
    tell: Tell = untold,
    labels: NDArray[np.int64] | None = None,
    slices: dict[str, NDArray[np.str_]] | None = None,
) -> Predictions:
    """A classifier's answers to samples, as they would be stored.

    Args:
        classifier: Whom to ask.
        samples: As `edgetl.runtime.answers` takes them.
        ids: A content hash for each.
        tell: Told how far it is.
        labels: Positions in the classifier's classes, int64 [n].
        slices: Further values of each sample.
    """
    classes = classifier.classes
    return Predictions(
        ids=ids,
        labels=labels,
        probabilities=answers_to(
            classifier.backend, samples, classifier.manifest.input, len(classes), tell
        ),
        classes=classes,
        slices=slices,
    )


def compare_bundles(
    old: Path,
    new: Path,
    source: str,
    policy: Policy,
    *,
    loading: Loading | None = None,
    tell: Tell = untold,
) -> ReleaseVerdict:
    """Judge a new release against an old one on labelled data.

    Each takes its fastest variant that passed its own gate and whose backend is here. What the
    policy states a limit on is measured: latency with the two interleaved in this process, size and
    memory of the new one. Where the source gives a test part, that alone is judged on.

    Args:
        old: The reference's bundle.
        new: The candidate's.
        source: Labelled data, as `edgetl.data.sources.open_dataset` takes it.
        policy: The limits.
        loading: Another choice of variants.
        tell: Told how far it is.

    Raises:
        GateError: When the bundles' classes differ by name, or the data has others.
        DataError: For data that cannot be read or is no input of both.
        BundleError, UnavailableError, UsageError: When a bundle cannot be loaded.
    """
    threads = policy.objective.threads
    dataset, split = _test_part(open_dataset(source))
    with both_loaded((old, new), loading or Loading(), threads=threads) as (first, second):
        reference, candidate = (_on_dataset(one, dataset, tell) for one in (first, second))
        bench = _measured(first, second, new, dataset, policy, tell)
        verdict = judge(
            reference,
            candidate,
            policy,
            bench=None if bench is None else bench.pair(CANDIDATE, batch=policy.objective.batch),
            cell=None if bench is None else bench.cell(CANDIDATE, batch=policy.objective.batch),
            notes=() if bench is None else bench.doubts,
        )
        notes = (f"the reference is {name_of(first)}", _FITTED, *verdict.notes)
        return ReleaseVerdict(
            policy=policy,
            data=JudgedData(
                name=dataset.name, split=split, n=reference.n, hash=reference.data_hash()
            ),
            variants=(
                JudgedVariant(
                    id=name_of(second),
                    backend=second.variant.backend,
                    precision=str(second.variant.precision),
                    file=second.variant.file,
                    verdict=replace(verdict, notes=notes),
                ),
            ),
        )


def name_of(classifier: Classifier) -> str:
    """A release and its variant, such as ``digits-1.0.0 ov-int8``."""
    manifest = classifier.manifest
    return f"{manifest.name}-{manifest.version} {classifier.variant.id}"


def _test_part(dataset: Dataset) -> tuple[Dataset, str]:
    given = np.array(dataset.given_split or ())
    if not (given == "test").any():
        return dataset, "all"
    return dataset.subset(np.flatnonzero(given == "test")), "test"


def _on_dataset(classifier: Classifier, dataset: Dataset, tell: Tell) -> Predictions:
    position = {name: at for at, name in enumerate(classifier.classes)}
    unknown = [name for name in dataset.classes if name not in position]
    if unknown:
        raise GateError(
            f"dataset {dataset.name}",
            got=f"a class {unknown[0]!r} that the bundle does not have",
            expected="labels among " + ", ".join(classifier.classes[:8]),
            fix="use the class names that the bundle was released with",
        )
    moved = np.array([position[name] for name in dataset.classes], np.int64)
    return answered(
        classifier,
        cast(Sequence[Source], dataset.images),
        ids=dataset.ids,
        tell=tell,
        labels=moved[dataset.labels],
        slices={name: np.array(held) for name, held in (dataset.slices or {}).items()},
    )


def _measured(
    first: Classifier,
    second: Classifier,
    new: Path,
    dataset: Dataset,
    policy: Policy,
    tell: Tell,
) -> BenchResult | None:
    """Latency, size and memory, when the policy states a limit on one of them."""
    if not any(policy.states(limit) for limit in (*_LATENCY_LIMITS, *_FOOTPRINT_LIMITS)):
        return None
    objective = policy.objective
    threads = objective.threads or usable_cores()
    # Real inputs: zeros would be quicker in some kernels. They are repeated when there are fewer
    # than the batch takes.
    batch = dataset.images[np.resize(np.arange(len(dataset)), objective.batch)]
    samples = interleave(
        {
            side: in_process(one.backend.run, to_inputs(batch, one.manifest.input))
            for side, one in ((REFERENCE, first), (CANDIDATE, second))
        },
        control=REFERENCE,
        enough=precise_to(REFERENCE),
        progress=lambda done: tell("interleaved rounds of measurement", done, done),
    )
    footprints = {}
    if any(policy.states(limit) for limit in _FOOTPRINT_LIMITS):
        footprints[CANDIDATE] = _footprint(new, second.variant, threads, objective.batch)
    run = Run(
        samples=samples,
        batch=objective.batch,
        threads=threads,
        reference=REFERENCE,
        control_of=REFERENCE,
    )
    return result_of([run], machine={"warnings": []}, footprints=footprints)


def _footprint(bundle: Path, variant: Variant, threads: int, batch: int) -> Footprint:
    """A cold start of the verified files; a fresh process reads them from a folder."""
    content = open_bundle(bundle, keep=lambda _: variant.files)
    with TemporaryDirectory() as folder:
        files = {}
        for number, (name, data) in enumerate(content.variant_files(variant).items()):
            files[name] = Path(folder) / f"{number}{Path(name).suffix}"
            files[name].write_bytes(data)
        return measure_footprint(variant, files, threads=threads, batch=batch)

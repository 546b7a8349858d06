"""Inputs without labels, and what they certify of a bundle or of a run's winners."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgetl.data.content import content_id, joined_id
from edgetl.data.decode import looks_like_picture
from edgetl.data.listing import Entry, Problem, look_at, read_bytes, shown
from edgetl.data.npz_arrays import read_npz
from edgetl.data.regular_file import open_regular
from edgetl.errors import DataError, EdgetlError
from edgetl.gate import Policy, Predictions
from edgetl.gate.align import refuse_overlap
from edgetl.gate.certificate import Certificate, certify
from edgetl.gate.certificate_render import CertificateDocument, CertifiedVariant
from edgetl.pipeline.compare import (
    Loading,
    Tell,
    answered,
    answers_to,
    both_loaded,
    name_of,
    untold,
)
from edgetl.pipeline.context import StageContext
from edgetl.pipeline.events import Listener, Reporter, ignore
from edgetl.pipeline.ptq import ptq_part
from edgetl.pipeline.waterfall_run import finished_run
from edgetl.runtime.answers import Source
from edgetl.spec import Array, ClassifierInput, SeveralInputs, TensorInput

ReadTensor = Callable[[Path], Array]

_SHOWN = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """Inputs that nobody labelled, each once.

    Attributes:
        name: Where they come from.
        ids: The content hash of each.
        sources: As `edgetl.runtime.answers` takes them.
        notes: What was left out.
    """

    name: str
    ids: tuple[str, ...]
    sources: tuple[Source, ...]
    notes: tuple[str, ...]


def read_inputs(folder: Path, spec: ClassifierInput, *, read_tensor: ReadTensor) -> Inputs:
    """Every input in a folder, at any depth.

    Args:
        folder: For an image classifier pictures, told by content; for a tensor classifier also
            ``.npy`` files, and for one of several inputs ``.npz`` files with an array for each.
            Links, hidden files and files of other kinds are left out and counted.
        spec: The classifier's input.
        read_tensor: Reads a ``.npy`` file without trust.

    Returns:
        The inputs; of those with equal content only the first, for copies would be counted as
        further evidence.

    Raises:
        DataError: When the folder is missing or cannot be read, holds no input, or one of them
            cannot be decoded.
    """
    found: list[tuple[str, Source]] = []
    left_out = 0
    pictures = []
    for path in _files(folder):
        suffix = path.suffix.lower()
        if suffix == ".npy" and isinstance(spec, TensorInput):
            array = read_tensor(path)
            found.append((content_id(array), array))
        elif suffix == ".npz" and isinstance(spec, SeveralInputs):
            arrays = read_npz(path)
            ids = {name: content_id(array) for name, array in arrays.items()}
            found.append((joined_id(ids), arrays))
        elif not isinstance(spec, SeveralInputs) and _is_picture(path):
            pictures.append(path)
        else:
            left_out += 1
    found += _decoded(folder, pictures)
    unique: dict[str, Source] = {}
    for identity, source in found:
        unique.setdefault(identity, source)
    if not unique:
        raise _bad(folder, f"no input among {left_out} files", f"{_kind(spec)}, at any depth")
    notes = []
    if left_out:
        notes.append(f"{left_out} files that are no {_kind(spec)} were left out")
    if copies := len(found) - len(unique):
        notes.append(f"{copies} inputs with the content of another were left out")
    return Inputs(
        # The working folder, `.`, has no name of its own.
        name=f"unlabelled:{shown(folder.absolute().name)}",
        ids=tuple(unique),
        sources=tuple(unique.values()),
        notes=tuple(notes),
    )


def certify_bundles(
    old: Path,
    new: Path,
    folder: Path,
    policy: Policy,
    *,
    read_tensor: ReadTensor,
    loading: Loading | None = None,
    tell: Tell = untold,
) -> CertificateDocument:
    """What a folder of unlabelled inputs certifies of a new release against an old one.

    Raises:
        EdgetlError: As `read_inputs`, `edgetl.pipeline.compare.both_loaded` and `certify`.
    """
    loading = loading or Loading()
    with both_loaded((old, new), loading, threads=policy.objective.threads) as (first, second):
        inputs = read_inputs(folder, first.manifest.input, read_tensor=read_tensor)
        reference, candidate = (
            answered(one, inputs.sources, ids=inputs.ids, tell=tell) for one in (first, second)
        )
        found = certify(reference, candidate, policy)
        return CertificateDocument(
            policy=policy,
            reference=name_of(first),
            data=inputs.name,
            data_hash=reference.data_hash(),
            variants=(
                CertifiedVariant(
                    id=name_of(second),
                    backend=second.variant.backend,
                    precision=str(second.variant.precision),
                    file=second.variant.file,
                    certificate=_with_notes(found, inputs.notes),
                ),
            ),
        )


def certify_run(
    config: Path,
    folder: Path,
    *,
    read_tensor: ReadTensor,
    out: Path | None = None,
    listen: Listener = ignore,
) -> CertificateDocument:
    """What a folder of unlabelled inputs certifies of a run's winners against its reference.

    The reference answers in its own process. Each of m winners is judged at alpha / m, as on test.

    Args:
        config: The release's config; its gate stage has been run.
        folder: The inputs.
        read_tensor: Reads a ``.npy`` file without trust.
        out: The run's folder; ``runs/NAME`` when left out.
        listen: Hears what happens.

    Raises:
        UsageError: When the run is not finished up to its gate, was made from another config, or
            is being changed.
        DataError: As `read_inputs`, or when no candidate was chosen.
        GateError: When an input was a calibration image or a ptq sample of the run.
    """
    with finished_run(config, out=out, listen=listen) as found:
        return _of_run(replace(found, reporter=Reporter("gate", listen)), folder, read_tensor)


def _of_run(context: StageContext, folder: Path, read_tensor: ReadTensor) -> CertificateDocument:
    context.folder.outputs("gate")
    winners = tuple(context.json("gate", "selection.json")["winners"].values())
    if not winners:
        raise DataError(
            f"{context.folder.root}: gate",
            got="no candidate that was chosen on val",
            expected="a winner to certify",
            fix="read gate/verdict.md, which says why each dropped out",
        )
    inputs = read_inputs(folder, context.input, read_tensor=read_tensor)
    reference = _reference_answers(context, inputs)
    policy = context.config.gate.policy
    return CertificateDocument(
        policy=policy,
        reference=f"the reference of {context.config.name}",
        data=inputs.name,
        data_hash=reference.data_hash(),
        variants=tuple(
            _certified(context, name, reference, inputs, policy.alpha / len(winners))
            for name in winners
        ),
    )


def _reference_answers(context: StageContext, inputs: Inputs) -> Predictions:
    classes = context.splits.classes
    tell = context.reporter.progress
    with context.reference() as backend:
        probabilities = answers_to(backend, inputs.sources, context.input, len(classes), tell)
    predictions = Predictions(ids=inputs.ids, probabilities=probabilities, classes=classes)
    refuse_overlap(predictions, context.splits.load("calib").ids, "calibration inputs")
    refuse_overlap(predictions, ptq_part(context).ids, "ptq samples")
    return predictions


def _certified(
    context: StageContext, name: str, reference: Predictions, inputs: Inputs, alpha: float
) -> CertifiedVariant:
    classes = context.splits.classes
    variant = context.candidate(name)
    tell = context.reporter.progress
    with context.variant(variant) as backend:
        probabilities = answers_to(backend, inputs.sources, context.input, len(classes), tell)
    candidate = Predictions(ids=inputs.ids, probabilities=probabilities, classes=classes)
    found = certify(reference, candidate, context.config.gate.policy, alpha=alpha)
    return CertifiedVariant(
        id=name,
        backend=variant.backend,
        precision=str(variant.precision),
        file=variant.file,
        certificate=_with_notes(found, inputs.notes),
    )


def _with_notes(found: Certificate, notes: tuple[str, ...]) -> Certificate:
    return replace(found, notes=(*notes, *found.notes))


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise _bad(folder, got, "a folder of inputs")

    def refuse(error: OSError) -> None:
        place = Path(error.filename or folder)
        raise _bad(place, (error.strerror or str(error)).lower(), "a folder that can be read")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place) / name for name in sorted(names) if not name.startswith("."))


def _is_picture(path: Path) -> bool:
    try:
        with open_regular(path, follow_links=False) as stream:
            return looks_like_picture(stream.read(16))
    except DataError:
        return False


def _decoded(folder: Path, pictures: list[Path]) -> list[tuple[str, Source]]:
    entries = [
        Entry(place=shown(path.relative_to(folder)), label=0, read=partial(read_bytes, path))
        for path in pictures
    ]
    looked = look_at(entries, lambda data, pixels: (content_id(pixels), data))
    problems = [one for one in looked if isinstance(one, Problem)]
    if problems:
        first = "; ".join(f"{one.place}: {one.why}" for one in problems[:_SHOWN])
        raise _bad(
            folder,
            f"{len(problems)} of {len(looked)} pictures that cannot be used: {first}",
            "whole pictures",
        )
    return [one for one in looked if not isinstance(one, Problem)]


def _kind(spec: ClassifierInput) -> str:
    if isinstance(spec, SeveralInputs):
        return ".npz files"
    return "pictures or .npy files" if isinstance(spec, TensorInput) else "pictures"


def _bad(place: Path, got: str, expected: str) -> EdgetlError:
    return DataError(
        f"unlabelled inputs {shown(place)}", got=got, expected=expected, fix="check the path"
    )

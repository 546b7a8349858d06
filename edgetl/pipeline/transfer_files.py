"""The files outside a run that the terms of its training are made from, by their hashes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edgetl.data.sources import source_files
from edgetl.errors import CheckpointError, ConfigError
from edgetl.files import sha256_file
from edgetl.pipeline.sections import FinetuneSection
from edgetl.reference.description import (
    DESCRIPTION_FILE,
    ONNX_FILE,
    WEIGHTS_FILE,
    read_description,
)
from edgetl.reference.user_code import source_hashes

_CHECKPOINT = (DESCRIPTION_FILE, WEIGHTS_FILE, ONNX_FILE)
# A run's folder may be named for the classifier in it.
_STAGES = ("finetune", "calibrate")
_IN_RUN = (*_CHECKPOINT, *(f"{stage}/{name}" for stage in _STAGES for name in _CHECKPOINT))
_SPLITS = ("data/splits.json", "data/train.npz")


def term_files(section: FinetuneSection, code: Path) -> dict[str, str]:
    """What decides the terms beside the config: a name for each file -> SHA-256 of its content.

    The source's data, the teacher's checkpoint and the code of a ``python:`` one, the previous
    classifier's (whose code is the network's own), and the data of its run. What is missing is
    left out: making the terms says what is wrong. Nothing is read when no table names a file, so
    that the keys of other runs stay what they were.

    Args:
        section: The config's.
        code: The folder of the user's modules.

    Example:
        >>> term_files(FinetuneSection(architecture="mlp", weights="none"), Path("."))
        {}
    """
    files: dict[str, str] = {}
    if section.source is not None:
        found = source_files(section.source.data)
        files |= {f"source {name}": digest for name, digest in found.items()}
    if section.distillation is not None:
        files |= _hashes("teacher", section.distillation.teacher, _IN_RUN)
        files |= _teachers_code(checkpoint_in(Path(section.distillation.teacher)), code)
    if section.previous is not None:
        files |= _hashes("previous", section.previous.classifier, (*_IN_RUN, *_SPLITS))
        if section.previous.run is not None:
            files |= _hashes("previous run", section.previous.run, _SPLITS)
    return files


def checkpoint_in(folder: Path) -> Path:
    """The checkpoint of a run's folder; any other folder itself.

    Example:
        >>> checkpoint_in(Path("no/such/run")).name
        'run'
    """
    places = (folder, *(folder / stage for stage in _STAGES))
    return next((place for place in places if (place / DESCRIPTION_FILE).is_file()), folder)


def _teachers_code(folder: Path, code: Path) -> dict[str, str]:
    try:
        description, _ = read_description(folder)
        hashes = source_hashes(description.architecture, code)
    except (CheckpointError, ConfigError):
        return {}
    return {f"teacher {name}": digest for name, digest in hashes.items()}


def _hashes(what: str, folder: str, names: Iterable[str]) -> dict[str, str]:
    files = {name: Path(folder) / name for name in names}
    return {f"{what} {name}": sha256_file(file) for name, file in files.items() if file.is_file()}

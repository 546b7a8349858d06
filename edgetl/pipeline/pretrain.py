"""Weights pretrained on rendered letters: made once on this machine, then taken from a cache.

No download is needed, and the features (strokes, corners, closed loops) transfer to small
pictures. The cache is `$EDGETL_CACHE`, or `edgetl` in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from edgetl.data.letters import render_letters
from edgetl.data.sources import Dataset
from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError
from edgetl.files import atomic_folder, sha256_file
from edgetl.input_json import input_to_json
from edgetl.pipeline.events import Reporter
from edgetl.pipeline.run_folder import stage_key
from edgetl.pipeline.sections import FinetuneSection
from edgetl.reference.description import WEIGHTS_FILE, read_description
from edgetl.reference.user_code import source_hashes
from edgetl.spec import ClassifierInput
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import TrainProgress, finetune
from edgetl.train.session import chosen_device, described_config
from edgetl.version import __version__

_VAL_PER_CLASS = 20
# Another release of one of these draws, resizes or rounds differently.
_DECIDING = ("torch", "torchvision", "timm", "pillow", "numpy")


def cache_folder() -> Path:
    """Where pretrained weights are kept between runs."""
    named = os.environ.get("EDGETL_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgetl"


def letters_weights(
    section: FinetuneSection,
    input: ClassifierInput,
    *,
    threads: int | None,
    reporter: Reporter,
    code: Path | None = None,
) -> Path:
    """The safetensors file of an architecture, pretrained on letters at an input size.

    Args:
        section: Names the architecture, the device, the precision and how to pretrain.
        input: The classifier's input.
        threads: Threads to train with; PyTorch's own number when None.
        reporter: Hears the progress.
        code: The folder of the user's module, for an architecture ``python:…``.

    Raises:
        UnavailableError: When the section's device is not here.
    """
    config = FinetuneConfig(
        architecture=section.architecture,
        weights="none",
        recipe="full",
        head=section.head,
        device=chosen_device(section.device),
        epochs=section.pretrain.epochs,
        batch_size=section.pretrain.batch_size,
        learning_rate=section.pretrain.learning_rate,
        augment="none",
        precision=section.precision,
        seed=0,
        threads=threads or torch.get_num_threads(),
    )
    key = stage_key(
        [
            {**described_config(config), "head": config.head},
            asdict(section.pretrain),
            input_to_json(input),
            source_hashes(section.architecture, code or Path()),
            {"edgetl": __version__} | {name: _installed(name) for name in _DECIDING},
        ]
    )
    name = re.sub(r"[^\w.-]+", "-", section.architecture)
    target = cache_folder() / "letters" / f"{name}-{key[:16]}"
    with _locked(target, reporter):
        if _is_whole(target):
            reporter.note("weights pretrained on letters: from the cache")
        else:
            if target.exists():
                reporter.note("weights pretrained on letters: damaged in the cache, made again")
            _pretrain(config, section.pretrain.per_class, input, target, reporter, code)
    return target / WEIGHTS_FILE


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_whole(entry: Path) -> bool:
    """Whether a cached classifier's weights are the bytes that its description was written for."""
    try:
        _, record = read_description(entry)
        return sha256_file(entry / WEIGHTS_FILE) == record.sha256
    except (CheckpointError, OSError):
        return False


def _pretrain(
    config: FinetuneConfig,
    per_class: int,
    input: ClassifierInput,
    target: Path,
    reporter: Reporter,
    code: Path | None,
) -> None:
    train = render_letters(per_class, seed=1)
    val = render_letters(_VAL_PER_CLASS, seed=2)

    # Checkpoints live beside the cache entry, so that a killed pretraining resumes too.
    work = target.with_name(f"{target.name}.work")
    result = finetune(
        config,
        _part(train),
        _part(val),
        input=input,
        classes=train.classes,
        out=work,
        progress=training_progress(reporter, f"{config.architecture}, letters"),
        code=code,
    )
    with atomic_folder(target) as folder:
        for name in (WEIGHTS_FILE, "classifier.json", "history.json"):
            shutil.copyfile(work / name, folder / name)
    shutil.rmtree(work)
    best = result.records[result.best_epoch - 1]
    reporter.note(
        f"pretrained on {len(train)} letters on {result.device}: val top-1 {best.top1:.4f}"
    )


def training_progress(reporter: Reporter, what: str) -> Callable[[TrainProgress], None]:
    """Hear a training run step by step and report it as one bar over all its epochs."""

    def hear(progress: TrainProgress) -> None:
        done = (progress.epoch - 1) * progress.steps + progress.step
        reporter.progress(
            f"{what}, {progress.phase}, loss {progress.loss:.3f}",
            done,
            progress.epochs * progress.steps,
        )

    return hear


def _part(dataset: Dataset) -> SplitPart:
    return SplitPart(ids=dataset.ids, labels=dataset.labels, images=dataset.images)


@contextmanager
def _locked(target: Path, reporter: Reporter) -> Iterator[None]:
    """Two releases that want the same weights: the second waits for the first's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reporter.note("another release is pretraining the same weights; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

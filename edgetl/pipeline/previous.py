"""A classifier that is to learn more: its weights, the data of its run, its widened head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from edgetl.data.store import SplitPart, SplitStore
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.extras import extra
from edgetl.files import write_atomic
from edgetl.pipeline.transfer_files import checkpoint_in
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.ending import OUTPUT
from edgetl.reference.head_kinds import COSINES, unit_rows
from edgetl.reference.network import build_network
from edgetl.reference.tensors import state_of
from edgetl.train.terms.checks import listed

START_FILE = "start.safetensors"
_HELD_OUT = ("val", "calib", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Previous:
    """A classifier that is to learn more classes.

    Attributes:
        network: On the CPU, in eval mode.
        description: What it is.
        train: Images of its task that EWC's Fisher information is taken from; None without.
        held_out: Images of its task that it was not fitted to, on which forgetting is measured.
    """

    network: nn.Module
    description: ClassifierDescription
    train: SplitPart | None = None
    held_out: SplitPart | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Its labels, in the order of its outputs."""
        return self.description.head.classes


def read_previous(
    classifier: Path,
    *,
    run: Path | None = None,
    code: Path | None = None,
    judged: SplitStore | None = None,
) -> Previous:
    """A classifier from a checkpoint folder or a finished run, with the data of a run.

    Args:
        classifier: A folder with classifier.json, or a run's folder, whose finetune stage it is.
        run: A run's folder: its train split and, held out, its calib split (whose labels only
            ever chose a temperature; its val split where there is no calib). The test split
            stays shut. None takes `classifier`, when that is a run's folder.
        code: The folder of the module of a ``python:`` architecture.
        judged: The splits of the classifier to come.

    Raises:
        CheckpointError: When the folder is no checkpoint, is of other weights than described, or
            holds an ONNX file, which cannot be trained.
        DataError: When the run has other classes than the classifier, or the classifier was
            trained on images that the one to come is judged on.
    """
    folder = checkpoint_in(classifier)
    if run is None and folder != classifier:
        run = classifier
    network, description = load_classifier(folder, code=code)
    if run is None:
        return Previous(network=network, description=description)
    store = SplitStore(run / "data")
    if store.classes != description.head.classes:
        raise DataError(
            f"the data of {run}",
            got=f"the classes {listed(store.classes)}",
            expected=f"those of the classifier {folder}: {listed(description.head.classes)}",
            fix="name the run that trained the classifier",
        )
    train = store.load("train")
    if judged is not None:
        _check_unseen(train, judged, run)
    held_out = store.load("calib" if store.sizes["calib"] else "val")
    return Previous(network=network, description=description, train=train, held_out=held_out)


def _check_unseen(train: SplitPart, judged: SplitStore, run: Path) -> None:
    """The start knows its images: a verdict on them would be too good."""
    known = set(train.ids)
    for name in _HELD_OUT:
        shared = sorted(known & set(judged.ids(name)))
        if shared:
            raise DataError(
                f"the data of {run}",
                got=f"{len(shared)} of its training images in the {name} split, "
                f"first {shared[0][:12]}…",
                expected="no image that the previous classifier was trained on",
                fix="take these images out of the data, or give them as its train part",
            )


def with_new_classes(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The old classes in their order, then those of the new ones that are not among them.

    Example:
        >>> with_new_classes(("cat", "dog"), ("dog", "cow"))
        ('cat', 'dog', 'cow')
    """
    return (*old, *(name for name in new if name not in old))


def starting_weights(
    previous: Previous,
    classes: tuple[str, ...],
    out: Path,
    *,
    seed: int = 0,
    code: Path | None = None,
) -> Path:
    """Write the weights that training on more classes starts from.

    Args:
        previous: The classifier.
        classes: All labels; the old ones first, in their order.
        out: A folder, made when it is not there.
        seed: Of the new rows, which are drawn as a fresh head's are.
        code: The folder of the module of a ``python:`` architecture.

    Returns:
        ``out/start.safetensors``, for `FinetuneConfig.weights`: the same seed, the same bytes.

    Raises:
        ConfigError: For fewer classes than before, or old ones in another place.
        CheckpointError: When the old head is no named layer.
    """
    check_classes(previous.classes, classes)
    description = previous.description
    layer = description.head.layer
    if layer == OUTPUT:
        raise CheckpointError(
            "the previous classifier",
            got=f"the head '{OUTPUT}', which names no layer",
            expected="a last linear layer, which gets a row for each new class",
            fix="write head = NAME when you train it",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build_network(
            description.architecture,
            len(classes),
            description.input,
            code=code,
            head_kind=description.head_kind,
            head_width=description.head_width,
        ).state_dict()
    tensors = state_of(previous.network, "the previous classifier")
    if description.head_kind in COSINES:
        # One length for all rows: the longest is taken, and must not stretch the old ones.
        own = torch.linalg.vector_norm(tensors[f"{layer}.weight"], dim=1).max()
        fresh[f"{layer}.weight"] = own * unit_rows(fresh[f"{layer}.weight"])
    for name in (f"{layer}.weight", f"{layer}.bias"):
        if name in tensors:
            rows = tensors[name]
            tensors[name] = torch.cat([rows, fresh[name][len(rows) :].to(rows)]).contiguous()
    with extra("train"):
        from safetensors.torch import save
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / START_FILE, save(tensors, metadata={"format": "pt"}))
    return out / START_FILE


def check_classes(old: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Refuse classes that do not begin with the old ones: an old class keeps its output.

    Raises:
        ConfigError: Naming those that are lost, or all when they moved.

    Example:
        >>> check_classes(("cat", "dog"), ("cat", "dog", "cow"))
    """
    if classes[: len(old)] == old:
        return
    lost = [name for name in old if name not in classes]
    raise ConfigError(
        "classes",
        got=f"{len(classes)} classes without {listed(lost)}"
        if lost
        else f"{listed(classes)}, which moves old classes to other outputs",
        expected=f"the {len(old)} old classes first, in their order: {listed(old)}",
        fix="keep the old classes and write the new ones behind them",
    )

"""What a classifier lost of an old task when it learnt a new one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError
from edgetl.pipeline.previous import Previous, check_classes
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.network import Reference
from edgetl.spec import SeveralInputs
from edgetl.stats import tango
from edgetl.train.evaluate import in_batches
from edgetl.train.feed import Batches

FORGETTING_SCHEMA = "edgetl.forgetting/1"
FORGETTING_FILE = "forgetting.json"


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """What an old task lost when a new one was learnt; shares of images, 0 to 1.

    Attributes:
        old_classes, new_classes: Their names.
        old_images, new_images: How many were asked.
        before: Top-1 on the old images before.
        after: The same after, where all classes compete, as in use.
        after_old_classes: The same where only the old classes compete: what is lost beyond that
            is taken by new classes.
        low, high: 95 % interval of `forgetting` (Tango's, paired).
        new_top1: Top-1 on the new images after, where all classes compete; None without images.
    """

    old_classes: tuple[str, ...]
    new_classes: tuple[str, ...]
    old_images: int
    new_images: int
    before: float
    after: float
    after_old_classes: float
    low: float
    high: float
    new_top1: float | None

    @property
    def forgetting(self) -> float:
        """Top-1 lost on the old images, all classes competing."""
        return mean_forgetting([[self.before], [self.after, 0.0]])

    @property
    def forgetting_old_classes(self) -> float:
        """Top-1 lost on the old images where only the old classes compete."""
        return mean_forgetting([[self.before], [self.after_old_classes, 0.0]])

    @property
    def sentence(self) -> str:
        """All of it in words."""
        said = (
            f"On {self.old_images} images of the {len(self.old_classes)} old classes top-1 was "
            f"{self.before:.3f} and is {self.after:.3f} ({self.after_old_classes:.3f} where only "
            f"they compete): {100 * self.forgetting:.1f} points forgotten "
            f"[{100 * self.low:.1f}, {100 * self.high:.1f}]"
        )
        if self.new_top1 is not None:
            said += (
                f"; on {self.new_images} images of the {len(self.new_classes)} new classes it is "
                f"{self.new_top1:.3f}"
            )
        return said + "."

    def to_json(self) -> dict[str, Any]:
        """As forgetting.json holds it."""
        return {
            "schema": FORGETTING_SCHEMA,
            "old": {"classes": list(self.old_classes), "images": self.old_images},
            "new": {
                "classes": list(self.new_classes),
                "images": self.new_images,
                "top1": self.new_top1,
            },
            "before": {"top1": self.before},
            "after": {"top1": self.after, "top1_old_classes": self.after_old_classes},
            "forgetting": {
                "estimate": self.forgetting,
                "low": self.low,
                "high": self.high,
                "old_classes": self.forgetting_old_classes,
            },
            "sentence": self.sentence,
        }


def mean_forgetting(top1: Sequence[Sequence[float]]) -> float:
    """Chaudhry et al. 2018, arXiv:1801.10112, definition 1: the mean over the earlier tasks of
    the best top-1 that each ever had, less what it has now. Below 0 where tasks gained.

    Args:
        top1: Row l holds the top-1 on tasks 0 to l after task l was learnt.

    Raises:
        DataError: For fewer than two tasks, or rows of other lengths.

    Example:
        >>> round(mean_forgetting([[0.9], [0.7, 0.8], [0.5, 0.85, 0.9]]), 3)
        0.175
    """
    last = len(top1) - 1
    if last < 1 or any(len(row) != index + 1 for index, row in enumerate(top1)):
        raise DataError(
            "top-1 of a sequence of tasks",
            got=f"rows of {[len(row) for row in top1]} tasks",
            expected="rows of 1, 2, 3 ... tasks, two at least",
            fix="give each row the tasks that were learnt by then",
        )
    lost = [
        max(top1[row][task] for row in range(task, last)) - top1[last][task] for task in range(last)
    ]
    return sum(lost) / last


def measure_forgetting(
    before: Previous,
    network: nn.Module,
    description: ClassifierDescription,
    *,
    new: SplitPart | None = None,
    seen: Collection[str] = (),
) -> Forgetting:
    """Ask the classifier before and after the same old images, and the later one the new ones.

    Args:
        before: With `Previous.held_out`.
        network: The later one, on the CPU.
        description: What it is; the old classes first.
        new: Images of the new task, labelled by the later classes.
        seen: Ids of images that the later one was trained on: none of them is asked.

    Raises:
        ConfigError: Without old images, or for classes that do not begin with the old ones.
        DataError: For images that do not fit the input.
    """
    old = before.classes
    check_classes(old, description.head.classes)
    asked = before.held_out
    if asked is not None and seen:
        known = set(seen)
        asked = part_at(asked, np.flatnonzero([one not in known for one in asked.ids]))
    if asked is None or not len(asked):
        raise ConfigError(
            "forgetting",
            got="no images of the old task" + " that are not trained on now" * bool(seen),
            expected="held-out images on which it can be seen",
            fix="name the finished run that trained the old classifier, or give its images",
        )
    labels = np.asarray(asked.labels)
    was = _raw_logits(before.network, before.description, asked).argmax(1) == labels
    now = _raw_logits(network, description, asked)
    still = now.argmax(1) == labels
    low, high = tango(int((still & ~was).sum()), int((was & ~still).sum()), len(labels))
    learnt = None if new is None else _raw_logits(network, description, new).argmax(1) == new.labels
    return Forgetting(
        old_classes=old,
        new_classes=description.head.classes[len(old) :],
        old_images=len(labels),
        new_images=0 if new is None else len(new),
        before=float(was.mean()),
        after=float(still.mean()),
        after_old_classes=float((now[:, : len(old)].argmax(1) == labels).mean()),
        # Of the loss, where Tango's interval is of the gain.
        low=-high,
        high=-low,
        new_top1=None if learnt is None else float(learnt.mean()),
    )


def part_at(part: SplitPart, places: NDArray[np.int64]) -> SplitPart:
    """Some samples of a split, in that order, without their slices.

    Example:
        >>> part = SplitPart(ids=("x", "y"), labels=np.array([0, 1]), images=np.zeros((2, 4)))
        >>> part_at(part, np.array([1])).ids
        ('y',)
    """
    ids = tuple(part.ids[int(at)] for at in places)
    return SplitPart(ids=ids, labels=part.labels[places], images=part.images[places])


def _raw_logits(
    network: nn.Module, description: ClassifierDescription, part: SplitPart
) -> NDArray[np.float32]:
    single = description.input
    assert not isinstance(single, SeveralInputs)
    reference = Reference.of(network.eval(), single, description.head)

    def answer(inputs: Tensor) -> Tensor:
        raw: Tensor = reference(inputs)[1]
        return raw

    raw = in_batches(answer, Batches.of(part, single).inputs, torch.device("cpu"))
    return np.asarray(raw.numpy(), np.float32)

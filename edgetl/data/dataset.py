"""A labelled set of samples in memory, each known by the hash of its content."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgetl.data.content import check_samples, content_id, content_ids
from edgetl.data.samples import Samples
from edgetl.errors import DataError

__all__ = [
    "Dataset",
    "GivenSplit",
    "check_classes",
    "check_every_class",
    "content_id",
    "content_ids",
    "is_plain_text",
]

GivenSplit = Literal["train", "val", "calib", "test"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Samples with their labels.

    Attributes:
        name: Where the samples come from, such as ``builtin:digits``.
        images: uint8 [n, height, width] (grey) or [n, height, width, 3] (RGB) of one size;
            pictures of any size as `EncodedImages`; finite tensors float32 [n, ...]; or several
            inputs as `SeveralSamples`.
        labels: int64 [n], positions in `classes`.
        classes: The names of the classes; at least two, different even when case is ignored.
        ids: For each sample, its id as `edgetl.data.content.sample_ids` makes it.
        given_split: For each sample ``"train"``, ``"val"``, ``"calib"`` or ``"test"``, when the
            source says so.
        slices: Name of a column -> for each sample its value, such as which camera took it.

    Raises:
        DataError: When these do not fit together.

    Example:
        >>> pixels = np.zeros((2, 4, 4), np.uint8)
        >>> pets = Dataset(name="pets", images=pixels, labels=np.array([0, 1]),
        ...                classes=("cat", "dog"), ids=content_ids(pixels))
        >>> pets.subset([1]).labels
        array([1])
    """

    name: str
    images: Samples
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    given_split: tuple[str, ...] | None = None
    slices: Mapping[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        check_samples(self.images, self.name)
        count = len(self.images)
        if self.labels.shape != (count,) or self.labels.dtype != np.int64:
            raise DataError(
                f"labels of {self.name}",
                got=f"{self.labels.dtype} {self.labels.shape}",
                expected=f"int64 ({count},), one label an image",
                fix="give one integer label for each image",
            )
        _check_names(self.classes, self.labels, self.name)
        check_classes(self.classes, self.name)
        for what in (self.ids, self.given_split, *(self.slices or {}).values()):
            if what is not None and len(what) != count:
                raise DataError(
                    f"dataset {self.name}",
                    got=f"{len(what)} entries for {count} samples",
                    expected="one id, one given split and one value of each slice for each sample",
                    fix="make ids with sample_ids(images)",
                )
        unknown = sorted(set(self.given_split or ()) - set(get_args(GivenSplit)))
        if unknown:
            raise DataError(
                f"given split of {self.name}",
                got=repr(unknown[0]),
                expected=f"one of {', '.join(get_args(GivenSplit))}",
                fix="rename it",
            )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The samples at `indices`, in that order; the classes stay the same."""
        chosen = np.asarray(indices, dtype=np.int64)
        given = self.given_split
        return Dataset(
            name=self.name,
            images=self.images[chosen],
            labels=self.labels[chosen],
            classes=self.classes,
            ids=tuple(self.ids[i] for i in chosen),
            given_split=None if given is None else tuple(given[i] for i in chosen),
            slices=None
            if self.slices is None
            else {name: tuple(held[i] for i in chosen) for name, held in self.slices.items()},
        )


def check_classes(classes: tuple[str, ...], name: str) -> None:
    """Refuse class names that a reader, a file system or a terminal could confuse.

    Raises:
        DataError: For fewer than two classes, an empty name, a control character, or two names
            that are equal but for case.
    """
    if len(classes) < 2:
        raise DataError(
            f"dataset {name}",
            got=_count(len(classes), "class", "classes"),
            expected="at least two classes",
            fix="a classifier needs something to tell apart: add images of another class",
        )
    seen: dict[str, str] = {}
    for label in classes:
        if not is_plain_text(label):
            raise DataError(
                f"class name {label!r} of {name}",
                got="an empty name or a control character",
                expected="printable text",
                fix="rename the class",
            )
        # Some file systems decompose letters: é as one character or as two is one name.
        folded = unicodedata.normalize("NFC", label).casefold()
        if folded in seen:
            raise DataError(
                f"class names of {name}",
                got=f"{seen[folded]!r} and {label!r}",
                expected="names that differ by more than case",
                fix="rename one of them, or merge the two classes",
            )
        seen[folded] = label


def is_plain_text(text: str) -> bool:
    """Whether a text can be shown as it is: not blank, no control character, valid Unicode.

    Example:
        >>> is_plain_text("cat"), is_plain_text("c\\x1b[2Jat"), is_plain_text(" ")
        (True, False, False)
    """
    hidden = ("Cc", "Cf", "Cs")
    return bool(text.strip()) and not any(unicodedata.category(c) in hidden for c in text)


def _check_names(classes: tuple[str, ...], labels: NDArray[np.int64], name: str) -> None:
    # Before the names themselves: one name for two labels is no dataset of one class.
    if not len(labels):
        return
    if labels.min() < 0:
        raise DataError(
            f"labels of {name}",
            got=f"{labels.min()} to {labels.max()}",
            expected=f"0 to {len(classes) - 1}, for {_count(len(classes), 'class', 'classes')}",
            fix="number the classes from 0",
        )
    known = int(labels.max()) + 1
    if known > len(classes):
        raise DataError(
            f"class names of {name}",
            got=f"{_count(len(classes), 'name', 'names')} for {_count(known, 'label', 'labels')}",
            expected=f"a name for each label, 0 to {known - 1}",
            fix="name every class, in the order of the labels",
        )


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def check_every_class(dataset: Dataset) -> Dataset:
    """Give the dataset back when every class has an image.

    Raises:
        DataError: When there are no images, only one class has any, or some class has none.
    """
    counts = np.bincount(dataset.labels, minlength=len(dataset.classes))
    missing = [
        name for name, count in zip(dataset.classes, counts.tolist(), strict=True) if not count
    ]
    if len(dataset) == 0:
        got, fix = "no images", "check the path: the source is empty"
    elif len(missing) == len(dataset.classes) - 1:
        got, fix = "images of one class only", "add images of the other classes"
    elif missing:
        got = f"no image of {', '.join(repr(name) for name in missing[:5])}"
        fix = "add images of these classes, or leave the classes out"
    else:
        return dataset
    raise DataError(f"dataset {dataset.name}", got=got, expected="images of every class", fix=fix)

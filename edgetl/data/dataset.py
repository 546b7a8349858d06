"""A labelled set of images in memory, each known by the hash of its content."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.spec import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images of one size with their labels.

    Attributes:
        name: Where the images come from, such as ``builtin:digits``.
        images: uint8 [n, height, width] (grey) or [n, height, width, 3] (RGB).
        labels: int64 [n], positions in `classes`.
        classes: The names of the classes; at least two, different even when case is ignored.
        ids: For each image, the `content_id` of its pixels.
        given_split: For each image ``"train"`` or ``"test"`` when the source says so.

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
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    given_split: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_images(self.images, self.name)
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
        for what in (self.ids, self.given_split):
            if what is not None and len(what) != count:
                raise DataError(
                    f"dataset {self.name}",
                    got=f"{len(what)} entries for {count} images",
                    expected="one id, and one given split, for each image",
                    fix="make ids with content_ids(images)",
                )

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The images at `indices`, in that order; the classes stay the same."""
        chosen = np.asarray(indices, dtype=np.int64)
        given = self.given_split
        return Dataset(
            name=self.name,
            images=self.images[chosen],
            labels=self.labels[chosen],
            classes=self.classes,
            ids=tuple(self.ids[i] for i in chosen),
            given_split=None if given is None else tuple(given[i] for i in chosen),
        )


def content_id(image: Array) -> str:
    """SHA-256 of an array's dtype, shape and values (row by row), as 64 hexadecimal digits.

    Example:
        >>> content_id(np.zeros((2, 3), np.uint8)) == content_id(np.zeros((3, 2), np.uint8))
        False
    """
    shape = "x".join(str(size) for size in image.shape)
    digest = hashlib.sha256(f"{image.dtype.str} {shape}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def content_ids(images: Array) -> tuple[str, ...]:
    """The `content_id` of each image along the first axis."""
    return tuple(content_id(image) for image in images)


def check_images(images: Array, name: str) -> None:
    """Refuse anything but uint8 [n, height, width] or [n, height, width, 3].

    Raises:
        DataError: For another dtype, rank, channel count, or an image without pixels.
    """
    fits = (
        images.dtype == np.uint8
        and (images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3))
        and 0 not in images.shape[1:]
    )
    if not fits:
        raise DataError(
            f"images of {name}",
            got=f"{images.dtype} {images.shape}",
            expected="uint8 [n, height, width] or [n, height, width, 3]",
            fix="give grey or RGB images of one size, channels last",
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
        if not label.strip() or any(unicodedata.category(c) in ("Cc", "Cf") for c in label):
            raise DataError(
                f"class name {label!r} of {name}",
                got="an empty name or a control character",
                expected="printable text",
                fix="rename the class",
            )
        folded = label.casefold()
        if folded in seen:
            raise DataError(
                f"class names of {name}",
                got=f"{seen[folded]!r} and {label!r}",
                expected="names that differ by more than case",
                fix="rename one of them, or merge the two classes",
            )
        seen[folded] = label


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

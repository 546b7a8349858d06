"""Where images come from: `open_dataset` and the sources it knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgetl.data.dataset import Dataset, check_every_class, content_id, content_ids
from edgetl.data.idx import read_idx_folder
from edgetl.data.letters import render_letters
from edgetl.errors import DataError
from edgetl.extras import extra

__all__ = ["SOURCES", "Dataset", "content_id", "content_ids", "open_dataset"]

SOURCES = ("builtin:digits", "builtin:letters", "idx:DIR")
"""The sources that `open_dataset` knows; DIR is a path."""

_LETTERS_PER_CLASS = 400


def open_dataset(source: str, *, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read a labelled set of images.

    Args:
        source: ``builtin:digits`` (scikit-learn's 1,797 handwritten digits, 8 × 8, scaled from
            0..16 to 0..255), ``builtin:letters`` (`render_letters` with 400 images a class and
            seed 0), or ``idx:DIR`` (`read_idx_folder`; what was given as training and as test
            set is in `Dataset.given_split`).
        classes: Names of the classes in place of the source's own, in the order of the labels.

    Raises:
        DataError: For an unknown source, or data that is not right: no images, one class, a
            class without images, a file that is not what it should be.
        MissingExtraError: When ``builtin:digits`` is asked for without scikit-learn.

    Example:
        >>> digits = open_dataset("builtin:digits")
        >>> digits.images.shape, digits.classes[:3]
        ((1797, 8, 8), ('0', '1', '2'))
    """
    kind, _, rest = source.partition(":")
    if source == "builtin:digits":
        dataset = _digits()
    elif source == "builtin:letters":
        dataset = render_letters(_LETTERS_PER_CLASS, seed=0)
    elif kind == "idx" and rest:
        return check_every_class(read_idx_folder(Path(rest), classes=classes))
    else:
        raise DataError(
            f"dataset {source!r}",
            got="an unknown source",
            expected=f"one of {', '.join(SOURCES)}",
            fix="name one of these sources",
        )
    return check_every_class(dataset if classes is None else _renamed(dataset, classes))


def _digits() -> Dataset:
    with extra("train"):
        from sklearn.datasets import load_digits
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="builtin:digits",
        images=images,
        labels=digits.target.astype(np.int64),
        classes=tuple(str(name) for name in digits.target_names),
        ids=content_ids(images),
    )


def _renamed(dataset: Dataset, classes: tuple[str, ...]) -> Dataset:
    return Dataset(
        name=dataset.name,
        images=dataset.images,
        labels=dataset.labels,
        classes=classes,
        ids=dataset.ids,
        given_split=dataset.given_split,
    )


def resolve_source(source: str, base: Path) -> str:
    """A source with its path made absolute, relative to `base`; others as they are.

    Example:
        >>> resolve_source("builtin:digits", Path("/data"))
        'builtin:digits'
    """
    kind, _, place = source.partition(":")
    if kind == "builtin" or not place:
        return source
    return f"{kind}:{(base / place).resolve()}"

"""What `edgetl init` looks at in a dataset: how many samples of which classes, and of what size.

Pictures in files of their own are counted, and a few hundred of them are opened: reading all is
the data stage's work, and takes minutes for a large folder.
"""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset, check_every_class
from edgetl.data.listing import Listing, Problem, look_at
from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.data.sources import read_source
from edgetl.errors import DataError
from edgetl.spec import Array

_LOOKED_AT = 200


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """One input: pictures of about this size, or tensors of this shape.

    Attributes:
        kind: What the samples are.
        shape: The tensors', without the batch; empty for pictures.
        height, width: The pictures' medians, in pixels; 0 for tensors.
        smallest: The shortest side of a picture that was seen.
        grey: Whether every picture that was seen has no colour.
        looked_at: How many pictures that is said of.
    """

    kind: Literal["image", "tensor"]
    shape: tuple[int, ...] = ()
    height: int = 0
    width: int = 0
    smallest: int = 0
    grey: bool = False
    looked_at: int = 0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is known of a dataset.

    Attributes:
        source: As it was asked for.
        drawn: Its labels, classes and given parts, for the splits; pixels are placeholders for
            pictures in files of their own, so that copies among them are not known.
        parts: The inputs; the name of a single one is empty.
        problems: Pictures that cannot be used.
    """

    source: str
    drawn: Dataset
    parts: dict[str, PartFacts]
    problems: tuple[Problem, ...]

    @property
    def single(self) -> PartFacts | None:
        """The only input, or None when there are several."""
        return self.parts.get("")

    @property
    def class_counts(self) -> dict[str, int]:
        """Samples of each class, in the order of the classes."""
        counts = Counter(self.drawn.labels.tolist())
        return {name: counts[label] for label, name in enumerate(self.drawn.classes)}


def survey_source(source: str) -> Survey:
    """Look at a dataset.

    Args:
        source: As `edgetl.data.sources.open_dataset` takes it.

    Raises:
        DataError: When it is no such source, or cannot be split: a class without samples.

    Example:
        >>> survey = survey_source("builtin:digits")
        >>> len(survey.drawn), survey.parts[""].height
        (1797, 8)
    """
    read = read_source(source)
    if isinstance(read, Dataset):
        dataset = check_every_class(read)
        return Survey(source=source, drawn=dataset, parts=_parts(dataset), problems=())
    drawn = check_every_class(_drawn(read))
    sizes, grey, problems = _opened(read)
    if not len(sizes):
        raise DataError(
            f"dataset {source}",
            got="no picture that can be opened",
            expected="JPEG, PNG, WEBP or BMP files",
            fix=f"see what is wrong with each: edgetl inspect {shlex.quote(source)}",
        )
    return Survey(
        source=source,
        drawn=drawn,
        parts={"": _pictures(sizes, grey=grey)},
        problems=(*read.problems, *problems),
    )


def _drawn(listing: Listing) -> Dataset:
    """The listing's labels and parts as a dataset whose pixels are of no account."""
    given = [entry.split for entry in listing.entries]
    named = [split for split in given if split is not None]
    return Dataset(
        name=listing.name,
        images=np.zeros((len(given), 1, 1), np.uint8),
        labels=np.array([entry.label for entry in listing.entries], np.int64),
        classes=listing.classes,
        ids=tuple(str(at) for at in range(len(given))),
        given_split=tuple(named) if named and len(named) == len(given) else None,
    )


def _opened(listing: Listing) -> tuple[NDArray[np.int64], bool, list[Problem]]:
    """Height and width of some pictures, int64 [n, 2], whether all of them are grey, and those
    that cannot be opened."""
    chosen = _spread(len(listing.entries))
    entries = [listing.entries[at] for at in chosen]
    looked = look_at(entries, lambda _data, pixels: (pixels.shape[:2], _is_grey(pixels)))
    seen = [one for one in looked if not isinstance(one, Problem)]
    sizes = np.array([size for size, _ in seen], np.int64)
    problems = [one for one in looked if isinstance(one, Problem)]
    return sizes, all(grey for _, grey in seen), problems


def _spread(count: int) -> list[int]:
    """Some positions, evenly over all, so that every class is seen where there are few."""
    found = np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)
    return [int(at) for at in np.unique(found)]


def _is_grey(pixels: Array) -> bool:
    """Whether a picture, uint8 [height, width] or [height, width, channels], has no colour."""
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())


def _parts(dataset: Dataset) -> dict[str, PartFacts]:
    images = dataset.images
    if isinstance(images, SeveralSamples):
        return {name: _facts(part) for name, part in images.parts.items()}
    return {"": _facts(images)}


def _facts(samples: Array | EncodedImages) -> PartFacts:
    if isinstance(samples, np.ndarray) and samples.dtype != np.uint8:
        return PartFacts(kind="tensor", shape=tuple(samples.shape[1:]))
    seen = [samples[at] for at in _spread(len(samples))]
    return _pictures(
        np.array([pixels.shape[:2] for pixels in seen], np.int64),
        grey=all(map(_is_grey, seen)),
        # Pictures in one array are all of one size.
        looked_at=len(samples) if isinstance(samples, np.ndarray) else None,
    )


def _pictures(sizes: NDArray[np.int64], *, grey: bool, looked_at: int | None = None) -> PartFacts:
    height, width = np.median(sizes, axis=0)
    return PartFacts(
        kind="image",
        height=round(float(height)),
        width=round(float(width)),
        smallest=int(sizes.min()),
        grey=grey,
        looked_at=len(sizes) if looked_at is None else looked_at,
    )

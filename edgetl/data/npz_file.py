"""A dataset in one npz file, as numpy writes it.

| array | what it is |
| --- | --- |
| ``labels`` | integers [n], positions in the classes |
| ``classes`` | optional, text [K]; without it the classes are called 0, 1, … |
| ``split`` | optional, text [n]: train, val, calib or test |
| ``slice_NAME`` | optional, text, integers or booleans [n]: a slice |
| any other, one | the samples: uint8 [n, height, width(, 3)] pixels, or float32 [n, …] |
| any other, several | several inputs, each by its array's name, in alphabetical order |

float64 is refused: numpy makes it by default, and whether float32 is enough is not guessed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetl.data.class_order import in_order
from edgetl.data.content import sample_ids
from edgetl.data.dataset import Dataset, GivenSplit
from edgetl.data.listing import SPLIT_WORDS, shown, split_called
from edgetl.data.npz_arrays import read_npz
from edgetl.data.packing import texts_of
from edgetl.data.samples import Samples, SeveralSamples
from edgetl.errors import DataError
from edgetl.spec import Array

_SLICE = "slice_"
_RESERVED = ("labels", "classes", "split")


def read_npz_file(path: Path, *, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read a dataset from an npz file.

    Args:
        path: The file.
        classes: Another order of the file's names, or other names, as `in_order` takes them.

    Raises:
        DataError: When it is not such a file: an array is missing or of another dtype or length,
            holds NaN or Python objects, or claims more than the file can hold.
    """
    arrays = read_npz(path, follow_links=True)
    if "labels" not in arrays:
        raise _bad(path, f"the arrays {', '.join(sorted(arrays)) or 'none'}", "an array labels")
    labels = _labels(path, arrays["labels"])
    data = {
        name: array
        for name, array in sorted(arrays.items())
        if name not in _RESERVED and not name.startswith(_SLICE)
    }
    samples = _samples(path, data, len(labels))
    own = _texts(path, arrays, "classes", None)
    numbers = tuple(str(label) for label in range(int(labels.max(initial=0)) + 1))
    labels, names = in_order(
        labels, numbers if own is None else own, classes, where=f"npz:{path}", numbered=own is None
    )
    slices = {
        name.removeprefix(_SLICE): _slice(path, arrays, name, len(labels))
        for name in sorted(arrays)
        if name.startswith(_SLICE)
    }
    return Dataset(
        name=f"npz:{shown(path.name)}",
        images=samples,
        labels=labels,
        classes=names,
        ids=sample_ids(samples),
        given_split=_splits(path, _texts(path, arrays, "split", len(labels))),
        slices=slices or None,
    )


def _labels(path: Path, labels: Array) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        got = f"labels {labels.dtype} {labels.shape}"
        raise _bad(path, got, "integers [n], from 0, one a sample")
    # Every class needs a sample, and no names are made for billions of them.
    if len(labels) and int(labels.max()) >= len(labels):
        got = f"the label {labels.max()} for {len(labels)} samples"
        raise _bad(path, got, "positions in the classes, none without a sample")
    return labels.astype(np.int64)


def _samples(path: Path, data: dict[str, Array], count: int) -> Samples:
    if not data:
        raise _bad(path, "no array of samples", "one beside labels, such as images")
    for name, array in data.items():
        if array.ndim == 0 or len(array) != count:
            raise _bad(path, f"{name} {array.shape} for {count} labels", "one row a label")
        if array.dtype not in (np.dtype("u1"), np.dtype("<f4")):
            fix = f"store {name}.astype(numpy.float32), or pixels as numpy.uint8"
            raise _bad(path, f"{name} of {array.dtype.str}", "uint8 pixels or float32", fix)
    return SeveralSamples(data) if len(data) > 1 else next(iter(data.values()))


def _texts(
    path: Path, arrays: dict[str, Array], name: str, count: int | None
) -> tuple[str, ...] | None:
    if name not in arrays:
        return None
    try:
        texts = texts_of(arrays[name])
    except ValueError as error:
        raise _bad(path, f"{name}: {error}", "text, numpy's U or UTF-8 bytes") from error
    if count is not None and len(texts) != count:
        raise _bad(path, f"{len(texts)} values of {name} for {count} labels", "one a label")
    return texts


def _splits(path: Path, words: tuple[str, ...] | None) -> tuple[GivenSplit, ...] | None:
    splits = {word: split_called(word) for word in words or ()}
    unknown = sorted(word for word, split in splits.items() if split is None)
    if unknown:
        raise _bad(path, f"the split {unknown[0]!r}", f"one of {', '.join(SPLIT_WORDS)}")
    # No word is unknown here.
    given = tuple(split for word in words or () if (split := splits[word]) is not None)
    return None if words is None else given


def _slice(path: Path, arrays: dict[str, Array], name: str, count: int) -> tuple[str, ...]:
    array = arrays[name]
    if array.dtype.kind in "iub" and array.ndim == 1:
        arrays = {name: np.array([str(value) for value in array.tolist()], dtype="U")}
    return _texts(path, arrays, name, count) or ()


def _bad(path: Path, got: str, expected: str, fix: str = "write the file again") -> DataError:
    return DataError(f"file {path}", got=got, expected=expected, fix=fix)

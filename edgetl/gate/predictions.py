"""What a classifier answered to n inputs, and its file, `edgetl.predictions/1`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.bench.npz import read_npz, write_npz
from edgetl.errors import DataError, GateError
from edgetl.metrics import softmax
from edgetl.metrics.checks import as_logits, as_probabilities

SCHEMA = "edgetl.predictions/1"

_SLICE = "slices/"


@dataclass(frozen=True, kw_only=True, eq=False, init=False)
class Predictions:
    """One classifier's answers to n inputs over K classes.

    Logits and probabilities are different arguments, and exactly one of them is given: nothing
    is guessed from the values.

    Args:
        labels: The true classes, integers [n] in 0..K-1, or None.
        probabilities: Floats [n, K], in [0, 1], each row summing to 1 within 1e-3.
        logits: Floats [n, K], after division by the temperature; their softmax is taken.
        ids: Content hashes of the inputs, [n], or None.
        classes: The K class names, each once, or None.
        slices: Further values per input, such as a lighting condition: name -> [n].

    Attributes:
        probabilities: float64 [n, K], whichever of the two was given.
        labels: int64 [n] or None.

    Raises:
        GateError: When an array is missing, has another shape, or holds NaN, infinity or a value
            that is not a probability or not a class.

    Example:
        >>> answers = Predictions(labels=[0, 1], probabilities=[[0.75, 0.25], [0.5, 0.5]])
        >>> answers.n, answers.k
        (2, 2)
    """

    labels: NDArray[np.int64] | None
    probabilities: NDArray[np.float64]
    logits: NDArray[np.float64] | None
    ids: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    slices: Mapping[str, NDArray[Any]]

    def __init__(
        self,
        *,
        labels: ArrayLike | None = None,
        probabilities: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        ids: Sequence[str] | NDArray[np.str_] | None = None,
        classes: Sequence[str] | NDArray[np.str_] | None = None,
        slices: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        if (probabilities is None) == (logits is None):
            _refuse(
                "predictions",
                "both" if logits is not None else "neither",
                "exactly one of probabilities and logits",
                "pass the one that the classifier gives",
            )
        checked_logits = None if logits is None else _checked(as_logits, logits, "logits")
        if probabilities is not None:
            checked = _checked(as_probabilities, probabilities, "probabilities")
        else:
            checked = softmax(cast(ArrayLike, checked_logits))
        n, k = checked.shape
        values = {
            "labels": None if labels is None else _labels(labels, n, k),
            "probabilities": checked,
            "logits": checked_logits,
            "ids": None if ids is None else _texts(ids, n, "ids"),
            "classes": None if classes is None else _classes(classes, k),
            "slices": {
                name: _column(column, n, f"slice '{name}'")
                for name, column in (slices or {}).items()
            },
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n(self) -> int:
        """The number of inputs."""
        return len(self.probabilities)

    @property
    def k(self) -> int:
        """The number of classes."""
        return int(self.probabilities.shape[1])

    def data_hash(self) -> str:
        """SHA-256 over ids and labels: two sets of predictions on the same data share it.

        Example:
            >>> Predictions(labels=[0], probabilities=[[1.0, 0.0]], ids=["a"]).data_hash()[:8]
            '377ac4f1'
        """
        digest = hashlib.sha256()
        for identity in self.ids or ():
            digest.update(identity.encode() + b"\n")
        digest.update(b"\n")
        if self.labels is not None:
            digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()

    def save(self, path: Path | str) -> None:
        """Write the npz file described in docs/results.md; equal predictions give equal bytes."""
        arrays: dict[str, NDArray[Any]] = {"schema": np.array(SCHEMA)}
        if self.logits is not None:
            arrays["logits"] = self.logits
        else:
            arrays["probabilities"] = self.probabilities
        if self.labels is not None:
            arrays["labels"] = self.labels
        if self.ids is not None:
            arrays["ids"] = np.array(self.ids, dtype=np.str_)
        if self.classes is not None:
            arrays["classes"] = np.array(self.classes, dtype=np.str_)
        for name, column in self.slices.items():
            arrays[_SLICE + name] = column
        write_npz(Path(path), arrays)

    @classmethod
    def load(cls, path: Path | str) -> Predictions:
        """Read an npz file written by `save`, or by any other tool in the same layout.

        Arrays with other names are ignored.

        Raises:
            GateError: When the file or what it holds is not right; the message names the file.
        """
        arrays = read_npz(Path(path))
        schema = arrays.get("schema", np.array(SCHEMA))
        if schema.shape != () or str(schema) != SCHEMA:
            _refuse(str(path), f"schema {schema!s:.60}", SCHEMA, "write the file for this edgetl")
        if "probabilities" not in arrays and "logits" not in arrays:
            _refuse(
                str(path),
                "the arrays " + (", ".join(sorted(arrays)) or "(none)"),
                "an array 'probabilities' or 'logits'",
                "rename the array or add it",
            )
        try:
            return cls(
                labels=arrays.get("labels"),
                probabilities=arrays.get("probabilities"),
                logits=arrays.get("logits"),
                ids=arrays.get("ids"),
                classes=arrays.get("classes"),
                slices={
                    name.removeprefix(_SLICE): column
                    for name, column in arrays.items()
                    if name.startswith(_SLICE)
                },
            )
        except GateError as error:
            raise GateError(
                f"{path}: {error.subject}", got=error.got, expected=error.expected, fix=error.fix
            ) from error


def _refuse(subject: str, got: str, expected: str, fix: str) -> NoReturn:
    raise GateError(subject, got=got, expected=expected, fix=fix)


def _checked(
    check: Callable[[ArrayLike], NDArray[np.float64]], values: ArrayLike, name: str
) -> NDArray[np.float64]:
    array = _array(values, name)
    try:
        return check(array.astype(np.float64) if array.dtype.kind in "iu" else array)
    except DataError as error:
        raise GateError(name, got=error.got, expected=error.expected, fix=error.fix) from error


def _labels(labels: ArrayLike, n: int, k: int) -> NDArray[np.int64]:
    column = _column(labels, n, "labels")
    if column.dtype.kind not in "iu":
        _refuse("labels", f"dtype {column.dtype}", "integers", "give class indices 0..K-1")
    if column.min() < 0 or column.max() >= k:
        _refuse(
            "labels",
            f"values from {column.min()} to {column.max()}",
            f"classes 0..{k - 1}",
            "give the index of the class among the columns",
        )
    return column.astype(np.int64)


def _column(values: ArrayLike, n: int, name: str) -> NDArray[Any]:
    array = _array(values, name)
    if array.shape != (n,) or array.dtype.kind not in "biufU":
        _refuse(
            name, f"{array.dtype} of shape {array.shape}", f"shape ({n},)", "give one per input"
        )
    return array


def _array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.array(values)
    except (ValueError, TypeError) as error:
        _refuse(name, str(error), "a rectangular array", "give every row the same length")


def _texts(values: Sequence[str] | NDArray[np.str_], size: int, name: str) -> tuple[str, ...]:
    given = values.tolist() if isinstance(values, np.ndarray) else values
    texts = tuple(given) if isinstance(given, list | tuple) else ()
    if len(texts) != size or not all(isinstance(text, str) for text in texts):
        _refuse(
            name, f"{len(texts)} values", f"{size} texts", "give one text each, in the same order"
        )
    return texts


def _classes(values: Sequence[str] | NDArray[np.str_], k: int) -> tuple[str, ...]:
    names = _texts(values, k, "classes")
    if len(set(names)) != k:
        twice = next(name for name in names if names.count(name) > 1)
        _refuse("classes", f"{twice!r} twice", "each class name once", "rename one of the two")
    return names

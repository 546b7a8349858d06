"""Ranges of activations, and the checks on the ptq samples that they are taken from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgetl.errors import DataError
from edgetl.spec import Array, TensorSpec

_SUBJECT = "ptq samples"


@dataclass(frozen=True, kw_only=True)
class Range:
    """The least and the greatest value that one tensor took.

    Example:
        >>> Range(low=-1.0, high=2.0) | Range(low=0.0, high=3.0)
        Range(low=-1.0, high=3.0)
    """

    low: float
    high: float

    def __or__(self, other: Range) -> Range:
        return Range(low=min(self.low, other.low), high=max(self.high, other.high))


def check_ptq_samples(samples: Array, spec: TensorSpec) -> None:
    """Refuse samples that cannot show the range of any activation.

    Args:
        samples: What the model's input takes, many at once.
        spec: The model's input.

    Raises:
        DataError: For no samples, a NaN or infinity (named), or samples that are all alike.
        SpecError: For another dtype or shape than the input's.

    Example:
        >>> spec = TensorSpec(name="features", dtype="float32", shape=(None, 2))
        >>> check_ptq_samples(np.eye(2, dtype=np.float32), spec)
        >>> check_ptq_samples(np.ones((2, 2), np.float32), spec)
        Traceback (most recent call last):
        edgetl.errors.DataError: ptq samples: got constant data (every value is 1.0); ...
    """
    if not isinstance(samples, np.ndarray) or len(samples.shape) == 0 or len(samples) == 0:
        raise _refused("none", "inputs of the model, from the train split", "pass some hundreds")
    if samples.dtype.kind == "f":
        bad = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
        if bad.any():
            raise _refused(
                f"NaN or infinity in sample {int(np.argmax(bad))}", "finite values", "remove it"
            )
    spec.check(samples)
    fix = "take different images of the train split"
    if samples.min() == samples.max():
        raise _refused(
            f"constant data (every value is {samples.flat[0]})", "inputs that differ", fix
        )
    if len(samples) > 1 and all(np.array_equal(samples[0], other) for other in samples[1:]):
        raise _refused(f"constant data (one input {len(samples)} times)", "inputs that differ", fix)


def _refused(got: str, expected: str, fix: str) -> DataError:
    return DataError(_SUBJECT, got=got, expected=expected, fix=fix)

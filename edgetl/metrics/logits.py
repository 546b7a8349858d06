"""How far a candidate's logits are from the reference's: the noise before the softmax.

Logits are compared as they are. A constant added to every logit of a row changes no probability
but counts here as noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgetl.metrics.checks import FloatArray
from edgetl.metrics.rows import paired_logit_rows

# float64 resolves 313 dB. A row answered alike would otherwise make the mean infinite, and hide
# the noise of every other row.
MOST_DB = 300.0


def logit_sqnr_db(reference_logits: ArrayLike, candidate_logits: ArrayLike) -> float:
    """Mean signal-to-quantization-noise ratio of the logits in dB, row by row:
    10 log10(sum_k z_k^2 / sum_k (z_k - y_k)^2), z the reference's and y the candidate's.

    Each row counts from -300 to 300 dB: 300 where both are alike, all zeros included, and -300
    where the reference is all zeros and the candidate is not.

    Args:
        reference_logits: Logits of the reference, floating point [n, K], finite.
        candidate_logits: Logits of the candidate on the same images, floating point [n, K].

    Returns:
        The mean over the images in dB, higher for less noise.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> round(logit_sqnr_db([[3.0, 4.0]], [[3.0, 4.5]]), 4)
        20.0
    """
    rows = [_sqnr_rows(z, y) for z, y in paired_logit_rows(reference_logits, candidate_logits)]
    return float(np.concatenate(rows).mean())


def logit_cosine(reference_logits: ArrayLike, candidate_logits: ArrayLike) -> float:
    """Mean cosine similarity of the logits, row by row: z.y / (|z| |y|).

    Blind to scale: a candidate whose logits are all doubled has similarity 1 and other
    probabilities. A row that is all zeros on one side only counts as 0, on both as 1.

    Args:
        reference_logits: Logits of the reference, floating point [n, K], finite.
        candidate_logits: Logits of the candidate on the same images, floating point [n, K].

    Returns:
        The mean over the images, -1..1.

    Raises:
        DataError: When the arrays are not such, hold NaN, or differ in shape.

    Example:
        >>> round(logit_cosine([[3.0, 4.0]], [[4.0, 3.0]]), 4)
        0.96
    """
    rows = [_cosine_rows(z, y) for z, y in paired_logit_rows(reference_logits, candidate_logits)]
    return float(np.concatenate(rows).mean())


def _sqnr_rows(z: FloatArray, y: FloatArray) -> FloatArray:
    scale = np.maximum(_exponent(z), _exponent(y))
    z, y = np.ldexp(z, -scale), np.ldexp(y, -scale)
    signal = np.square(z).sum(axis=1)
    noise = np.square(z - y).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        decibels = 10.0 * (np.log10(signal) - np.log10(noise))
    decibels[noise == 0.0] = MOST_DB
    result: FloatArray = np.clip(decibels, -MOST_DB, MOST_DB)
    return result


def _cosine_rows(z: FloatArray, y: FloatArray) -> FloatArray:
    z, y = np.ldexp(z, -_exponent(z)), np.ldexp(y, -_exponent(y))
    lengths = np.sqrt(np.square(z).sum(axis=1) * np.square(y).sum(axis=1))
    cosine: FloatArray = np.asarray(~z.any(axis=1) & ~y.any(axis=1), dtype=np.float64)
    np.divide((z * y).sum(axis=1), lengths, out=cosine, where=lengths > 0)
    return np.clip(cosine, -1.0, 1.0, out=cosine)


def _exponent(values: FloatArray) -> NDArray[np.int32]:
    """The power of two of each row's greatest value, [c, 1]: dividing by it is exact, and after
    it no square overflows."""
    exponents: NDArray[np.int32] = np.frexp(np.abs(values).max(axis=1, keepdims=True))[1]
    return exponents

"""An exported model answers as the PyTorch reference does, or the export fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.backends import registry
from edgetl.errors import DataError, ModelError
from edgetl.spec import Array, Precision, Variant

LIMIT = 1e-4
_FILE = "model.onnx"
_ALONE = 16
_FIX = "look for a layer that the export changed, or for a network left in train mode"
_FIX_ALONE = (
    "look in forward() for what mixes the inputs of a batch, such as BatchNorm without running "
    "statistics or a mean over dim 0"
)


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an exported model is from its reference.

    Attributes:
        images: How many inputs were compared; the first 16 also one at a time.
        worst: The index of the one that differs most.
        difference: The greatest difference of any probability.
        spread: The greatest standard deviation of any class's reference probability over the
            images: near 0, the network answers every image alike and agreement shows little.
    """

    images: int
    worst: int
    difference: float
    spread: float


def check_parity(
    model: bytes,
    reference: Array,
    inputs: Mapping[str, Array],
    *,
    batch: int = 32,
    threads: int | None = None,
) -> Parity:
    """Compare an FP32 ONNX model in ONNX Runtime with the reference's probabilities.

    The first 16 inputs are asked one at a time as well, as a device asks them: an answer that
    depends on the others in the batch is then another one.

    Args:
        model: The exported file's bytes.
        reference: float [n, classes], the reference's probabilities for the same images.
        inputs: Each input's name -> [n, ...], as the model takes it.
        batch: Images at once.
        threads: Of ONNX Runtime; None takes every core.

    Raises:
        ModelError: Naming the worst image and the figures, when a probability differs by more
            than 1e-4, or the top class is another one where the reference's two best classes
            are more than that apart.
        DataError: When there are no images, or the numbers of images and classes do not fit.

    Example:
        >>> import onnx
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) {probabilities = Softmax(x)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> reference = np.array([[0.5, 0.5], [0.880797, 0.119203]])
        >>> check_parity(model, reference, {"x": np.array([[0, 0], [2, 0]], np.float32)}).images
        2
    """
    answers, alone = _answers(model, inputs, batch, threads)
    expected = np.asarray(reference, np.float64)
    if expected.shape != answers.shape:
        raise DataError(
            "reference probabilities",
            got=f"shape {expected.shape}",
            expected=f"shape {answers.shape}, as the model answers these images",
            fix="take the reference's predictions of the same images",
        )
    difference = _differences(expected, answers, "", _FIX)
    difference[: len(alone)] = np.maximum(
        difference[: len(alone)],
        _differences(expected[: len(alone)], alone, " asked alone", _FIX_ALONE),
    )
    worst = int(np.argmax(difference))
    return Parity(
        images=len(answers),
        worst=worst,
        difference=float(difference[worst]),
        spread=float(expected.std(axis=0).max()),
    )


def _differences(
    expected: NDArray[np.float64], answers: NDArray[np.float64], how: str, fix: str
) -> NDArray[np.float64]:
    """The greatest of each image, [n], when all are within the limit."""
    difference: NDArray[np.float64] = np.abs(answers - expected).max(axis=1)
    flipped = _flips(expected, answers)
    if flipped.any():
        image = int(np.argmax(np.where(flipped, difference, -1)))
        was, now = int(expected[image].argmax()), int(answers[image].argmax())
        raise ModelError(
            f"exported model, image {image}{how}",
            got=f"class {now} with probability {answers[image, now]:.6f}",
            expected=f"PyTorch's class {was} with probability {expected[image, was]:.6f}",
            fix=fix,
        )
    # argmax finds a NaN, and `not (… <= …)` refuses it.
    worst = int(np.argmax(difference))
    if not (difference[worst] <= LIMIT):
        raise ModelError(
            f"exported model, image {worst}{how}",
            got=f"a probability {difference[worst]:.2e} away from PyTorch's",
            expected=f"at most {LIMIT:.0e} for every image ({_beyond(difference)} are over it)",
            fix=fix,
        )
    return difference


def _answers(
    model: bytes, inputs: Mapping[str, Array], batch: int, threads: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """To all inputs in batches, and to the first ones each alone."""
    count = min((len(array) for array in inputs.values()), default=0)
    if count == 0:
        raise DataError(
            "parity images", got="none", expected="at least one", fix="pass some real images"
        )
    variant = Variant(id="export", backend="onnxruntime", precision=Precision.FP32, files=(_FILE,))
    backend = registry.load(variant, {_FILE: model}, threads=threads)

    def asked(upto: int, step: int) -> NDArray[np.float64]:
        parts = [
            backend.run({name: array[start : start + step] for name, array in inputs.items()})[
                "probabilities"
            ]
            for start in range(0, upto, step)
        ]
        return np.concatenate(parts).astype(np.float64)

    try:
        return asked(count, batch), asked(min(count, _ALONE), 1)
    finally:
        backend.close()


def _flips(expected: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.bool_]:
    if expected.shape[1] < 2:
        return np.zeros(len(expected), bool)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    other: NDArray[np.bool_] = expected.argmax(axis=1) != answers.argmax(axis=1)
    clear: NDArray[np.bool_] = first - second > LIMIT
    return other & clear


def _beyond(difference: NDArray[np.float64]) -> str:
    count = int((~(difference <= LIMIT)).sum())
    return f"{count} of {len(difference)}"

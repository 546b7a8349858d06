"""The proof of a rewritten ONNX file: any batch, and the answers of the file it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetl.backends.ort import OrtBackend
from edgetl.errors import BackendError, ModelError
from edgetl.reference.onnx_inputs import InputPart
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.reference.onnx_proto import SUBJECT
from edgetl.spec import Array, ImageInput

SAMPLES = 3
BATCH_LIMIT = 1e-5
PROBABILITY_LIMIT = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """Three unlike inputs, and the original file's raw logits for them, float32 [3, classes]."""

    inputs: dict[str, Array]
    raw_logits: NDArray[np.float32]


def probe(network: OnnxNetwork, parts: Sequence[InputPart], *, classes: int) -> Probe:
    """Ask the original file three unlike inputs.

    Raises:
        ModelError: When it does not answer one number for each class.
        BackendError: When it cannot answer, or answers NaN or infinity.
    """
    random = np.random.default_rng(0)
    inputs = {part.name: _unlike(part, random) for part in parts}
    raw_logits = network.raw_logits(inputs)
    if raw_logits.shape[1] != classes:
        raise ModelError(
            f"{SUBJECT}, output '{network.description.answer}'",
            got=f"{raw_logits.shape[1]} numbers for each input",
            expected=f"{classes}, one for each class",
            fix="give the classes that the network was trained with, in the order of its outputs",
        )
    return Probe(inputs=inputs, raw_logits=raw_logits)


def prove(model: bytes, probe: Probe, *, temperature: float) -> None:
    """Refuse a rewritten file that answers a batch, or a single input, otherwise than it should.

    Args:
        model: The rewritten file, which also answers ``logits``.
        probe: Of the original file.
        temperature: That is inside the rewritten file.

    Raises:
        ModelError: When a batch of three is not answered as the three one by one, within 1e-5 of
            the greatest logit, or a probability is more than 1e-4 away from the original's.
    """
    try:
        backend = OrtBackend(model, subject=SUBJECT, threads=1, provider="CPUExecutionProvider")
        try:
            single = [backend.run(_rows(probe, slice(at, at + 1))) for at in range(SAMPLES)]
            together = backend.run(_rows(probe, slice(None)))
        finally:
            backend.close()
    except BackendError as error:
        raise _no_free_batch(error.got) from error
    apart = np.concatenate([answer["logits"] for answer in single])
    largest = max(1.0, float(np.abs(apart).max()))
    difference = float(np.abs(apart - together["logits"]).max())
    if not (difference <= BATCH_LIMIT * largest):
        raise _no_free_batch(f"logits {difference:.2e} away from those of the single inputs")
    one_by_one = np.concatenate([answer["probabilities"] for answer in single])
    away = float(np.abs(one_by_one - _softmax(probe.raw_logits / temperature)).max())
    if not (away <= PROBABILITY_LIMIT):
        raise ModelError(
            f"{SUBJECT}, with its preprocessing and head",
            got=f"a probability {away:.2e} away from the given file's own",
            expected=f"at most {PROBABILITY_LIMIT:.0e}",
            fix="export the network again with opset 20, so that it need not be converted",
        )


def _rows(probe: Probe, rows: slice) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array[rows]) for name, array in probe.inputs.items()}


def _unlike(part: InputPart, random: np.random.Generator) -> Array:
    shape = (SAMPLES, *(size or 1 for size in part.part.tensor.shape[1:]))
    if not isinstance(part.part, ImageInput):
        return random.normal(size=shape).astype(np.float32)
    # Stripes of another direction, period and colour each: more like a picture than noise is.
    grid = np.indices(shape[1:3]) / np.reshape(shape[1:3], (2, 1, 1))
    waves = np.einsum("nk,khw->nhw", random.normal(0, 25, (SAMPLES, 2)), grid)
    colours = random.uniform(0, 127, (SAMPLES, 1, 1, shape[3]))
    pixels = (np.sin(waves)[..., None] + 1) * colours + random.uniform(0, 1, shape)
    picture: NDArray[np.uint8] = pixels.astype(np.uint8)
    return picture


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    normal: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return normal


def _no_free_batch(got: str) -> ModelError:
    return ModelError(
        f"{SUBJECT}, asked {SAMPLES} inputs at once",
        got=got,
        expected="the answers to the single inputs: a network that takes any batch",
        fix="export it again with a free batch: torch.onnx.export(..., dynamo=True, "
        "dynamic_shapes=({0: torch.export.Dim('batch')},)), or an input signature whose first "
        "size is None in Keras and TensorFlow",
    )

"""A reference behind its preprocessing: normalised pictures to probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edgetl.metrics import softmax
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.description import ONNX_ARCHITECTURE, ClassifierDescription, read_description
from edgetl.reference.ending import find_answer, raw_logits
from edgetl.reference.onnx_checkpoint import load_onnx_classifier
from edgetl.reference.onnx_file import describe_onnx
from edgetl.reference.onnx_inputs import input_parts
from edgetl.reference.onnx_network import OnnxNetwork
from edgetl.spec import Array, ImageInput, TensorInput

Normalised = Callable[[Array], NDArray[np.float64]]


def normalised_network(
    folder: Path, *, code: Path | None = None, threads: int | None = None
) -> Normalised:
    """What a checkpoint answers to pictures that are preprocessed already.

    Args:
        folder: A checkpoint folder of a classifier of one image.
        code: The folder that ``python:`` modules are imported from.
        threads: Of ONNX Runtime, for an ONNX file; PyTorch keeps its own.

    Returns:
        A function from float32 [n, channels, height, width], normalised and in the network's
        order of channels, to probabilities float64 [n, K], with the temperature applied.

    Raises:
        CheckpointError, ModelError: As `load_classifier` and `load_onnx_classifier`.
    """
    description, _ = read_description(folder)
    if description.architecture == ONNX_ARCHITECTURE:
        return _onnx(folder, description, threads)
    network, description = load_classifier(folder, code=code)
    head = description.head
    answer = find_answer(network, input=description.input, head=head)

    def ask(batch: Array) -> NDArray[np.float64]:
        with torch.inference_mode():
            raw = raw_logits(network, head.layer, answer, [torch.tensor(batch)])
        return softmax(raw.numpy() / head.temperature)

    return ask


def _onnx(folder: Path, description: ClassifierDescription, threads: int | None) -> Normalised:
    model, _ = load_onnx_classifier(folder)
    image = description.input
    assert isinstance(image, ImageInput)
    (part,) = input_parts(describe_onnx(model, output=description.output), image)
    last = part.layout == "NHWC"
    channels = (image.channel_count,)
    sizes = (image.height, image.width)
    # As a tensor, the file's input passes through without being preprocessed a second time.
    spec = TensorInput(shape=sizes + channels if last else channels + sizes)
    network = OnnxNetwork(model, input=spec, output=description.output, threads=threads)

    def ask(batch: Array) -> NDArray[np.float64]:
        laid_out = np.moveaxis(batch, 1, 3) if last else batch
        raw = network.raw_logits({spec.tensor.name: np.ascontiguousarray(laid_out, np.float32)})
        return softmax(raw / description.head.temperature)

    return ask

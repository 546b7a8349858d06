"""A network with random weights and settled batch statistics, and its candidates on disk.

How long a network takes depends on its layers and its input's size, not on what it learnt. Batch
statistics are settled on real images all the same: with those that a network is built with,
activations die out or blow up on the way, and some kernels take another time for such numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from edgetl.backends import registry
from edgetl.backends.base import Backend
from edgetl.bundle import BundleContent, ManifestVariant, write_bundle
from edgetl.data.preprocess import to_inputs
from edgetl.data.sources import open_dataset
from edgetl.pipeline.candidates import CANDIDATES
from edgetl.spec import Array, ClassifierInput, ImageInput, Precision, TensorInput, Variant

CANDIDATE_IDS = ("ort-fp32", "ort-int8", "ov-fp32", "ov-bf16", "ov-int8")

_SETTLING_IMAGES = 256
_PTQ_SAMPLES = 64


@dataclass(frozen=True, kw_only=True)
class MadeNetwork:
    """What was made of one architecture.

    Attributes:
        folder: A checkpoint folder of the PyTorch reference, with the candidates' files in it.
        input: What all of them take.
        classes: The labels.
        worst_difference: Between PyTorch's and the exported file's probabilities.
        spread: The greatest standard deviation of a class's probability over the images: the
            network does not answer every image alike.
    """

    folder: Path
    input: ClassifierInput
    classes: tuple[str, ...]
    worst_difference: float
    spread: float

    def variant(self, name: str) -> Variant:
        """A candidate's variant."""
        return CANDIDATES[name].variant()

    def files(self, name: str) -> dict[str, Path]:
        """A candidate's files, by the names that its variant has for them."""
        return {file: self.folder / file for file in self.variant(name).files}

    def load(self, name: str, *, threads: int) -> Backend:
        """A candidate, loaded."""
        files = {file: path.read_bytes() for file, path in self.files(name).items()}
        return registry.load(self.variant(name), files, threads=threads)


def input_of(architecture: str, size: int) -> ClassifierInput:
    """A square image, or for `mlp` the digits as a tensor."""
    if architecture == "mlp":
        return TensorInput(shape=(8, 8))
    return ImageInput(height=size, width=size)


def real_inputs(source: str, input: ClassifierInput, count: int) -> dict[str, Array]:
    """A batch of a data set's images, from the first on."""
    return to_inputs(open_dataset(source).images[:count], input)


def make_network(
    folder: Path,
    *,
    architecture: str,
    size: int,
    source: str,
    candidates: Sequence[str] = CANDIDATE_IDS,
) -> MadeNetwork:
    """Make a network and its candidates in a process of its own: this one never loads torch.

    Args:
        folder: Where its files go.
        architecture: One that edgetl knows.
        size: Pixels of a side.
        source: As `edgetl.data.sources.open_dataset` takes it.
        candidates: By id.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_make, folder, architecture, size, source, tuple(candidates)).result()


def pack(made: MadeNetwork, candidates: Sequence[str], folder: Path) -> Path:
    """A bundle of the candidates that no gate has seen: its variants are asked for by name."""
    content = BundleContent(
        name="random",
        version="1",
        classes=made.classes,
        input=made.input,
        variants=tuple(ManifestVariant(variant=made.variant(name)) for name in candidates),
        models={file: path for name in candidates for file, path in made.files(name).items()},
    )
    return write_bundle(folder, content)


def _make(
    folder: Path, architecture: str, size: int, source: str, candidates: tuple[str, ...]
) -> MadeNetwork:
    import torch

    from edgetl.export.onnx_from_torch import onnx_from_torch
    from edgetl.export.parity import check_parity
    from edgetl.quantize.qdq import int8_from_fp32
    from edgetl.reference.checkpoint import ClassifierDescription, save_classifier
    from edgetl.reference.network import Reference, build_network, head_layer
    from edgetl.spec import Head

    input = input_of(architecture, size)
    classes = open_dataset(source).classes
    torch.manual_seed(0)
    network = build_network(architecture, len(classes), input)
    reference = Reference(network, input)
    inputs = real_inputs(source, input, _SETTLING_IMAGES)
    _settle(reference, inputs)
    head = Head(layer=head_layer(network, architecture), classes=classes)
    description = ClassifierDescription(architecture=architecture, input=input, head=head)
    save_classifier(folder, network, description)
    model = onnx_from_torch(network, input=input, head=head)
    few = {name: batch[:_PTQ_SAMPLES] for name, batch in inputs.items()}
    with torch.inference_mode():
        probabilities, _ = reference(*(torch.from_numpy(batch) for batch in few.values()))
    parity = check_parity(model, probabilities.numpy(), few)
    int8 = any(CANDIDATES[name].precision is Precision.INT8 for name in candidates)
    quantized = int8_from_fp32(model, few) if int8 else b""
    for name in candidates:
        _write(folder, name, quantized if CANDIDATES[name].precision is Precision.INT8 else model)
    return MadeNetwork(
        folder=folder,
        input=input,
        classes=classes,
        worst_difference=parity.difference,
        spread=parity.spread,
    )


def _settle(reference: object, inputs: dict[str, Array]) -> None:
    """Set the running statistics to the plain mean over some batches of real images."""
    import torch

    assert isinstance(reference, torch.nn.Module)
    for module in reference.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    reference.train()
    with torch.no_grad():
        for start in range(0, _SETTLING_IMAGES, 64):
            rows = slice(start, start + 64)
            reference(*(torch.from_numpy(batch[rows]) for batch in inputs.values()))
    reference.eval()


def _write(folder: Path, name: str, model: bytes) -> None:
    from edgetl.compile.openvino_from_onnx import openvino_from_onnx

    variant = CANDIDATES[name].variant()
    contents = openvino_from_onnx(model) if variant.backend == "openvino" else (model,)
    for file, content in zip(variant.files, contents, strict=True):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

"""The reference keeps what every backend keeps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from edgetl.backends.base import Backend
from edgetl.errors import BackendError
from edgetl.reference.checkpoint import ClassifierDescription, load_classifier, save_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.network import Mlp, Reference, build_network
from edgetl.spec import Head, ImageInput, TensorInput
from tests.backends.conformance import BATCHES, IMAGE, BackendConformance
from tests.backends.helpers.models import CLASSES, SIZE, images

LABELS = tuple("abcde")[:CLASSES]


def _image_checkpoint(folder: Path) -> Path:
    """A network whose batch statistics have settled, and whose head is centred on its inputs."""
    spec = ImageInput(height=SIZE, width=SIZE)
    torch.manual_seed(0)
    network = build_network("mobilenet_v3_small", CLASSES, spec)
    head = network.get_submodule("classifier.3")
    assert isinstance(head, nn.Linear)
    batch = torch.from_numpy(images(64, seed=1))
    reference = Reference(network, spec)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        reference(batch)
        raw = reference.eval()(batch)[1]
        head.weight /= raw.std()
        head.bias -= head.bias
        head.bias -= reference(batch)[1].mean(0)
    description = ClassifierDescription(
        architecture="mobilenet_v3_small",
        input=spec,
        head=Head(layer="classifier.3", classes=LABELS),
    )
    save_classifier(folder, network, description)
    return folder


def _huge_checkpoint(folder: Path) -> Path:
    """Weights that overflow for inputs of 4, and do not for those of the probe, 0 to 1, or -4."""
    network = Mlp(features=3, classes=3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.body[1].weight += 1e30
        network.body[1].bias -= 4e30
        network.body[3].weight += 1e30
        network.head.weight += 1e30
    description = ClassifierDescription(
        architecture="mlp",
        input=TensorInput(shape=(3,)),
        head=Head(layer="head", classes=("a", "b", "c")),
    )
    save_classifier(folder, network, description)
    return folder


class TestReference(BackendConformance):
    name = "pytorch"
    layers = None
    folder: ClassVar[Path]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def checkpoint(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.folder = _image_checkpoint(tmp_path_factory.mktemp("image"))

    @classmethod
    def open(cls, model: bytes, *, threads: int = 1) -> ReferenceBackend:
        return ReferenceBackend(cls.folder, threads=threads)

    @classmethod
    def script(cls, folder: Path) -> str:
        return textwrap.dedent(f"""
            import sys
            from pathlib import Path
            from edgetl.reference.client import ReferenceBackend
            backend = ReferenceBackend(Path({str(cls.folder)!r}), threads=1)
            assert "torch" not in sys.modules
        """)

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
        with ReferenceBackend(_huge_checkpoint(tmp_path_factory.mktemp("huge"))) as backend:
            yield backend

    def test_is_a_backend_with_the_spec_of_its_model(self, backend: Backend) -> None:
        assert isinstance(backend, Backend)
        assert dict(backend.input_spec) == {"image": IMAGE}
        for name in ("probabilities", "logits"):
            spec = backend.output_spec[name]
            assert (spec.name, spec.dtype, spec.shape) == (name, "float32", (None, CLASSES))

    def test_answers_right_at_any_batch_size(self, backend: Backend) -> None:
        network, description = load_classifier(self.folder)
        given = images(max(BATCHES))
        with torch.inference_mode():
            expected = Reference(network, description.input)(torch.from_numpy(given))[0].numpy()
        assert len(set(expected.argmax(1))) >= 3, "a network that answers all alike proves nothing"
        for batch in BATCHES:
            got = backend.run({"image": given[:batch]})["probabilities"]
            np.testing.assert_allclose(got, expected[:batch], atol=self.tolerance, rtol=0)

    def test_nan_never_leaves(self, root: Backend) -> None:
        fine = np.full((2, 3), -4, np.float32)
        assert root.run({"features": fine})["probabilities"] == pytest.approx(1 / 3)
        with pytest.raises(BackendError, match="NaN or infinity in output"):
            root.run({"features": -fine})
        assert root.run({"features": fine})["probabilities"] == pytest.approx(1 / 3)

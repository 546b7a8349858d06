"""A network that was trained elsewhere, from whatever file its state dict is in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgetl.errors import CheckpointError, ConfigError, ModelError
from edgetl.reference.answering import load_answering
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.client import ReferenceBackend
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.network import Mlp, Reference
from edgetl.reference.normalised import normalised_network
from edgetl.reference.trained import trained_network
from edgetl.spec import ClassifierInput, Head, ImageInput, SeveralInputs, TensorInput

INPUT = TensorInput(shape=(4,))
CLASSES = ("a", "b", "c")

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        self.body = nn.Linear(4, width)
        self.decide = nn.Linear(width, 3)

    def forward(self, x):
        return self.decide(self.body(x).relu()).softmax(-1)

def make():
    return Net()

def loaded():
    torch.manual_seed(7)
    return Net()

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.decide = nn.Linear(6, 3)

    def forward(self, image, extra):
        return self.decide(torch.cat([image.view(len(image), -1)[:, :3], extra], 1))

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(self.first(x).relu()).relu())

class DoublesLarge(nn.Module):
    def __init__(self):
        super().__init__()
        self.decide = nn.Linear(4, 3)

    def forward(self, x):
        if x.max() > 5:
            x *= 2
        return self.decide(x)

class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv3d(1, 2, 2)
        self.decide = nn.Linear(2, 3)

    def forward(self, x):
        return self.decide(self.look(x).mean((2, 3, 4)))

class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        import threading
        self.lock = threading.Lock()
        self.decide = nn.Linear(4, 3)

    def forward(self, x):
        with self.lock:
            return self.decide(x)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "their_net.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "their_net", raising=False)
    return folder


def _mlp(seed: int = 1) -> Mlp:
    torch.manual_seed(seed)
    return Mlp(features=4, classes=3)


def _taken(weights: Path, **options: Any) -> tuple[nn.Module, ClassifierDescription]:
    return trained_network("mlp", weights=str(weights), input=INPUT, classes=CLASSES, **options)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
def test_a_plain_state_dict_is_taken_whole(tmp_path: Path, name: str) -> None:
    donor, path = _mlp(), tmp_path / name
    (save_file if name == "w.safetensors" else torch.save)(donor.state_dict(), path)
    network, description = _taken(path)
    assert not network.training and description.head == Head(layer="head", classes=CLASSES)
    for key, value in donor.state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


def test_a_state_dict_in_an_entry_is_asked_for_by_name(tmp_path: Path) -> None:
    path, state = tmp_path / "w.pt", _mlp().state_dict()
    torch.save({"epoch": 3, "state_dict": state, "ema": state, "optimizer": {}}, path)
    with pytest.raises(CheckpointError, match=r"state_dict or ema.*weights_entry") as caught:
        _taken(path)
    assert "'epoch', 'state_dict', 'ema', 'optimizer'" in caught.value.got
    with pytest.raises(CheckpointError, match="no entry 'model'"):
        _taken(path, weights_entry="model")
    network, _ = _taken(path, weights_entry="ema")
    assert torch.equal(network.state_dict()["head.bias"], state["head.bias"])


def test_a_state_dict_deep_in_a_file_is_asked_for_by_its_path(tmp_path: Path) -> None:
    path, state = tmp_path / "w.pt", _mlp().state_dict()
    optimizer = {"state": {0: {"step": torch.ones(1)}}}
    torch.save({"model": {"epoch": 1, "state_dict": state}, "optimizer": optimizer}, path)
    for given in (None, "model"):
        with pytest.raises(CheckpointError) as caught:
            _taken(path, weights_entry=given)
        assert caught.value.fix == 'write weights_entry = "model.state_dict"'
    network, _ = _taken(path, weights_entry="model.state_dict")
    assert torch.equal(network.state_dict()["head.bias"], state["head.bias"])
    for wrong in ("model.ema", "model.epoch.x", "model.", "."):
        with pytest.raises(CheckpointError, match="no entry"):
            _taken(path, weights_entry=wrong)
    torch.save({"a.b": state, "a": {"b": {}}}, path)
    _taken(path, weights_entry="a.b")


def test_an_averaged_models_count_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, donor = tmp_path / "w.pt", _mlp()
    averaged = torch.optim.swa_utils.AveragedModel(donor).state_dict()
    torch.save(averaged, path)
    with pytest.raises(CheckpointError) as caught:
        _taken(path)
    assert caught.value.fix == 'write weights_prefix = "module."'
    network, _ = _taken(path, weights_prefix="module.")
    assert torch.equal(network.state_dict()["head.bias"], donor.state_dict()["head.bias"])
    assert "left out: n_averaged" in caplog.text
    for name in ("head.bias", "ema.head.bias"):
        torch.save({**averaged, name: torch.ones(3)}, path)
        with pytest.raises(CheckpointError, match=f"'{name}', which is the network's too"):
            _taken(path, weights_prefix="module.")


@pytest.mark.parametrize("prefix", ["module.", "model.net."])
def test_a_shared_prefix_is_asked_for(tmp_path: Path, prefix: str) -> None:
    path, state = tmp_path / "w.pt", _mlp().state_dict()
    torch.save({prefix + name: value for name, value in state.items()}, path)
    with pytest.raises(CheckpointError) as caught:
        _taken(path)
    assert caught.value.fix == f'write weights_prefix = "{prefix}"'
    network, _ = _taken(path, weights_prefix=prefix)
    assert torch.equal(network.state_dict()["head.bias"], state["head.bias"])
    with pytest.raises(CheckpointError, match="keys that begin with 'x'"):
        _taken(path, weights_prefix="x")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda state: state.pop("head.bias"), r"1 missing: head\.bias"),
        (lambda state: state.update(loss=torch.ones(1)), "1 extra: loss"),
        (lambda state: state.update({"head.weight": torch.ones(5, 128)}), "of 5 classes"),
        (lambda state: state.update({"head.bias": torch.ones(3).half()}), "float16"),
        (lambda state: state["head.bias"].fill_(torch.nan), "NaN or infinity in 'head.bias'"),
        (lambda state: state["head.bias"].fill_(torch.inf), "NaN or infinity"),
        (lambda state: state.update(epoch=3), "'epoch', a int among the tensors"),
        (lambda state: state.clear(), "without tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], match: str
) -> None:
    state = {name: value.clone() for name, value in _mlp().state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=match):
        _taken(tmp_path / "w.pt")


def test_other_values_than_a_dict_are_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="a list, not a dict"):
        _taken(tmp_path / "w.pt")


def test_weights_of_no_file_are_for_factories_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would be random"):
        trained_network("mlp", weights="factory", input=INPUT, classes=CLASSES)
    with pytest.raises(ConfigError, match="weights_entry"):
        trained_network(
            "python:x:y", weights="factory", weights_prefix="a.", input=INPUT, classes=CLASSES
        )
    save_file({"x": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="no entry"):
        _taken(tmp_path / "w.safetensors", weights_entry="state_dict")


def test_a_factorys_own_weights_travel_through_the_checkpoint_into_the_worker(
    code: Path, tmp_path: Path
) -> None:
    architecture = "python:their_net:loaded"
    network, description = trained_network(
        architecture, weights="factory", input=INPUT, classes=CLASSES, code=code
    )
    assert description.head.layer == "decide" and not network.training
    folder = tmp_path / "checkpoint"
    save_classifier(folder, network, description, code=code)
    again, described = load_classifier(folder, code=code)
    assert described == description
    x = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    with torch.no_grad():
        want = again(torch.from_numpy(x)).numpy()
        raw = network.decide(network.body(torch.from_numpy(x)).relu()).numpy()
    with ReferenceBackend(folder, threads=1, code=code) as backend:
        got = backend.run({"features": x})
        assert backend.facts()["architecture"] == architecture
    np.testing.assert_allclose(got["probabilities"], want, atol=1e-6)
    # What enters the network's own softmax, not what comes out of it.
    np.testing.assert_allclose(got["logits"], raw, atol=1e-6)
    with pytest.raises(CheckpointError, match="which is code, and no folder"):
        ReferenceBackend(folder, threads=1)


def test_a_network_of_several_inputs_and_a_view_of_its_own_answers_and_is_timed(
    code: Path, tmp_path: Path
) -> None:
    input = SeveralInputs(
        parts={"photo": ImageInput(height=2, width=2), "extra": TensorInput(shape=(3,))}
    )
    network, description = trained_network(
        "python:their_net:Pair", weights="factory", input=input, classes=CLASSES, code=code
    )
    save_classifier(tmp_path / "pair", network, description, code=code)
    generator = np.random.default_rng(0)
    inputs = {
        "extra": generator.normal(size=(5, 3)).astype(np.float32),
        "photo": generator.integers(0, 256, (5, 2, 2, 3), dtype=np.uint8),
    }
    tensors = [torch.from_numpy(inputs[name]) for name in ("photo", "extra")]
    with torch.no_grad():
        want = Reference.of(network, input, description.head)(*tensors)[0].numpy()
    with ReferenceBackend(tmp_path / "pair", threads=1, code=code) as backend:
        np.testing.assert_allclose(backend.run(inputs)["probabilities"], want, atol=1e-6)
        assert len(backend.time_block(inputs, 2)) == 2
        # `view` takes no other layout.
        assert backend.facts()["timed_layout"] == backend.facts()["layout"] == "contiguous"


@pytest.mark.parametrize(("name", "shape"), [("Volumes", (1, 3, 3, 3)), ("Locked", (4,))])
def test_a_network_that_takes_no_other_layout_or_no_copy_answers_in_its_own(
    code: Path, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    network, description = trained_network(
        f"python:their_net:{name}",
        weights="factory",
        input=TensorInput(shape=shape),
        classes=CLASSES,
        code=code,
    )
    save_classifier(tmp_path / "own", network, description, code=code)
    answering = load_answering(tmp_path / "own", threads=1, code=code)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    with torch.no_grad():
        raw = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(answering.answer({"features": x})["logits"], raw, atol=1e-6)
    assert len(answering.time_block({"features": x}, 2)) == 2
    assert answering.facts()["timed_layout"] == answering.facts()["layout"] == "contiguous"


def test_tied_weights_are_written_and_stay_tied(code: Path, tmp_path: Path) -> None:
    network, description = trained_network(
        "python:their_net:Tied", weights="factory", input=INPUT, classes=CLASSES, code=code
    )
    save_classifier(tmp_path / "tied", network, description, code=code)
    again, _ = load_classifier(tmp_path / "tied", code=code)
    assert again.first.weight is again.second.weight
    assert torch.equal(again.first.weight, network.first.weight)


def test_the_callers_array_is_its_own_whatever_a_network_does_to_its_input(
    code: Path, tmp_path: Path
) -> None:
    network, description = trained_network(
        "python:their_net:DoublesLarge", weights="factory", input=INPUT, classes=CLASSES, code=code
    )
    folder = tmp_path / "doubles"
    save_classifier(folder, network, description, code=code)
    answering = load_answering(folder, threads=1, code=code)
    x = np.full((2, 4), 9, np.float32)
    first = answering.answer({"features": x})["probabilities"]
    answering.time_block({"features": x}, 2)
    normalised_network(folder, code=code)(x)
    assert (x == 9).all()
    np.testing.assert_array_equal(answering.answer({"features": x})["probabilities"], first)


@pytest.mark.parametrize(
    ("architecture", "input", "classes", "match"),
    [
        ("python:their_net:make", INPUT, ("a", "b"), "got 3 outputs.*2 classes"),
        ("python:their_net:make", TensorInput(shape=(5,)), CLASSES, r"float32 \(2, 5\)"),
    ],
)
def test_a_network_that_does_not_fit_is_said_before_its_weights_are_read(
    code: Path, architecture: str, input: ClassifierInput, classes: tuple[str, ...], match: str
) -> None:
    with pytest.raises(ModelError, match=match):
        trained_network(
            architecture, weights="not/there.pt", input=input, classes=classes, code=code
        )


def test_timm_takes_a_trained_state(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    donor = timm.create_model("mobilenetv3_small_050", num_classes=3)
    torch.save(donor.state_dict(), tmp_path / "w.pth")
    network, description = trained_network(
        "timm:mobilenetv3_small_050",
        weights=str(tmp_path / "w.pth"),
        input=ImageInput(height=32, width=32),
        classes=CLASSES,
    )
    assert description.head.layer == "classifier"
    save_classifier(tmp_path / "out", network, description)
    again, _ = load_classifier(tmp_path / "out")
    assert torch.equal(again.state_dict()["classifier.bias"], donor.state_dict()["classifier.bias"])

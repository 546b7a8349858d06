"""Training networks of timm and of the user's own, and heads that are no last linear layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError, ModelError
from edgetl.reference.checkpoint import load_classifier
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput
from edgetl.train.backbones import check_source, load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import FinetuneResult, finetune

CLASSES = ("a", "b", "c")
IMAGE = ImageInput(height=32, width=32)
GREY = ImageInput(height=8, width=8, channels="grey", mean=(0.3,), std=(0.2,))

MODULE = '''
from torch import nn

class Net(nn.Module):
    """Calls view, ends in softmax, and has a head of an odd name."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.decide = nn.Linear(4 * 64, num_classes)

    def forward(self, x):
        return self.decide(self.conv(x).relu().view(len(x), -1)).softmax(-1)

class Flat(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body, self.decide = nn.Linear(64, 16), nn.Linear(16, num_classes)

    def forward(self, x):
        return self.decide(self.body(x).relu())

def only():
    return nn.Sequential(nn.Linear(64, 3))

def two(classes):
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes), nn.Tanh())
'''


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "trained_net.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "trained_net", raising=False)
    return folder


@pytest.fixture
def parts(train_part: SplitPart, val_part: SplitPart) -> tuple[SplitPart, SplitPart]:
    return train_part, val_part


def _run(
    architecture: str,
    parts: tuple[SplitPart, SplitPart],
    out: Path,
    *,
    input: ClassifierInput,
    code: Path | None = None,
    **changes: Any,
) -> FinetuneResult:
    values: dict[str, Any] = {
        "architecture": architecture,
        "weights": "none",
        "recipe": "two-stage",
        "epochs": 10,
        "head_epochs": 2,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "head_learning_rate": 2e-2,
        "device": "cpu",
        "threads": 1,
    }
    config = FinetuneConfig(**{**values, **changes})
    return finetune(config, *parts, input=input, classes=CLASSES, out=out, code=code)


def test_a_users_network_learns_through_its_own_softmax(
    parts: tuple[SplitPart, SplitPart], code: Path, tmp_path: Path
) -> None:
    result = _run("python:trained_net:Net", parts, tmp_path / "out", input=GREY, code=code)
    best = result.records[result.best_epoch - 1]
    # Trained on probabilities as if they were logits, the NLL could not fall under 0.55.
    assert best.top1 == 1.0 and best.nll < 0.3
    network, description = load_classifier(tmp_path / "out", code=code)
    assert description.head.layer == "decide" and network.conv.in_channels == 1


def test_a_tensor_network_of_the_users_learns(
    parts: tuple[SplitPart, SplitPart], code: Path, tmp_path: Path
) -> None:
    result = _run(
        "python:trained_net:Flat",
        parts,
        tmp_path / "out",
        input=TensorInput(shape=(64,)),
        code=code,
        weights="factory",
    )
    assert result.records[result.best_epoch - 1].top1 == 1.0
    assert result.weights.source == "factory" and len(result.weights.sha256 or "") == 64


@pytest.mark.parametrize("augment", ["none", "light"])
@pytest.mark.parametrize(
    ("architecture", "head"),
    [("squeezenet1_1", "classifier.1"), ("timm:mobilenetv3_small_050", "classifier")],
)
def test_a_linear_probe_moves_the_head_alone_whatever_comes_after_it(
    architecture: str,
    head: str,
    augment: str,
    parts: tuple[SplitPart, SplitPart],
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    network = build_network(architecture, 3, IMAGE)
    save_file(network.state_dict(), tmp_path / "start.safetensors")
    result = _run(
        architecture,
        parts,
        tmp_path / "probe",
        input=IMAGE,
        recipe="linear-probe",
        epochs=2,
        augment=augment,
        weights=str(tmp_path / "start.safetensors"),
    )
    assert result.weights.fresh == ()
    before, after = network.state_dict(), load_classifier(tmp_path / "probe")[0].state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"{head}.weight", f"{head}.bias"}


def test_another_code_is_another_run(
    parts: tuple[SplitPart, SplitPart], code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"input": TensorInput(shape=(64,)), "code": code, "epochs": 1}
    _run("python:trained_net:Flat", parts, tmp_path / "out", **options)
    again = _run("python:trained_net:Flat", parts, tmp_path / "out", **options)
    assert again.resumed_epochs == 3
    (code / "trained_net.py").write_text(MODULE + "\n# another\n")
    monkeypatch.delitem(sys.modules, "trained_net")
    assert _run("python:trained_net:Flat", parts, tmp_path / "out", **options).resumed_epochs == 0


def test_a_head_is_named_by_the_config_or_asked_for(
    parts: tuple[SplitPart, SplitPart], code: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"input": TensorInput(shape=(64,)), "code": code, "epochs": 1}
    with pytest.raises(ModelError, match=r"'2' \(3 outputs\).*head = \"output\""):
        _run("python:trained_net:two", parts, tmp_path / "out", **options)
    with pytest.raises(ConfigError, match="names no layer"):
        _run("python:trained_net:two", parts, tmp_path / "out", head="output", **options)
    _run("python:trained_net:two", parts, tmp_path / "out", head="output", recipe="full", **options)
    assert load_classifier(tmp_path / "out", code=code)[1].head.layer == "output"
    _run("python:trained_net:only", parts, tmp_path / "only", head="0", **options)
    with pytest.raises(ModelError, match="Sequential"):
        _run("python:trained_net:only", parts, tmp_path / "only", head="", **options)


@pytest.mark.parametrize(
    ("weights", "architecture", "offers"),
    [
        ("imagenet", "timm:resnet18", "'pretrained'"),
        ("imagenet", "python:a:b", "'factory'"),
        ("imagenet", "mlp", "'none'"),
        ("pretrained", "resnet18", "'imagenet'"),
        ("pretrained", "python:a:b", "'factory'"),
        ("factory", "resnet18", "'imagenet'"),
        ("factory", "timm:resnet18", "'pretrained'"),
    ],
)
def test_weights_that_an_architecture_has_not_are_refused_with_those_it_has(
    weights: str, architecture: str, offers: str
) -> None:
    with pytest.raises(ConfigError, match=f"expected {offers}"):
        check_source(weights, architecture)


@pytest.mark.parametrize("classes", [3, 1000])
def test_pretrained_is_timms_own_loading_for_the_inputs_channels(
    monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    import timm
    from timm.models import _builder

    torch.manual_seed(0)
    donor = timm.create_model("resnet10t")
    asked: list[dict[str, Any]] = []

    def download(*place: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append({"place": place, **options})
        return {name: value.clone() for name, value in donor.state_dict().items()}

    monkeypatch.setattr(_builder, "load_state_dict_from_hf", download)
    input = ImageInput(height=32, width=32, channels="grey", mean=(0.5,), std=(0.5,))
    network = build_network("timm:resnet10t", classes, input)
    start = network.fc.weight.detach().clone()
    head = Head(layer="fc", classes=tuple(map(str, range(classes))))
    report = load_weights(network, "pretrained", "timm:resnet10t", head=head, input=input)
    assert "resnet10t" in asked[0]["place"][0] and asked[0]["weights_only"] is True
    assert report.source == "pretrained" and len(report.sha256 or "") == 64
    # The head is the published one only for the published classes.
    assert report.fresh == (() if classes == 1000 else ("fc.weight", "fc.bias"))
    assert torch.equal(network.fc.weight, donor.fc.weight if classes == 1000 else start)
    # timm sums the kernels of three channels into one.
    torch.testing.assert_close(
        network.conv1[0].weight, donor.conv1[0].weight.sum(dim=1, keepdim=True)
    )


def test_a_failed_download_of_timms_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from timm.models import _builder

    def download(*place: str, **options: Any) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(_builder, "load_state_dict_from_hf", download)
    network = build_network("timm:resnet10t", 3, IMAGE)
    head = Head(layer="fc", classes=CLASSES)
    with pytest.raises(CheckpointError, match="no route to host"):
        load_weights(network, "pretrained", "timm:resnet10t", head=head, input=IMAGE)

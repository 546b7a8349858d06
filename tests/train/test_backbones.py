"""Starting weights: whole or not at all, and the report says what happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models._api
from safetensors.torch import save_file

from edgetl.errors import CheckpointError, ConfigError
from edgetl.reference.network import Mlp, build_network, head_layer
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput
from edgetl.train.backbones import WeightsReport, _fit_positions, load_weights


def loaded_weights(network: torch.nn.Module, weights: str, architecture: str) -> WeightsReport:
    input: ClassifierInput = TensorInput(shape=(4,))
    if architecture != "mlp":
        input = ImageInput(height=32, width=32)
    layer = head_layer(network, architecture)
    outputs = network.get_parameter(f"{layer}.bias").numel()
    head = Head(layer=layer, classes=tuple(str(index) for index in range(outputs)))
    return load_weights(network, weights, architecture, head=head, input=input)


def _mlp(classes: int, seed: int) -> Mlp:
    torch.manual_seed(seed)
    return Mlp(features=4, classes=classes)


def _state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_a_file_of_other_classes_gives_the_body_and_a_fresh_head(tmp_path: Path) -> None:
    donor, network = _mlp(26, 1), _mlp(10, 2)
    before = _state(network)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    report = loaded_weights(network, str(tmp_path / "w.safetensors"), "mlp")
    assert report.source == "file" and report.loaded == 4 and len(report.sha256 or "") == 64
    assert report.fresh == ("head.weight", "head.bias")
    for name, value in network.state_dict().items():
        assert torch.equal(
            value, before[name] if name in report.fresh else donor.state_dict()[name]
        )


def test_a_head_of_the_same_shape_is_taken_over(tmp_path: Path) -> None:
    donor, network = _mlp(10, 1), _mlp(10, 2)
    save_file(donor.state_dict(), tmp_path / "w.safetensors")
    report = loaded_weights(network, str(tmp_path / "w.safetensors"), "mlp")
    assert report.fresh == () and report.loaded == 6
    assert torch.equal(network.head.weight, donor.head.weight)


def test_a_body_alone_is_enough(tmp_path: Path) -> None:
    donor, network = _mlp(10, 1), _mlp(10, 2)
    body = {name: value for name, value in donor.state_dict().items() if "head" not in name}
    save_file(body, tmp_path / "w.safetensors")
    report = loaded_weights(network, str(tmp_path / "w.safetensors"), "mlp")
    assert report.fresh == ("head.weight", "head.bias")


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "dtype", "nan"])
def test_weights_that_do_not_fit_change_nothing(tmp_path: Path, fault: str) -> None:
    state = _state(_mlp(10, 1))
    name = "body.1.weight"
    if fault == "missing":
        del state[name]
    elif fault == "extra":
        state["body.9.weight"] = torch.ones(1)
    elif fault == "shape":
        state[name] = torch.ones(128, 5)
    elif fault == "dtype":
        state[name] = state[name].half()
    else:
        state[name][3, 2] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    network = _mlp(10, 2)
    before = _state(network)
    with pytest.raises(CheckpointError, match=r"body\.9" if fault == "extra" else r"body\.1"):
        loaded_weights(network, str(tmp_path / "w.safetensors"), "mlp")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_none_loads_nothing_and_a_missing_file_is_said(tmp_path: Path) -> None:
    network = _mlp(10, 2)
    assert loaded_weights(network, "none", "mlp").fresh == tuple(network.state_dict())
    with pytest.raises(CheckpointError, match="no such file"):
        loaded_weights(network, str(tmp_path / "imagnet"), "mlp")
    with pytest.raises(CheckpointError, match="not a regular file"):
        loaded_weights(network, str(tmp_path), "mlp")
    with pytest.raises(ConfigError):
        loaded_weights(network, "imagenet", "mlp")


def test_imagenet_is_torchvisions_download_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ImageInput(height=32, width=32)
    torch.manual_seed(0)
    donor = build_network("mobilenet_v3_small", 1000, spec)
    seen: dict[str, Any] = {}

    def download(url: str, **options: Any) -> dict[str, torch.Tensor]:
        seen.update(options, url=url)
        return donor.state_dict()

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    network = build_network("mobilenet_v3_small", 10, spec)
    report = loaded_weights(network, "imagenet", "mobilenet_v3_small")
    assert seen["weights_only"] is True and seen["check_hash"] is True
    assert seen["url"].startswith("https://download.pytorch.org/models/mobilenet_v3_small")
    assert report.fresh == ("classifier.3.weight", "classifier.3.bias")
    assert torch.equal(
        network.get_parameter("features.0.0.weight"), donor.get_parameter("features.0.0.weight")
    )


def test_a_failed_download_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, **options: Any) -> dict[str, torch.Tensor]:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    with torch.device("meta"):
        network = build_network("resnet18", 10, ImageInput(height=32, width=32))
    with pytest.raises(CheckpointError, match="no route to host"):
        loaded_weights(network, "imagenet", "resnet18")


def test_a_vits_positions_are_interpolated_to_the_input() -> None:
    name = "encoder.pos_embedding"
    torch.manual_seed(0)
    got = torch.randn(1, 1 + 6 * 6, 8)
    state = {name: torch.zeros(1, 1 + 3 * 3, 8), "conv_proj.weight": torch.zeros(8, 3, 16, 16)}
    fitted = _fit_positions({name: got}, state)[name]
    assert fitted.shape == state[name].shape
    assert torch.equal(fitted[:, 0], got[:, 0])
    # Bicubic with aligned corners keeps the corner patches as they are.
    torch.testing.assert_close(fitted[:, 1], got[:, 1])
    torch.testing.assert_close(fitted[:, -1], got[:, -1])
    assert _fit_positions({name: got}, {name: got})[name] is got
    odd = torch.zeros(1, 12, 8)
    assert _fit_positions({name: odd}, state)[name] is odd

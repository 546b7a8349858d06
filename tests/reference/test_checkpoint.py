"""A checkpoint comes back as it was; the hostile ones are in tests/hostile/test_checkpoints.py."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgetl.errors import CheckpointError
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.description import read_description
from edgetl.reference.network import Reference


@pytest.mark.parametrize("which", ["mlp_folder", "resnet_folder"])
def test_a_classifier_survives_the_disk(
    which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(which)
    network, description = load_classifier(folder)
    save_classifier(tmp_path / "again", network, description)
    again, described = load_classifier(tmp_path / "again")
    assert described == description and not again.training
    for name, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert all(parameter.requires_grad for parameter in again.parameters())
    for file in ("model.safetensors", "classifier.json"):
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes()


def test_the_memory_layout_does_not_reach_the_disk(resnet_folder: Path, tmp_path: Path) -> None:
    network, description = load_classifier(resnet_folder)
    save_classifier(tmp_path, network.to(memory_format=torch.channels_last), description)
    for file in ("model.safetensors", "classifier.json"):
        assert (tmp_path / file).read_bytes() == (resnet_folder / file).read_bytes()


def test_loading_draws_nothing_from_the_random_state(resnet_folder: Path) -> None:
    torch.manual_seed(5)
    load_classifier(resnet_folder)
    after = torch.rand(4)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(4), after)


def test_the_fixture_answers_different_inputs_differently(resnet_folder: Path) -> None:
    network, description = load_classifier(resnet_folder)
    torch.manual_seed(0)
    x = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, _ = Reference(network, description.input)(x)
    assert probabilities.std(0).max() > 0.05


def test_the_description_is_read_without_torch(mlp_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgetl.reference.description import read_description\n"
        "assert read_description(Path(sys.argv[1]))[0].architecture == 'mlp'\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(mlp_folder)], check=True)


@pytest.mark.parametrize("classes", [("a",), ("a", "a", "b"), ("a", "b\n", "c"), ("a", " ", "c")])
def test_labels_that_are_none_are_not_written(
    mlp_folder: Path, tmp_path: Path, classes: tuple[str, ...]
) -> None:
    network, description = load_classifier(mlp_folder)
    head = dataclasses.replace(description.head, classes=classes)
    with pytest.raises(CheckpointError):
        save_classifier(tmp_path / "x", network, dataclasses.replace(description, head=head))
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_not_written(
    mlp_folder: Path, tmp_path: Path, temperature: float
) -> None:
    network, description = load_classifier(mlp_folder)
    head = dataclasses.replace(description.head, temperature=temperature)
    with pytest.raises(CheckpointError, match="temperature"):
        save_classifier(tmp_path / "x", network, dataclasses.replace(description, head=head))


def test_nan_weights_are_not_written(mlp_folder: Path, tmp_path: Path) -> None:
    network, description = load_classifier(mlp_folder)
    with torch.no_grad():
        next(network.parameters())[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"body\.1\.weight"):
        save_classifier(tmp_path / "x", network, description)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        read_description(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"no file classifier\.json"):
        read_description(tmp_path)

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.errors import ConfigError, UsageError
from edgetl.pipeline.choose_backbones import DRAWINGS, PHOTOS, backbones_of
from edgetl.spec import ImageInput, TensorInput

PHOTO = ImageInput(height=224, width=224)
SMALL = ImageInput(height=32, width=32)


def test_the_usual_backbones_take_the_weights_that_suit_the_pictures() -> None:
    photos = backbones_of([], weights=None, input=PHOTO, grey=True)
    assert tuple(one.architecture for one in photos) == PHOTOS
    assert {one.weights for one in photos} == {"imagenet", "pretrained"}
    assert all((one.weights == "pretrained") == ("timm:" in one.label) for one in photos)
    drawings = backbones_of([], weights=None, input=SMALL, grey=True)
    assert tuple(one.architecture for one in drawings) == DRAWINGS
    assert {one.weights for one in drawings} == {"letters"}
    assert {one.weights for one in backbones_of([], weights=None, input=SMALL)} >= {"imagenet"}


def test_own_weights_go_before_those_of_all(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"")
    names = ["resnet18", f"resnet18={mine}", "torchvision:resnet50=none", "python:mod:make"]
    found = backbones_of(names, weights=None, input=PHOTO)
    assert [one.weights for one in found] == ["imagenet", str(mine), "none", "factory"]
    labels = ["resnet18", "resnet18=mine.safetensors", "resnet50=none", "python:mod:make"]
    assert [one.label for one in found] == labels
    assert len({one.folder for one in found}) == 4
    assert backbones_of(["python:mod:make"], weights="none", input=PHOTO)[0].weights == "none"


@pytest.mark.parametrize(
    ("names", "weights", "said"),
    [
        (["resnet81"], None, "did you mean 'resnet18'?"),
        (["resnet18", "resnet18"], None, "named twice"),
        (["resnet18=gone.safetensors"], None, "a file that is not there"),
        (["resnet18=imagnet"], None, "no kind of weights"),
        (["resnet18="], None, "no kind of weights"),
        (["resnet18"], "weights.pt", "no kind of weights"),
        (["timm:not a name"], None, "timm:NAME"),
        (["mlp"], None, "a tensor input"),
    ],
)
def test_what_is_no_backbone_is_refused(names: list[str], weights: str | None, said: str) -> None:
    with pytest.raises((UsageError, ConfigError)) as caught:
        backbones_of(names, weights=weights, input=PHOTO)
    assert said in str(caught.value)


def test_an_input_that_no_published_backbone_takes_needs_names() -> None:
    with pytest.raises(UsageError, match="no published backbone"):
        backbones_of([], weights=None, input=TensorInput(shape=(8,)))
    (one,) = backbones_of(["mlp"], weights="none", input=TensorInput(shape=(8,)))
    assert one.label == "mlp"

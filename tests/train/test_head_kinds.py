"""Training networks that end in another head: every recipe, resumed to the bit, from few images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from edgetl.data.store import SplitPart
from edgetl.errors import ConfigError, DataError
from edgetl.reference.architectures import HeadKind
from edgetl.reference.checkpoint import load_classifier, save_classifier
from edgetl.reference.description import ClassifierDescription, read_description
from edgetl.reference.heads import head_of
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput
from edgetl.train.backbones import load_weights
from edgetl.train.config import FinetuneConfig
from edgetl.train.loop import FinetuneResult, finetune
from edgetl.train.progress import TrainProgress

CLASSES = ("a", "b", "c")
INPUT = TensorInput(shape=(64,))
IMAGE = ImageInput(height=32, width=32)
KINDS: tuple[HeadKind, ...] = ("mlp", "cosine", "prototype")


def run(train: SplitPart, val: SplitPart, out: Path, **changes: Any) -> FinetuneResult:
    progress = changes.pop("progress", None)
    values = {
        "architecture": "mlp:16",
        "weights": "none",
        "recipe": "two-stage",
        "epochs": 3,
        "head_epochs": 3,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "head_learning_rate": 2e-2,
        "head_width": 12 if changes.get("head_kind") == "mlp" else 1024,
        "device": "cpu",
        "threads": 1,
    }
    config = FinetuneConfig(**(values | changes))
    return finetune(config, train, val, input=INPUT, classes=CLASSES, out=out, progress=progress)


class Stopped(Exception):
    """A kill in the middle of training."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_of_any_kind_trains_and_resumes_to_the_bit(
    kind: HeadKind, train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    whole = run(train_part, val_part, tmp_path / "whole", head_kind=kind)

    def stop(now: TrainProgress) -> None:
        if now.epoch == 5 and now.record is None:
            raise Stopped

    with pytest.raises(Stopped):
        run(train_part, val_part, tmp_path / "killed", head_kind=kind, progress=stop)
    again = run(train_part, val_part, tmp_path / "killed", head_kind=kind)
    assert again.resumed_epochs == 4 and again.records == whole.records
    for name in ("model.safetensors", "classifier.json", "history.json"):
        files = [(tmp_path / folder / name).read_bytes() for folder in ("whole", "killed")]
        assert files[0] == files[1]
    network, description = load_classifier(tmp_path / "whole")
    assert description.head_kind == kind and description.head.layer == "head.linear"
    assert type(network.head.linear) is torch.nn.Linear
    assert whole.records[-1].nll < np.log(3)
    if kind != "mlp":
        lengths = network.head.linear.weight.norm(dim=1)
        torch.testing.assert_close(lengths, lengths[:1].expand(3))


@pytest.mark.parametrize("kind", ["mlp", "cosine"])
def test_a_linear_probe_trains_the_whole_head_and_nothing_else(
    kind: HeadKind, train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    run(train_part, val_part, tmp_path / "a", head_kind=kind, recipe="linear-probe", epochs=1)
    run(train_part, val_part, tmp_path / "b", head_kind=kind, recipe="linear-probe", epochs=6)
    one, six = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    for name, value in one.items():
        assert torch.equal(value, six[name]) != name.startswith("head.")


def test_the_start_of_lp_ft_is_solved_and_told(
    train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    result = run(train_part, val_part, tmp_path, recipe="lp-ft", choose_weight_decay=True, epochs=2)
    assert result.records[0].phase == "head" and result.records[0].top1 > 0.9
    history = json.loads((tmp_path / "history.json").read_text())
    assert "solved to convergence" in json.dumps(history)
    assert "held-out NLL" in json.dumps(history)


def test_few_images_of_a_class_cannot_be_cross_validated(
    train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    few = np.flatnonzero(train_part.labels != 2).tolist()
    few.append(int(np.flatnonzero(train_part.labels == 2)[0]))
    part = SplitPart(
        ids=tuple(train_part.ids[at] for at in few),
        labels=train_part.labels[few],
        images=train_part.images[few],
    )
    with pytest.raises(DataError, match="class 'c': got 1 image to train on; expected at least 2"):
        run(part, val_part, tmp_path, recipe="linear-probe", choose_weight_decay=True)


def test_a_solved_head_is_refused_where_the_head_is_no_linear_layer(
    train_part: SplitPart, val_part: SplitPart, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="'linear'"):
        run(train_part, val_part, tmp_path, recipe="lp-ft", head_kind="cosine")


def loaded(
    architecture: str, weights: str, kind: HeadKind, spec: ClassifierInput
) -> tuple[torch.nn.Module, Any]:
    torch.manual_seed(7)
    network = build_network(architecture, 3, spec, head_kind=kind, head_width=5)
    layer = head_of(network, architecture, input=spec, classes=CLASSES, head_kind=kind)
    head = Head(layer=layer, classes=CLASSES)
    report = load_weights(network, weights, architecture, head=head, input=spec, head_kind=kind)
    return network, report


@pytest.mark.parametrize("architecture", ["mlp:8", "squeezenet1_1"])
@pytest.mark.parametrize("given", ["linear", "mlp", "cosine"])
@pytest.mark.parametrize("wanted", ["linear", "mlp", "prototype"])
def test_weights_of_any_head_give_their_body_to_any_other(
    architecture: str, given: HeadKind, wanted: HeadKind, tmp_path: Path
) -> None:
    spec: ClassifierInput = IMAGE if architecture == "squeezenet1_1" else INPUT
    torch.manual_seed(3)
    donor = build_network(architecture, 3, spec, head_kind=given, head_width=5)
    layer = head_of(donor, architecture, input=spec, classes=CLASSES, head_kind=given)
    description = ClassifierDescription(
        architecture=architecture,
        input=spec,
        head=Head(layer=layer, classes=CLASSES),
        head_kind=given,
        head_width=5,
    )
    save_classifier(tmp_path, donor, description)
    network, report = loaded(architecture, str(tmp_path / "model.safetensors"), wanted, spec)
    taken = [name for name in network.state_dict() if name not in report.fresh]
    assert all(torch.equal(network.state_dict()[n], donor.state_dict()[n]) for n in taken)
    # Cosines and prototypes are one network; another head than the given one starts at random.
    alike = given == wanted or (given, wanted) == ("cosine", "prototype")
    assert bool(report.fresh) != alike and report.loaded == len(taken)
    assert read_description(tmp_path)[0].head_kind == given


def test_an_mlp_of_any_widths_has_no_published_weights() -> None:
    with pytest.raises(ConfigError, match=r"'none' or a \.safetensors"):
        loaded("mlp:8", "imagenet", "linear", INPUT)

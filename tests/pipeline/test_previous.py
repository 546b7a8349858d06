"""The start of a classifier that learns more: old rows stay, old data is that of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edgetl.data.sources import open_dataset
from edgetl.data.splits import make_splits
from edgetl.data.store import SplitStore, save_splits
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.files import sha256_file
from edgetl.pipeline.previous import (
    Previous,
    check_classes,
    read_previous,
    starting_weights,
)
from edgetl.reference.checkpoint import save_classifier
from edgetl.reference.description import ClassifierDescription
from edgetl.reference.network import build_network
from edgetl.spec import ClassifierInput, Head, ImageInput, TensorInput
from edgetl.train.starting_head import in_training_form

SPEC = TensorInput(shape=(4,))
OLD = ("a", "b")


def _previous(
    architecture: str = "mlp", layer: str = "head", input: ClassifierInput = SPEC, **kind: Any
) -> Previous:
    torch.manual_seed(0)
    network = build_network(architecture, 2, input, **kind).eval()
    description = ClassifierDescription(
        architecture=architecture, input=input, head=Head(layer=layer, classes=OLD), **kind
    )
    return Previous(network=network, description=description)


@pytest.mark.parametrize(
    ("architecture", "layer", "input", "kind"),
    [
        ("mlp", "head", SPEC, {}),
        ("mlp:5", "head.linear", SPEC, {"head_kind": "mlp", "head_width": 3}),
        ("mlp", "head.linear", SPEC, {"head_kind": "cosine"}),
        ("squeezenet1_1", "classifier.1", ImageInput(height=32, width=32), {}),
    ],
    ids=["linear", "mlp-head", "cosine", "convolution"],
)
def test_the_start_answers_old_classes_as_before_and_has_a_row_a_new_one(
    architecture: str, layer: str, input: ClassifierInput, kind: dict[str, Any], tmp_path: Path
) -> None:
    previous = _previous(architecture, layer, input, **kind)
    path = starting_weights(previous, ("a", "b", "c", "d"), tmp_path / "new", seed=3)
    grown = build_network(architecture, 4, input, **kind).eval()
    grown.load_state_dict(load_file(path))
    shape = (3, 4) if input is SPEC else (3, 3, 32, 32)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(grown(x)[:, :2], previous.network(x), atol=1e-6)
    rows = load_file(path)[f"{layer}.weight"][2:]
    assert len(rows) == 2 and bool(rows.any()) and not torch.equal(rows[0], rows[1])


def test_new_rows_of_cosines_do_not_stretch_the_old_ones_in_training(tmp_path: Path) -> None:
    """Training learns one length for all rows: with longer new ones the old answers would grow."""
    previous = _previous("mlp", "head.linear", SPEC, head_kind="cosine")
    assert isinstance(previous.network.head.linear.weight, torch.Tensor)
    with torch.no_grad():
        previous.network.head.linear.weight.mul_(0.4)
    path = starting_weights(previous, (*OLD, "c"), tmp_path)
    grown = build_network("mlp", 3, SPEC, head_kind="cosine")
    grown.load_state_dict(load_file(path))
    x = torch.randn((5, 4), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), in_training_form(grown, "head.linear", "cosine"):
        assert torch.allclose(grown(x)[:, :2], previous.network(x), atol=1e-5)
        rows = torch.linalg.vector_norm(grown.head.linear.weight, dim=1)
    assert torch.allclose(rows, rows[:1].expand(3), rtol=1e-5)


def test_the_same_seed_writes_the_same_bytes_and_leaves_the_callers_draws(tmp_path: Path) -> None:
    previous = _previous()
    torch.manual_seed(9)
    first = sha256_file(starting_weights(previous, (*OLD, "c"), tmp_path, seed=1))
    drawn = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(torch.rand(1), drawn)
    assert sha256_file(starting_weights(previous, (*OLD, "c"), tmp_path, seed=1)) == first
    assert sha256_file(starting_weights(previous, (*OLD, "c"), tmp_path, seed=2)) != first
    # Without new classes it is the old classifier.
    same = load_file(starting_weights(previous, OLD, tmp_path))
    for name, value in previous.network.state_dict().items():
        assert torch.equal(same[name], value)


def test_fewer_classes_and_old_ones_elsewhere_are_refused(tmp_path: Path) -> None:
    previous = _previous()
    with pytest.raises(ConfigError, match=r"2 classes without 'a'; expected the 2 old classes"):
        starting_weights(previous, ("b", "c"), tmp_path)
    with pytest.raises(ConfigError, match="moves old classes to other outputs"):
        check_classes(OLD, ("b", "a", "c"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match="names no layer"):
        starting_weights(_previous(layer="output"), (*OLD, "c"), tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a finished run holds of its data and its network, of digits."""
    digits = open_dataset("builtin:digits")
    splits = make_splits(digits, train=300, val=100, calib=80, test=200, seed=0)
    save_splits(tmp_path / "run" / "data", digits, splits)
    spec = TensorInput(shape=(8, 8))
    torch.manual_seed(0)
    head = Head(layer="head", classes=digits.classes)
    description = ClassifierDescription(architecture="mlp", input=spec, head=head)
    for stage in ("finetune", "calibrate"):
        save_classifier(tmp_path / "run" / stage, build_network("mlp", 10, spec), description)
    return tmp_path / "run"


def test_a_finished_run_gives_the_classifier_and_its_data_but_never_test(run: Path) -> None:
    previous = read_previous(run)
    store = SplitStore(run / "data")
    assert previous.classes == tuple("0123456789")
    assert previous.train is not None and previous.train.ids == store.load("train").ids
    # No weights were chosen on calib.
    assert previous.held_out is not None and previous.held_out.ids == store.load("calib").ids
    assert store.test_openings() == 0
    bare = read_previous(run / "finetune")
    assert bare.train is None and bare.held_out is None
    state = bare.network.state_dict()
    assert all(
        torch.equal(each, state[name]) for name, each in previous.network.state_dict().items()
    )
    both = read_previous(run / "finetune", run=run)
    assert both.held_out is not None and both.held_out.ids == previous.held_out.ids


def test_a_classifier_that_knows_what_the_next_is_judged_on_is_refused(
    run: Path, tmp_path: Path
) -> None:
    digits = open_dataset("builtin:digits")
    splits = make_splits(digits, train=300, val=100, calib=80, test=200, seed=1)
    save_splits(tmp_path / "next", digits, splits)
    with pytest.raises(DataError, match=r"its training images in the val split, first [0-9a-f]"):
        read_previous(run, judged=SplitStore(tmp_path / "next"))
    # Of the same splits none is shared.
    assert read_previous(run, judged=SplitStore(run / "data")).train is not None


@pytest.mark.parametrize("split", ["val", "calib", "test"])
def test_none_of_the_judged_splits_may_be_known(
    run: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SplitStore(run / "data")
    known = store.ids("train")[:2]
    monkeypatch.setattr(store, "ids", lambda name: known if name == split else ())
    with pytest.raises(DataError, match=rf"2 of its training images in the {split} split"):
        read_previous(run, judged=store)


def test_what_is_no_classifier_or_not_this_ones_data_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no file classifier\.json"):
        read_previous(tmp_path)
    previous = _previous()
    save_classifier(tmp_path / "other", previous.network, previous.description)
    with pytest.raises(DataError, match="expected those of the classifier"):
        read_previous(tmp_path / "other", run=run)
    state = (tmp_path / "other" / "classifier.json").read_text()
    (tmp_path / "other" / "classifier.json").write_text(state.replace('"mlp"', '"mlp:7"'))
    with pytest.raises(CheckpointError, match=r"(missing|extra|shape)"):
        read_previous(tmp_path / "other")

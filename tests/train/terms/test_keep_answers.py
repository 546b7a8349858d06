"""The old answers stay while the body moves: through a kept head, or in the head's old rows."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models._api
from safetensors.torch import save_file
from scipy.special import rel_entr, softmax
from torch import Tensor, nn

from edgetl.errors import CheckpointError, ConfigError
from edgetl.reference.ending import find_answer
from edgetl.reference.network import build_network
from edgetl.reference.preprocess import Preprocess
from edgetl.spec import Head, ImageInput
from edgetl.train.backbones import load_weights
from edgetl.train.terms.base import Start
from edgetl.train.terms.keep_answers import KeepAnswers, published_state
from tests.train.helpers.started import start_of, step_of


def _want(before: Tensor, now: Tensor, temperature: float) -> float:
    """By scipy, in float64."""
    p, q = (softmax(each.detach().double().numpy() / temperature, axis=1) for each in (before, now))
    return float(rel_entr(p, q).sum(axis=1).mean())


def _shift(network: nn.Module, by: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)


@pytest.fixture
def source(network: nn.Sequential, tmp_path: Path) -> Path:
    """The file of a source model with seven classes on the network's body."""
    old = copy.deepcopy(network)
    old[3] = nn.Linear(5, 7)
    save_file(old.state_dict(), tmp_path / "source.safetensors")
    return tmp_path / "source.safetensors"


def test_through_the_old_head_it_is_kl_to_the_source_models_answers(
    network: nn.Sequential, source: Path, inputs: Tensor
) -> None:
    start = start_of(network)
    old = copy.deepcopy(network)
    old[3] = nn.Linear(5, 7)
    from safetensors.torch import load_file

    old.load_state_dict(load_file(source))
    term = KeepAnswers(weight=0.7, temperature=2.0, source_weights=source).build(start)
    assert term.needs_features and not term.in_head_phase
    assert float(term(step_of(start, inputs)).detach()) == pytest.approx(0.0, abs=1e-7)
    before = old(inputs)
    _shift(network)
    now = old[3](network[:3](inputs))
    value = term(step_of(start, inputs))
    assert float(value.detach()) == pytest.approx(0.7 * _want(before, now, 2.0), rel=1e-4)
    value.backward()
    assert network[0].weight.grad is not None and bool(network[0].weight.grad.any())  # type: ignore[operator]
    # The new head plays no part, and nothing of the old model is trained or stored.
    assert network[3].weight.grad is None
    assert not list(term.parameters()) and not term.state_dict()


def test_without_a_file_the_first_outputs_keep_their_answers(
    network: nn.Sequential, inputs: Tensor
) -> None:
    start = start_of(network)
    term = KeepAnswers(weight=2.0, temperature=3.0, known=2).build(start)
    assert term.in_head_phase and not term.needs_features
    before = network(inputs)[:, :2].detach()
    _shift(network)
    value = term(step_of(start, inputs))
    want = 2.0 * _want(before, network(inputs)[:, :2], 3.0)
    assert float(value.detach()) == pytest.approx(want, rel=1e-4)
    value.backward()
    # The old rows train, the new one is free.
    gradient = network[3].weight.grad
    assert isinstance(gradient, Tensor)
    assert bool(gradient[:2].any()) and not bool(gradient[2].any())


def test_the_starting_network_is_asked_in_eval_mode(network: nn.Sequential, inputs: Tensor) -> None:
    start = start_of(network)
    network.train()
    term = KeepAnswers(weight=1.0).build(start)
    network.eval()
    assert float(term(step_of(start, inputs)).detach()) == pytest.approx(0.0, abs=1e-7)


def test_the_digest_knows_the_file_by_its_content(source: Path, tmp_path: Path) -> None:
    one = KeepAnswers(weight=1.0, source_weights=source).digest
    other = tmp_path / "copy.safetensors"
    other.write_bytes(source.read_bytes())
    assert KeepAnswers(weight=1.0, source_weights=other).digest == one
    save_file({"x": torch.ones(1)}, other)
    assert KeepAnswers(weight=1.0, source_weights=other).digest != one


@pytest.mark.parametrize(
    "options",
    [
        {"weight": -1.0},
        {"weight": math.nan},
        {"weight": 1.0, "temperature": 0.0},
        {"weight": 1.0, "temperature": math.inf},
        {"weight": 1.0, "known": 1},
        {"weight": 1.0, "known": 2, "source_weights": Path("x")},
    ],
)
def test_numbers_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"keep_answers\."):
        KeepAnswers(**options)  # type: ignore[arg-type]


def test_a_file_of_another_model_is_refused_with_its_keys(
    network: nn.Sequential, tmp_path: Path
) -> None:
    start, path = start_of(network), tmp_path / "w.safetensors"
    state = {name: value.clone() for name, value in network.state_dict().items()}

    def refused(tensors: dict[str, Tensor], words: str) -> None:
        save_file(tensors, path)
        with pytest.raises(CheckpointError, match=words):
            KeepAnswers(weight=1.0, source_weights=path).build(start)

    refused({"layer1.weight": torch.ones(2)}, r"without '0\.weight'.* with 'layer1\.weight'")
    refused({**state, "3.weight": torch.full((3, 5), math.nan)}, r"NaN or infinity in '3\.weight'")
    refused({**state, "0.bias": state["0.bias"] + 1}, r"another '0\.bias' than the network's")
    with pytest.raises(ConfigError, match="at most the network's 3 outputs"):
        KeepAnswers(weight=1.0, known=4).build(start)


@pytest.mark.parametrize(
    ("architecture", "weights", "layer"),
    [("mobilenet_v3_small", "imagenet", "classifier.3"), ("timm:resnet10t", "pretrained", "fc")],
)
def test_published_weights_are_a_source_model_too(
    architecture: str, weights: str, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timm.models import _builder

    torch.manual_seed(0)
    spec = ImageInput(height=32, width=32)
    donor = build_network(architecture, 1000, spec).eval()
    # A fresh head answers nearly the same to everything.
    nn.init.normal_(donor.get_submodule(layer).weight)  # type: ignore[arg-type]

    def download(*place: str, **options: Any) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in donor.state_dict().items()}

    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", download)
    monkeypatch.setattr(_builder, "load_state_dict_from_hf", download)
    network = build_network(architecture, 3, spec).eval()
    head = Head(layer=layer, classes=("a", "b", "c"))
    load_weights(network, weights, architecture, head=head, input=spec)
    start = Start(
        network=network,
        layer=layer,
        answer=find_answer(network, input=spec, head=head),
        preprocess=Preprocess(spec),
        classes=head.classes,
        sources=(),
        device=torch.device("cpu"),
    )
    source = published_state(weights, architecture, spec)
    maker = KeepAnswers(weight=1.0, source_weights=source)
    again = KeepAnswers(weight=1.0, source_weights=published_state(weights, architecture, spec))
    assert maker.digest == again.digest and len(maker.digest["source"]) == 64
    term = maker.build(start)
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        before = donor(start.preprocess(images))
        assert float(term(step_of(start, images))) == pytest.approx(0.0, abs=1e-6)
        _shift(network, 0.02)
        old = copy.deepcopy(network)
        old.set_submodule(layer, donor.get_submodule(layer))
        want = _want(before, old(start.preprocess(images)), 2.0)
        assert 1e-4 < want < 100
        assert float(term(step_of(start, images))) == pytest.approx(want, rel=1e-2)


def test_weights_that_nobody_published_have_no_head_to_keep() -> None:
    for weights in ("none", "letters"):
        with pytest.raises(ConfigError, match=f"weights = '{weights}'; expected a source model"):
            published_state(weights, "resnet18", ImageInput(height=32, width=32))

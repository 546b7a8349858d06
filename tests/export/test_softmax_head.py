from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.errors import ModelError
from edgetl.export.softmax_head import ClassifierGraph, Ending, find_ending
from edgetl.spec import Head, ImageInput, TensorInput

INPUT = TensorInput(shape=(4,))
HEAD = Head(layer="2", classes=("a", "b", "c"), temperature=2.0)


def network(*after: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), *after)


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        ([], Ending.LOGITS),
        ([nn.Identity()], Ending.LOGITS),
        ([nn.Softmax(dim=1)], Ending.SOFTMAX),
        ([nn.LogSoftmax(dim=-1)], Ending.LOG_SOFTMAX),
    ],
)
def test_the_ending_is_found_and_softmax_is_applied_once(
    after: list[nn.Module], ending: Ending
) -> None:
    model = network(*after)
    assert find_ending(model, input=INPUT, head=HEAD) is ending
    graph = ClassifierGraph(model, input=INPUT, head=HEAD, logits=True)
    assert graph.ending is ending
    x = torch.randn(5, 4)
    probabilities, logits = graph(x)
    raw = network()(x)
    torch.testing.assert_close(logits, raw / 2)
    torch.testing.assert_close(probabilities, torch.softmax(raw / 2, dim=1))


@pytest.mark.parametrize("after", [nn.Sigmoid(), nn.ReLU(), nn.Linear(3, 3), nn.Softmax(dim=0)])
def test_another_ending_is_refused(after: nn.Module) -> None:
    with pytest.raises(ModelError, match="layer's own output, its softmax or its log-softmax"):
        find_ending(network(after), input=INPUT, head=HEAD)


class Attention(nn.Module):
    """A softmax inside, as in a transformer, and logits at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.softmax(self.scores(x), dim=-1) * x)


def test_a_softmax_inside_the_network_is_not_its_ending() -> None:
    head = Head(layer="head", classes=HEAD.classes)
    assert find_ending(Attention(), input=INPUT, head=head) is Ending.LOGITS


def test_the_network_stays_as_it_was() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ClassifierGraph(model, input=INPUT, head=HEAD)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_weights_tied_to_the_head_are_not_divided_with_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    head = Head(layer="2", classes=tuple("abcd"), temperature=2.0)
    x = torch.randn(3, 4)
    graph = ClassifierGraph(model, input=INPUT, head=head)
    torch.testing.assert_close(graph(x), torch.softmax(model(x) / 2, dim=1))


def test_images_are_scaled_and_normalised_in_the_graph() -> None:
    torch.manual_seed(0)
    input = ImageInput(height=2, width=2, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    head = Head(layer="1", classes=("a", "b"))
    x = torch.randint(0, 256, (3, 2, 2, 3), dtype=torch.uint8)
    normal = (x / 255 - torch.tensor(input.mean)) / torch.tensor(input.std)
    expected = torch.softmax(model(normal.permute(0, 3, 1, 2)), dim=1)
    torch.testing.assert_close(ClassifierGraph(model, input=input, head=head)(x), expected)


@pytest.mark.parametrize(
    ("head", "got"),
    [
        (Head(layer="nope", classes=HEAD.classes), "no such layer"),
        (Head(layer="1", classes=HEAD.classes), "ReLU"),
        (Head(layer="2", classes=("a", "b")), "3 outputs"),
    ],
)
def test_a_head_that_is_not_there_is_refused_and_linear_layers_are_listed(
    head: Head, got: str
) -> None:
    with pytest.raises(ModelError, match=r"'0', '2'") as caught:
        ClassifierGraph(network(), input=INPUT, head=head)
    assert caught.value.got == got


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_must_be_positive_and_finite(temperature: float) -> None:
    head = Head(layer="2", classes=HEAD.classes, temperature=temperature)
    with pytest.raises(ModelError, match="temperature"):
        ClassifierGraph(network(), input=INPUT, head=head)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.head(x))


def test_a_head_that_is_called_twice_is_refused() -> None:
    with pytest.raises(ModelError, match="2 calls"):
        find_ending(Twice(), input=INPUT, head=Head(layer="head", classes=tuple("abcd")))

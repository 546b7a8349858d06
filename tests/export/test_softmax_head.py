from __future__ import annotations

import pytest
import torch
from torch import nn

from edgetl.errors import ModelError
from edgetl.export.softmax_head import ClassifierGraph
from edgetl.reference.ending import OUTPUT, Ending
from edgetl.reference.network import Reference
from edgetl.spec import Head, ImageInput, SeveralInputs, TensorInput

INPUT = TensorInput(shape=(4,))
HEAD = Head(layer="2", classes=("a", "b", "c"), temperature=2.0)


def network(*after: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), *after)


class ConvHead(nn.Module):
    """Ends as SqueezeNet does: a convolution, a ReLU and an average over all places."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 3, 1, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x).relu().mean(dim=(2, 3))


class Flipped(nn.Module):
    """A head that is called twice, and whose answers are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.head(x) + self.head(x.flip(1))) / 2


class Cosine(nn.Linear):
    """A linear layer of its own kind, whose weights do not scale its output."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, nn.functional.normalize(self.weight)) + self.bias


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        ([], Ending.LOGITS),
        ([nn.Identity()], Ending.LOGITS),
        ([nn.Softmax(dim=1)], Ending.SOFTMAX),
        ([nn.LogSoftmax(dim=-1)], Ending.LOG_SOFTMAX),
    ],
)
def test_softmax_is_applied_once_whatever_the_network_ends_in(
    after: list[nn.Module], ending: Ending
) -> None:
    model = network(*after)
    graph = ClassifierGraph(model, input=INPUT, head=HEAD, logits=True)
    assert graph.answer.ending is ending and graph.answer.folds
    x = torch.randn(5, 4)
    probabilities, logits = graph(x)
    raw = network()(x)
    torch.testing.assert_close(logits, raw / 2)
    torch.testing.assert_close(probabilities, torch.softmax(raw / 2, dim=1))


@pytest.mark.parametrize("after", [nn.Sigmoid(), nn.Linear(3, 3), nn.Hardtanh(-5, 5)])
def test_another_ending_is_refused(after: nn.Module) -> None:
    with pytest.raises(ModelError, match="layer's own output, its softmax or its log-softmax"):
        ClassifierGraph(network(after), input=INPUT, head=HEAD)


@pytest.mark.parametrize(
    ("model", "layer", "input"),
    [
        (network(nn.ReLU()), "2", INPUT),
        (network(), OUTPUT, INPUT),
        (network(nn.LogSoftmax(dim=1)), OUTPUT, INPUT),
        (ConvHead(), "head", ImageInput(height=4, width=4)),
        (Flipped(), "head", INPUT),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Cosine(4, 3)), "2", INPUT),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))), "0", INPUT),
    ],
)
def test_what_a_layer_cannot_take_multiplies_the_logits(
    model: nn.Module, layer: str, input: TensorInput | ImageInput
) -> None:
    head = Head(layer=layer, classes=HEAD.classes, temperature=2.0)
    graph = ClassifierGraph(model, input=input, head=head)
    assert not graph.answer.folds
    x = torch.rand(5, 4) if input is INPUT else torch.randint(0, 256, (5, 4, 4, 3)).byte()
    torch.testing.assert_close(graph(x), Reference.of(model.eval(), input, head)(x)[0])
    raw = Reference(model, input)(x)[1]
    torch.testing.assert_close(graph(x), torch.softmax(raw / 2, dim=1))


def test_several_inputs_come_in_their_order() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)

        def forward(self, image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([image.mean(dim=(2, 3)), weight], dim=1))

    input = SeveralInputs(
        parts={"photo": ImageInput(height=2, width=2), "weight": TensorInput(shape=(2,))}
    )
    head = Head(layer="head", classes=HEAD.classes, temperature=2.0)
    model = Pair()
    x = torch.randint(0, 256, (4, 2, 2, 3)).byte(), torch.randn(4, 2)
    want = Reference.of(model, input, head)(*x)[0]
    torch.testing.assert_close(ClassifierGraph(model, input=input, head=head)(*x), want)


def test_the_network_stays_as_it_was() -> None:
    model = network().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ClassifierGraph(model, input=INPUT, head=HEAD)
    assert model.training and all(module.training for module in model)
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


def test_a_network_that_cannot_be_copied_is_said() -> None:
    model = network()
    model[0].kept = model[0].weight * 2
    with pytest.raises(ModelError, match="can be copied"):
        ClassifierGraph(model, input=INPUT, head=HEAD)

"""Where the raw logits are, and what is said of networks that answer something else."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from edgetl.errors import ModelError
from edgetl.reference.ending import (
    OUTPUT,
    Ending,
    find_answer,
    find_ending,
    raw_logits,
)
from edgetl.reference.network import Reference
from edgetl.reference.preprocess import probe_batches
from edgetl.spec import Head, ImageInput, SeveralInputs, TensorInput

INPUT = TensorInput(shape=(4,))
HEAD = Head(layer="2", classes=("a", "b", "c"), temperature=2.0)


def network(*after: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), *after)


class Answers(nn.Module):
    """A network that wraps its logits in whatever it is told."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.head(x))


@pytest.mark.parametrize(
    ("after", "ending"),
    [
        ([], Ending.LOGITS),
        ([nn.Softmax(dim=1)], Ending.SOFTMAX),
        ([nn.LogSoftmax(dim=1)], Ending.LOG_SOFTMAX),
    ],
)
def test_the_raw_logits_are_what_enters_the_networks_own_softmax(
    after: list[nn.Module], ending: Ending
) -> None:
    model, x = network(*after).eval(), torch.randn(5, 4)
    answer = find_answer(model, input=INPUT, head=HEAD)
    assert (answer.ending, answer.at_layer, answer.folds) == (ending, True, True)
    raw = network()(x)
    torch.testing.assert_close(raw_logits(model, "2", answer, [x]), raw)
    probabilities, logits = Reference.of(model, INPUT, HEAD)(x)
    torch.testing.assert_close(logits, raw)
    torch.testing.assert_close(probabilities, torch.softmax(raw / 2, dim=1))


def test_a_softmax_inside_the_network_is_not_its_ending() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.softmax(self.scores(x), dim=-1) * x)

    head = Head(layer="head", classes=HEAD.classes)
    assert find_ending(Attention(), input=INPUT, head=head) is Ending.LOGITS


def test_a_convolution_that_leaves_one_place_gives_the_logits() -> None:
    model = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Softmax(dim=1)
    )
    head = Head(layer="1", classes=HEAD.classes)
    input = ImageInput(height=4, width=4)
    answer = find_answer(model, input=input, head=head)
    assert (answer.ending, answer.at_layer, answer.folds) == (Ending.SOFTMAX, True, False)
    x = torch.randn(5, 3, 4, 4)
    torch.testing.assert_close(raw_logits(model, "1", answer, [x]), model[:3](x))


@pytest.mark.parametrize(
    ("after", "ending"),
    [([], Ending.LOGITS), ([nn.LogSoftmax(dim=1)], Ending.LOG_SOFTMAX)],
)
def test_an_output_that_no_layer_is_named_for_is_logits(
    after: list[nn.Module], ending: Ending
) -> None:
    head = Head(layer=OUTPUT, classes=HEAD.classes)
    answer = find_answer(network(*after), input=INPUT, head=head)
    assert (answer.ending, answer.at_layer, answer.folds) == (ending, False, False)


def test_probabilities_without_a_layer_are_refused() -> None:
    head = Head(layer=OUTPUT, classes=HEAD.classes)
    with pytest.raises(ModelError, match=r"got probabilities .*last linear layer"):
        find_answer(network(nn.Softmax(dim=1)), input=INPUT, head=head)


def test_a_layer_before_a_changing_tail_is_no_head() -> None:
    with pytest.raises(ModelError, match='write head = "output"'):
        find_answer(network(nn.Sigmoid()), input=INPUT, head=HEAD)


def test_a_layer_that_is_not_called_is_said() -> None:
    model = network()
    model.spare = nn.Linear(8, 3)
    model.forward = lambda x: nn.Sequential.forward(model[:3], x)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="got no call"):
        find_answer(model, input=INPUT, head=Head(layer="spare", classes=HEAD.classes))


class ModelOutput(OrderedDict[str, Any]):
    """As transformers answer."""


@pytest.mark.parametrize(
    ("wrap", "got", "fix"),
    [
        (lambda x: {"features": x, "logits": x}, "a dict with the keys features, logits", "logits"),
        (lambda x: ModelOutput(logits=x), "a ModelOutput with the keys logits", r'output\["logits'),
        (lambda x: (x, x), "a tuple of 2", r"output\[0\]"),
        (lambda x: [x], "a list of 1", r"output\[0\]"),
        (lambda x: x.detach().numpy(), "a ndarray", "one tensor"),
        (lambda x: x.argmax(1), r"\(2,\)", r"\[2, 3\]"),
        (lambda x: x[:, :2], "2 outputs", r"3 classes"),
        (lambda x: x[None], r"\(1, 2, 3\)", r"\[2, 3\]"),
        (lambda x: x.long(), r"torch\.int64", "finite"),
        (lambda x: x * torch.inf, "NaN or infinity", "finite"),
    ],
)
def test_other_answers_are_refused_with_what_to_write(wrap: Any, got: str, fix: str) -> None:
    with pytest.raises(ModelError, match=f"(?s)got .*{got}.*{fix}"):
        find_answer(Answers(wrap), input=INPUT, head=Head(layer="head", classes=HEAD.classes))


def test_an_input_that_the_network_does_not_take_is_said_with_its_shape() -> None:
    with pytest.raises(ModelError, match=r"RuntimeError: .*float32 \(2, 5\)"):
        find_answer(network(), input=TensorInput(shape=(5,)), head=HEAD)


def test_a_network_that_gives_more_in_training_says_so() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> Any:
            return (self.head(x), x) if self.training else self.head(x)

    model = Auxiliary()
    answer = find_answer(model, input=INPUT, head=Head(layer="head", classes=HEAD.classes))
    with pytest.raises(ModelError, match="a tuple of 2 in training mode"):
        raw_logits(model.train(), "head", answer, [torch.zeros(2, 4)])


def test_probing_leaves_no_trace() -> None:
    torch.manual_seed(3)
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    find_answer(model, input=INPUT, head=HEAD)
    assert torch.equal(torch.get_rng_state(), draws)
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_probe_batches_are_what_each_input_takes() -> None:
    input = SeveralInputs(
        parts={
            "photo": ImageInput(
                height=3, width=4, channels="grey", pixel_range="0-255", mean=(0.0,), std=(1.0,)
            ),
            "weight": INPUT,
        }
    )
    photo, weight = probe_batches(input)
    assert photo.shape == (2, 1, 3, 4) and photo.max() > 1 and photo.is_contiguous()
    assert weight.shape == (2, 4) and torch.equal(weight, probe_batches(input)[1])


@pytest.mark.parametrize(
    "first",
    [
        Answers(lambda x: x - x.mean(0)),
        Answers(lambda x: x / x.norm()),
        Answers(lambda x: x.softmax(0)),
        Answers(lambda x: nn.functional.batch_norm(x, None, None, training=True)),
        nn.Sequential(
            nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()
        ),
        Answers(lambda x: x.squeeze()),
    ],
)
def test_an_answer_that_depends_on_the_others_in_the_batch_is_refused(first: nn.Module) -> None:
    image = ImageInput(height=1, width=1, channels="grey", mean=(0.0,), std=(1.0,))
    input = INPUT if isinstance(first, Answers) else image
    head = Head(layer=OUTPUT, classes=HEAD.classes)
    with pytest.raises(ModelError, match=r"the others in the batch|one sample alone") as caught:
        find_answer(first, input=input, head=head)
    assert "running statistics" in caught.value.fix


def test_rounding_that_a_deep_network_makes_much_of_is_no_dependence() -> None:
    class Chaotic(nn.Module):
        """Doubles a difference 25 times: of float32's rounding that leaves nothing right."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(512, 512), nn.Linear(512, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.body(x).sigmoid()
            for _ in range(25):
                x = 4 * x * (1 - x)
            return self.head(x)

    torch.manual_seed(0)
    model, input = Chaotic().eval(), TensorInput(shape=(512,))
    (batch,) = probe_batches(input)
    with torch.no_grad():
        if torch.allclose(model(batch)[:1], model(batch[:1]), rtol=1e-3):
            pytest.skip("this CPU adds a batch of one up as it does a batch of two")
    head = Head(layer="head", classes=HEAD.classes)
    assert find_ending(model, input=input, head=head) is Ending.LOGITS


def test_answers_that_differ_from_call_to_call_are_refused() -> None:
    torch.manual_seed(0)
    body = network()
    body.insert(2, Answers(nn.functional.dropout))
    body[2].head = nn.Identity()
    with pytest.raises(ModelError, match=r"from call to call .*self\.training"):
        find_answer(body, input=INPUT, head=Head(layer="3", classes=HEAD.classes))


def test_an_input_changed_in_place_is_refused() -> None:
    class Doubles(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x *= 2
            return super().forward(x)

    for layer in ("", OUTPUT):
        with pytest.raises(ModelError, match=r"changes its input in place.*x = x \* 2"):
            find_answer(Doubles(4, 3), input=INPUT, head=Head(layer=layer, classes=HEAD.classes))


def _leave(_x: torch.Tensor) -> torch.Tensor:
    raise SystemExit(0)


def test_a_network_that_leaves_python_is_refused_with_its_line() -> None:
    head = Head(layer="head", classes=HEAD.classes)
    with pytest.raises(ModelError, match=r"SystemExit: 0 \(test_ending\.py, line \d+\)"):
        find_answer(Answers(_leave), input=INPUT, head=head)


@pytest.mark.parametrize(
    "cap",
    [
        lambda x: x.clamp(-4, 4),
        lambda x: x.clamp(-50, 50),
        lambda x: 10 * (x / 10).tanh(),
        lambda x: x.clamp(-5, 5).softmax(-1),
        lambda x: x.clamp(-5, 5).log_softmax(-1),
        lambda x: nn.functional.avg_pool1d(x[:, None].repeat(1, 2, 1), 1).mean(1).clamp(-8, 8),
    ],
)
def test_a_cap_behind_the_head_that_small_logits_do_not_meet_is_noticed(cap: Any) -> None:
    with pytest.raises(ModelError, match='write head = "output"'):
        find_answer(Answers(cap), input=INPUT, head=Head(layer="head", classes=HEAD.classes))


def test_a_softmax_written_out_is_one_though_it_overflows() -> None:
    model = Answers(lambda x: x.exp() / x.exp().sum(-1, keepdim=True))
    head = Head(layer="head", classes=HEAD.classes)
    assert find_ending(model, input=INPUT, head=head) is Ending.SOFTMAX

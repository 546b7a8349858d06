"""The Fisher information against formulas, and the penalty that is made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn

from edgetl.data.store import SplitPart
from edgetl.errors import CheckpointError, ConfigError, DataError
from edgetl.reference.description import ClassifierDescription
from edgetl.spec import Head
from edgetl.train.terms.ewc import Ewc, fisher_of
from tests.train.helpers.started import CLASSES, SPEC, start_of, step_of

LOGISTIC = ClassifierDescription(
    architecture="mlp", input=SPEC, head=Head(layer="0", classes=CLASSES)
)


def _part(n: int = 50) -> SplitPart:
    rng = np.random.default_rng(4)
    images = rng.normal(size=(n, 6)).astype(np.float32)
    ids = tuple(f"{index:064x}" for index in range(n))
    return SplitPart(ids=ids, labels=rng.integers(0, 3, n), images=images)


def _logistic() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 3))


def _p(
    network: nn.Sequential, part: SplitPart
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with torch.no_grad():
        raw = network(torch.from_numpy(np.asarray(part.images))).double().numpy()
    return np.asarray(softmax(raw, axis=1))


def test_of_logistic_regression_it_is_the_analytic_fisher_information() -> None:
    """Diagonal of E[(diag(p) - p p^T) kron x x^T]: p_k (1 - p_k) x_j^2."""
    network, part = _logistic(), _part()
    p, x = _p(network, part), np.asarray(part.images, np.float64)
    found = fisher_of(network, part, description=LOGISTIC)
    want = np.einsum("nk,nj->kj", p * (1 - p), x**2) / len(x)
    np.testing.assert_allclose(found["0.weight"].numpy(), want, rtol=1e-4)
    np.testing.assert_allclose(found["0.bias"].numpy(), (p * (1 - p)).mean(0), rtol=1e-4)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_empirical_one_takes_the_true_labels_and_is_another() -> None:
    network, part = _logistic(), _part()
    p, x = _p(network, part), np.asarray(part.images, np.float64)
    error = p - np.eye(3)[part.labels]
    found = fisher_of(network, part, description=LOGISTIC, labels="empirical")
    np.testing.assert_allclose(
        found["0.weight"].numpy(), np.einsum("nk,nj->kj", error**2, x**2) / len(x), rtol=1e-4
    )


def test_drawn_labels_agree_in_expectation() -> None:
    network = _logistic()
    one = _part(1)
    many = SplitPart(
        ids=one.ids * 1500,
        labels=np.repeat(one.labels, 1500),
        images=np.repeat(np.asarray(one.images), 1500, axis=0),
    )
    exact = fisher_of(network, one, description=LOGISTIC)["0.bias"]
    drawn = fisher_of(network, many, description=LOGISTIC, labels="sampled", seed=1)["0.bias"]
    again = fisher_of(network, many, description=LOGISTIC, labels="sampled", seed=1)["0.bias"]
    assert torch.equal(drawn, again)
    # Five standard errors of a mean of 1,500 squares that lie within 0..1.
    assert torch.allclose(exact, drawn, atol=5 * 0.5 / math.sqrt(1500))


def test_of_a_deeper_network_it_is_the_mean_square_of_single_gradients() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    part = _part(5)
    description = ClassifierDescription(
        architecture="mlp", input=SPEC, head=Head(layer="2", classes=CLASSES)
    )
    found = fisher_of(network, part, description=description, images=3)
    values = {name: value.detach() for name, value in network.named_parameters()}

    def log_p(values: dict[str, Tensor], x: Tensor) -> Tensor:
        raw = torch.func.functional_call(network, values, (x[None],))
        return torch.log_softmax(raw[0], dim=0)

    want = {name: torch.zeros_like(value) for name, value in values.items()}
    for x in torch.from_numpy(np.asarray(part.images))[:3]:
        jacobian = torch.func.jacrev(log_p)(values, x)
        p = log_p(values, x).exp()
        for name in want:
            square = jacobian[name].square()
            want[name] += (p.view(-1, *[1] * (square.ndim - 1)) * square).sum(0) / 3
    for name, value in want.items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-7)


def test_the_penalty_is_the_papers_formula_also_where_the_head_has_grown(
    network: nn.Sequential, inputs: Tensor
) -> None:
    old = {name: value.detach().clone() for name, value in network.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    fisher = {name: torch.rand(value.shape, generator=generator) for name, value in old.items()}
    for name in ("3.weight", "3.bias"):
        old[name], fisher[name] = old[name][:2], fisher[name][:2]
    start = start_of(network)
    term = Ewc(weight=12.0, anchors=old, fisher=fisher).build(start)
    assert float(term(step_of(start, inputs)).detach()) == 0.0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2
    value = term(step_of(start, inputs))
    want = 6.0 * sum(float(each.sum()) for each in fisher.values()) * 0.2**2
    assert float(value.detach()) == pytest.approx(want, rel=1e-4)
    value.backward()
    gradient = network[3].weight.grad
    assert isinstance(gradient, Tensor)
    assert bool((gradient[:2] > 0).all()) and not bool(gradient[2].any())
    assert term.in_head_phase and not list(term.parameters()) and not term.state_dict()


def test_what_does_not_belong_together_is_refused(network: nn.Sequential) -> None:
    start = start_of(network)
    ones = {"0.weight": torch.ones(5, 6)}
    with pytest.raises(ConfigError, match=r"ewc\.weight: got -1"):
        Ewc(weight=-1.0, anchors=ones, fisher=ones)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in '0\.weight'"):
        Ewc(weight=1.0, anchors=ones, fisher={"0.weight": torch.full((5, 6), math.nan)})
    with pytest.raises(CheckpointError, match="other names or shapes"):
        Ewc(weight=1.0, anchors=ones, fisher={})
    with pytest.raises(CheckpointError, match=r"below 0 in '0\.weight'"):
        Ewc(weight=1.0, anchors=ones, fisher={"0.weight": -ones["0.weight"]})
    for anchors, words in (
        ({"body.weight": torch.ones(1)}, r"'body\.weight'"),
        ({"0.weight": torch.ones(4, 6)}, r"'0\.weight' of shape \(4, 6\)"),
        ({"3.weight": torch.ones(4, 5)}, r"'3\.weight' of shape \(4, 5\)"),
    ):
        with pytest.raises(CheckpointError, match=words):
            Ewc(weight=1.0, anchors=anchors, fisher=anchors).build(start)


def test_images_that_are_not_of_the_old_task_are_refused() -> None:
    part = _part(4)
    wrong = SplitPart(ids=part.ids, labels=part.labels + 3, images=part.images)
    with pytest.raises(DataError, match="old classifier's 3 classes"):
        fisher_of(_logistic(), wrong, description=LOGISTIC)
    with pytest.raises(DataError, match="got none"):
        fisher_of(_logistic(), part.first(0), description=LOGISTIC)
    with pytest.raises(ConfigError, match="expected, sampled, empirical"):
        fisher_of(_logistic(), part, description=LOGISTIC, labels="true")  # type: ignore[arg-type]


def test_the_fisher_information_is_of_the_network_as_it_answers() -> None:
    """In eval mode, also of a network in training: nothing is dropped, and the mode stays."""
    part, network = _part(5), _logistic()
    training = nn.Sequential(nn.Dropout(0.5), *network).train()
    description = ClassifierDescription(
        architecture="mlp", input=SPEC, head=Head(layer="1", classes=CLASSES)
    )
    found = fisher_of(training, part, description=description)
    want = fisher_of(network, part, description=LOGISTIC)
    assert torch.allclose(found["1.weight"], want["0.weight"], rtol=1e-5)
    assert training.training and training[0].training

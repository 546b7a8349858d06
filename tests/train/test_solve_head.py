"""The solved head against independent solvers, and the choice of its weight decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from edgetl.errors import ConfigError, DataError
from edgetl.metrics import nll, softmax
from edgetl.train.solve_head import choose_weight_decay, solve_head


def blobs(
    n: int, d: int, classes: int, *, seed: int = 0, apart: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, d)) * apart
    return centres[labels] + rng.normal(size=(n, d)), labels


def objective(
    flat: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    decay: float,
    weights: NDArray[np.float64],
) -> float:
    """What the docstring says, written out with scipy alone."""
    k = len(weights)
    weight, bias = flat[: k * x.shape[1]].reshape(k, -1), flat[k * x.shape[1] :]
    raw = x @ weight.T + bias
    top = raw.max(axis=1)
    loss = np.log(np.exp(raw - top[:, None]).sum(axis=1)) + top - raw[np.arange(len(y)), y]
    counts = weights[y]
    return float((counts * loss).sum() / counts.sum() + decay / 2 * (weight**2).sum())


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("decay", [1e-3, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_minimum_that_an_independent_solver_finds(
    classes: int, decay: float, weighted: bool
) -> None:
    x, y = blobs(40, 3, classes)
    # Far from the origin and of another size than 1, as a ReLU's features are.
    x = 3 * x + 5
    weights = np.linspace(0.5, 3.0, classes) if weighted else np.ones(classes)
    weight, bias = solve_head(
        x, y, classes, weight_decay=decay, class_weights=weights if weighted else None
    )
    found = objective(np.concatenate([weight.ravel(), bias]), x, y, decay, weights)
    arguments = (x, y, decay, weights)
    other = minimize(
        objective,
        np.zeros(classes * 4),
        arguments,
        method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 10**6, "ftol": 1e-15, "gtol": 1e-9},
    )
    assert found <= other.fun + 1e-6
    assert abs(bias.sum()) < 1e-4


def test_gradient_descent_with_the_same_weight_decay_goes_there() -> None:
    x, y = blobs(60, 3, 3)
    weight, bias = solve_head(x, y, ("a", "b", "c"), weight_decay=0.1)
    layer = torch.nn.Linear(3, 3).double()
    steps = torch.optim.SGD(
        [{"params": [layer.weight], "weight_decay": 0.1}, {"params": [layer.bias]}], lr=1.0
    )
    for _ in range(300):
        steps.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        steps.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight, atol=1e-5)
    given = layer.bias.detach().numpy()
    np.testing.assert_allclose(given - given.mean(), bias, atol=1e-5)


def test_without_a_decay_it_is_the_maximum_likelihood_where_that_exists() -> None:
    x, y = blobs(200, 2, 2, apart=0.3)
    weight, bias = solve_head(x, y, 2, weight_decay=0.0)
    probabilities = softmax(x @ weight.T + bias)
    # The likelihood equations: residuals are orthogonal to the features and to 1.
    residual = probabilities - np.eye(2)[y]
    np.testing.assert_allclose(residual.T @ np.column_stack([x, np.ones(200)]) / 200, 0, atol=1e-5)


def test_separated_classes_without_a_decay_have_no_solution() -> None:
    x, y = blobs(12, 20, 3)
    with pytest.raises(DataError, match="planes separate"):
        solve_head(x, y, 3, weight_decay=0.0)
    weight, _ = solve_head(x, y, 3, weight_decay=1e-4)
    assert np.isfinite(weight).all()


def test_more_features_than_images_and_a_constant_one_are_solved() -> None:
    x, y = blobs(10, 300, 2)
    x[:, 7] = 4.0
    weight, bias = solve_head(x, y, 2, weight_decay=0.01)
    assert (softmax(x @ weight.T + bias).argmax(1) == y).all()
    np.testing.assert_allclose(weight[:, 7], 0, atol=1e-6)
    # Of features that are all alike, the bias says how frequent the classes are.
    weight, bias = solve_head(np.ones((4, 3)), [0, 0, 0, 1], 2, weight_decay=0.01)
    np.testing.assert_allclose(softmax(np.ones((1, 3)) @ weight.T + bias)[0], [0.75, 0.25], 1e-4)


@pytest.mark.parametrize(
    ("features", "labels", "classes", "decay", "error", "said"),
    [
        (np.zeros((3, 2)), [0, 0, 0], ("a",), 0.1, DataError, "at least two"),
        (np.zeros((3, 2)), [0, 0, 1], ("a", "b", "cat"), 0.1, DataError, "class 'cat': got 0 im"),
        (np.zeros((3, 2)), [0, 1, 2], 2, 0.1, DataError, "0 to 1, for 2 classes"),
        (np.zeros((3, 2)), [0, 1, -1], 2, 0.1, DataError, "-1 to 1"),
        (np.full((2, 2), np.nan), [0, 1], 2, 0.1, DataError, "NaN"),
        (np.zeros((3, 2)), [0, 1], 2, 0.1, DataError, "one row of features"),
        (np.zeros(2), [0, 1], 2, 0.1, DataError, "shape"),
        (np.zeros((2, 2)), [0.0, 1.0], 2, 0.1, DataError, "float64"),
        (np.zeros((0, 2)), np.zeros(0, int), 2, 0.1, DataError, "got 0 images"),
        (np.zeros((2, 2)), [0, 1], 2, -0.1, ConfigError, "from 0"),
        (np.zeros((2, 2)), [0, 1], 2, np.nan, ConfigError, "weight_decay"),
        (np.zeros((2, 2)), [0, 1], 2, np.inf, ConfigError, "weight_decay"),
    ],
)
def test_what_cannot_be_solved_is_named(
    features: NDArray[np.float64],
    labels: list[int],
    classes: tuple[str, ...] | int,
    decay: float,
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        solve_head(features, labels, classes, weight_decay=decay)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, np.nan], [1.0, -1.0]])
def test_class_weights_that_cannot_count_are_refused(weights: list[float]) -> None:
    with pytest.raises(ConfigError, match="class_weights"):
        solve_head(np.eye(2), [0, 1], 2, weight_decay=0.1, class_weights=weights)


def test_cross_validation_chooses_what_predicts_unseen_images() -> None:
    x, y = blobs(60, 40, 3, apart=0.5)
    chosen = choose_weight_decay(x, y, 3, seed=1)
    assert [row.weight_decay for row in chosen.table] == sorted(
        row.weight_decay for row in chosen.table
    )
    best = min(chosen.table, key=lambda row: row.nll)
    assert chosen.weight_decay == best.weight_decay and chosen.folds == 5 and not chosen.at_end
    fresh, labels = blobs(600, 40, 3, apart=0.5)
    losses = {}
    for row in chosen.table:
        weight, bias = solve_head(x, y, 3, weight_decay=row.weight_decay)
        losses[row.weight_decay] = nll(softmax(fresh @ weight.T + bias), labels)
    # Within a fifth of the best of the table, which nobody knows beforehand.
    assert losses[chosen.weight_decay] < 1.2 * min(losses.values())
    assert chosen == choose_weight_decay(x, y, 3, seed=1)


def test_the_table_is_what_the_folds_say() -> None:
    x, y = blobs(30, 3, 3)
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    (row,) = choose_weight_decay(x, y, 3, candidates=[0.05], folds=3, seed=7).table
    losses = []
    for learn, keep in StratifiedKFold(3, shuffle=True, random_state=7).split(x, y):
        model = LogisticRegression(C=1 / (0.05 * len(learn)), tol=1e-9, max_iter=5000)
        model.fit(x[learn], y[learn])
        losses.append(nll(model.predict_proba(x[keep]), y[keep]))
    assert row.nll == pytest.approx(np.mean(losses), abs=1e-5)
    assert row.standard_error == pytest.approx(np.std(losses, ddof=1) / np.sqrt(3), abs=1e-5)


def test_no_more_folds_than_the_smallest_class_has_images() -> None:
    x, y = blobs(31, 3, 3)
    y[:] = [0] * 14 + [1] * 14 + [2] * 3
    assert choose_weight_decay(x, y, 3, candidates=[0.1, 1.0]).folds == 3
    y[-2:] = 0
    with pytest.raises(DataError, match=r"'2': got 1 image to train on; expected at least 2"):
        choose_weight_decay(x, y, 3, candidates=[0.1])


@pytest.mark.parametrize(
    ("candidates", "folds"), [([], 5), ([0.1, 0.1], 5), ([0.0], 5), ([-1.0], 5), ([0.1], 1)]
)
def test_candidates_that_cannot_be_compared_are_refused(
    candidates: list[float], folds: int
) -> None:
    x, y = blobs(12, 2, 2)
    with pytest.raises(ConfigError):
        choose_weight_decay(x, y, 2, candidates=candidates, folds=folds)

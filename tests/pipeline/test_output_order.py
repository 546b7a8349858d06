from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import ConfigError
from edgetl.pipeline.output_order import check_output_order


def answered(
    seed: int, *, order: list[int], n: int = 200, accuracy: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose output k stands for the class `order[k]`, and labels."""
    rng = np.random.default_rng(seed)
    classes = len(order)
    labels = np.arange(n) % classes
    right = rng.random(n) < accuracy
    seen = np.where(right, labels, rng.integers(0, classes, n))
    logits = rng.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), np.argsort(order)[seen]] += 20
    return logits, labels


def names(count: int) -> list[str]:
    return [f"class {at}" for at in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_another_order_is_refused_with_the_classes_that_fit(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(10).tolist()
    with pytest.raises(ConfigError) as caught:
        check_output_order(*answered(seed, order=order), names=lambda: names(10))
    listed = ", ".join(f'"class {at}"' for at in order)
    assert caught.value.fix == f"write classes = [{listed}] in [data]"


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("accuracy", [0.4, 0.7, 1.0])
def test_the_right_order_is_let_pass(seed: int, accuracy: float) -> None:
    logits, labels = answered(seed, order=list(range(10)), accuracy=accuracy)
    assert check_output_order(logits, labels, names=lambda: names(10)) is None


def test_two_classes_of_ten_changed_are_said() -> None:
    logits, labels = answered(0, order=[1, 0, *range(2, 10)], n=400)
    note = check_output_order(logits, labels, names=lambda: names(10))
    assert note is not None
    assert note.startswith("warning: ") and '["class 1", "class 0", "class 2"' in note


@pytest.mark.parametrize("seed", range(10))
def test_chance_has_no_order_however_few_samples_a_class_has(seed: int) -> None:
    logits, labels = answered(seed, order=list(range(100)), n=200, accuracy=0.0)
    note = check_output_order(logits, labels, names=lambda: names(100))
    assert note is not None
    assert "chance" in note


def test_of_few_samples_chance_is_not_said() -> None:
    logits, labels = answered(0, order=[0, 1, 2], n=30, accuracy=0.0)
    assert check_output_order(logits, labels, names=lambda: names(3)) is None

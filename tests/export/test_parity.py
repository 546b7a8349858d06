from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgetl.errors import DataError, ModelError
from edgetl.export.onnx_from_torch import onnx_from_torch
from edgetl.export.parity import LIMIT, check_parity
from edgetl.spec import Head, TensorInput


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    head = Head(layer="", classes=("a", "b", "c"))
    model = onnx_from_torch(network, input=TensorInput(shape=(4,)), head=head)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32) * 3
    with torch.inference_mode():
        reference = torch.softmax(network(torch.from_numpy(x)).double(), dim=1).numpy()
    return model, reference, x


def test_an_equal_model_passes_with_its_figures(case) -> None:
    model, reference, x = case
    parity = check_parity(model, reference, {"features": x}, batch=7)
    assert parity.images == 20
    assert parity.difference < 1e-6
    assert parity.spread > 0.1


def test_a_probability_over_the_limit_fails_and_the_worst_image_is_named(case) -> None:
    model, reference, x = case
    near = reference.copy()
    near[3] += [0.5 * LIMIT, -0.5 * LIMIT, 0]
    check_parity(model, near, {"features": x})
    far = reference.copy()
    far[3] += [2 * LIMIT, -2 * LIMIT, 0]
    far[8] += [5 * LIMIT, -5 * LIMIT, 0]
    with pytest.raises(ModelError, match=r"image 8: got a probability 5\.00e-04 .*2 of 20"):
        check_parity(model, far, {"features": x})


def test_another_top_class_is_named_with_both_classes(case) -> None:
    model, reference, x = case
    other = np.roll(reference, 1, axis=1)
    with pytest.raises(ModelError, match=r"got class \d with probability .* PyTorch's class \d"):
        check_parity(model, other, {"features": x})


def test_another_top_class_within_the_margin_is_no_failure(case) -> None:
    model, reference, x = case
    tied = reference.copy()
    top, second = np.argsort(tied[5])[::-1][:2]
    # The same model, asked about a reference whose two best classes are closer than the limit.
    features = _between(model, x[5], top, second)
    answer = _answer(model, features)
    swapped = answer.copy()
    swapped[:, [top, second]] = answer[:, [second, top]]
    assert answer.argmax() != swapped.argmax()
    check_parity(model, swapped, {"features": features})


def _answer(model: bytes, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"features": x})[0]


def _between(model: bytes, x: np.ndarray, top: int, second: int) -> np.ndarray:
    """An input whose two best classes differ by less than the limit, found by bisection."""
    low, high = x.copy(), x.copy()
    step = np.random.default_rng(1).normal(size=(64, 4)).astype(np.float32) * 5
    high = next(c for c in step if _answer(model, c[None])[0].argmax() == second)
    for _ in range(40):
        middle = ((low + high) / 2).astype(np.float32)
        if _answer(model, middle[None])[0].argmax() == top:
            low = middle
        else:
            high = middle
        answer = np.sort(_answer(model, low[None])[0])
        if 0 < answer[-1] - answer[-2] < 0.5 * LIMIT:
            return low[None]
    raise AssertionError("the bisection found no input")


def test_a_nan_in_the_reference_fails(case) -> None:
    model, reference, x = case
    broken = reference.copy()
    broken[2] = np.nan
    with pytest.raises(ModelError, match="image 2"):
        check_parity(model, broken, {"features": x})


def test_what_does_not_fit_is_refused(case) -> None:
    model, reference, x = case
    with pytest.raises(DataError, match=r"shape \(19, 3\)"):
        check_parity(model, reference[1:], {"features": x})
    with pytest.raises(DataError, match="none"):
        check_parity(model, reference[:0], {"features": x[:0]})


def test_answers_that_depend_on_the_batch_fail_when_asked_alone() -> None:
    import onnx

    text = """<ir_version: 10, opset_import: ["": 20]>
    g (float[b, 2] features) => (float[b, 2] probabilities) {
        axes = Constant <value = int64[1] {0}> ()
        mean = ReduceMean (features, axes)
        centred = Sub (features, mean)
        probabilities = Softmax (centred)
    }"""
    model = onnx.parser.parse_model(text).SerializeToString()
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    with pytest.raises(ModelError, match=r"asked alone: .*mixes the inputs of a batch"):
        check_parity(model, _answer(model, x), {"features": x})

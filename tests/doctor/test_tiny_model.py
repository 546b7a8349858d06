from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgetl.backends import registry
from edgetl.backends.onnx_check import check_onnx
from edgetl.doctor.tiny_model import INPUTS, expected, onnx_bytes, tiny_variant
from edgetl.spec import Precision


def test_it_is_an_onnx_model_that_answers_so() -> None:
    model = onnx.load_from_string(onnx_bytes())
    onnx.checker.check_model(model, full_check=True)
    check_onnx(onnx_bytes())
    (answers,) = ReferenceEvaluator(model).run(None, {"features": INPUTS})
    np.testing.assert_allclose(answers, expected(), atol=1e-6)


def test_its_answers_differ_from_input_to_input() -> None:
    assert sorted(expected().argmax(axis=1)) == [0, 1, 2]
    np.testing.assert_allclose(expected().sum(axis=1), 1)


@pytest.mark.parametrize(
    ("backend", "setting", "value"),
    [("openvino", "device", "CPU"), ("onnxruntime", "provider", "CPUExecutionProvider")],
)
def test_each_backend_answers_it(backend: str, setting: str, value: str) -> None:
    variant, files = tiny_variant(backend, setting, value, Precision.FP32)
    loaded = registry.load(variant, files, threads=1)
    for count in (1, 3):
        answers = loaded.run({"features": INPUTS[:count]})["probabilities"]
        np.testing.assert_allclose(answers, expected()[:count], atol=1e-6)
    loaded.close()

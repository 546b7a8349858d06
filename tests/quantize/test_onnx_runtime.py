from __future__ import annotations

import pytest

from edgetl.errors import ModelError
from edgetl.quantize.onnx_runtime import operator_histogram


def test_the_histogram_counts_what_is_executed(digits) -> None:
    found = operator_histogram(digits.model)
    assert found["Softmax"] == 1
    # Relu is fused into the convolutions, which the file itself does not show.
    assert "Relu" not in found
    assert sum(count for name, count in found.items() if "Conv" in name) == 6


def test_a_model_that_is_refused_is_a_model_error() -> None:
    with pytest.raises(ModelError):
        operator_histogram(b"not a model")

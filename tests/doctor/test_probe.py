from __future__ import annotations

import numpy as np
import pytest

from edgetl.doctor.checks import probe
from edgetl.doctor.probe import _judged
from edgetl.doctor.tiny_model import expected


@pytest.mark.parametrize(
    ("backend", "device"), [("openvino", "CPU"), ("onnxruntime", "CPUExecutionProvider")]
)
def test_the_cpu_answers(backend: str, device: str) -> None:
    found = probe("devices", backend, timeout=60)
    assert device in found["devices"] and found["version"]
    answer = probe("run", backend, device, timeout=60)
    assert answer["outcome"] == "works"


def test_a_device_that_is_absent_is_said() -> None:
    answer = probe("run", "onnxruntime", "CUDAExecutionProvider", timeout=60)
    assert answer["outcome"] == "not here" and "CUDAExecutionProvider" in answer["note"]
    # OpenVINO is asked only for what it lists: another device is a failure in its own words.
    assert probe("run", "openvino", "GPU.7", timeout=60)["outcome"] in ("not here", "failed")


def test_a_remote_provider_is_never_tried() -> None:
    assert "AzureExecutionProvider" not in probe("devices", "onnxruntime", timeout=60)["devices"]


def test_a_question_that_is_none_is_a_failure() -> None:
    assert probe("nothing", timeout=60)["outcome"] == "failed"


def test_wrong_answers_and_nan_fail() -> None:
    right = expected().astype(np.float32)
    assert _judged(right, 1e-5)["outcome"] == "works"
    for wrong in (right[::-1], right + 1e-3, np.full_like(right, np.nan)):
        assert _judged(wrong, 1e-5)["outcome"] == "failed"

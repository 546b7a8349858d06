from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.cli.main import main


@pytest.fixture
def arguments(tiny_release, tmp_path: Path) -> dict[str, list[str]]:
    np.save(tmp_path / "zeros.npy", np.zeros((8, 8), np.float32))
    bundle = str(tiny_release.result.bundle)
    return {
        "predict": ["predict", bundle, str(tmp_path / "zeros.npy")],
        "selftest": ["selftest", bundle],
    }


@pytest.mark.parametrize("command", ["predict", "selftest"])
@pytest.mark.parametrize("device", ["CPU", "AUTO"])
def test_a_device_that_is_here_is_used(
    arguments: dict[str, list[str]],
    command: str,
    device: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments[command], "--device", device]) == 0
    shown = capsys.readouterr().out
    assert "ov-fp32" in shown and "ort-" not in shown


@pytest.mark.parametrize("command", ["predict", "selftest"])
@pytest.mark.parametrize("device", ["GPU.7", "NPU.7", "AUTO:GPU.7,CPU"])
def test_an_absent_device_is_exit_3_and_says_what_is_here(
    arguments: dict[str, list[str]],
    command: str,
    device: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments[command], "--device", device]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a machine with CPU" in shown.err


@pytest.mark.parametrize("command", ["predict", "selftest"])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "gpu"], "did you mean 'GPU'"),
        (["--device", "MULTI:GPU,CPU"], "name one device"),
        (["--device", "GPU", "--backend", "onnxruntime"], "ask for the backend openvino"),
    ],
)
def test_a_wrong_device_is_exit_2(
    arguments: dict[str, list[str]],
    command: str,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*arguments[command], *options]) == 2
    assert said in capsys.readouterr().err

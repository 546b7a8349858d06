from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.backends import registry
from edgetl.backends.fake import FakeBackend
from edgetl.bundle import (
    BundleContent,
    ConformalTable,
    ManifestVariant,
    ThresholdColumns,
    ThresholdTable,
    write_bundle,
)
from edgetl.cli.main import main
from edgetl.spec import Precision, TensorInput, TensorSpec, Variant


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


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`predict` of one input on a bundle with tables, whose model always answers the same."""
    columns = ThresholdColumns(threshold=(0.25, 0.5), low=(0.25, 0.5), high=(0.25, 0.5))
    higher = ThresholdColumns(threshold=(0.5, 0.75), low=(0.5, 0.75), high=(0.5, 0.75))
    variant = ManifestVariant(
        variant=Variant(
            id="v", backend="onnxruntime", precision=Precision.FP32, files=("models/v.onnx",)
        ),
        verdict="PASS",
        thresholds=ThresholdTable(
            n=200, confidence=0.95, reference=(0.5, 0.9), acceptance=columns, precision=higher
        ),
        conformal=ConformalTable(n=200, coverage=(0.8, 0.9), lac=(0.25, 0.75), aps=(0.0, 0.625)),
    )
    tensor = TensorInput(shape=(2,))
    bundle = write_bundle(
        tmp_path,
        BundleContent(
            name="told",
            version="1",
            classes=("a", "b", "c"),
            input=tensor,
            variants=(variant,),
            models={"models/v.onnx": b""},
            golden=None,
        ),
    )
    spec = TensorSpec(name="probabilities", dtype="float32", shape=(None, 3))
    monkeypatch.setattr(
        registry,
        "load",
        lambda *_, **__: FakeBackend(
            lambda inputs: {"probabilities": np.array([[0.25, 0.625, 0.125]], np.float32)},
            input_spec={"features": tensor.tensor},
            output_spec={"probabilities": spec},
        ),
    )
    np.save(tmp_path / "x.npy", np.zeros(2, np.float32))
    return ["predict", str(bundle), str(tmp_path / "x.npy")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"threshold": None, "accepted": None, "set": None}),
        (["--threshold-of-reference", "0.9"], {"threshold": 0.5, "accepted": True, "set": None}),
        (
            ["--threshold-of-reference", "0.9", "--keep", "precision", "--coverage", "0.9"],
            {"threshold": 0.75, "accepted": False, "set": ["b", "a"]},
        ),
        (["--coverage", "0.8"], {"threshold": None, "accepted": None, "set": []}),
        (
            ["--coverage", "0.8", "--method", "aps"],
            {"threshold": None, "accepted": None, "set": ["b"]},
        ),
    ],
)
def test_predict_tells_a_machine_what_was_asked(
    told: list[str],
    options: list[str],
    expected: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*told, *options, "--json", "-"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["predictions"]
    assert {key: one[key] for key in expected} == expected


def test_predict_tells_a_person_what_was_asked(
    told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--threshold-of-reference", "0.9", "--coverage"]
    assert main([*told, *options, "0.9"]) == 0
    shown = capsys.readouterr().out
    assert "  accepted: 0.6250 ≥ 0.5000\n" in shown
    assert "  set at coverage 0.9 (lac): b, a\n" in shown
    assert main([*told, *options, "0.8", "--keep", "precision"]) == 0
    shown = capsys.readouterr().out
    assert "  not accepted: 0.6250 < 0.7500\n" in shown
    assert "no label is probable enough" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--threshold-of-reference", "nan"], "between 0 and 1"),
        (["--threshold-of-reference", "0"], "between 0 and 1"),
        (["--threshold-of-reference", "80"], "between 0 and 1"),
        (["--threshold-of-reference", "x"], "between 0 and 1"),
        (["--threshold-of-reference", "0.4"], "from 0.5 to 0.9"),
        (["--threshold-of-reference", "0.6", "--keep", "recall"], "acceptance"),
        (["--coverage", "1"], "between 0 and 1"),
        (["--coverage", "0.95"], "at most 0.9"),
        (["--method", "aps"], "no --coverage"),
        (["--keep", "precision"], "no --threshold-of-reference"),
        (["--coverage", "0.9", "--method", "apz"], "did you mean 'aps'"),
    ],
)
def test_predict_refuses_a_wrong_question(
    told: list[str], options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*told, *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.out == ""


def test_inspect_counts_tables_and_has_them_whole_for_a_machine(
    told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", told[1]]) == 0
    shown = capsys.readouterr().out
    assert shown.count("fitted on 200 inputs") == 2
    assert main(["inspect", told[1], "--json", "-"]) == 0
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    assert variant["conformal"]["coverage"] == [0.8, 0.9]

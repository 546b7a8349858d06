"""Which commands may load torch: none that a device or a gate runs, in their own process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import edgetl

BARE = {"torch", "onnx", "scipy", "pydantic", "rich", "onnxruntime", "openvino"}


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print('loaded:', *sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    return {name.partition(".")[0] for name in process.stdout.split("loaded:")[1].split()}


def command(*arguments: str, code: int = 0) -> str:
    return (
        "from edgetl.cli.main import main\n"
        f"try: code = main({list(arguments)!r})\n"
        "except SystemExit as end: code = end.code\n"
        f"assert code == {code}, code"
    )


@pytest.mark.parametrize("code", ["import edgetl", command("--help"), command("--version")])
def test_import_and_help_load_nothing_optional(code: str) -> None:
    assert not modules_after(code) & BARE


def test_embedding_loads_one_backend_only(tiny_release) -> None:
    bundle = str(tiny_release.result.bundle)
    code = (
        "import numpy; from edgetl import Classifier\n"
        f"c = Classifier.load({bundle!r}, backend='onnxruntime')\n"
        "c.predict(numpy.zeros((8, 8), numpy.float32)); c.close()"
    )
    assert modules_after(code) & BARE == {"onnxruntime"}


@pytest.mark.parametrize("name", ["verify", "selftest", "inspect"])
def test_bundle_commands_never_load_torch(tiny_release, name: str) -> None:
    loaded = modules_after(command(name, str(tiny_release.result.bundle)))
    assert not loaded & {"torch", "onnx", "scipy", "pydantic", "rich"}


def test_predict_never_loads_torch(tiny_release, tmp_path) -> None:
    import numpy as np

    np.save(tmp_path / "zeros.npy", np.zeros((8, 8), np.float32))
    bundle = str(tiny_release.result.bundle)
    loaded = modules_after(command("predict", bundle, str(tmp_path / "zeros.npy")))
    assert not loaded & {"torch", "onnx", "scipy", "pydantic", "rich"}


@pytest.mark.parametrize("name", ["bench", "gate", "release"])
def test_measuring_and_judging_never_load_torch_in_their_own_process(
    tiny_release, tmp_path, name: str
) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(tiny_release.folder, run)
    # So that the stage is really run, and not found to be there already.
    shutil.rmtree(run / ("gate" if name == "release" else name))
    loaded = modules_after(command(name, str(tiny_release.config), "--out", str(run), "--quiet"))
    assert "torch" not in loaded
    assert (run / "gate").exists() or name == "bench"


def test_gate_from_stored_predictions_never_loads_torch(tiny_release) -> None:
    reference = str(tiny_release.folder / "gate" / "predictions" / "test-reference.npz")
    loaded = modules_after(command("gate", "--predictions", reference, reference))
    assert "torch" not in loaded


def test_exported_names() -> None:
    assert edgetl.__all__ == ["Classifier", "Prediction", "__version__"]
    for name in edgetl.__all__:
        assert getattr(edgetl, name)
    with pytest.raises(AttributeError, match="Classifer"):
        edgetl.Classifer  # noqa: B018

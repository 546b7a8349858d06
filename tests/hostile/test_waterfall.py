"""A run whose files were exchanged or lost since: one message each, and nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from edgetl.cli.main import main


def no_model(run: Path) -> None:
    (run / "export" / "model.onnx").write_bytes(b"\x08\x0a" * 40)


def reaching_outside(run: Path) -> None:
    path = run / "quantize" / "ort-int8.onnx"
    proto = onnx.load_from_string(path.read_bytes())
    tensor = proto.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(proto.SerializeToString())


def lost(run: Path) -> None:
    (run / "compile" / "models" / "ort-int8.onnx").unlink()


def other_images(run: Path) -> None:
    shutil.copyfile(run / "data" / "calib.npz", run / "data" / "val.npz")


def a_file(run: Path) -> None:
    shutil.rmtree(run)
    run.write_text("no folder")


def of_another_release(run: Path) -> None:
    (run / "run.json").write_text('{"schema": "edgetl.run/1", "name": "other"}')


def broken_record(run: Path) -> None:
    (run / "compile" / "stage.json").write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (no_model, "the FP32 ONNX file"),
        (reaching_outside, "external"),
        (lost, "ort-int8.onnx"),
        (other_images, "val.npz"),
        (a_file, "a file"),
        (of_another_release, "another release, 'other'"),
        (broken_record, "edgetl compile CONFIG"),
    ],
)
def test_a_run_that_is_not_what_it_was_is_one_message(
    tiny_release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
    said: str,
) -> None:
    run, target = tmp_path / "run", tmp_path / "waterfall.json"
    shutil.copytree(tiny_release.folder, run)
    harm(run)
    command = ["waterfall", str(tiny_release.config), "--out", str(run), "--variant", "ort-int8"]
    assert main([*command, "--images", "4", "--json", str(target)]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and said in shown.err and "Traceback" not in shown.err
    assert "a fault of edgetl" not in shown.err
    assert not target.exists()

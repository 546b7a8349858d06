"""What commands do with files made to hurt, targets that must not be written, and surprises."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from edgetl.bundle.problem import Problem
from edgetl.cli import bundle_commands, tensor_file
from edgetl.cli.main import main
from edgetl.cli.tensor_file import read_tensor
from edgetl.errors import BundleError, UsageError
from edgetl.runtime.selftest import SelftestReport, VariantCheck


def _npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    width = 2 if version[0] == 1 else 4
    return b"\x93NUMPY" + version + len(text).to_bytes(width, "little") + text + data


def _told(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


HOSTILE = {
    "empty": b"",
    "text": b"hello",
    "pickle": pickle.dumps({"a": 1}),
    "npz": _npz(),
    "objects": _npy(_told("(1,)", "'|O'"), pickle.dumps([1])),
    "structured": _npy(_told("(1,)", "[('a', '|O')]"), b"12345678"),
    "strings": _npy(_told("(1,)", "'<U1'"), b"1234"),
    "complex": _npy(_told("(1,)", "'<c8'"), b"12345678"),
    "terabyte": _npy(_told("(1099511627776,)"), b"1234"),
    "overflow": _npy(_told("(4294967296, 4294967296)"), b"1234"),
    "digits": _npy(_told("(" + "9" * 60 + ",)"), b"1234"),
    "hexadecimal": _npy(_told("(0x" + "f" * 5000 + ",)"), b"1234"),
    "negative": _npy(_told("(-1, -1)"), b"1234"),
    "no values": _npy(_told("(0, 9223372036854775808)")),
    "dimensions": _npy(_told("(" + "1," * 65 + ")"), b"1234"),
    "short": _npy(_told("(2,)"), b"1234"),
    "long": _npy(_told("(2,)"), b"123456789"),
    "unterminated": _npy("{'descr': '<f4', 'shape': (2,", b"12345678"),
    "unterminated string": _npy("{'descr': '''<f4", b"12345678"),
    "nested": _npy("(" * 9000, b""),
    "cut header": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "version": _npy(_told("(1,)"), b"1234", version=b"\x07\x00"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_npy_is_one_message_in_our_own_words(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input.npy"
    path.write_bytes(HOSTILE[name])
    assert main(["predict", str(tmp_path), str(path)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"edgetl: {path}\n")
    assert len(shown.splitlines()) == 4
    assert len(shown) < 1000
    assert "pickle" not in shown


def test_a_fifo_does_not_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "input.npy"
    os.mkfifo(path)
    assert main(["predict", str(tmp_path), str(path)]) == 2
    assert "a FIFO" in capsys.readouterr().err


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "input.npy"
    np.save(path, np.zeros(100))
    monkeypatch.setattr(tensor_file, "MAX_BYTES", 500)
    with pytest.raises(UsageError, match="more than"):
        read_tensor(path)


@pytest.mark.parametrize("array", [np.arange(6, dtype=">i2").reshape(2, 3), np.float64(2.5)])
def test_good_arrays_are_read_as_they_are(tmp_path: Path, array: np.ndarray) -> None:
    for one in (array, np.asfortranarray(array)):
        np.save(tmp_path / "a.npy", one)
        read = read_tensor(tmp_path / "a.npy")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "b", "in", "--json", "in"],
        ["predict", "b", "in", "--json", "b/../in"],
        ["predict", "b", "link", "--json", "in"],
        ["verify", "in", "--json", "in"],
        ["release", "in", "--json", "in"],
        ["export", "in", "--json", "in"],
        ["gate", "in", "--markdown", "in"],
        ["gate", "--predictions", "r", "in", "--json", "in"],
        ["gate", "--predictions", "r", "r", "--policy", "in", "--junit", "in"],
        ["gate", "--predictions", "r", "r", "--bench", "in", "--junit", "in"],
        ["gate", "in", "--json", "o", "--junit", "o"],
        ["gate", "in", "--junit", "o", "--markdown", "b/../o"],
        ["gate", "in", "--junit", "-"],
        ["gate", "in", "--markdown", "-"],
        ["release", "r", "--json", "link"],
        ["release", "r", "--json", "dangling"],
        ["release", "r", "--json", "circle"],
        ["release", "r", "--json", "fifo"],
        ["release", "r", "--json", "/dev/null"],
    ],
)
def test_force_never_writes_these(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b").mkdir()
    Path("in").write_text("precious")
    Path("r").write_text("other")
    Path("link").symlink_to("in")
    Path("dangling").symlink_to("nowhere")
    Path("circle").symlink_to("circle")
    os.mkfifo("fifo")
    before = sorted(Path().iterdir())
    assert main([*arguments, "--force"]) == 2
    shown = capsys.readouterr().err
    assert any(w in shown for w in ("the same file", "standard output", "regular file"))
    assert Path("in").read_text() == "precious"
    assert sorted(Path().iterdir()) == before


def test_a_fault_is_exit_2_and_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(options: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(bundle_commands, "_check_bundle", broken)
    monkeypatch.delenv("EDGETL_TRACEBACK", raising=False)
    assert main(["verify", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "fault of edgetl" in shown
    assert "ZeroDivisionError: two lines" in shown
    assert "EDGETL_TRACEBACK=1" in shown
    assert len(shown.splitlines()) == 4
    monkeypatch.setenv("EDGETL_TRACEBACK", "1")
    assert main(["verify", str(tmp_path)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_selftest_of_a_broken_bundle_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "a.edgetl"
    bundle.mkdir()
    assert main(["selftest", str(bundle), "--json", "-"]) == 1
    shown = capsys.readouterr()
    report = json.loads(shown.out)
    assert report["schema"] == "edgetl.selftest/1"
    assert report["ok"] is False
    assert "manifest" in report["problems"][0]
    assert "manifest" in shown.err


@pytest.mark.parametrize("options", [["--quiet"], ["--json", "-"]])
def test_what_is_wrong_is_never_silent(
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = VariantCheck(variant="int8", backend="openvino", outcome="not ok", note="other answers")
    report = SelftestReport(bundle="a", golden="real", inputs=3, variants=(check,))
    monkeypatch.setattr("edgetl.runtime.selftest.selftest", lambda *_, **__: report)
    assert main(["selftest", str(tmp_path), *options]) == 1
    shown = capsys.readouterr()
    assert "int8: other answers" in shown.err
    if shown.out:
        assert json.loads(shown.out)["problems"] == ["int8: other answers"]
    problem = Problem(file="models/a.onnx", got="no such file", expected="a listed file")
    monkeypatch.setattr("edgetl.bundle.verify_bundle", lambda _: [problem])
    assert main(["verify", str(tmp_path), *options]) == 1
    assert "models/a.onnx" in capsys.readouterr().err


def test_a_broken_bundle_names_a_problem_that_only_selftest_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BundleError("a", got="b", expected="c", fix="d")

    monkeypatch.setattr("edgetl.runtime.selftest.selftest", refuse)
    monkeypatch.setattr("edgetl.bundle.verify_bundle", lambda _: [])
    assert main(["selftest", str(tmp_path), "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["a: got b; expected c; to fix: d"]


@pytest.mark.parametrize("text", ["9" * 20, "9" * 5000, "1025", "0", "two"])
def test_threads_are_bounded(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", ".", "7.png", "--threads", text]) == 2
    shown = capsys.readouterr().err
    assert "from 1 to 1024" in shown
    assert len(shown) < 1000

"""Prediction files made to hurt: each is one GateError, quickly, and nothing is executed."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgetl.bench import npz
from edgetl.bench.npz import read_npz
from edgetl.errors import GateError
from edgetl.files import canonical_json
from edgetl.gate import JudgedData, JudgedVariant, Policy, Predictions, ReleaseVerdict, judge
from edgetl.gate.render import to_json, to_junit, to_markdown

GOOD = np.full((6, 4), 0.25)


def _npy(array: np.ndarray, **header: object) -> bytes:
    """An npy file whose header may lie."""
    stream = io.BytesIO()
    told = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | header
    np.lib.format.write_array_header_1_0(stream, told)
    return stream.getvalue() + array.tobytes()


def _archive(
    path: Path, *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return path


class Canary:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_a_pickle_is_never_executed(tmp_path):
    mark = tmp_path / "executed"
    objects = np.array([Canary(mark)] * 6, dtype=object)
    np.savez(tmp_path / "a.npz", probabilities=GOOD, labels=objects)
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Canary(mark)))
    np.save(tmp_path / "c.npy", objects, allow_pickle=True)
    for name in ("a.npz", "b.npz", "c.npy"):
        with pytest.raises(GateError):
            Predictions.load(tmp_path / name)
    assert not mark.exists()


@pytest.mark.parametrize(
    "header",
    [
        {"shape": (10**15, 4)},
        {"shape": (10**30, 4)},
        {"shape": (6, 5)},
        {"shape": (-6, -4)},
        {"shape": (3, 4)},
        {"descr": "|O"},
        {"descr": "<M8[s]"},
        {"descr": "<U0"},
        {"descr": "|V8"},
        {"descr": [("a", "<f8")]},
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, header):
    path = _archive(tmp_path / "a.npz", ("probabilities.npy", _npy(GOOD, **header)))
    with pytest.raises(GateError, match=r"a\.npz"):
        Predictions.load(path)


def test_a_bomb_is_refused_by_its_directory(tmp_path, monkeypatch):
    zeros = _npy(np.zeros(1 << 20, np.uint8))
    path = _archive(
        tmp_path / "a.npz",
        *((f"x{n}.npy", zeros) for n in range(20)),
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(npz, "_parse", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(GateError, match="bytes unpacked"):
        read_npz(path, max_bytes=10 << 20)


def test_a_bomb_that_understates_its_size_is_refused(tmp_path):
    path = _archive(
        tmp_path / "a.npz",
        ("probabilities.npy", _npy(np.zeros(1 << 20, np.uint8))),
        compression=zipfile.ZIP_DEFLATED,
    )
    data = path.read_bytes()
    true_size = len(_npy(np.zeros(1 << 20, np.uint8))).to_bytes(4, "little")
    assert data.count(true_size) == 2
    path.write_bytes(data.replace(true_size, (200).to_bytes(4, "little")))
    with pytest.raises(GateError):
        read_npz(path)


@pytest.mark.parametrize("keep", [0, 1, 20, 100, -1, -22])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "a.npz"
    Predictions(probabilities=GOOD, labels=[0] * 6).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(GateError):
        Predictions.load(path)


def test_flipped_bits_never_give_other_numbers(tmp_path):
    path = tmp_path / "a.npz"
    answers = Predictions(probabilities=GOOD, labels=[0, 1, 2, 3, 0, 1])
    answers.save(path)
    data = path.read_bytes()
    random = np.random.default_rng(0)
    for position in random.integers(0, len(data) * 8, 200):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << (position % 8)
        path.write_bytes(changed)
        try:
            back = Predictions.load(path)
        except GateError:
            continue
        assert np.array_equal(back.probabilities, answers.probabilities)
        # A flipped name may make an optional array another one, which is ignored.
        assert back.labels is None or np.array_equal(back.labels, answers.labels)


@pytest.mark.parametrize(
    "members",
    [
        [("probabilities.npy", b"not an array")],
        [("probabilities.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': 1+1}   ")],
        [("probabilities.npy", b"\x93NUMPY\x03\x00" + b"\0" * 40)],
        [("probabilities.npy", b"")],
        [("a.npy", _npy(GOOD)), ("a", _npy(GOOD))],
        [(f"x{n}.npy", _npy(GOOD)) for n in range(300)],
        [],
    ],
)
def test_members_that_are_no_arrays_are_refused(tmp_path, members):
    with pytest.raises(GateError):
        Predictions.load(_archive(tmp_path / "a.npz", *members))


def test_an_encrypted_member_is_refused(tmp_path):
    path = _archive(tmp_path / "a.npz", ("probabilities.npy", _npy(GOOD)))
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(GateError, match="encrypted"):
        Predictions.load(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"probs": GOOD}, "'probabilities' or 'logits'"),
        ({"probabilities": GOOD, "logits": GOOD}, "exactly one"),
        ({"probabilities": GOOD, "schema": np.array("edgetl.predictions/2")}, "predictions/2"),
        ({"probabilities": GOOD, "schema": np.array(["x"] * 9)}, "schema"),
        ({"probabilities": GOOD * np.nan}, "NaN"),
        ({"probabilities": GOOD.astype(">f8"), "labels": np.arange(6)}, "classes 0..3"),
        ({"probabilities": GOOD, "ids": np.arange(6)}, "ids"),
        ({"probabilities": GOOD, "classes": np.array(4)}, "classes"),
        ({"probabilities": np.full((6, 4), 0.25, complex)}, "probabilities"),
        ({"probabilities": GOOD, "slices/camera": np.array(["a"] * 5)}, "slice 'camera'"),
        ({"probabilities": GOOD, "slices/camera": np.zeros((6, 2))}, "slice 'camera'"),
        ({"probabilities": GOOD, "slices/camera": np.zeros(6, complex)}, "slices/camera"),
    ],
)
def test_what_is_inside_is_checked_and_the_file_named(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(GateError, match=message) as caught:
        Predictions.load(tmp_path / "a.npz")
    assert "a.npz" in caught.value.subject


def _sliced(**slices: np.ndarray) -> Predictions:
    labels = np.arange(400) % 4
    return Predictions(
        labels=labels, probabilities=np.where(np.eye(4)[labels] > 0, 0.7, 0.1), slices=slices
    )


@pytest.mark.parametrize(
    "values",
    [
        np.full(400, np.nan),
        np.full(400, ""),
        np.full(400, "=\x1b[2J\n|<script>`::error::\u2028" * 20),
        np.where(np.arange(400) % 2, np.inf, -0.0),
        np.arange(400) % 2 == 0,
    ],
)
def test_whatever_a_slice_is_called_it_is_judged_and_told_safely(values):
    answers = _sliced(**{"a=b|": values})
    verdict = judge(answers, answers, Policy(max_slice_drop=0.5, slices=("a=b|",)))
    sliced = [gate for gate in verdict.gates if gate.name.startswith("slice:")]
    assert sum(gate.n for gate in sliced) == 400
    assert {gate.verdict for gate in sliced} == {"PASS"}
    release = ReleaseVerdict(
        policy=Policy(max_slice_drop=0.5),
        data=JudgedData(name="made", split="test", n=400, hash="0" * 64),
        variants=(JudgedVariant(id="v", backend="b", precision="int8", file="f", verdict=verdict),),
    )
    text = to_markdown(release)
    assert "<script>" not in text and "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| slice")]
    assert len(rows) == len(sliced)
    ElementTree.fromstring(to_junit(release))
    json.loads(canonical_json(to_json(release)))


def test_a_column_of_a_value_each_is_refused_quickly():
    many = _sliced(shot=np.arange(400))
    with pytest.raises(GateError, match="400 different values"):
        judge(many, many, Policy(max_slice_drop=0.5))


@pytest.mark.parametrize("wanted", ["=", "==", "camera==", "=x", "class=", "class==a", "\x00"])
def test_a_slice_that_nobody_can_have_is_one_error(wanted):
    answers = _sliced(camera=np.full(400, "a"))
    with pytest.raises(GateError, match="slices"):
        judge(answers, answers, Policy(max_slice_drop=0.5, slices=(wanted,)))

"""Damaged and malicious bundles: refused, the file named, and no model loader ever called."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgetl.backends import registry
from edgetl.backends.fake import FakeBackend
from edgetl.bundle import (
    BundleContent,
    GoldenSet,
    ManifestVariant,
    open_bundle,
    pack_zip,
    verify_bundle,
    write_bundle,
)
from edgetl.bundle import archive as archive_module
from edgetl.errors import BundleError
from edgetl.files import canonical_json, parse_json, sha256_bytes
from edgetl.runtime.classifier import Classifier
from edgetl.runtime.selftest import selftest
from edgetl.spec import ImageInput, Precision, TensorSpec, Variant

FILES = (
    "golden/000.png",
    "golden/answers.npz",
    "manifest.json",
    "manifest.sha256",
    "models/net.bin",
    "models/net.onnx",
    "models/net.xml",
    "verdict.json",
)


def _onnx(location: str | None = None) -> bytes:
    weights = numpy_helper.from_array(np.ones((12, 2), np.float32), "w")
    if location is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", location
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["l"]),
            helper.make_node("Softmax", ["l"], ["probabilities"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 12])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 2])],
        initializer=[weights],
    )
    return helper.make_model(graph, producer_name="test").SerializeToString()


def _variant(name: str, backend: str, *files: str) -> ManifestVariant:
    return ManifestVariant(
        variant=Variant(id=name, backend=backend, precision=Precision.FP32, files=files),
        verdict="PASS",
        p50_ms=1.0,
    )


def _content() -> BundleContent:
    stream = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).save(stream, "PNG")
    answers = np.array([[0.25, 0.75]], np.float32)
    return BundleContent(
        name="small",
        version="1.0",
        classes=("no", "yes"),
        input=ImageInput(height=2, width=2),
        variants=(
            _variant("ort-fp32", "onnxruntime", "models/net.onnx"),
            _variant("openvino-fp32", "openvino", "models/net.xml", "models/net.bin"),
        ),
        models={
            "models/net.onnx": _onnx(),
            "models/net.xml": b"<net/>" * 20,
            "models/net.bin": random.Random(0).randbytes(200),
        },
        golden=GoldenSet(
            kind="real",
            inputs=(stream.getvalue(),),
            reference=answers,
            answers={"ort-fp32": answers, "openvino-fp32": answers},
        ),
        verdict=b'{"verdict": "PASS"}\n',
        reference={"top1": 1.0},
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("pristine"), _content())


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


class Spy:
    """Counts how often a model loader is called; answers with a fake backend."""

    def __init__(self) -> None:
        self.calls = 0

    def load(self, variant: Variant, files: object, **options: object) -> FakeBackend:
        self.calls += 1
        answer = np.array([[0.25, 0.75]], np.float32)
        return FakeBackend(
            lambda inputs: {"probabilities": answer.repeat(len(inputs["image"]), axis=0)},
            input_spec={"image": ImageInput(height=2, width=2).tensor},
            output_spec={
                "probabilities": TensorSpec(name="probabilities", dtype="float32", shape=(None, 2))
            },
        )


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    spy = Spy()
    monkeypatch.setattr(registry, "load", spy.load)
    monkeypatch.setattr(registry, "available", lambda: dict.fromkeys(registry.names(), True))
    return spy


def refuse(path: Path, spy: Spy, *names: str) -> str:
    """Assert that every way into the bundle refuses it, naming one of `names`; return the words."""
    problems = verify_bundle(path)
    assert problems, "verify found nothing"
    words = "\n".join(map(str, problems))
    assert any(name in words for name in names), words
    assert words.replace("\n", "").isprintable()
    with pytest.raises(BundleError) as caught:
        Classifier.load(path)
    assert any(name in str(caught.value) for name in names), str(caught.value)
    assert spy.calls == 0
    return words


def test_the_files_of_the_small_bundle_are_all_tried(bundle: Path) -> None:
    found = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert found == set(FILES)


def test_the_right_bundle_reaches_the_loader(bundle: Path, spy: Spy) -> None:
    assert verify_bundle(bundle) == []
    assert spy.calls == 0
    Classifier.load(bundle).close()
    assert spy.calls == 1
    assert selftest(pack_zip(bundle, bundle.parent / "b.zip")).outcome == "ok"
    assert spy.calls == 3


def _flips(data: bytes, count: int, seed: int) -> list[int]:
    bits = range(8 * len(data))
    return list(bits) if len(bits) <= count else random.Random(seed).sample(bits, count)


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _flip_all(bundle: Path, name: str, spy: Spy, count: int, seed: int) -> None:
    data = (bundle / name).read_bytes()
    for bit in _flips(data, count, seed):
        (bundle / name).write_bytes(_flipped(data, bit))
        refuse(bundle, spy, name)
    (bundle / name).write_bytes(data)
    assert verify_bundle(bundle) == []


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(bundle: Path, spy: Spy, name: str) -> None:
    _flip_all(bundle, name, spy, 300, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_thousand_flipped_bits_of_each_file_are_found(bundle: Path, spy: Spy, name: str) -> None:
    _flip_all(bundle, name, spy, 1000, seed=2)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_longer_file_is_found(bundle: Path, spy: Spy, name: str) -> None:
    data = (bundle / name).read_bytes()
    ends = {0, len(data) - 1, *random.Random(3).sample(range(len(data)), 18)}
    for end in ends:
        (bundle / name).write_bytes(data[:end])
        refuse(bundle, spy, name)
    for more in (b"\0", b"\n", b"\r\n", data):
        (bundle / name).write_bytes(data + more)
        refuse(bundle, spy, name)


@pytest.mark.parametrize(
    "change",
    [
        bytes.upper,
        bytes.strip,
        lambda line: line + b"\n",
        lambda line: line[:64] + b"\r\n",
        lambda line: line[:64] + b"  manifest.json\n",
        lambda line: b" " + line[:63] + b"\n",
    ],
)
def test_the_digest_has_one_spelling(
    bundle: Path, spy: Spy, change: Callable[[bytes], bytes]
) -> None:
    file = bundle / "manifest.sha256"
    file.write_bytes(change(file.read_bytes()))
    refuse(bundle, spy, "manifest.sha256")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(bundle: Path, spy: Spy, name: str) -> None:
    (bundle / name).unlink()
    refuse(bundle, spy, name)


@pytest.mark.parametrize(
    "name", ["extra.txt", ".hidden", "models/other.onnx", "golden/001.png", "signature.json", "a\n"]
)
def test_an_extra_file_is_found(bundle: Path, spy: Spy, name: str) -> None:
    (bundle / name).write_bytes(b"")
    refuse(bundle, spy, name.strip())


def test_an_extra_folder_is_found_and_not_entered(bundle: Path, spy: Spy) -> None:
    (bundle / "more").mkdir()
    (bundle / "more/file").write_bytes(b"")
    words = refuse(bundle, spy, "more")
    assert "more/file" not in words


@pytest.mark.parametrize("name", FILES)
def test_a_symbolic_link_is_found(bundle: Path, spy: Spy, name: str) -> None:
    (bundle / name).rename(bundle.parent / "moved")
    (bundle / name).symlink_to(bundle.parent / "moved")
    assert "symbolic link" in refuse(bundle, spy, name)


@pytest.mark.parametrize("name", FILES)
def test_a_hard_link_is_found(bundle: Path, spy: Spy, name: str) -> None:
    (bundle.parent / "other").hardlink_to(bundle / name)
    assert "hard link" in refuse(bundle, spy, name)


@pytest.mark.parametrize("name", FILES)
def test_a_fifo_is_found_without_waiting_for_it(bundle: Path, spy: Spy, name: str) -> None:
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    assert "FIFO" in refuse(bundle, spy, name)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_files_place_is_found(bundle: Path, spy: Spy, name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    refuse(bundle, spy, name)


def test_a_linked_folder_is_found(bundle: Path, spy: Spy) -> None:
    (bundle / "models").rename(bundle.parent / "models")
    (bundle / "models").symlink_to(bundle.parent / "models")
    assert "symbolic link" in refuse(bundle, spy, "models")


def test_every_bad_file_is_named(bundle: Path) -> None:
    (bundle / "models/net.bin").write_bytes(b"")
    (bundle / "models/net.xml").unlink()
    (bundle / "extra").write_bytes(b"")
    (bundle / "verdict.json").write_bytes(b"?" * (bundle / "verdict.json").stat().st_size)
    names = sorted(problem.file for problem in verify_bundle(bundle))
    assert names == ["extra", "models/net.bin", "models/net.xml", "verdict.json"]


@pytest.mark.parametrize("kind", ["empty", "text", "fifo"])
def test_what_is_no_bundle_at_all_is_refused(tmp_path: Path, spy: Spy, kind: str) -> None:
    path = tmp_path / "b.edgetl"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.write_bytes(b"" if kind == "empty" else b"PK\x05\x06 but not a zip")
    refuse(path, spy, "b.edgetl")


def test_an_empty_folder_is_refused(tmp_path: Path, spy: Spy) -> None:
    refuse(tmp_path, spy, "manifest.sha256")


# Bundles that are consistent with themselves: somebody wrote them so on purpose.


def _rewrite(bundle: Path, change: Callable[[dict], None]) -> None:
    manifest = parse_json((bundle / "manifest.json").read_bytes(), "manifest")
    change(manifest)
    _write_manifest(bundle, canonical_json(manifest))


def _write_manifest(bundle: Path, data: bytes) -> None:
    (bundle / "manifest.json").write_bytes(data)
    (bundle / "manifest.sha256").write_bytes(f"{sha256_bytes(data)}\n".encode())


def _replace(bundle: Path, name: str, data: bytes) -> None:
    (bundle / name).write_bytes(data)
    entry = {"size": len(data), "sha256": sha256_bytes(data)}
    _rewrite(bundle, lambda manifest: manifest["files"].update({name: entry}))


def test_a_rewritten_manifest_is_right_when_nothing_changed(bundle: Path) -> None:
    _rewrite(bundle, lambda manifest: None)
    assert verify_bundle(bundle) == []


@pytest.mark.parametrize("labels", [["no"], ["no", "yes", "maybe"]])
def test_labels_that_do_not_fit_the_answers_are_refused(
    bundle: Path, spy: Spy, labels: list[str]
) -> None:
    _rewrite(bundle, lambda manifest: manifest.update(classes=labels))
    refuse(bundle, spy, "golden/answers.npz", "manifest.json")


def test_labels_that_do_not_fit_the_model_are_refused(bundle: Path, spy: Spy) -> None:
    def change(manifest: dict) -> None:
        manifest["classes"] = ["no", "yes", "maybe"]
        manifest["golden"] = {"kind": "none", "inputs": [], "answers": None, "tolerance": {}}

    _rewrite(bundle, change)
    with pytest.raises(BundleError, match=r"models/net\.(onnx|xml).*one per label"):
        Classifier.load(bundle)


@pytest.mark.parametrize("label", ["\x1b]0;title\x07", "a\0b", "two\nlines", "\u202egnp.exe"])
def test_labels_that_a_terminal_obeys_are_refused(bundle: Path, spy: Spy, label: str) -> None:
    _rewrite(bundle, lambda manifest: manifest.update(classes=["no", label]))
    assert label not in refuse(bundle, spy, "manifest.json")


def test_a_higher_major_version_is_refused(bundle: Path, spy: Spy) -> None:
    _rewrite(bundle, lambda manifest: manifest.update(schema="edgetl.bundle/2"))
    assert "newer edgetl" in refuse(bundle, spy, "manifest.json")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"p50_ms": 1.0', b'"p50_ms": NaN'),
        (b'"p50_ms": 1.0', b'"p50_ms": 1e999'),
        (b'"name": "small"', b'"name": "small", "name": "small"'),
        (b'"verdict.json"', b'"../verdict.json"'),
        (b'"verdict.json"', b'"/verdict.json"'),
        (b'"name": "small"', b'"name": "../small"'),
        (b"{", b"[" * 50_000 + b"{"),
    ],
)
def test_a_malformed_manifest_is_refused(bundle: Path, spy: Spy, old: bytes, new: bytes) -> None:
    data = (bundle / "manifest.json").read_bytes()
    assert old in data
    _write_manifest(bundle, data.replace(old, new, 1))
    refuse(bundle, spy, "manifest.json")


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../../up", "net.bin"])
def test_an_onnx_file_that_points_outside_itself_is_refused(
    bundle: Path, spy: Spy, location: str
) -> None:
    _replace(bundle, "models/net.onnx", _onnx(location))
    assert "external data" in refuse(bundle, spy, "models/net.onnx")


def test_an_onnx_file_that_is_none_is_refused(bundle: Path, spy: Spy) -> None:
    _replace(bundle, "models/net.onnx", b"\x93NUMPY and more")
    refuse(bundle, spy, "models/net.onnx")


def test_a_golden_image_that_is_a_gif_is_refused(bundle: Path, spy: Spy) -> None:
    _replace(bundle, "golden/000.png", b"GIF89a")
    refuse(bundle, spy, "golden/000.png")


# Zips.


@pytest.fixture
def packed(pristine: Path, tmp_path: Path) -> Path:
    return pack_zip(pristine, tmp_path / "small.zip")


def _layout(data: bytes) -> tuple[list[int], list[int]]:
    """Positions of the bytes that are headers, and of those that are file content."""
    content: set[int] = set()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for entry in archive.infolist():
            begin = entry.header_offset + 30 + len(entry.filename)
            content.update(range(begin, begin + entry.file_size))
    return [at for at in range(len(data)) if at not in content], sorted(content)


def _flip_zip(packed: Path, spy: Spy, positions: list[int], count: int) -> None:
    data = packed.read_bytes()
    bits = [8 * at + bit for at in positions for bit in range(8)]
    for bit in bits if len(bits) <= count else random.Random(4).sample(bits, count):
        packed.write_bytes(_flipped(data, bit))
        refuse(packed, spy, packed.name, *FILES)


def test_no_bit_of_a_zip_is_free(packed: Path, spy: Spy) -> None:
    headers, content = _layout(packed.read_bytes())
    _flip_zip(packed, spy, headers, 600)
    _flip_zip(packed, spy, content, 300)


@pytest.mark.slow
def test_no_header_bit_of_a_zip_is_free(packed: Path, spy: Spy) -> None:
    _flip_zip(packed, spy, _layout(packed.read_bytes())[0], 1 << 30)


def test_a_truncated_or_longer_zip_is_refused(packed: Path, spy: Spy) -> None:
    data = packed.read_bytes()
    for end in random.Random(5).sample(range(len(data)), 20):
        packed.write_bytes(data[:end])
        refuse(packed, spy, packed.name, *FILES)
    for changed in (data + b"\0", b"\0" + data, data + data, b"#!/bin/sh\n" + data):
        packed.write_bytes(changed)
        refuse(packed, spy, packed.name, *FILES)


def _info(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def _foreign(
    pristine: Path, target: Path, *more: tuple[zipfile.ZipInfo, bytes], method: int = 0
) -> Path:
    """The bundle as Python's own zipfile packs it, with more entries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the duplicate name
        with zipfile.ZipFile(target, "w") as archive:
            for name in FILES:
                archive.writestr(_info(name), (pristine / name).read_bytes(), method)
            for info, data in more:
                archive.writestr(info, data, method)
    return target


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [
        ("../escape", 0o100644, "the path '../escape'"),
        ("models/../../escape", 0o100644, "the path"),
        ("/escape", 0o100644, "the path '/escape'"),
        ("C:\\escape", 0o100644, "the path"),
        ("zz\x1b[2J", 0o100644, "the path"),
        ("zz/", 0o040755, "the path"),
        ("models/net.bin", 0o100644, "the same name twice"),
        ("zz", 0o120777, "a symbolic link"),
        ("zz", 0o100644, "another layout"),
    ],
)
def test_a_zip_with_a_bad_entry_is_refused(
    pristine: Path, tmp_path: Path, spy: Spy, name: str, mode: int, words: str
) -> None:
    file = _foreign(pristine, tmp_path / "b.zip", (_info(name, mode), b"../../etc/passwd"))
    said = refuse(file, spy, file.name)
    assert words in said
    assert ascii(name) in said or words == "another layout"
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


def test_a_compressed_zip_is_refused(pristine: Path, tmp_path: Path, spy: Spy) -> None:
    file = _foreign(pristine, tmp_path / "b.zip", method=zipfile.ZIP_DEFLATED)
    assert "compressed" in refuse(file, spy, *FILES)


def test_a_bomb_is_refused_without_being_unpacked(pristine: Path, tmp_path: Path, spy: Spy) -> None:
    file = tmp_path / "b.zip"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("golden/000.png", "w") as stream,
    ):
        for _ in range(100):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    refuse(file, spy, "golden/000.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 << 20


def _row(data: bytes, number: int) -> int:
    """Where a row of the zip's directory begins."""
    at = struct.unpack_from("<I", data, len(data) - 6)[0]
    for _ in range(number):
        at += 46 + struct.unpack_from("<H", data, at + 28)[0]
    return int(at)


def test_an_encrypted_entry_is_refused(packed: Path, spy: Spy) -> None:
    data = bytearray(packed.read_bytes())
    data[_row(data, 0) + 8] |= 1
    packed.write_bytes(data)
    assert "encrypted" in refuse(packed, spy, FILES[0])


def test_sizes_that_claim_more_than_the_file_are_refused(packed: Path, spy: Spy) -> None:
    data = bytearray(packed.read_bytes())
    struct.pack_into("<II", data, _row(data, 0) + 20, 0xFFFFFFF0, 0xFFFFFFF0)
    packed.write_bytes(data)
    refuse(packed, spy, packed.name)


def test_a_local_header_with_another_name_is_refused(packed: Path, spy: Spy) -> None:
    data = packed.read_bytes()
    header = struct.pack("<HH", len("models/net.bin"), 0) + b"models/net.bin"
    assert header in data
    packed.write_bytes(data.replace(header, header.replace(b".bin", b".exe"), 1))
    assert "local header" in refuse(packed, spy, "models/net.bin")


def test_two_entries_over_the_same_bytes_are_refused(packed: Path, spy: Spy) -> None:
    data = bytearray(packed.read_bytes())
    struct.pack_into("<I", data, _row(data, 1) + 42, 0)
    packed.write_bytes(data)
    refuse(packed, spy, packed.name)


def test_too_many_entries_are_refused(
    pristine: Path, tmp_path: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_ENTRIES", 4)
    file = _foreign(pristine, tmp_path / "b.zip")
    assert "too many entries" in refuse(file, spy, "b.zip")


def test_a_comment_or_an_extra_field_is_refused(pristine: Path, tmp_path: Path, spy: Spy) -> None:
    info = _info("zz")
    info.extra = b"\x99\x99\x04\x00free"
    refuse(_foreign(pristine, tmp_path / "b.zip", (info, b"")), spy, "zz")
    file = _foreign(pristine, tmp_path / "c.zip")
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"free bytes"
    refuse(file, spy, "c.zip")


def test_a_consistent_zip_with_an_extra_file_is_refused(
    bundle: Path, tmp_path: Path, spy: Spy
) -> None:
    (bundle / "extra").write_bytes(b"free")
    file = tmp_path / "b.zip"
    paths = [*FILES, "extra"]
    with file.open("wb") as stream:
        archive_module.write_archive(stream, paths, {path: bundle / path for path in paths})
    assert "not listed" in refuse(file, spy, "extra")
    with file.open("wb") as stream:
        archive_module.write_archive(stream, FILES[1:], {path: bundle / path for path in FILES})
    assert "no such file" in refuse(file, spy, FILES[0])


def test_what_changes_on_disk_after_opening_makes_no_difference(bundle: Path) -> None:
    opened = open_bundle(bundle)
    before = (bundle / "models/net.bin").read_bytes()
    (bundle / "models/net.bin").write_bytes(b"swapped")
    assert opened.read("models/net.bin") == before

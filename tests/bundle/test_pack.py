from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgetl.bundle import (
    BundleContent,
    GoldenSet,
    describe_bundle,
    open_bundle,
    pack_zip,
    verify_bundle,
    write_bundle,
)
from edgetl.errors import BundleError, UsageError
from edgetl.files import canonical_json, sha256_bytes
from edgetl.spec import Precision, TensorInput


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_holds_what_the_format_says(folder: Path) -> None:
    assert folder.name == "insects-1.0.2.edgetl"
    assert sorted(_files(folder)) == [
        "golden/000.png",
        "golden/001.png",
        "golden/answers.npz",
        "manifest.json",
        "manifest.sha256",
        "models/int8.onnx",
        "models/net.bin",
        "models/net.xml",
        "verdict.json",
    ]
    manifest = (folder / "manifest.json").read_bytes()
    assert manifest == canonical_json(json.loads(manifest))
    digest = (folder / "manifest.sha256").read_bytes()
    assert digest == f"{sha256_bytes(manifest)}\n".encode()


def test_a_bundle_reads_back_as_it_was_written(content: BundleContent, folder: Path) -> None:
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    assert (manifest.name, manifest.version) == ("insects", "1.0.2")
    assert manifest.classes == content.classes
    assert manifest.input == content.input
    assert manifest.variants == content.variants
    assert dict(manifest.reference) == {"top1": 0.9375, "n": 720}
    variant = content.variants[0].variant
    assert bundle.variant_files(variant) == {
        "models/net.xml": b"<net/>",
        "models/net.bin": bytes(range(256)),
    }
    assert bundle.read("verdict.json") == content.verdict
    golden, written = bundle.golden, content.golden
    assert golden is not None and written is not None
    assert golden.inputs == written.inputs
    np.testing.assert_array_equal(golden.reference, written.reference)
    for name, answers in written.answers.items():
        np.testing.assert_array_equal(golden.answers[name], answers)
    assert golden.tolerance == {"openvino-fp32": 1e-3, "openvino-bf16": 0.02, "ort-int8": 0.03}


def test_a_bundle_says_what_it_is_as_plain_data(folder: Path) -> None:
    described = describe_bundle(open_bundle(folder))
    assert described["folder"] == folder.name
    assert described["size_bytes"] == sum(
        len(data) for path, data in _files(folder).items() if not path.startswith("manifest")
    )
    assert json.loads(json.dumps(described))["variants"][0]["verdict"] == "PASS"


def test_the_same_content_gives_the_same_bytes(content: BundleContent, tmp_path: Path) -> None:
    one, two = (write_bundle(tmp_path / name, content) for name in ("one", "two"))
    assert _files(one) == _files(two)
    first, second = (pack_zip(one, tmp_path / "1.zip"), pack_zip(two, tmp_path / "2.zip"))
    assert first.read_bytes() == second.read_bytes()


def test_models_may_be_given_as_files(content: BundleContent, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(range(256)))
    models = {**content.models, "models/net.bin": tmp_path / "weights"}
    one = write_bundle(tmp_path / "one", content)
    two = write_bundle(tmp_path / "two", dataclasses.replace(content, models=models))
    assert _files(one) == _files(two)


def test_the_zip_is_one_that_any_tool_reads(folder: Path, tmp_path: Path) -> None:
    file = pack_zip(folder, tmp_path / "b.zip")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == _files(folder)
        archive.extractall(tmp_path / "unpacked")
    assert verify_bundle(tmp_path / "unpacked") == []


def test_the_zip_reads_back_like_the_folder(folder: Path, tmp_path: Path) -> None:
    zipped = open_bundle(pack_zip(folder, tmp_path / "b.zip"))
    plain = open_bundle(folder)
    assert zipped.manifest == plain.manifest
    assert all(zipped.read(path) == plain.read(path) for path in plain.manifest.files)
    assert verify_bundle(tmp_path / "b.zip") == []


def test_only_what_is_kept_stays_in_memory(content: BundleContent, folder: Path) -> None:
    bundle = open_bundle(folder, keep=lambda manifest: manifest.variants[2].variant.files)
    assert bundle.read("models/int8.onnx") == b""
    assert bundle.golden is not None
    with pytest.raises(BundleError, match=r"models/net\.xml"):
        bundle.variant_files(content.variants[0].variant)


def test_a_bundle_may_have_no_golden_set_and_no_verdict(
    content: BundleContent, tmp_path: Path
) -> None:
    bare = dataclasses.replace(content, golden=None, verdict=None)
    bundle = open_bundle(write_bundle(tmp_path, bare))
    assert bundle.golden is None
    assert bundle.manifest.golden.kind == "none"
    assert all(path.startswith("models/") for path in bundle.manifest.files)


def test_a_tensor_classifier_has_tensors_as_golden_inputs(
    content: BundleContent, tmp_path: Path
) -> None:
    assert content.golden is not None
    tensors = np.random.default_rng(0).standard_normal((2, 4, 3), np.float32)
    made = dataclasses.replace(
        content,
        input=TensorInput(shape=(4, 3)),
        golden=dataclasses.replace(content.golden, kind="synthetic", inputs=tensors),
    )
    golden = open_bundle(write_bundle(tmp_path, made)).golden
    assert golden is not None and golden.kind == "synthetic"
    np.testing.assert_array_equal(golden.inputs, tensors)


def test_a_bundle_may_lie_behind_a_link_to_its_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    assert verify_bundle(tmp_path / "current") == []


def test_a_new_bundle_replaces_the_old_one(content: BundleContent, folder: Path) -> None:
    again = write_bundle(folder.parent, dataclasses.replace(content, verdict=None))
    assert again == folder
    assert not (folder / "verdict.json").exists()
    assert verify_bundle(folder) == []


def _golden(content: BundleContent, **changes: object) -> BundleContent:
    assert isinstance(content.golden, GoldenSet)
    return dataclasses.replace(content, golden=dataclasses.replace(content.golden, **changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: dataclasses.replace(c, version="1.0-rc1"), "version"),
        (lambda c: dataclasses.replace(c, version="01.0"), "version"),
        (lambda c: dataclasses.replace(c, name="../up"), "name"),
        (lambda c: dataclasses.replace(c, classes=("a", "a", "b")), "classes"),
        (lambda c: dataclasses.replace(c, classes=("a", "b\x1b[2J", "c")), "control"),
        (lambda c: dataclasses.replace(c, classes=("a", "b")), "inputs × classes"),
        (lambda c: dataclasses.replace(c, variants=c.variants[:2]), "exactly the variants' files"),
        (lambda c: dataclasses.replace(c, variants=()), "variants"),
        (lambda c: _golden(c, answers={}), "golden answers"),
        (lambda c: _golden(c, reference=np.full((2, 3), np.nan, np.float32)), "NaN"),
        (lambda c: _golden(c, reference=np.ones((2, 3), np.float32)), "sum"),
        (lambda c: _golden(c, inputs=(b"GIF89a", b"GIF89a")), "PNG"),
        (lambda c: _golden(c, tolerance={"ort-int8": 0.9}), "tolerance"),
        (lambda c: _golden(c, tolerance={"ort-int8": 0.0}), "tolerance"),
    ],
)
def test_parts_that_do_not_fit_are_refused_and_nothing_is_written(
    content: BundleContent, tmp_path: Path, change: object, message: str
) -> None:
    assert callable(change)
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "out", change(content))
    assert not (tmp_path / "out").exists()


def test_a_model_outside_models_is_refused(content: BundleContent, tmp_path: Path) -> None:
    one = content.variants[2]
    moved = dataclasses.replace(one, variant=dataclasses.replace(one.variant, files=("net.onnx",)))
    with pytest.raises(BundleError, match=r"below models/"):
        write_bundle(
            tmp_path,
            dataclasses.replace(content, variants=(moved,), models={"net.onnx": b""}, golden=None),
        )


def test_each_precision_has_a_tolerance(content: BundleContent) -> None:
    from edgetl.bundle import default_tolerance

    assert all(0 < default_tolerance(precision) <= 0.25 for precision in Precision)


def test_a_damaged_folder_is_not_packed(folder: Path, tmp_path: Path) -> None:
    (folder / "models/net.bin").write_bytes(bytes(256))
    with pytest.raises(BundleError, match=r"models/net\.bin"):
        pack_zip(folder, tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_nothing_at_the_path_is_a_fault_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing at this path"):
        verify_bundle(tmp_path / "none.edgetl")


def test_no_heavy_package_is_imported() -> None:
    code = (
        "import sys, edgetl.bundle, edgetl.runtime.classifier, edgetl.runtime.selftest\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino', 'scipy', 'pydantic', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgetl.cli.tensor_file import read_tensor
from edgetl.data.decode import encode_png
from edgetl.errors import DataError, EdgetlError, GateError
from edgetl.gate import Policy
from edgetl.pipeline.unlabelled import certify_bundles, certify_run, read_inputs
from edgetl.spec import ImageInput, SeveralInputs, TensorInput
from tests.pipeline.helpers.colours import pictures, write_pictures, write_release

IMAGE = ImageInput(height=8, width=8)


def read(folder: Path, spec=IMAGE):
    return read_inputs(folder, spec, read_tensor=read_tensor)


def test_pictures_are_found_at_any_depth_and_counted_once(tmp_path):
    write_pictures(tmp_path / "in", 6, labelled=False)
    (tmp_path / "in" / "deep" / "er").mkdir(parents=True)
    files, _ = pictures(2, seed=9)
    (tmp_path / "in" / "deep" / "er" / "no-ending").write_bytes(files[0])
    shutil.copyfile(tmp_path / "in" / "roll 0" / "0.png", tmp_path / "in" / "copy.png")
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "copy.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / ".hidden").write_bytes(files[1])
    found = read(tmp_path / "in")
    assert len(found.ids) == len(set(found.ids)) == len(found.sources) == 7
    assert found.notes == (
        "3 files that are no pictures were left out",
        "1 inputs with the content of another were left out",
    )


def test_tensors_and_several_inputs_are_read_from_their_files(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full(4, number, np.float32))
        part = np.full(2, number, np.float32)
        np.savez(tmp_path / f"{number}.npz", left=part, right=part + 1)
    tensors = read(tmp_path, TensorInput(shape=(4,)))
    assert [source[0] for source in tensors.sources] == [0.0, 1.0, 2.0]
    both = SeveralInputs(parts={"left": TensorInput(shape=(2,)), "right": TensorInput(shape=(2,))})
    several = read(tmp_path, both)
    assert [source["right"][0] for source in several.sources] == [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match="no input among 6 files"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["missing", "file", "empty", "no pictures", "half a picture"])
def test_a_folder_that_is_not_right_is_refused(tmp_path, kind):
    folder = tmp_path / "in"
    said = {
        "missing": "no such folder",
        "file": "a file",
        "empty": "no input among 0 files",
        "no pictures": "no input among 1 files",
        "half a picture": "1 of 1 pictures that cannot be used: half.png",
    }[kind]
    if kind == "file":
        folder.write_text("")
    elif kind != "missing":
        folder.mkdir()
    if kind == "no pictures":
        (folder / "a.txt").write_text("a")
    if kind == "half a picture":
        (folder / "half.png").write_bytes(pictures(1)[0][0][:60])
    with pytest.raises(DataError, match=said):
        read(folder)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path, monkeypatch):
    write_pictures(tmp_path / "in", 2, labelled=False)
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("roll 1"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"roll 1: got permission denied"):
        read(tmp_path / "in")


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("releases")
    return {
        "old": write_release(folder, "1.0"),
        "near": write_release(folder, "1.1", sharpness=0.0501),
        "far": write_release(folder, "1.2", tilt=0.06),
        "other": write_release(folder, "1.3", classes=("red", "green", "violet")),
        "turned": write_release(folder, "1.4", classes=("blue", "red", "green")),
    }


@pytest.mark.parametrize(
    ("new", "verdict"), [("near", "PASS"), ("turned", "PASS"), ("far", "FAIL")]
)
def test_bundles_are_certified_on_pictures(releases, tmp_path, new, verdict):
    folder = write_pictures(tmp_path / "in", 1500, labelled=False)
    found = certify_bundles(
        releases["old"], releases[new], folder, Policy(), read_tensor=read_tensor
    )
    assert found.verdict == verdict
    (variant,) = found.variants
    assert variant.certificate.n == 1500
    assert found.reference == "colours-1.0 ort-fp32" and found.data == "unlabelled:in"


def test_bundles_of_other_classes_are_refused(releases, tmp_path):
    folder = write_pictures(tmp_path / "in", 3, labelled=False)
    with pytest.raises(GateError, match="'blue'"):
        certify_bundles(
            releases["old"], releases["other"], folder, Policy(), read_tensor=read_tensor
        )


def save_digits(folder: Path, count: int) -> None:
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (8, 8), np.uint8)
        np.save(folder / f"{number}.npy", pixels.astype(np.float32) / 255)


def test_a_run_certifies_its_winners(tiny_release, tmp_path):
    save_digits(tmp_path, 400)
    found = certify_run(
        tiny_release.config, tmp_path, read_tensor=read_tensor, out=tiny_release.folder
    )
    assert len(found.variants) == 2  # a winner for each required backend
    for variant in found.variants:
        assert variant.certificate.n == 400
        assert variant.certificate.alpha == 0.025
    assert found.verdict in ("PASS", "FAIL", "INCONCLUSIVE")


def test_a_run_refuses_what_it_was_calibrated_on(tiny_release, tmp_path):
    from edgetl.data.store import SplitStore

    calib = SplitStore(tiny_release.folder / "data").load("calib")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "0.npy", calib.images[0])
    np.save(tmp_path / "in" / "1.npy", calib.images[1])
    with pytest.raises(GateError, match="calibration inputs"):
        certify_run(
            tiny_release.config, tmp_path / "in", read_tensor=read_tensor, out=tiny_release.folder
        )


def test_a_run_without_a_gate_stage_is_refused(tiny_config, tmp_path):
    write_pictures(tmp_path / "in", 2, labelled=False)
    with pytest.raises(EdgetlError, match="not run yet"):
        certify_run(tiny_config, tmp_path / "in", read_tensor=read_tensor, out=tmp_path / "run")


def test_a_picture_in_grey_is_a_tensor_of_its_size(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png(np.eye(8, dtype=np.uint8) * 255))
    assert len(read(tmp_path, TensorInput(shape=(8, 8))).sources) == 1

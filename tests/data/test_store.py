from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgetl.data.content import sample_ids
from edgetl.data.dataset import Dataset
from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.data.splits import Splits, make_splits
from edgetl.data.store import SplitPart, SplitStore, dataset_hash, save_splits
from edgetl.errors import DataError, GateError
from tests.data.helpers.pictures import encoded, pixels


def judged(*winners: str) -> dict[str, Any]:
    return {
        "winners": dict.fromkeys(winners, "1" * 64),
        "reference": "2" * 64,
        "policy": "3" * 64,
    }


@pytest.fixture
def stored(tmp_path: Path, make_dataset) -> tuple[Path, Dataset, Splits]:
    dataset = make_dataset([30, 30])
    splits = make_splits(dataset, val=8, calib=6, test=20, train=None, seed=0)
    save_splits(tmp_path / "splits", dataset, splits)
    return tmp_path / "splits", dataset, splits


def test_what_is_saved_is_loaded(stored) -> None:
    folder, dataset, splits = stored
    store = SplitStore(folder)
    assert (store.name, store.classes) == (dataset.name, dataset.classes)
    for name in ("train", "val", "calib"):
        part, expected = store.load(name), dataset.subset(getattr(splits, name))
        assert part.ids == expected.ids
        assert part.labels.dtype == np.int64
        assert np.array_equal(part.labels, expected.labels)
        assert np.array_equal(part.images, expected.images)
        assert store.hashes[name] == dataset_hash(part)
        assert store.sizes[name] == len(part)
    store.check_disjoint()


def test_colour_images_are_kept(tmp_path: Path) -> None:
    from edgetl.data.dataset import content_ids

    images = np.random.default_rng(0).integers(256, size=(8, 3, 5, 3), dtype=np.uint8)
    labels = np.arange(8) % 2
    dataset = Dataset(
        name="toy", images=images, labels=labels, classes=("a", "b"), ids=content_ids(images)
    )
    save_splits(
        tmp_path / "s", dataset, make_splits(dataset, val=2, calib=2, test=2, train=None, seed=0)
    )
    assert SplitStore(tmp_path / "s").load("train").images.shape == (2, 3, 5, 3)


def test_saving_twice_gives_the_same_bytes(stored) -> None:
    folder, dataset, splits = stored
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_splits(folder, dataset, splits)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(before) == ["calib.npz", "splits.json", "test.npz", "train.npz", "val.npz"]


@pytest.mark.parametrize("stage", ["finetune", "calibrate", "quantize", "bench", "Gate", ""])
def test_no_stage_but_the_gate_opens_the_test_split(stored, stage: str) -> None:
    store = SplitStore(stored[0])
    with pytest.raises(GateError):
        store.open_test(stage=stage, **judged("ort-int8"))
    with pytest.raises(GateError):
        store.load("test")
    assert store.test_openings() == 0


def test_openings_are_recorded_once_for_the_same_judgement(stored) -> None:
    folder, dataset, splits = stored
    store = SplitStore(folder)
    with pytest.raises(GateError):
        store.open_test(stage="gate", **judged())
    part = store.open_test(stage="gate", **judged("ort-int8", "openvino-int8"))
    assert part.ids == dataset.subset(splits.test).ids
    assert store.test_openings() == 1
    store.open_test(stage="gate", **judged("openvino-int8", "ort-int8"))
    assert SplitStore(folder).test_openings() == 1
    store.open_test(stage="gate", **judged("ort-int8"))
    assert SplitStore(folder).test_openings() == 2
    recorded = json.loads((folder / "test-openings.json").read_text())["openings"]
    assert [sorted(entry["winners"]) for entry in recorded] == [
        ["openvino-int8", "ort-int8"],
        ["ort-int8"],
    ]


@pytest.mark.parametrize(
    "change", [{"winners": {"ort-int8": "9" * 64}}, {"reference": "9" * 64}, {"policy": "9" * 64}]
)
def test_another_model_or_policy_under_the_same_ids_is_an_opening(stored, change) -> None:
    store = SplitStore(stored[0])
    store.open_test(stage="gate", **judged("ort-int8"))
    for _ in range(2):
        store.open_test(stage="gate", **(judged("ort-int8") | change))
    assert store.test_openings() == 2


def test_the_record_survives_saving_again(stored) -> None:
    folder, dataset, splits = stored
    SplitStore(folder).open_test(stage="gate", **judged("a"))
    save_splits(folder, dataset, splits)
    assert SplitStore(folder).test_openings() == 1


def test_the_record_may_lie_elsewhere(stored, tmp_path: Path) -> None:
    folder, _, _ = stored
    elsewhere = tmp_path / "record" / "openings.json"
    before = sorted(folder.iterdir())
    store = SplitStore(folder, openings=elsewhere)
    store.open_test(stage="gate", **judged("a"))
    assert store.test_openings() == 1
    assert elsewhere.is_file()
    assert sorted(folder.iterdir()) == before


def test_a_damaged_record_is_not_an_empty_one(stored) -> None:
    store = SplitStore(stored[0])
    store.open_test(stage="gate", **judged("a"))
    (stored[0] / "test-openings.json").write_text("{}")
    with pytest.raises(DataError):
        store.test_openings()
    with pytest.raises(DataError):
        store.open_test(stage="gate", **judged("b"))


def test_overlapping_splits_are_not_saved(tmp_path: Path, make_dataset) -> None:
    dataset = make_dataset([5, 5])
    some = np.arange(3, dtype=np.int64)
    none = np.arange(0, dtype=np.int64)
    with pytest.raises(DataError, match=dataset.ids[2]):
        save_splits(
            tmp_path / "s", dataset, Splits(train=some, val=none, calib=none, test=some[2:])
        )
    assert list(tmp_path.iterdir()) == []


def test_check_disjoint_reads_the_files(stored) -> None:
    folder, _, _ = stored
    (folder / "val.npz").write_bytes((folder / "train.npz").read_bytes())
    with pytest.raises(DataError, match="in train and in val"):
        SplitStore(folder).check_disjoint()


def test_changed_pixels_and_labels_are_noticed(stored) -> None:
    folder, _, _ = stored
    path = folder / "val.npz"
    with np.load(path) as arrays:
        arrays = dict(arrays)
    for change in ("images", "labels"):
        damaged = {name: array.copy() for name, array in arrays.items()}
        damaged[change].flat[0] ^= 1
        np.savez(path, **damaged)
        with pytest.raises(DataError, match=r"val\.npz"):
            SplitStore(folder).load("val")


def test_a_split_is_never_unpickled(stored) -> None:
    folder, _, _ = stored
    np.savez(folder / "val.npz", ids=np.array([{}], object), labels=[0], images=[0])
    with pytest.raises(DataError, match=r"val\.npz"):
        SplitStore(folder).load("val")


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_damaged_file_is_named(stored, damage: str) -> None:
    path = stored[0] / "val.npz"
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"")
    with pytest.raises(DataError, match=r"val\.npz"):
        SplitStore(stored[0]).load("val")


def test_an_unknown_split_or_folder_is_refused(stored, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such split"):
        SplitStore(stored[0]).load("holdout")
    with pytest.raises(DataError, match=r"splits\.json"):
        SplitStore(tmp_path / "nowhere")


def test_dataset_hash_ignores_order_and_sees_labels() -> None:
    images = np.zeros((2, 2, 2), np.uint8)
    part = SplitPart(ids=("a", "b"), labels=np.array([0, 1]), images=images)
    turned = SplitPart(ids=("b", "a"), labels=np.array([1, 0]), images=images)
    other = SplitPart(ids=("a", "b"), labels=np.array([1, 0]), images=images)
    assert dataset_hash(part) == dataset_hash(turned) != dataset_hash(other)


PICTURES = EncodedImages(tuple(encoded(pixels(at, 5 + at % 3)) for at in range(12)))
TENSORS = np.random.default_rng(0).normal(size=(12, 7)).astype(np.float32)


def stored_of(folder: Path, samples: Any, **more: Any) -> tuple[Dataset, Splits]:
    dataset = Dataset(
        name="toy",
        images=samples,
        labels=np.arange(12) % 2,
        classes=("a", "b"),
        ids=sample_ids(samples),
        **more,
    )
    splits = make_splits(dataset, val=2, calib=2, test=2, train=None, seed=0)
    save_splits(folder, dataset, splits)
    return dataset, splits


@pytest.mark.parametrize(
    "samples",
    [PICTURES, TENSORS, SeveralSamples({"sound": TENSORS, "picture": PICTURES})],
    ids=["pictures", "tensors", "several"],
)
def test_samples_of_any_kind_come_back(tmp_path: Path, samples: Any) -> None:
    dataset, splits = stored_of(tmp_path / "s", samples, slices={"site": tuple("xyéz" * 3)})
    store = SplitStore(tmp_path / "s")
    part, expected = store.load("train"), dataset.subset(splits.train)
    assert type(part.images) is type(samples)
    assert part.ids == expected.ids == sample_ids(part.images)
    assert part.slices == expected.slices
    assert store.hashes["train"] == dataset_hash(part)
    store.check_disjoint()
    before = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    save_splits(tmp_path / "s", dataset, splits)
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == before


def test_plain_pixels_are_described_as_ever(stored) -> None:
    for entry in json.loads((stored[0] / "splits.json").read_text())["splits"].values():
        assert sorted(entry) == ["hash", "images"]


@pytest.mark.parametrize("array", ["encoded", "offsets", "ids", "labels", "slice.site"])
def test_a_changed_part_of_encoded_pictures_is_noticed(tmp_path: Path, array: str) -> None:
    stored_of(tmp_path / "s", PICTURES, slices={"site": tuple("xyz" * 4)})
    path = tmp_path / "s" / "train.npz"
    with np.load(path) as held:
        arrays = dict(held)
    arrays[array].view(np.uint8).flat[8 if array == "offsets" else 0] ^= 1
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"train\.npz"):
        SplitStore(tmp_path / "s").load("train")


def test_a_picture_saved_otherwise_is_not_the_one_that_was_written(tmp_path: Path) -> None:
    dataset, splits = stored_of(tmp_path / "s", PICTURES)
    other = EncodedImages(tuple(encoded(image, "BMP") for image in PICTURES))
    assert sample_ids(other) == dataset.ids
    description = (tmp_path / "s" / "splits.json").read_bytes()
    stored_of(tmp_path / "s", other)
    assert len(SplitStore(tmp_path / "s").load("train")) == len(splits.train)
    (tmp_path / "s" / "splits.json").write_bytes(description)
    with pytest.raises(DataError, match="not the ones that were written"):
        SplitStore(tmp_path / "s").load("train")


def test_loading_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_of(tmp_path / "s", PICTURES)

    def refuse(_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("edgetl.data.samples.decode_image", refuse)
    part = SplitStore(tmp_path / "s").load("train")
    with pytest.raises(AssertionError, match="decoded"):
        part.images[0]

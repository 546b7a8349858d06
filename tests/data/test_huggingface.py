from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgetl.data.samples import EncodedImages, SeveralSamples
from edgetl.data.sources import open_dataset, source_files
from edgetl.errors import DataError
from tests.data.helpers.pictures import pixels

datasets = pytest.importorskip("datasets")

LABEL = datasets.ClassLabel(names=["cat", "dog"])
PICTURES = {"image": datasets.Image(), "label": LABEL}
Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def quiet() -> Any:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def pictures(first: int, count: int = 4) -> dict[str, list[Any]]:
    images = [Image.fromarray(pixels(first + at)) for at in range(count)]
    return {"image": images, "label": [at % 2 for at in range(count)]}


def made(columns: dict[str, list[Any]], features: dict[str, Any]) -> Any:
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def test_pictures_in_parts(tmp_path: Path) -> None:
    parts = {name: made(pictures(10 * at), PICTURES) for at, name in enumerate(("train", "test"))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "pets")
    before = sorted(tmp_path.rglob("*"))
    dataset = open_dataset(f"huggingface:{tmp_path / 'pets'}")
    assert dataset.name == "huggingface:pets"
    assert dataset.classes == ("cat", "dog")
    assert dataset.given_split == ("train",) * 4 + ("test",) * 4
    assert isinstance(dataset.images, EncodedImages)
    assert np.array_equal(dataset.images[5], pixels(11))
    assert dataset.labels.tolist() == [0, 1] * 4
    # Nothing is written beside the data, such as a cache.
    assert sorted(tmp_path.rglob("*")) == before


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket")

    made(pictures(0), PICTURES).save_to_disk(tmp_path / "d")
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(open_dataset(f"huggingface:{tmp_path / 'd'}")) == 4


def test_tensors_several_inputs_and_slices(tmp_path: Path) -> None:
    value = datasets.Value("float32")
    features = {
        "b": datasets.List(value, length=3),
        "a": datasets.Array2D((2, 2), "float32"),
        "c": datasets.List(datasets.List(value, length=2), length=1),
        "label": LABEL,
        "slice_site": datasets.Value("string"),
        "comment": datasets.Value("string"),
    }
    rng = np.random.default_rng(0)
    shapes = {"b": (4, 3), "a": (4, 2, 2), "c": (4, 1, 2)}
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in shapes.items()}
    columns = {name: array.tolist() for name, array in arrays.items()}
    columns |= {"label": [0, 1, 1, 0], "slice_site": list("xyxy"), "comment": list("abcd")}
    made(columns, features).save_to_disk(tmp_path / "d")
    dataset = open_dataset(f"huggingface:{tmp_path / 'd'}")
    assert isinstance(dataset.images, SeveralSamples)
    assert list(dataset.images.parts) == ["a", "b", "c"]
    for name, array in arrays.items():
        assert np.array_equal(dataset.images.parts[name], array)
    assert dataset.slices == {"site": ("x", "y", "x", "y")}
    one = {"b": features["b"], "label": LABEL}
    made({name: columns[name] for name in one}, one).save_to_disk(tmp_path / "one")
    assert np.array_equal(open_dataset(f"huggingface:{tmp_path / 'one'}").images, arrays["b"])


@pytest.mark.parametrize(
    ("columns", "features", "said"),
    [
        ({"label": [0, 1]}, {"label": LABEL}, "the columns label"),
        (pictures(0), PICTURES | {"label": datasets.Value("int64")}, "0 label columns"),
        (pictures(0) | {"coarse": [0] * 4}, PICTURES | {"coarse": LABEL}, "2 label columns"),
        (
            {"x": [[1.0], [2.0, 3.0]], "label": [0, 1]},
            {"x": datasets.List(datasets.Value("float32")), "label": LABEL},
            "float32 of a fixed shape",
        ),
        (
            {"x": [[1.0], [2.0]], "label": [0, 1]},
            {"x": datasets.List(datasets.Value("float64"), length=1), "label": LABEL},
            "float32 of a fixed shape",
        ),
        (
            {"x": [[1.0], [float("nan")]], "label": [0, 1]},
            {"x": datasets.List(datasets.Value("float32"), length=1), "label": LABEL},
            "NaN or infinity in sample 1",
        ),
        (pictures(0) | {"label": [0, 1, None, 1]}, PICTURES, "the label None in row 2"),
    ],
    ids=["no image", "no label", "two labels", "no length", "float64", "nan", "unlabelled"],
)
def test_columns_that_do_not_fit(tmp_path: Path, columns, features, said: str) -> None:
    made(columns, features).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError) as caught:
        open_dataset(f"huggingface:{tmp_path / 'd'}")
    assert said in str(caught.value)


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    columns = pictures(0)
    columns["image"][2] = None
    made(columns, PICTURES).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="row 2: no picture"):
        open_dataset(f"huggingface:{tmp_path / 'd'}")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    parts = {"train": made(pictures(0), PICTURES), "test": made(pictures(9), PICTURES)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    return tmp_path / "d"


def refused(folder: Path, said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(f"huggingface:{folder}")
    assert said in str(caught.value)


def test_a_part_that_names_files_outside_itself(saved: Path) -> None:
    state = saved / "train" / "state.json"
    held = json.loads(state.read_text())
    for name in ("../test/data-00000-of-00001.arrow", "/etc/passwd", 3):
        state.write_text(json.dumps(held | {"_data_files": [{"filename": name}]}))
        refused(saved, "the data file")
    (saved / "dataset_dict.json").write_text('{"splits": ["../d/train"]}')
    refused(saved, "the part '../d/train'")


def test_a_linked_or_damaged_data_file(saved: Path) -> None:
    data = next((saved / "train").glob("*.arrow"))
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    refused(saved, "train")
    data.unlink()
    data.symlink_to(next((saved / "test").glob("*.arrow")))
    refused(saved, "symbolic link")


def test_folders_that_are_no_such_dataset(tmp_path: Path, saved: Path) -> None:
    refused(tmp_path / "absent", "no such folder")
    refused(tmp_path, "no dataset_info.json")
    (saved / "dataset_dict.json").write_text('{"splits": ["train", "holdout"]}')
    refused(saved, "the part 'holdout'")
    (saved / "dataset_dict.json").write_text("[")
    refused(saved, "dataset_dict.json")


def test_source_files_are_all_files_of_the_folder(saved: Path) -> None:
    files = source_files(f"huggingface:{saved}")
    assert "train/data-00000-of-00001.arrow" in files
    assert len(files) == 7

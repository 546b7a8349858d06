from __future__ import annotations

from pathlib import Path

import pytest

from edgetl.data.sources import open_dataset, source_files
from edgetl.errors import DataError
from tests.data.helpers.pictures import encoded, make_folder, pixels


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_folder(tmp_path, {"one": 3, "two words": 2})
    return tmp_path


def written(photos: Path, text: str, encoding: str = "utf-8") -> str:
    (photos / "labels.csv").write_text(text, encoding=encoding, newline="")
    return f"csv:{photos / 'labels.csv'}"


GOOD = "path,label\none/000.png,cat\none/001.png,dog\n"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_paths_and_labels(photos: Path, ending: str, encoding: str) -> None:
    dataset = open_dataset(written(photos, GOOD.replace("\n", ending), encoding))
    assert (dataset.name, dataset.classes) == ("csv:labels.csv", ("cat", "dog"))
    assert dataset.labels.tolist() == [0, 1]
    assert dataset.given_split is dataset.slices is None


def test_splits_quotes_and_slices(photos: Path) -> None:
    text = (
        "camera,path,split,label,site\n"
        'a,one/000.png,train,"cat, small",x\n'
        '"b ""2""",two words/000.png,validation,dog,\n'
        "a,two words/001.png,test,dog,y\n"
    )
    dataset = open_dataset(written(photos, text))
    assert dataset.classes == ("cat, small", "dog")
    assert dataset.given_split == ("train", "val", "test")
    assert dataset.slices == {"camera": ("a", 'b "2"', "a"), "site": ("x", "", "y")}
    part = dataset.subset([2, 0])
    assert part.slices == {"camera": ("a", "a"), "site": ("y", "x")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: got no line at all"),
        ("one/000.png,cat\none/001.png,dog\n", "line 1: got 'one/000.png,cat'"),
        ("path;label\none/000.png;cat\n", "line 1"),
        ("path,label,label\none/000.png,cat,dog\n", "line 1"),
        ("path,label,\none/000.png,cat,x\n", "line 1"),
        (GOOD + "one/002.png\n", "line 4: got 1 fields"),
        (GOOD + "one/002.png,cat,dog\n", "line 4: got 3 fields"),
        (GOOD + "one/002.png,\n", "line 4: got the label ''"),
        (GOOD + "one/002.png, cat\n", "line 4: got the label ' cat'"),
        (GOOD + "one/../one/002.png,cat\n", "line 4: got the path"),
        (GOOD + "one/000.png,cat\n", "again, already in line 2"),
        (GOOD + "./one//000.png,cat\n", "again, already in line 2"),
        (GOOD + ",cat\n", "line 4: got the path ''"),
        (GOOD + "\n\none/002.png,\n", "line 6"),
        ('path,label\none/000.png,"cat\n', "line 2"),
        ("path,label,split\none/000.png,cat,train\none/001.png,dog,\n", "line 3: got the split ''"),
        ("path,label,split\none/000.png,cat,Holdout\n", "line 2: got the split 'Holdout'"),
    ],
)
def test_a_wrong_line_is_named(photos: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(written(photos, text))
    assert said in str(caught.value)


def test_missing_files_are_named_with_their_line(photos: Path) -> None:
    source = written(photos, GOOD + "one/9.png,cat\none,dog\n")
    with pytest.raises(DataError) as caught:
        open_dataset(source)
    assert "2 files" in caught.value.got
    assert "one/9.png (line 4): no such file" in caught.value.got
    assert "one (line 5): no regular file" in caught.value.got
    assert f"edgetl inspect {source}" in caught.value.fix


def test_source_files_are_the_csv_and_its_pictures(photos: Path) -> None:
    source = written(photos, GOOD)
    before = source_files(source)
    assert sorted(before) == ["labels.csv", "one/000.png", "one/001.png"]
    (photos / "one" / "000.png").write_bytes(encoded(pixels(99)))
    changed = {name for name, one in source_files(source).items() if before[name] != one}
    assert changed == {"one/000.png"}
    assert list(source_files(written(photos, "nonsense"))) == ["labels.csv"]

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgetl.data.dataset import Dataset, content_ids
from edgetl.data.letters import LETTER_CLASSES, render_letters
from edgetl.data.splits import Splits
from edgetl.data.store import SplitStore, save_splits
from edgetl.errors import DataError
from edgetl.pipeline.events import Event, Reporter
from edgetl.pipeline.sections import SourceSection
from edgetl.pipeline.source_data import check_fits, open_source
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs, TensorInput

SQUARE = TensorInput(shape=(8, 8))


def dataset(images: NDArray, name: str = "made") -> Dataset:
    return Dataset(
        name=name,
        images=images,
        labels=np.arange(len(images)) % 2,
        classes=("a", "b"),
        ids=content_ids(images),
    )


@pytest.fixture
def splits(tmp_path: Path) -> SplitStore:
    """Two images a split, of the digits' size."""
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8), dtype=np.uint8)
    places = np.arange(8).reshape(4, 2)
    chosen = dict(zip(("train", "val", "calib", "test"), places, strict=True))
    save_splits(tmp_path / "data", dataset(images), Splits(**chosen))
    return SplitStore(tmp_path / "data")


def context(splits: SplitStore, input: ClassifierInput = SQUARE) -> Any:
    heard: list[Event] = []
    return SimpleNamespace(
        input=input,
        splits=splits,
        config=SimpleNamespace(seed=0),
        reporter=Reporter("finetune", heard.append),
        heard=heard,
    )


def write(
    path: Path, images: NDArray, labels: NDArray, split: list[str] | None = None
) -> SourceSection:
    arrays = {"images": images, "labels": labels} | ({} if split is None else {"split": split})
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return SourceSection(data=f"npz:{path}")


@pytest.fixture
def letters(tmp_path: Path) -> SourceSection:
    made = render_letters(3, seed=0, size=8)
    return write(tmp_path / "letters.npz", made.images, made.labels)


def with_per_class(section: SourceSection, per_class: int) -> SourceSection:
    return SourceSection(data=section.data, per_class=per_class, batch_size=4)


def test_a_source_is_opened_whole(splits: SplitStore, letters: SourceSection) -> None:
    ctx = context(splits)

    source = open_source(ctx, letters)

    assert (len(source.part), len(source.classes)) == (78, 26)
    assert source.batch_size is None
    assert "78 images, 26 classes" in ctx.heard[-1].text


def test_of_each_class_as_many_are_drawn_as_asked_and_the_same_each_time(
    splits: SplitStore, letters: SourceSection
) -> None:
    one, other = (open_source(context(splits), with_per_class(letters, 2)) for _ in range(2))

    assert np.bincount(one.part.labels).tolist() == [2] * 26
    assert one.part.ids == other.part.ids
    assert one.batch_size == 4


def test_fewer_images_than_asked_are_refused_with_the_class(
    splits: SplitStore, letters: SourceSection
) -> None:
    with pytest.raises(DataError, match=r"'0' has 3.*and 21 more.*at least 4 images"):
        open_source(context(splits), with_per_class(letters, 4))


def test_the_sources_own_test_part_is_left_out(splits: SplitStore, tmp_path: Path) -> None:
    made = render_letters(3, seed=0, size=8)
    given = ["train"] * 52 + ["test"] * 26
    section = write(tmp_path / "parts.npz", made.images, made.labels, given)

    source = open_source(context(splits), section)

    assert len(source.part) == 52
    assert set(source.part.ids) == set(made.ids[:52])


@pytest.mark.parametrize("name", ["val", "calib", "test"])
def test_an_image_that_is_judged_on_is_refused(
    splits: SplitStore, tmp_path: Path, name: str
) -> None:
    held = np.load(splits.folder / f"{name}.npz")["images"]
    made = render_letters(1, seed=0, size=8)
    images = np.concatenate([made.images, held[:1]])
    section = write(tmp_path / "leak.npz", images, np.append(made.labels, 0))

    with pytest.raises(DataError, match=f"1 images of the target's {name} split"):
        open_source(context(splits), section)


def test_an_image_of_the_train_split_may_be_in_the_source_too(
    splits: SplitStore, tmp_path: Path
) -> None:
    train = splits.load("train").images
    images = np.concatenate([render_letters(1, seed=0, size=8).images, train])
    section = write(tmp_path / "both.npz", images, np.arange(28) % 26)

    assert len(open_source(context(splits), section).part) == 28


@pytest.mark.parametrize(
    ("images", "input", "got", "wanted"),
    [
        (
            np.zeros((4, 28, 28), np.uint8),
            SQUARE,
            r"uint8 \[28, 28\] each",
            r"float32 \[8, 8\]",
        ),
        (
            np.zeros((4, 8, 8, 3), np.uint8),
            SQUARE,
            r"uint8 \[8, 8, 3\] each",
            r"float32 \[8, 8\]",
        ),
        (
            np.zeros((4, 8, 8, 3), np.uint8),
            ImageInput(height=8, width=8, channels="grey", mean=(0.5,), std=(0.5,)),
            r"uint8 \[8, 8, 3\] each",
            r"uint8 \[8, 8, 1\], grey",
        ),
        (
            np.zeros((4, 5), np.float32),
            ImageInput(height=8, width=8),
            r"float32 \[5\] each",
            r"uint8 \[8, 8, 3\], rgb",
        ),
        (
            np.zeros((4, 8, 8), np.uint8),
            SeveralInputs(parts={"left": SQUARE, "right": SQUARE}),
            r"uint8 \[8, 8\] each",
            "the inputs left, right",
        ),
    ],
)
def test_a_source_of_another_shape_or_channels_is_refused_saying_both(
    images: NDArray, input: ClassifierInput, got: str, wanted: str
) -> None:
    with pytest.raises(DataError, match=f"{got}.*target's input, {wanted}"):
        check_fits(dataset(images), input)


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 30, 20), (4, 30, 20, 3)])
def test_pictures_of_any_size_fit_a_coloured_picture(shape: tuple[int, ...]) -> None:
    check_fits(dataset(np.zeros(shape, np.uint8)), ImageInput(height=8, width=8))


def test_the_builtin_letters_are_a_source_for_pictures(splits: SplitStore) -> None:
    section = SourceSection(data="builtin:letters", per_class=2)

    source = open_source(context(splits, ImageInput(height=8, width=8)), section)

    assert source.classes == LETTER_CLASSES
    assert len(source.part) == 52

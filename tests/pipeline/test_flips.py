from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgetl.data.content import content_ids
from edgetl.data.decode import decode_image
from edgetl.data.store import SplitPart
from edgetl.gate import Predictions
from edgetl.pipeline.flips import MOST, keep_flips, read_flips
from edgetl.spec import ClassifierInput, ImageInput, TensorInput

N = 40


@pytest.fixture
def test_split() -> SplitPart:
    images = np.random.default_rng(0).integers(0, 256, (N, 6, 6, 3), dtype=np.uint8)
    return SplitPart(ids=content_ids(images), labels=np.zeros(N, np.int64), images=images)


def answers(labels: np.ndarray, first: np.ndarray) -> Predictions:
    return Predictions(labels=labels, probabilities=np.stack([first, 1 - first], axis=1))


def keep(folder: Path, part: SplitPart, input: ClassifierInput, reference, candidate):
    given = answers(part.labels, reference)
    keep_flips(folder, part, given, {"ov-int8": answers(part.labels, candidate)}, input)
    return read_flips(folder)


def test_only_changed_answers_are_kept_the_lost_ones_first(
    tmp_path: Path, test_split: SplitPart
) -> None:
    reference, candidate = np.full(N, 0.9), np.full(N, 0.8)
    reference[[3, 5, 7]] = 0.3, 0.7, 0.95
    candidate[[3, 5, 7]] = 0.6, 0.4, 0.1
    image = ImageInput(height=4, width=4)
    kept = keep(tmp_path / "flips", test_split, image, reference, candidate)
    assert [flip.index for flip in kept] == [7, 5, 3]
    assert [flip.negative for flip in kept] == [True, True, False]
    assert [flip.content_id for flip in kept] == [test_split.ids[i] for i in (7, 5, 3)]
    picture = decode_image((tmp_path / "flips" / str(kept[0].picture)).read_bytes())
    assert picture.shape == (4, 4, 3)


def test_a_tensor_has_no_picture_and_no_more_than_a_page_is_kept(
    tmp_path: Path, test_split: SplitPart
) -> None:
    tensors = SplitPart(
        ids=test_split.ids,
        labels=test_split.labels,
        images=np.random.default_rng(1).normal(size=(N, 5)).astype(np.float32),
    )
    kept = keep(
        tmp_path / "flips", tensors, TensorInput(shape=(5,)), np.full(N, 0.9), np.full(N, 0.1)
    )
    assert len(kept) == MOST < N
    assert {flip.picture for flip in kept} == {None}


def test_where_the_test_split_stayed_closed_there_are_none(tmp_path: Path) -> None:
    assert read_flips(tmp_path) == ()

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edgetl.data.letters import LETTER_CLASSES, render_letters
from edgetl.errors import DataError


def test_images_are_balanced_and_take_turns() -> None:
    letters = render_letters(3, seed=1)
    assert letters.images.shape == (78, 28, 28)
    assert letters.images.dtype == np.uint8
    assert letters.classes == LETTER_CLASSES == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert letters.labels.tolist() == list(range(26)) * 3
    assert letters.name == "builtin:letters"


def test_same_seed_same_images_in_another_process() -> None:
    program = (
        "from edgetl.data.letters import render_letters\n"
        "from edgetl.data.store import dataset_hash\n"
        "print(dataset_hash(render_letters(4, seed=7)), dataset_hash(render_letters(4, seed=8)))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(runs) == 1
    seven, eight = runs.pop().split()
    assert seven != eight


def test_images_are_all_different_and_not_blank() -> None:
    letters = render_letters(40, seed=0)
    assert len(set(letters.ids)) == len(letters)
    assert (np.ptp(letters.images.reshape(len(letters), -1), axis=1) > 60).mean() > 0.97


def test_both_polarities_are_drawn() -> None:
    images = render_letters(40, seed=0).images.astype(np.float64)
    border = np.concatenate(
        [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1
    ).mean(axis=1)
    dark_on_light = (border > images.mean(axis=(1, 2))).mean()
    assert 0.15 < dark_on_light < 0.4
    assert (border < 10).mean() > 0.3


def test_the_letters_can_be_told_apart() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    # Three in a hundred would be chance for 26 classes.
    train, test = render_letters(80, seed=0), render_letters(10, seed=1)
    flat = [x.images.reshape(len(x), -1).astype(np.float32) for x in (train, test)]
    flat = [(x - x.mean(1, keepdims=True)) / (x.std(1, keepdims=True) + 1) for x in flat]
    model = KNeighborsClassifier(5).fit(flat[0], train.labels)
    assert model.score(flat[1], test.labels) > 0.25


@pytest.mark.parametrize("size", [8, 32, 96])
def test_other_sizes(size: int) -> None:
    letters = render_letters(1, seed=0, size=size)
    assert letters.images.shape == (26, size, size)
    assert letters.images.std() > 20


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(DataError):
        render_letters(0, seed=0)
    with pytest.raises(DataError):
        render_letters(1, seed=0, size=7)

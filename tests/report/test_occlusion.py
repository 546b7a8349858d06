from __future__ import annotations

import numpy as np
import pytest

from edgetl.errors import DataError
from edgetl.report import occlusion_map


def looks_at(top: int, left: int, side: int):
    """A predictor whose first class is as probable as one square is bright."""

    def predict(pictures):
        square = pictures[:, top : top + side, left : left + side].mean(axis=(1, 2, 3)) / 255
        return np.stack([square, 1 - square], axis=1)

    return predict


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(180, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 24), (24, 0), (24, 24)])
def test_the_map_peaks_where_the_predictor_looks(top: int, left: int) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[top : top + 8, left : left + 8] = 255
    found = occlusion_map(looks_at(top, left, 8), image, 0)
    assert found.shape == (16, 16) and found.dtype == np.float32
    peak = np.unravel_index(found.argmax(), found.shape)
    assert (peak[0] < 4) == (top == 0) and (peak[1] < 4) == (left == 0)
    far = found[8:, :] if top == 0 else found[:8, :]
    assert found.max() > 0.2 and np.abs(far).max() < 1e-6


def test_the_other_class_gains_what_the_first_loses() -> None:
    image = picture(40, 40)
    ours, theirs = (occlusion_map(looks_at(0, 0, 10), image, k) for k in (0, 1))
    np.testing.assert_allclose(ours, -theirs, atol=1e-6)


def test_a_predictor_that_does_not_look_gives_zeros() -> None:
    found = occlusion_map(lambda pictures: np.full((len(pictures), 2), 0.5), picture(9, 31), 1)
    assert found.shape == (9, 16)
    assert not found.any()


def test_batches_are_no_larger_than_asked_and_do_not_matter() -> None:
    sizes = []

    def predict(pictures):
        sizes.append(len(pictures))
        return looks_at(4, 4, 6)(pictures)

    image = picture(24, 24)
    one = occlusion_map(predict, image, 0, grid=4, batch=5)
    assert max(sizes) == 5
    np.testing.assert_array_equal(one, occlusion_map(predict, image, 0, grid=4, batch=64))


def test_the_image_is_not_changed() -> None:
    image = picture(16, 16)
    before = image.copy()
    occlusion_map(looks_at(0, 0, 4), image, 0)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 200)])
def test_any_size_is_covered(size: tuple[int, int]) -> None:
    found = occlusion_map(lambda pictures: np.ones((len(pictures), 1)), picture(*size), 0)
    assert np.isfinite(found).all() and found.shape == tuple(min(16, side) for side in size)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (np.zeros((4, 4, 3), np.float32), {}),
        (np.zeros((4, 4), np.uint8), {}),
        (np.zeros((0, 4, 3), np.uint8), {}),
        (np.zeros((4, 4, 3), np.uint8), {"grid": 0}),
        (np.zeros((4, 4, 3), np.uint8), {"batch": 0}),
    ],
)
def test_bad_arguments_are_refused(image, options) -> None:
    with pytest.raises(DataError, match="occlusion"):
        occlusion_map(looks_at(0, 0, 2), image, 0, **options)


@pytest.mark.parametrize(
    "answer",
    [lambda p: np.ones(len(p)), lambda p: np.ones((1, 2)), lambda p: np.full((len(p), 2), np.nan)],
)
def test_bad_answers_are_refused(answer) -> None:
    with pytest.raises(DataError, match="occlusion"):
        occlusion_map(answer, picture(8, 8), 2 if answer(np.zeros(3)).ndim == 1 else 1)

"""Augmented images are shifts and mirror images of their own, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgetl.train.augment import augment_images


def _images(n: int) -> torch.Tensor:
    generator = np.random.default_rng(3)
    return torch.from_numpy(generator.integers(0, 256, (n, 24, 36, 3), dtype=np.uint8))


def _shifts(image: np.ndarray) -> list[np.ndarray]:
    padded = np.pad(image, ((2, 2), (3, 3), (0, 0)), mode="edge")
    return [padded[y : y + 24, x : x + 36] for y in range(5) for x in range(7)]


@pytest.mark.parametrize("augment", ["light", "light-flip"])
def test_each_image_is_a_shift_of_itself(augment: str) -> None:
    images = _images(40)
    got = augment_images(images, augment, np.random.default_rng(0)).numpy()
    plain = flipped = 0
    for image, changed in zip(images.numpy(), got, strict=True):
        candidates = _shifts(image)
        plain += any(np.array_equal(changed, one) for one in candidates)
        flipped += any(np.array_equal(changed, one[:, ::-1]) for one in candidates)
    assert plain + flipped == 40
    assert flipped == 0 if augment == "light" else 8 < flipped < 32
    assert not np.array_equal(got, images.numpy())


def test_the_same_generator_gives_the_same_batch() -> None:
    images = _images(6)
    first, second, other = (
        augment_images(images, "light-flip", np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_none_changes_nothing() -> None:
    images = _images(2)
    assert augment_images(images, "none", np.random.default_rng(0)) is images

"""Augmented images come from their own alone, each changed by itself."""

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


@pytest.mark.parametrize("augment", ["trivial", "rand", "crop-flip"])
def test_torchvisions_change_each_image_by_itself_and_repeat(augment: str) -> None:
    # One image many times: what differs afterwards was drawn for each.
    images = _images(1).expand(12, -1, -1, -1)
    torch.manual_seed(1)
    want = torch.rand(2)
    torch.manual_seed(1)
    first = augment_images(images, augment, np.random.default_rng(0))
    assert torch.equal(torch.rand(2), want)
    second = augment_images(images, augment, np.random.default_rng(0))
    other = augment_images(images, augment, np.random.default_rng(1))
    assert first.shape == images.shape and first.dtype == torch.uint8
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert len({image.numpy().tobytes() for image in first}) > 6


def test_crop_flip_keeps_flat_images_and_mirrors_some() -> None:
    generator = np.random.default_rng(0)
    flat = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 16, 16, 3)
    assert torch.equal(augment_images(flat, "crop-flip", generator), flat)
    # Columns that grow brighter do so after any crop, and grow darker only where mirrored.
    ramp = (torch.arange(16, dtype=torch.uint8) * 16).view(1, 1, 16, 1).expand(40, 16, 16, 3)
    got = augment_images(ramp, "crop-flip", generator).int()
    mirrored = int((got[:, :, 0] > got[:, :, -1]).all(dim=(1, 2)).sum())
    assert 8 < mirrored < 32


@pytest.mark.parametrize("augment", ["trivial", "rand", "crop-flip"])
def test_the_smallest_pictures_can_be_changed(augment: str) -> None:
    images = torch.full((3, 1, 1, 3), 9, dtype=torch.uint8)
    assert augment_images(images, augment, np.random.default_rng(0)).shape == images.shape

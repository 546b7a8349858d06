from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from edgetl.data.point_sampling import point_sample
from edgetl.data.preprocess import fit_image
from edgetl.errors import SpecError
from edgetl.spec import ImageInput

RNG = np.random.default_rng(0)
MODES = {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(load_sample_images().images[0])


def by_torch(image: np.ndarray, height: int, width: int, interpolation: str) -> np.ndarray:
    options = {} if interpolation == "nearest" else {"align_corners": False, "antialias": False}
    planes = torch.from_numpy(np.atleast_3d(image).astype(np.float32)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        planes, size=(height, width), mode=MODES[interpolation], **options
    )
    pixels = resized[0].round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    return pixels.reshape(height, width, *image.shape[2:])


def compare(image: np.ndarray, height: int, width: int, interpolation: str) -> float:
    """The share of pixels that differ, by 1 at most."""
    ours = point_sample(image, height, width, interpolation)
    assert ours.dtype == np.uint8
    difference = np.abs(ours.astype(int) - by_torch(image, height, width, interpolation))
    assert difference.max() <= (0 if interpolation == "nearest" else 1)
    return float((difference > 0).mean())


@pytest.mark.parametrize("interpolation", list(MODES))
@pytest.mark.parametrize("to", [(224, 224), (256, 383), (500, 700), (31, 900), (427, 640), (1, 1)])
def test_a_photo_is_resized_as_by_torch(photo, interpolation, to) -> None:
    assert compare(photo, *to, interpolation) < 1e-3


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    to=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    interpolation=st.sampled_from(list(MODES)),
    colour=st.booleans(),
)
def test_any_noise_is_resized_as_by_torch(size, to, interpolation, colour) -> None:
    image = RNG.integers(256, size=(*size, 3) if colour else size, dtype=np.uint8)
    compare(image, *to, interpolation)


def test_bilinear_upscaling_needs_no_antialiasing(photo) -> None:
    part = np.ascontiguousarray(photo[100:160, 200:297])
    filtered = Image.fromarray(part).resize((300, 200), Image.Resampling.BILINEAR)
    difference = np.abs(point_sample(part, 200, 300, "bilinear").astype(int) - np.asarray(filtered))
    assert difference.max() <= 1


def test_shrinking_without_antialiasing_is_another_picture(photo) -> None:
    specs = [ImageInput(height=60, width=60, antialias=antialias) for antialias in (True, False)]
    filtered, points = (fit_image(photo, spec).astype(int) for spec in specs)
    assert np.abs(filtered - points).max() > 50


def test_a_strided_image_is_read_right(photo) -> None:
    for interpolation in MODES:
        flipped = point_sample(photo[::2, ::-1], 50, 60, interpolation)
        assert np.array_equal(flipped, point_sample(photo[::2, ::-1].copy(), 50, 60, interpolation))


def test_lanczos_is_refused(photo) -> None:
    with pytest.raises(SpecError, match="lanczos"):
        point_sample(photo, 10, 10, "lanczos")

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.transforms import CenterCropOrPad, ResizeKeepRatio
from torchvision.transforms import v2

from edgetl.data.preprocess import fit_image, to_batch
from edgetl.errors import DataError, SpecError
from edgetl.spec import ImageInput, TensorInput

MODES = {
    "nearest": v2.InterpolationMode.NEAREST,
    "bilinear": v2.InterpolationMode.BILINEAR,
    "bicubic": v2.InterpolationMode.BICUBIC,
    "lanczos": v2.InterpolationMode.LANCZOS,
}
RNG = np.random.default_rng(0)


def picture(height: int, width: int, *, colour: bool) -> np.ndarray:
    shape = (height, width, 3) if colour else (height, width)
    return RNG.integers(256, size=shape, dtype=np.uint8)


def by_torchvision(image: np.ndarray, spec: ImageInput) -> np.ndarray:
    rgb = Image.fromarray(image).convert("RGB")
    mode = MODES[spec.interpolation]
    size = [spec.height, spec.width] if spec.resize_shorter is None else [spec.resize_shorter]
    size = size if spec.resize_to is None else list(spec.resize_to)
    if spec.channels == "grey":
        rgb = rgb.convert("L")
    resized = v2.Resize(size, interpolation=mode, antialias=True)(rgb)
    return np.asarray(v2.CenterCrop([spec.height, spec.width])(resized))


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "rgb"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (96, 96), (37, 91), (120, 45), (300, 401)])
@pytest.mark.parametrize("target", [(96, 96, None), (64, 48, None), (96, 96, 110), (63, 80, 81)])
def test_pixels_are_torchvisions(colour, interpolation, size, target) -> None:
    height, width, shorter = target
    spec = ImageInput(
        height=height, width=width, resize_shorter=shorter, interpolation=interpolation
    )
    image = picture(*size, colour=colour)
    (ours,) = to_batch([image], spec)
    assert np.array_equal(ours, by_torchvision(image, spec))


@pytest.mark.parametrize("interpolation", list(MODES))
@pytest.mark.parametrize("size", [(28, 28), (37, 91), (300, 401)])
@pytest.mark.parametrize("to", [(96, 96), (110, 120), (81, 130), (50, 300), (40, 30)])
def test_squashing_before_the_crop_is_torchvisions(interpolation, size, to) -> None:
    spec = ImageInput(height=64, width=96, resize_to=to, interpolation=interpolation)
    image = picture(*size, colour=True)
    assert np.array_equal(fit_image(image, spec), by_torchvision(image, spec))


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shorter=st.none() | st.integers(1, 40),
    interpolation=st.sampled_from(list(MODES)),
    colour=st.booleans(),
)
def test_any_size_is_torchvisions(size, target, shorter, interpolation, colour) -> None:
    spec = ImageInput(
        height=target[0], width=target[1], resize_shorter=shorter, interpolation=interpolation
    )
    image = picture(*size, colour=colour)
    assert np.array_equal(to_batch([image], spec)[0], by_torchvision(image, spec))


def test_a_batch_of_many_sizes_has_one_layout() -> None:
    images = [picture(9, 20, colour=True), picture(30, 7, colour=False)]
    spec = ImageInput(height=16, width=12)
    batch = to_batch(images, spec)
    spec.tensor.check(batch)
    assert np.array_equal(batch[0], fit_image(images[0], spec))
    assert np.array_equal(batch[1], np.repeat(fit_image(images[1], spec)[..., None], 3, axis=2))


def test_an_array_is_a_batch_of_its_first_axis() -> None:
    images = RNG.integers(256, size=(4, 10, 11, 3), dtype=np.uint8)
    spec = ImageInput(height=20, width=20)
    assert np.array_equal(to_batch(images, spec), to_batch(list(images), spec))


def test_strided_images_are_read_right() -> None:
    image = picture(30, 40, colour=True)
    spec = ImageInput(height=16, width=16)
    flipped = to_batch([image[:, ::-1]], spec)
    assert np.array_equal(flipped, to_batch([image[:, ::-1].copy()], spec))


def test_the_input_is_not_changed_and_not_lent() -> None:
    image = picture(16, 16, colour=True)
    before = image.copy()
    batch = to_batch([image], ImageInput(height=16, width=16))
    assert np.array_equal(batch[0], image)
    batch[:] = 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 0), np.uint8),
        np.zeros(8, np.uint8),
        np.zeros((8, 8), ">u2"),
        np.zeros((8, 8), object),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_what_is_not_an_image_is_refused(image) -> None:
    with pytest.raises(DataError):
        to_batch([image], ImageInput(height=8, width=8))


def test_an_empty_batch_is_refused() -> None:
    for spec in (ImageInput(height=8, width=8), TensorInput(shape=(64,))):
        with pytest.raises(DataError, match="no images"):
            to_batch([], spec)


def test_a_thin_image_does_not_become_a_giant() -> None:
    thin = np.zeros((1, 60_000), np.uint8)
    with pytest.raises(DataError, match="after resizing"):
        to_batch([thin], ImageInput(height=224, width=224, resize_shorter=256))


def test_floats_pass_as_they_are() -> None:
    features = RNG.normal(size=(5, 7)).astype(np.float32)
    assert np.array_equal(to_batch(features, TensorInput(shape=(7,))), features)
    assert np.array_equal(to_batch(list(features), TensorInput(shape=(7,))), features)


@pytest.mark.parametrize("shape", [(64,), (8, 8), (1, 8, 8), (8, 8, 1)])
def test_grey_images_become_tensors(shape) -> None:
    images = RNG.integers(256, size=(3, 8, 8), dtype=np.uint8)
    batch = to_batch(images, TensorInput(shape=shape))
    assert batch.dtype == np.float32
    assert np.array_equal(batch.reshape(3, 8, 8), images.astype(np.float32) / np.float32(255))
    assert batch.max() <= 1


@pytest.mark.parametrize("shape", [(65,), (16, 4), (3, 8, 8)])
def test_no_layout_is_guessed(shape) -> None:
    images = np.zeros((2, 8, 8, 3) if len(shape) == 3 else (2, 8, 8), np.uint8)
    with pytest.raises(DataError, match="up to axes of length 1"):
        to_batch(images, TensorInput(shape=shape))


def test_tensors_that_are_not_the_specs_are_refused() -> None:
    spec = TensorInput(shape=(4,))
    for bad in (
        np.zeros((2, 4), np.float64),
        np.zeros((2, 5), np.float32),
        np.full((2, 4), np.nan, np.float32),
        np.zeros((2, 4), ">f4"),
    ):
        with pytest.raises(SpecError):
            to_batch(bad, spec)
    with pytest.raises(DataError, match="2 kinds"):
        to_batch([np.zeros(4, np.float32), np.zeros(3, np.float32)], spec)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    interpolation=st.sampled_from(list(MODES)),
)
def test_letterboxing_is_timms_border(size, target, interpolation) -> None:
    spec = ImageInput(height=target[0], width=target[1], letterbox=114, interpolation=interpolation)
    image = picture(*size, colour=True)
    ratio = max(size[0] / target[0], size[1] / target[1])
    if min(round(side / ratio) for side in size) == 0:
        assert fit_image(image, spec).shape == (*target, 3)  # timm itself fails here
        return
    resized = ResizeKeepRatio(target, longest=1.0, interpolation=interpolation)
    by_timm = CenterCropOrPad(target, fill=114)(resized(Image.fromarray(image)))
    assert np.array_equal(fit_image(image, spec), np.asarray(by_timm))


def test_an_odd_row_of_the_letterbox_is_below() -> None:
    spec = ImageInput(height=7, width=8, letterbox=9)
    rows = fit_image(np.zeros((4, 8), np.uint8), spec)[:, 0]
    assert rows.tolist() == [9, 0, 0, 0, 0, 9, 9]


@pytest.mark.parametrize(
    "way", [{}, {"resize_shorter": 30}, {"resize_to": (30, 40)}, {"letterbox": 114}], ids=str
)
@pytest.mark.parametrize("antialias", [True, False], ids=["filtered", "points"])
def test_grey_is_pillows_before_resizing(way, antialias) -> None:
    spec = ImageInput(
        height=24, width=28, channels="grey", mean=(0.5,), std=(0.5,), antialias=antialias, **way
    )
    images = [picture(50, 77, colour=True), picture(31, 20, colour=False)]
    batch = to_batch(images, spec)
    spec.tensor.check(batch)
    luma = np.asarray(Image.fromarray(images[0]).convert("L"))
    assert np.array_equal(batch[0], fit_image(luma, spec)[..., None])
    assert np.array_equal(batch[1], fit_image(images[1], spec)[..., None])
    if antialias and "letterbox" not in way:
        assert np.array_equal(batch[0, ..., 0], by_torchvision(images[0], spec))


def test_bgr_stays_rgb_outside_the_graph() -> None:
    image = picture(20, 30, colour=True)
    bgr, rgb = (ImageInput(height=16, width=16, channels=order) for order in ("bgr", "rgb"))
    assert np.array_equal(to_batch([image], bgr), to_batch([image], rgb))


def test_lanczos_has_no_points() -> None:
    spec = ImageInput(height=8, width=8)
    object.__setattr__(spec, "interpolation", "lanczos")
    object.__setattr__(spec, "antialias", False)
    with pytest.raises(SpecError, match="antialias = true"):
        fit_image(picture(20, 20, colour=True), spec)

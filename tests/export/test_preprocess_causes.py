from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from edgetl.export.preprocess_causes import likely_cause, normalised, pixel_scale
from edgetl.spec import ImageInput

SPEC = ImageInput(height=64, width=64, resize_shorter=73)
GREY = ImageInput(height=48, width=40, channels="grey", mean=(0.5,), std=(0.25,))
BGR = ImageInput(
    height=32,
    width=32,
    letterbox=114,
    antialias=False,
    channels="bgr",
    pixel_range="0-255",
    mean=(104.0, 117.0, 123.0),
    std=(1.0,) * 3,
)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    first, second = load_sample_images().images
    return [np.ascontiguousarray(one) for one in (first, second[:300, :220])]


def cause(photos, spec: ImageInput, true: ImageInput) -> str | None:
    pictures = [(photo, normalised(photo, true)) for photo in photos]
    apart = max(
        float((np.abs(normalised(photo, spec) - theirs) * pixel_scale(spec)).max())
        for photo, theirs in pictures
    )
    return likely_cause(pictures, spec, apart)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interpolation": "bicubic"}, "interpolation = 'bicubic'"),
        ({"interpolation": "lanczos"}, "interpolation = 'lanczos'"),
        ({"interpolation": "nearest"}, "interpolation = 'nearest'"),
        ({"antialias": False}, "antialias = false"),
        ({"channels": "bgr"}, "channels = 'bgr'"),
        ({"pixel_range": "0-255"}, "pixel_range = '0-255'"),
        (
            {"mean": (0.0,) * 3, "std": (1.0,) * 3},
            "mean = [0.0, 0.0, 0.0] and std = [1.0, 1.0, 1.0]",
        ),
        (
            {"mean": (0.5,) * 3, "std": (0.5,) * 3},
            "mean = [0.5, 0.5, 0.5] and std = [0.5, 0.5, 0.5]",
        ),
        ({"resize_shorter": 64}, "resize_shorter = 64"),
        ({"resize_shorter": 72}, "resize_shorter = 72"),
        (
            {"resize_shorter": None, "resize_to": (64, 64)},
            "resize_to = [64, 64] instead of resize_shorter",
        ),
        ({"resize_shorter": None}, "resize_to = [64, 64] instead of resize_shorter"),
        (
            {"resize_shorter": None, "letterbox": 0},
            "letterbox = 0 instead of resize_shorter",
        ),
        (
            {"interpolation": "bicubic", "antialias": False},
            "interpolation = 'bicubic' and antialias = false",
        ),
        (
            {"interpolation": "bicubic", "channels": "bgr"},
            "interpolation = 'bicubic' and channels = 'bgr'",
        ),
        (
            {"pixel_range": "0-255", "mean": (0.0,) * 3, "std": (1.0,) * 3},
            "pixel_range = '0-255' and mean = [0.0, 0.0, 0.0] and std = [1.0, 1.0, 1.0]",
        ),
        (
            {"resize_shorter": 80, "channels": "bgr", "interpolation": "bicubic"},
            "resize_shorter = 80 and interpolation = 'bicubic' and channels = 'bgr'",
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(photos, changes, said) -> None:
    assert cause(photos, SPEC, replace(SPEC, **changes)) == said


@pytest.mark.parametrize(
    ("spec", "changes", "said"),
    [
        (GREY, {"interpolation": "bicubic"}, "interpolation = 'bicubic'"),
        (GREY, {"mean": (0.0,), "std": (1.0,)}, "mean = [0.0] and std = [1.0]"),
        (GREY, {"resize_shorter": 40}, "resize_shorter = 40"),
        (BGR, {"channels": "rgb"}, "channels = 'rgb'"),
        (
            BGR,
            {"mean": (123.0, 117.0, 104.0)},
            "mean = [123.0, 117.0, 104.0]",
        ),
        (BGR, {"letterbox": 0}, "letterbox = 0"),
        (BGR, {"letterbox": None}, "resize_to = [32, 32] instead of letterbox"),
        (BGR, {"antialias": True}, "antialias = true"),
    ],
    ids=str,
)
def test_so_it_is_for_other_inputs(photos, spec, changes, said) -> None:
    assert cause(photos, spec, replace(spec, **changes)) == said


def test_a_little_noise_does_not_hide_the_cause(photos) -> None:
    true = replace(SPEC, interpolation="bicubic")
    noise = np.random.default_rng(0).uniform(-1, 1, size=(3, 64, 64)) / 255 / 0.225
    pictures = [(photo, (normalised(photo, true) + noise).astype(np.float32)) for photo in photos]
    assert likely_cause(pictures, SPEC, 40.0) == "interpolation = 'bicubic'"


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_made_up(photos, seed) -> None:
    noise = np.random.default_rng(seed).normal(size=(3, 64, 64)).astype(np.float32)
    assert likely_cause([(photos[0], noise)], SPEC, 255.0) is None
    # A turned picture is explained by no setting.
    turned = [(photo, normalised(photo[:, ::-1], SPEC)) for photo in photos]
    assert likely_cause(turned, SPEC, 200.0) is None


def test_a_small_difference_is_not_explained_by_another_as_large() -> None:
    # Every filter agrees on a flat picture, so none explains what is different.
    flat = np.full((90, 120, 3), 99, np.uint8)
    theirs = normalised(flat, SPEC)
    theirs[:, 5, 5] += 1.0 / 255 / 0.225
    assert likely_cause([(flat, theirs)], SPEC, 1.0) is None


def test_a_cause_explains_every_picture(photos) -> None:
    bicubic = replace(SPEC, interpolation="bicubic")
    mixed = [(photos[0], normalised(photos[0], bicubic)), (photos[1], normalised(photos[1], SPEC))]
    assert likely_cause(mixed[:1], SPEC, 40.0) == "interpolation = 'bicubic'"
    assert likely_cause(mixed, SPEC, 40.0) is None


def test_a_thin_picture_rules_out_only_what_it_cannot_be() -> None:
    spec = ImageInput(height=224, width=224)
    thin = np.random.default_rng(0).integers(256, size=(1, 60_000, 3), dtype=np.uint8)
    theirs = normalised(thin, replace(spec, interpolation="bicubic"))
    assert likely_cause([(thin, theirs)], spec, 100.0) == "interpolation = 'bicubic'"

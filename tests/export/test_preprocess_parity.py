from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.models import get_weight
from torchvision.transforms import v2

from edgetl.data.decode import encode_png
from edgetl.data.samples import EncodedImages
from edgetl.errors import DataError, ModelError
from edgetl.export.preprocess_parity import PreprocessParity, check_preprocessing
from edgetl.spec import ImageInput

SPEC = ImageInput(height=224, width=224, resize_shorter=256)
OWN = get_weight("ResNet18_Weights.IMAGENET1K_V1").transforms()


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    first, second = load_sample_images().images
    cuts = (first, second[:301, :223], first[100:197, 50:181])
    return [np.ascontiguousarray(cut) for cut in cuts]


def predict(batch: np.ndarray) -> np.ndarray:
    """A network that looks closely at single pixels: softmax of a few of them, four times."""
    assert batch.dtype == np.float32 and batch.ndim == 4
    logits = 4 * batch[:, :, ::71, ::67].reshape(len(batch), -1).astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def by_filter(interpolation: v2.InterpolationMode):
    return v2.Compose(
        [
            v2.Resize(256, interpolation=interpolation),
            v2.CenterCrop(224),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(SPEC.mean, SPEC.std),
        ]
    )


BICUBIC = by_filter(v2.InterpolationMode.BICUBIC)


def test_the_own_transform_passes(photos) -> None:
    found = check_preprocessing(photos, OWN, SPEC, predict)
    assert found.images == 3 and found.flips == 0
    assert found.pixel_difference < 1e-3
    assert found.probability_difference < 1e-5
    encoded = EncodedImages(tuple(encode_png(photo) for photo in photos))
    assert check_preprocessing(encoded, OWN, SPEC, predict) == found


def test_grey_pictures_reach_the_transform_in_its_mode(photos) -> None:
    modes = []

    def seen(picture: Image.Image) -> torch.Tensor:
        modes.append(picture.mode)
        spec = grey if picture.mode == "L" else SPEC
        resized = picture.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
        tensor = v2.functional.to_dtype(v2.functional.to_image(resized), torch.float32, scale=True)
        return v2.functional.normalize(tensor, list(spec.mean), list(spec.std))

    grey = ImageInput(height=32, width=40, channels="grey", mean=(0.4,), std=(0.3,))
    images = [photos[0], photos[1][:, :, 0]]
    assert check_preprocessing(images, seen, grey, predict).pixel_difference < 1e-3
    rgb = replace(SPEC, resize_shorter=None)
    assert check_preprocessing(images, seen, rgb, predict).pixel_difference < 1e-3
    assert modes == ["L", "L", "RGB", "RGB"]


def test_bgr_networks_get_their_order(photos) -> None:
    spec = replace(
        SPEC, channels="bgr", pixel_range="0-255", mean=(104.0, 117.0, 123.0), std=(2.0, 1.0, 1.0)
    )

    def caffe(picture: Image.Image) -> torch.Tensor:
        pixels = OWN(picture) * torch.tensor(SPEC.std)[:, None, None]
        pixels = 255 * (pixels + torch.tensor(SPEC.mean)[:, None, None])
        return (pixels.flip(0) - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.std)[
            :, None, None
        ]

    found = check_preprocessing(photos, caffe, spec, predict)
    assert found.pixel_difference < 1e-3
    with pytest.raises(ModelError, match="looks like channels = 'bgr'"):
        check_preprocessing(photos, caffe, replace(spec, channels="rgb"), predict)


def test_the_figures_are_in_units_of_pixels(photos) -> None:
    def brighter(picture: Image.Image) -> torch.Tensor:
        off = 3 / 255 / torch.tensor(SPEC.std)[:, None, None]
        changed = OWN(picture)
        return changed + off if picture.size == (223, 301) else changed

    found = check_preprocessing(photos, brighter, SPEC, predict, max_probability_difference=1)
    assert found.worst_image == 1
    assert found.pixel_difference == pytest.approx(3, abs=1e-3)
    assert found.mean_pixel_difference == pytest.approx(1, abs=1e-3)
    pair = [transform(Image.fromarray(photos[1])).numpy()[None] for transform in (OWN, brighter)]
    moved = np.abs(predict(pair[0]) - predict(pair[1])).max()
    assert found.probability_difference == pytest.approx(moved, rel=1e-3) and moved > 1e-5


def test_a_wrong_filter_fails_with_its_name(photos) -> None:
    with pytest.raises(ModelError) as caught:
        check_preprocessing(photos, BICUBIC, SPEC, predict)
    assert "looks like interpolation = 'bicubic'" in caught.value.fix
    assert "image" in caught.value.subject and "of 255" in caught.value.got


def test_tensors_without_antialiasing_are_told(photos) -> None:
    def on_tensors(picture: Image.Image) -> torch.Tensor:
        pixels = v2.functional.to_image(picture)
        resized = v2.functional.resize(pixels, [256], antialias=False)
        scaled = v2.functional.to_dtype(resized, torch.float32, scale=True)
        return v2.functional.normalize(
            v2.functional.center_crop(scaled, [224]), list(SPEC.mean), list(SPEC.std)
        )

    with pytest.raises(ModelError, match="looks like antialias = false"):
        check_preprocessing(photos, on_tensors, SPEC, predict)
    points = replace(SPEC, antialias=False)
    assert check_preprocessing(photos, on_tensors, points, predict).pixel_difference <= 1.001


def test_missing_normalisation_is_told(photos) -> None:
    plain = v2.Compose([*BICUBIC.transforms[:-1]])
    spec = replace(SPEC, interpolation="bicubic")
    with pytest.raises(ModelError, match=r"looks like mean = \[0.0, 0.0, 0.0\] and std"):
        check_preprocessing(photos, plain, spec, predict)


def test_what_no_setting_explains_is_not_explained(photos) -> None:
    turned = v2.Compose([v2.RandomHorizontalFlip(p=1.0), *BICUBIC.transforms])
    with pytest.raises(ModelError, match="no usual setting explains it"):
        check_preprocessing(photos, turned, SPEC, predict)


def test_either_limit_fails_alone(photos) -> None:
    loose = {"max_pixel_difference": 300.0, "max_probability_difference": 1.0}
    found = check_preprocessing(photos, BICUBIC, SPEC, predict, **loose)
    assert found.pixel_difference > 4 and found.probability_difference > 0.01
    with pytest.raises(ModelError, match="pixels at most 4 of 255"):
        check_preprocessing(photos, BICUBIC, SPEC, predict, **loose | {"max_pixel_difference": 4.0})
    with pytest.raises(ModelError, match=r"probabilities at most 0\.01"):
        check_preprocessing(
            photos, BICUBIC, SPEC, predict, **loose | {"max_probability_difference": 0.01}
        )
    with pytest.raises(ModelError):
        check_preprocessing(
            photos, BICUBIC, SPEC, predict, **loose | {"max_pixel_difference": float("nan")}
        )
    exact = {
        "max_pixel_difference": found.pixel_difference,
        "max_probability_difference": found.probability_difference,
    }
    assert check_preprocessing(photos, BICUBIC, SPEC, predict, **exact) == found


def test_the_worst_image_is_named_whichever_batch_it_is_in(photos) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(40, 16, 16, 3), dtype=np.uint8)
    spec = ImageInput(height=16, width=16)
    calls = []

    def late(picture: Image.Image) -> torch.Tensor:
        calls.append(1)
        tensor = v2.functional.to_dtype(v2.functional.to_image(picture), torch.float32, scale=True)
        moved = tensor.roll(1, 2) if np.array_equal(np.asarray(picture), images[37]) else tensor
        return v2.functional.normalize(moved, list(spec.mean), list(spec.std))

    with pytest.raises(ModelError, match="image 37"):
        check_preprocessing(images, late, spec, predict)


def flat(value: float, *shape: int, dtype: torch.dtype = torch.float32):
    return lambda picture: torch.full(shape, value, dtype=dtype)


def broken(picture: Image.Image) -> torch.Tensor:
    raise KeyError("pixel_values")


def leaves(picture: Image.Image) -> torch.Tensor:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        (flat(0, 3, 256, 256), "[3, 256, 256]"),
        (flat(0, 224, 224, 3), "[224, 224, 3]"),
        (flat(0, 1, 3, 224, 224), "[1, 3, 224, 224]"),
        (flat(0, 1, 224, 224), "[1, 224, 224]"),
        (flat(0, 3, 224, 224, dtype=torch.float64), "torch.float64"),
        (flat(0, 3, 224, 224, dtype=torch.uint8), "torch.uint8"),
        (flat(float("nan"), 3, 224, 224), "NaN"),
        (flat(float("inf"), 3, 224, 224), "infinity"),
        (lambda picture: np.zeros((3, 224, 224), np.float32), "ndarray"),
        (lambda picture: {"pixel_values": 1}, "dict"),
        (lambda picture: None, "NoneType"),
        (broken, "KeyError: 'pixel_values'"),
        (leaves, "SystemExit: 0 (test_preprocess_parity.py, line "),
    ],
)
def test_an_answer_that_is_no_such_tensor_is_refused(photos, transform, said) -> None:
    with pytest.raises(ModelError) as caught:
        check_preprocessing(photos, transform, SPEC, predict)
    assert said in caught.value.got and caught.value.subject == "model.transform, image 0"


def test_a_tensor_with_a_gradient_is_taken(photos) -> None:
    tracked = check_preprocessing(photos, lambda p: OWN(p).requires_grad_(), SPEC, predict)
    assert isinstance(tracked, PreprocessParity)


@pytest.mark.parametrize(
    "answer",
    [
        np.full((3, 2), np.nan),
        np.zeros((3, 0)),
        np.zeros(3),
        np.zeros((2, 5)),
        np.zeros((3, 2), np.int64),
    ],
    ids=lambda answer: f"{answer.dtype}{answer.shape}",
)
def test_a_network_that_gives_no_probabilities_is_refused(photos, answer) -> None:
    with pytest.raises(ModelError, match="network, on preprocessed images"):
        check_preprocessing(photos, OWN, SPEC, lambda batch: answer)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        check_preprocessing([], OWN, SPEC, predict)

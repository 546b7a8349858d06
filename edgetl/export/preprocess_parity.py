"""The pixels that edgetl gives a network are those of the transform it was trained with.

A wrong filter or a wrong order of channels costs accuracy in silence: no other check of an export
sees it, because every variant is given the same wrong pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from edgetl.data.samples import EncodedImages
from edgetl.errors import DataError, ModelError
from edgetl.export.preprocess_causes import likely_cause, normalised, pixel_scale
from edgetl.reference.probe import told_anywhere
from edgetl.spec import Array, ImageInput

Transform = Callable[[Image.Image], Any]
"""A Pillow image to float32 [channels, height, width], normalised."""

Predict = Callable[[NDArray[np.float32]], Array]
"""float32 [n, channels, height, width], normalised, to probabilities [n, classes]."""

_BATCH = 32
_LOOKED_AT = 4


@dataclass(frozen=True, kw_only=True)
class PreprocessParity:
    """How far edgetl's preprocessing is from the transform that the network was trained with.

    Attributes:
        images: How many were compared.
        worst_image: The index of the one with the worst pixel.
        pixel_difference: Of the worst pixel, in units of 0 to 255.
        mean_pixel_difference: Over all pixels of all images, in the same units.
        probability_difference: The greatest difference of any probability.
        flips: How many images get another top class.
    """

    images: int
    worst_image: int
    pixel_difference: float
    mean_pixel_difference: float
    probability_difference: float
    flips: int


def check_preprocessing(
    images: Sequence[Array] | EncodedImages | Array,
    transform: Transform,
    spec: ImageInput,
    predict: Predict,
    *,
    max_pixel_difference: float = 4.0,
    max_probability_difference: float = 0.01,
) -> PreprocessParity:
    """Compare edgetl's preprocessing with the network's own, on real pictures.

    Args:
        images: uint8 [h, w] or [h, w, 3] (RGB) each, of any sizes.
        transform: Takes a Pillow image, RGB (or L when the spec is grey); returns a torch
            tensor, float32 [channels, height, width], normalised, channels in the network's order.
        spec: How edgetl preprocesses.
        predict: The network, from normalised batches of up to 32 to probabilities.
        max_pixel_difference: In units of 0 to 255: a difference of normalised values times std,
            and times 255 for a pixel range of 0 to 1.
        max_probability_difference: For any class of any image.

    Raises:
        ModelError: When a limit is passed, naming the worst image, the figures and, when a
            few settings explain them, those; or when the transform or the network returns
            another type, shape or dtype, or a value that is not finite.
        DataError: When there are no images.

    Example:
        >>> from torchvision.transforms import v2
        >>> spec = ImageInput(height=8, width=8)
        >>> own = v2.Compose([v2.Resize([8, 8]), v2.ToImage(), v2.ToDtype(torch.float32, True),
        ...                   v2.Normalize(spec.mean, spec.std)])
        >>> images = np.random.default_rng(0).integers(256, size=(3, 20, 30, 3), dtype=np.uint8)
        >>> predict = lambda x: np.full((len(x), 2), 0.5)
        >>> found = check_preprocessing(images, own, spec, predict)
        >>> found.images, found.pixel_difference < 0.01, found.flips
        (3, True, 0)
    """
    if len(images) == 0:
        raise DataError(
            "images for the preprocessing parity",
            got="none",
            expected="at least one",
            fix="pass some real pictures",
        )
    pixels, means, changes, flips = _compare(images, transform, spec, predict)
    found = PreprocessParity(
        images=len(images),
        worst_image=int(np.argmax(pixels)),
        pixel_difference=float(pixels.max()),
        mean_pixel_difference=float(means.mean()),
        probability_difference=float(changes.max()),
        flips=int(flips.sum()),
    )
    # `not (… <= …)` refuses a NaN.
    if not (found.pixel_difference <= max_pixel_difference):
        worst, expected = found.worst_image, f"pixels at most {max_pixel_difference:g} of 255 apart"
    elif not (found.probability_difference <= max_probability_difference):
        worst = int(np.argmax(changes))
        expected = f"probabilities at most {max_probability_difference:g} apart"
    else:
        return found
    raise ModelError(
        f"preprocessing, image {worst}",
        got=f"a pixel {pixels[worst]:.1f} of 255 and a probability {changes[worst]:.4f} away from "
        f"the network's own transform ({found.flips} of {found.images} images flip)",
        expected=f"{expected}, for every image",
        fix=_fix(images, transform, spec, worst, float(pixels[worst])),
    )


def _compare(
    images: Sequence[Array] | EncodedImages | Array,
    transform: Transform,
    spec: ImageInput,
    predict: Predict,
) -> NDArray[np.float64]:
    """Of each image the worst and the mean pixel, the worst probability and whether it flips."""
    found = np.empty((4, len(images)))
    for start in range(0, len(images), _BATCH):
        part = range(start, min(start + _BATCH, len(images)))
        some = [np.asarray(images[at]) for at in part]
        ours = np.stack([normalised(image, spec) for image in some])
        theirs = np.stack(
            [_own(image, transform, spec, at) for at, image in zip(part, some, strict=True)]
        )
        apart = np.abs(ours.astype(np.float64) - theirs) * pixel_scale(spec)
        before, after = _probabilities(predict, ours), _probabilities(predict, theirs)
        found[:, part.start : part.stop] = (
            apart.max(axis=(1, 2, 3)),
            apart.mean(axis=(1, 2, 3)),
            np.abs(before - after).max(axis=1),
            before.argmax(axis=1) != after.argmax(axis=1),
        )
    return found


def _own(image: Array, transform: Transform, spec: ImageInput, at: int) -> NDArray[np.float32]:
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture = picture.convert("L" if spec.channels == "grey" else "RGB")
    return transformed(picture, transform, spec, at=at)


def transformed(
    picture: Image.Image, transform: Transform, spec: ImageInput, *, at: int
) -> NDArray[np.float32]:
    """What the network's own transform makes of one picture, checked.

    Args:
        picture: As the transform takes it.
        transform: As in `check_preprocessing`.
        spec: The size and channels that the network takes.
        at: The picture's index, for an error.

    Returns:
        float32 [channels, height, width].

    Raises:
        ModelError: When the transform raises, or gives another type, shape or dtype, or a value
            that is not finite.

    Example:
        >>> from torchvision.transforms import v2
        >>> own = v2.Compose([v2.Resize([8, 8]), v2.ToImage(), v2.ToDtype(torch.float32, True)])
        >>> picture = Image.new("RGB", (20, 30), "white")
        >>> transformed(picture, own, ImageInput(height=8, width=8), at=0).shape
        (3, 8, 8)
    """
    expected = (spec.channel_count, spec.height, spec.width)
    try:
        answer = transform(picture)
    except (Exception, SystemExit) as error:
        raise _bad_answer(at, told_anywhere(error), expected) from error
    if not isinstance(answer, torch.Tensor):
        raise _bad_answer(at, type(answer).__name__, expected)
    if answer.dtype != torch.float32 or tuple(answer.shape) != expected:
        raise _bad_answer(at, f"{answer.dtype} {list(answer.shape)}", expected)
    values: NDArray[np.float32] = answer.detach().cpu().numpy()
    if not np.isfinite(values).all():
        raise _bad_answer(at, "NaN or infinity", expected)
    return values


def _bad_answer(at: int, got: str, expected: tuple[int, ...]) -> ModelError:
    return ModelError(
        f"model.transform, image {at}",
        got=got,
        expected=f"a finite torch.float32 tensor {list(expected)} of a Pillow image",
        fix="name a transform that ends with ToTensor and Normalize, of the size in [input]",
    )


def _probabilities(predict: Predict, batch: NDArray[np.float32]) -> NDArray[np.float64]:
    answer = np.asarray(predict(batch))
    if answer.ndim != 2 or len(answer) != len(batch) or answer.shape[1] == 0:
        got = f"shape {answer.shape}"
    elif answer.dtype.kind != "f" or not np.isfinite(answer).all():
        got = (
            f"{answer.dtype} with NaN or infinity"
            if answer.dtype.kind == "f"
            else answer.dtype.name
        )
    else:
        return answer.astype(np.float64)
    raise ModelError(
        "network, on preprocessed images",
        got=got,
        expected=f"finite float probabilities [{len(batch)}, classes]",
        fix="look for a network left in train mode, or for weights that are not finite",
    )


def _fix(
    images: Sequence[Array] | EncodedImages | Array,
    transform: Transform,
    spec: ImageInput,
    worst: int,
    difference: float,
) -> str:
    # Some more pictures: on one alone, a square one say, two causes can look alike.
    some = [worst, *(at for at in range(len(images)) if at != worst)][:_LOOKED_AT]
    pictures = [
        (image, _own(image, transform, spec, at))
        for at, image in ((at, np.asarray(images[at])) for at in some)
    ]
    cause = likely_cause(pictures, spec, difference)
    if cause is None:
        return "compare [input] with the transform line by line: no usual setting explains it"
    return f"looks like {cause}: write that in [input]"

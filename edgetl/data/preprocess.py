"""From decoded pictures to the graph's input, pixel for pixel as the training transform does.

Resizing and cropping follow torchvision's `Resize` (Pillow, antialiased) and `CenterCrop` on
Pillow images, so that a network trained with these sees the same pixels here without torch.
Without antialiasing they follow torchvision on tensors (`edgetl.data.point_sampling`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgetl.data.decode import MAX_PIXELS
from edgetl.data.point_sampling import point_sample
from edgetl.data.samples import EncodedImages, Samples, SeveralSamples
from edgetl.errors import DataError
from edgetl.spec import (
    Array,
    ClassifierInput,
    ImageInput,
    SeveralInputs,
    SingleInput,
    TensorInput,
)

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def to_inputs(samples: Samples, spec: ClassifierInput) -> dict[str, Array]:
    """What a backend's `run` takes: each input tensor's name -> its batch.

    Args:
        samples: A batch, as a split holds it.
        spec: The classifier's input.

    Raises:
        DataError: When the samples are not for such an input; else as `to_batch`.

    Example:
        >>> inputs = to_inputs(np.zeros((5, 28, 28), np.uint8), ImageInput(height=96, width=96))
        >>> {name: batch.shape for name, batch in inputs.items()}
        {'image': (5, 96, 96, 3)}
    """
    if not isinstance(spec, SeveralInputs):
        if isinstance(samples, SeveralSamples):
            raise _unlike(f"the inputs {', '.join(samples.parts)}", "one input")
        return {spec.tensor.name: to_batch(samples, spec)}
    if not isinstance(samples, SeveralSamples) or samples.parts.keys() != spec.parts.keys():
        got = samples.parts if isinstance(samples, SeveralSamples) else ["one input"]
        raise _unlike(", ".join(got), f"the inputs {', '.join(spec.parts)}")
    return {name: to_batch(samples.parts[name], part) for name, part in spec.parts.items()}


def _unlike(got: str, expected: str) -> DataError:
    return DataError(
        "samples",
        got=got,
        expected=expected,
        fix="describe in [input] what the data holds, by the same names",
    )


def to_batch(images: Sequence[Array] | EncodedImages | Array, spec: SingleInput) -> Array:
    """A batch in the shape and dtype of the graph's input.

    Args:
        images: A batch, never a single image: a sequence of arrays, or one array whose first
            axis counts. For an `ImageInput` each is uint8 [height, width] (grey) or
            [height, width, 3] (RGB), of any size. For a `TensorInput` each is float32 of the
            spec's shape, used as it is, or uint8, divided by 255.
        spec: The classifier's input.

    Returns:
        uint8 [n, height, width, 3] for an `ImageInput`, always RGB (the graph puts the channels
        in the network's order), or [n, height, width, 1] when its channels are grey; float32
        [n, *shape] for a `TensorInput`. A uint8 image becomes a tensor only when the shapes are
        equal up to axes of length 1, or the tensor is flat and has as many values: no layout is
        guessed.

    Raises:
        DataError: For an empty batch, or images of another dtype or layout.
        SpecError: For a float array that is not what the spec says, or has NaN or infinity.

    Example:
        >>> grey = np.zeros((5, 28, 28), np.uint8)
        >>> to_batch(grey, ImageInput(height=96, width=96)).shape
        (5, 96, 96, 3)
        >>> to_batch(grey, TensorInput(shape=(784,))).dtype
        dtype('float32')
    """
    if len(images) == 0:
        raise DataError(
            "batch", got="no images", expected="at least one", fix="pass at least one image"
        )
    if isinstance(spec, TensorInput):
        return _tensor_batch(images, spec)
    batch = np.empty((len(images), spec.height, spec.width, spec.channel_count), np.uint8)
    for position, image in enumerate(images):
        fitted = fit_image(image, spec)
        if fitted.ndim == 3:
            batch[position] = fitted
        else:
            # Channel by channel: broadcasting over a last axis of three takes twice as long.
            for channel in range(spec.channel_count):
                batch[position, :, :, channel] = fitted
    return batch


def fit_image(image: Array, spec: ImageInput) -> NDArray[np.uint8]:
    """One image resized, and cropped or letterboxed, to the spec's size.

    A letterboxed image is resized to round(h / r) × round(w / r) pixels, r being the greater of
    h / height and w / width, halves to even and at least 1; of an odd number of grey rows or
    columns, the one more is below or at the right. (These are the sizes of timm's ``border``.)

    Args:
        image: uint8 [h, w] or [h, w, 3].
        spec: The size, the way to it, the filter, and whether the image is made grey, which is
            done before resizing by Pillow's formula for ``"L"`` (ITU-R BT.601 luma). Where a
            resized image is smaller than the crop, black is put around it.

    Returns:
        uint8 of the spec's height and width: [height, width] when the image or the spec is grey,
        [height, width, 3] in RGB otherwise.

    Raises:
        DataError: For any other array, or an image so long and thin that resizing its shorter
            side would give more than 64 million pixels.
        SpecError: For ``lanczos`` without antialiasing.

    Example:
        >>> wide = np.zeros((10, 30, 3), np.uint8)
        >>> fit_image(wide, ImageInput(height=8, width=8, resize_shorter=9)).shape
        (8, 8, 3)
        >>> fit_image(wide, ImageInput(height=6, width=6, letterbox=114))[:, 0, 0].tolist()
        [114, 114, 0, 0, 114, 114]
    """
    _check(image)
    if spec.channels == "grey" and image.ndim == 3:
        image = np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))
    height, width = _resized(image.shape[0], image.shape[1], spec)
    if (height, width) != image.shape[:2]:
        image = _resize(image, height, width, spec)
    if (height, width) == (spec.height, spec.width):
        return image
    if spec.letterbox is not None:
        return _letterbox(image, spec.height, spec.width, spec.letterbox)
    return _centre_crop(image, spec.height, spec.width)


def _resize(
    image: NDArray[np.uint8], height: int, width: int, spec: ImageInput
) -> NDArray[np.uint8]:
    if not spec.antialias:
        return point_sample(image, height, width, spec.interpolation)
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width, height), _FILTERS[spec.interpolation]))


def _resized(height: int, width: int, spec: ImageInput) -> tuple[int, int]:
    if spec.resize_to is not None:
        return spec.resize_to
    if spec.letterbox is not None:
        ratio = max(height / spec.height, width / spec.width)
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    if spec.resize_shorter is None:
        return spec.height, spec.width
    short, long = min(height, width), max(height, width)
    longer = int(spec.resize_shorter * long / short)
    if spec.resize_shorter * longer > MAX_PIXELS:
        raise DataError(
            f"image of {width} × {height} pixels",
            got=f"a longer side of {longer} pixels when the shorter is {spec.resize_shorter}",
            expected=f"at most {MAX_PIXELS // 10**6} million pixels after resizing",
            fix="crop the picture",
        )
    return (longer, spec.resize_shorter) if height >= width else (spec.resize_shorter, longer)


def _letterbox(image: NDArray[np.uint8], height: int, width: int, grey: int) -> NDArray[np.uint8]:
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    boxed = np.full((height, width, *image.shape[2:]), grey, np.uint8)
    boxed[top : top + image.shape[0], left : left + image.shape[1]] = image
    return boxed


def _centre_crop(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    top, above = _offsets(image.shape[0], height)
    left, before = _offsets(image.shape[1], width)
    inside = image[top : top + height, left : left + width]
    if inside.shape[:2] == (height, width):
        return inside
    padded = np.zeros((height, width, *image.shape[2:]), np.uint8)
    padded[above : above + inside.shape[0], before : before + inside.shape[1]] = inside
    return padded


def _offsets(have: int, want: int) -> tuple[int, int]:
    # Where the crop begins in the image, and where the image begins in the crop. torchvision
    # rounds half to even here, as Python's round does.
    return (round((have - want) / 2), 0) if have >= want else (0, (want - have) // 2)


def _check(image: Array) -> None:
    fits = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not fits or image.size == 0:
        raise DataError(
            "image",
            got=f"{image.dtype} {image.shape}",
            expected="uint8 [height, width] or [height, width, 3]",
            fix="decode it with edgetl.data.decode.decode_image",
        )


def _tensor_batch(
    images: Sequence[Array] | EncodedImages | Array, spec: TensorInput
) -> NDArray[np.float32]:
    shapes = {(image.dtype.str, image.shape) for image in images}
    if len(shapes) > 1:
        raise DataError(
            "batch",
            got=f"arrays of {len(shapes)} kinds: {sorted(shapes)[:3]}",
            expected=f"arrays of one dtype and shape, for a tensor {spec.shape}",
            fix="convert them before they are put together",
        )
    # np.stack turns a foreign byte order into the native one; the spec's check is to see it.
    batch = np.stack(list(images)).astype(images[0].dtype, copy=False)
    if batch.dtype == np.uint8:
        batch = _scaled(batch, spec)
    spec.tensor.check(batch)
    return batch


def _scaled(batch: NDArray[np.uint8], spec: TensorInput) -> NDArray[np.float32]:
    size = batch[0].size
    flat = spec.shape == (size,)
    if not flat and _squeezed(batch.shape[1:]) != _squeezed(spec.shape):
        raise DataError(
            "batch of uint8 images",
            got=f"images of shape {batch.shape[1:]}",
            expected=f"a shape that equals {spec.shape} up to axes of length 1",
            fix="reshape the images, or use a flat tensor input",
        )
    return (batch.astype(np.float32) / np.float32(255)).reshape(len(batch), *spec.shape)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)

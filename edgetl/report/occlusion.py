"""Where a classifier looks: how far an answer falls when a patch of the picture is hidden."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import DataError
from edgetl.spec import Array


def occlusion_map(
    predict: Callable[[Array], Array],
    image: Array,
    target: int,
    *,
    grid: int = 8,
    batch: int = 32,
) -> NDArray[np.float32]:
    """The drop of one class's probability when a patch is replaced by the image's mean colour.

    Patches overlap by half, and a position's value is the mean over the patches that cover it.
    Only forward passes are needed, so engines of any precision can be asked. Source: Zeiler and
    Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, section 4.2.

    Args:
        predict: uint8 [n, H, W, 3] -> probabilities [n, K], n at most `batch`.
        image: uint8 [H, W, 3], already fitted to the classifier's input.
        target: The class, 0..K-1.
        grid: How many patches would fit beside each other along each axis.
        batch: How many pictures are predicted at a time.

    Returns:
        float32 [rows, columns], each 2 `grid` or, for a small picture, one per pixel: positive
        where the class loses probability, negative where it gains some.

    Raises:
        DataError: When an argument is not such, or `predict` answers something else or NaN.

    Example:
        >>> corner = lambda pictures: np.stack(
        ...     [pictures[:, :4, :4].mean((1, 2, 3)) / 255, np.zeros(len(pictures))], axis=1)
        >>> picture = np.zeros((16, 16, 3), np.uint8)
        >>> picture[:4, :4] = 255
        >>> found = occlusion_map(corner, picture, 0, grid=4)
        >>> found.shape, bool(found[:2, :2].min() > found[4:, 4:].max())
        ((8, 8), True)
    """
    _check(image, grid, batch)
    boxes, shape = _boxes(image.shape[0], image.shape[1], grid)
    mean = image.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
    whole = _probability(predict, image[None], target)[0]
    drops = []
    for start in range(0, len(boxes), batch):
        pictures = np.stack([_hidden(image, box, mean) for box in boxes[start : start + batch]])
        drops.append(whole - _probability(predict, pictures, target))
    return _spread(np.concatenate(drops), boxes, image.shape[:2], shape)


Box = tuple[int, int, int, int]


def _boxes(height: int, width: int, grid: int) -> tuple[list[Box], tuple[int, int]]:
    """Patches (top, bottom, left, right) with a stride of half a patch, and the map's shape."""
    rows, columns = (np.linspace(0, size, min(2 * grid, size) + 1) for size in (height, width))
    edges_y, edges_x = rows.round().astype(int), columns.round().astype(int)
    tall, wide = (max(1, round((len(edges) - 1) / grid)) for edges in (edges_y, edges_x))
    boxes = [
        (int(edges_y[y]), int(edges_y[y + tall]), int(edges_x[x]), int(edges_x[x + wide]))
        for y in range(len(edges_y) - tall)
        for x in range(len(edges_x) - wide)
    ]
    return boxes, (len(edges_y) - 1, len(edges_x) - 1)


def _hidden(image: Array, box: Box, mean: Array) -> Array:
    top, bottom, left, right = box
    picture: Array = image.copy()
    picture[top:bottom, left:right] = mean
    return picture


def _probability(
    predict: Callable[[Array], Array], pictures: Array, target: int
) -> NDArray[np.float64]:
    answers = np.asarray(predict(pictures))
    if answers.ndim != 2 or len(answers) != len(pictures) or not 0 <= target < answers.shape[1]:
        raise DataError(
            "occlusion: predict, target",
            got=f"answers of shape {answers.shape} and the class {target}",
            expected=f"probabilities [{len(pictures)}, K] and a class in 0..K-1",
            fix="return one row per picture",
        )
    column: NDArray[np.float64] = answers[:, target].astype(np.float64)
    if not np.isfinite(column).all():
        raise DataError(
            "occlusion: predict",
            got="a probability that is not finite",
            expected="probabilities",
            fix="check the classifier on this picture",
        )
    return column


def _spread(
    drops: NDArray[np.float64], boxes: list[Box], size: tuple[int, ...], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Each patch's drop laid over what it hid, averaged, and read at the map's cells."""
    total, covered = np.zeros(size), np.zeros(size)
    for drop, (top, bottom, left, right) in zip(drops, boxes, strict=True):
        total[top:bottom, left:right] += drop
        covered[top:bottom, left:right] += 1
    mean = total / covered
    rows, columns = (
        ((np.arange(cells) + 0.5) * pixels / cells).astype(int)
        for cells, pixels in zip(shape, size, strict=True)
    )
    found: NDArray[np.float32] = mean[np.ix_(rows, columns)].astype(np.float32)
    return found


def _check(image: Array, grid: int, batch: int) -> None:
    shape = image.shape
    if image.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or min(shape) < 1:
        raise DataError(
            "occlusion: image",
            got=f"{image.dtype} of shape {image.shape}",
            expected="uint8 [height, width, 3]",
            fix="fit the picture to the classifier's input first",
        )
    for name, value in (("grid", grid), ("batch", batch)):
        if value < 1:
            raise DataError(
                f"occlusion: {name}", got=str(value), expected="at least 1", fix=f"pass {name}=8"
            )

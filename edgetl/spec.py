"""What every room agrees on: frozen value types without behaviour of their own beyond checking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgetl.errors import SpecError

Setting = str | int | float | bool
Array = NDArray[Any]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Precision(StrEnum):
    """The number format that a variant computes its network in; the softmax is always FP32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """Name, dtype and shape of one tensor; a free dimension (the batch) is None.

    Example:
        >>> TensorSpec(name="image", dtype="uint8", shape=(None, 32, 32, 3)).check(
        ...     np.zeros((1, 32, 32, 3), np.uint8))
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def check(self, array: object) -> None:
        """Refuse anything that is not such a tensor.

        Raises:
            SpecError: For another type, dtype, byte order, rank or size, an empty batch,
                memory that is not C-contiguous, or a NaN or infinity: quantized graphs answer
                those with a finite, confident class.
        """
        if not isinstance(array, np.ndarray):
            raise self._error(type(array).__name__, "pass a numpy array")
        if array.dtype != np.dtype(self.dtype) or not array.dtype.isnative:
            raise self._error(
                f"dtype {array.dtype.str if not array.dtype.isnative else array.dtype}",
                f"convert with .astype({self.dtype!r})",
            )
        fits = array.ndim == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise self._error(
                f"shape {array.shape}", "reshape the input; the layout is not guessed"
            )
        if array.size == 0:
            raise self._error(f"an empty array of shape {array.shape}", "pass at least one input")
        if not array.flags.c_contiguous:
            raise self._error("memory that is not C-contiguous", "np.ascontiguousarray(x)")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._error("NaN or infinity", "find where the input became NaN")

    def _error(self, got: str, fix: str) -> SpecError:
        shape = ", ".join("batch" if size is None else str(size) for size in self.shape)
        return SpecError(
            f"tensor '{self.name}'", got=got, expected=f"{self.dtype} [{shape}]", fix=fix
        )


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An image classifier's input: uint8 NHWC RGB of one size.

    Outside the graph an image is decoded, and resized to height × width; inside the graph it is
    scaled to 0..1 and normalised per channel with `mean` and `std`.

    Attributes:
        height, width: Pixels of the network's input.
        resize_shorter: When set, the shorter side is resized to this many pixels, keeping the
            aspect, and the centre is cropped to height × width; otherwise the whole image is
            resized to height × width.
        interpolation: Pillow's antialiased resampling filter.
        mean, std: Per channel (R, G, B), of values in 0..1.
    """

    height: int
    width: int
    resize_shorter: int | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def tensor(self) -> TensorSpec:
        """The graph's input tensor."""
        return TensorSpec(name="image", dtype="uint8", shape=(None, self.height, self.width, 3))


@dataclass(frozen=True, kw_only=True)
class TensorInput:
    """A tensor classifier's input: float32 [batch, *shape], used as it is."""

    shape: tuple[int, ...]

    @property
    def tensor(self) -> TensorSpec:
        """The graph's input tensor."""
        return TensorSpec(name="features", dtype="float32", shape=(None, *self.shape))


ClassifierInput = ImageInput | TensorInput


@dataclass(frozen=True, kw_only=True)
class Head:
    """What follows the backbone: the last linear layer's name, the temperature, the classes.

    `layer` is the linear layer's dotted name in the PyTorch network. `temperature` divides the
    raw logits; 1.0 until it is calibrated.
    """

    layer: str
    classes: tuple[str, ...]
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One deployable model at one precision with the settings of one backend.

    Attributes:
        id: Such as ``openvino-int8``.
        backend: A name in the backend registry.
        precision: What the network is computed in.
        files: Paths relative to the bundle (or the run's folder), the model first; an OpenVINO IR
            is ``(x.xml, x.bin)``.
        settings: Backend settings that belong to the variant, such as a precision hint.
    """

    id: str
    backend: str
    precision: Precision
    files: tuple[str, ...]
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def file(self) -> str:
        """The model's own file."""
        return self.files[0]


def input_to_json(spec: ClassifierInput) -> dict[str, Any]:
    """The input as plain data, for manifests and checkpoints.

    Example:
        >>> input_from_json(input_to_json(TensorInput(shape=(64,))))
        TensorInput(shape=(64,))
    """
    if isinstance(spec, TensorInput):
        return {"kind": "tensor", "shape": list(spec.shape)}
    return {
        "kind": "image",
        "height": spec.height,
        "width": spec.width,
        "resize_shorter": spec.resize_shorter,
        "interpolation": spec.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def input_from_json(value: Mapping[str, Any]) -> ClassifierInput:
    """The inverse of `input_to_json`.

    Raises:
        SpecError: When the value is not what `input_to_json` writes.
    """
    try:
        if value["kind"] == "tensor":
            return TensorInput(shape=tuple(_positive(size) for size in value["shape"]))
        if value["kind"] != "image" or value["interpolation"] not in ("bilinear", "bicubic"):
            raise ValueError(f"kind {value['kind']!r}, {value.get('interpolation')!r}")
        shorter = value["resize_shorter"]
        return ImageInput(
            height=_positive(value["height"]),
            width=_positive(value["width"]),
            resize_shorter=None if shorter is None else _positive(shorter),
            interpolation=value["interpolation"],
            mean=_triple(value["mean"]),
            std=_triple(value["std"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(
            "input description",
            got=f"{type(error).__name__}: {error}",
            expected="an image or tensor input as edgetl writes it",
            fix="write the file anew with the command that made it",
        ) from error


def _positive(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 24:
        raise ValueError(f"the size {value!r}")
    return value


def _triple(value: Any) -> tuple[float, float, float]:
    first, second, third = (float(number) for number in value)
    if not np.isfinite([first, second, third]).all():
        raise ValueError(f"the channel values {value!r}")
    return first, second, third

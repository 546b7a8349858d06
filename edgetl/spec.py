"""What every room agrees on: frozen value types without behaviour of their own beyond checking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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


Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Channels = Literal["rgb", "bgr", "grey"]
PixelRange = Literal["0-1", "0-255"]


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """An image classifier's input: uint8 NHWC of one size.

    Outside the graph an image is decoded (and made grey for ``channels="grey"``), resized and
    cropped; inside the graph the channels are put in the network's order, brought to
    `pixel_range` and normalised with `mean` and `std`.

    Attributes:
        height, width: Pixels of the network's input.
        resize_shorter: When set, the shorter side is resized to this many pixels, keeping the
            aspect, and the centre is cropped to height × width.
        resize_to: When set, (height, width) that the whole image is resized to, whatever its
            aspect; then the centre is cropped.
        letterbox: When set, the whole image is fitted inside height × width, keeping its aspect,
            and centred on this grey value, 0 to 255. At most one of the three is set; without any,
            the whole image is resized to height × width.
        interpolation: The resampling filter.
        antialias: Whether a picture that becomes smaller is filtered over all the pixels that it
            covers, as Pillow does, or sampled at points, as OpenCV and plain tensors do.
        channels: The order that the network takes, or ``"grey"`` for one channel.
        pixel_range: ``"0-1"`` divides by 255 before `mean` and `std`, ``"0-255"`` does not.
        mean, std: Per channel, in the network's order of channels and in units of `pixel_range`.

    Raises:
        SpecError: When these do not fit together.
    """

    height: int
    width: int
    resize_shorter: int | None = None
    resize_to: tuple[int, int] | None = None
    letterbox: int | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    channels: Channels = "rgb"
    pixel_range: PixelRange = "0-1"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        ways = (self.resize_shorter, self.resize_to, self.letterbox)
        if sum(way is not None for way in ways) > 1:
            raise SpecError(
                "image input",
                got="more than one of resize_shorter, resize_to and letterbox",
                expected="at most one way to resize",
                fix="keep the one that the model's card names",
            )
        if self.interpolation == "lanczos" and not self.antialias:
            raise SpecError(
                "image input",
                got="lanczos without antialias",
                expected="nearest, bilinear or bicubic where pixels are sampled at points",
                fix="set antialias = true, or another interpolation",
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channel_count or not np.isfinite(values).all():
                raise SpecError(
                    f"image input, {name}",
                    got=f"{list(values)}",
                    expected=f"{self.channel_count} finite numbers for channels '{self.channels}'",
                    fix=f"give one {name} a channel, as the network was trained with",
                )
        if not (np.asarray(self.std) > 0).all():
            raise SpecError(
                "image input, std",
                got=f"{list(self.std)}",
                expected="numbers above 0",
                fix="give the std that the network was trained with; 1 changes nothing",
            )

    @property
    def channel_count(self) -> int:
        """1 for grey, 3 otherwise."""
        return 1 if self.channels == "grey" else 3

    @property
    def tensor(self) -> TensorSpec:
        """The graph's input tensor."""
        shape = (None, self.height, self.width, self.channel_count)
        return TensorSpec(name="image", dtype="uint8", shape=shape)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The graph's input tensors, in the order in which the network takes them."""
        return (self.tensor,)


@dataclass(frozen=True, kw_only=True)
class TensorInput:
    """A tensor classifier's input: float32 [batch, *shape], used as it is."""

    shape: tuple[int, ...]

    @property
    def tensor(self) -> TensorSpec:
        """The graph's input tensor."""
        return TensorSpec(name="features", dtype="float32", shape=(None, *self.shape))

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The graph's input tensors, in the order in which the network takes them."""
        return (self.tensor,)


@dataclass(frozen=True, kw_only=True)
class SeveralInputs:
    """The input of a classifier that takes several tensors, each an image or a tensor.

    Attributes:
        parts: The name of each tensor in the graph -> what it is, in the order of the arguments
            of the network's ``forward``.

    Raises:
        SpecError: For fewer than two parts.

    Example:
        >>> pair = SeveralInputs(parts={
        ...     "photo": ImageInput(height=32, width=32), "weight": TensorInput(shape=(1,))})
        >>> [tensor.name for tensor in pair.tensors]
        ['photo', 'weight']
    """

    parts: Mapping[str, ImageInput | TensorInput]

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise SpecError(
                "several inputs",
                got=f"{len(self.parts)} parts",
                expected="at least two",
                fix="describe a single input as an image or a tensor",
            )

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The graph's input tensors, in the order in which the network takes them."""
        return tuple(replace(part.tensor, name=name) for name, part in self.parts.items())


SingleInput = ImageInput | TensorInput
ClassifierInput = ImageInput | TensorInput | SeveralInputs


def named_parts(spec: ClassifierInput) -> dict[str, SingleInput]:
    """Each input tensor's name -> the image or tensor it is, for one input as for several.

    Example:
        >>> named_parts(TensorInput(shape=(4,)))
        {'features': TensorInput(shape=(4,))}
    """
    if isinstance(spec, SeveralInputs):
        return dict(spec.parts)
    return {spec.tensor.name: spec}


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

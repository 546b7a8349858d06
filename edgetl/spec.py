"""What every room agrees on: frozen value types without behaviour of their own beyond checking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, get_args

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


def input_to_json(spec: ClassifierInput) -> dict[str, Any]:
    """The input as plain data, for manifests and checkpoints.

    Example:
        >>> input_from_json(input_to_json(TensorInput(shape=(64,))))
        TensorInput(shape=(64,))
    """
    if isinstance(spec, TensorInput):
        return {"kind": "tensor", "shape": list(spec.shape)}
    if isinstance(spec, SeveralInputs):
        parts = [{"name": name} | input_to_json(part) for name, part in spec.parts.items()]
        return {"kind": "several", "parts": parts}
    written: dict[str, Any] = {
        "kind": "image",
        "height": spec.height,
        "width": spec.width,
        "resize_shorter": spec.resize_shorter,
        "interpolation": spec.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }
    # Written only where they matter: a description that needs none stays as it always was.
    for name, default in _LATER_KEYS.items():
        value = getattr(spec, name)
        if value != default:
            written[name] = list(value) if isinstance(value, tuple) else value
    return written


_LATER_KEYS: Mapping[str, Any] = MappingProxyType(
    {
        "resize_to": None,
        "letterbox": None,
        "antialias": True,
        "channels": "rgb",
        "pixel_range": "0-1",
    }
)
_IMAGE_KEYS = frozenset(
    {"kind", "height", "width", "resize_shorter", "interpolation", "mean", "std", *_LATER_KEYS}
)


def input_from_json(value: Mapping[str, Any]) -> ClassifierInput:
    """The inverse of `input_to_json`. A key that is not known is refused: it could change pixels.

    Raises:
        SpecError: When the value is not what `input_to_json` writes.
    """
    try:
        if value["kind"] == "several":
            return SeveralInputs(parts=_parts(value["parts"]))
        return _single(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            "input description",
            got=f"{type(error).__name__}: {error}",
            expected="an input as edgetl writes it",
            fix="write the file anew with the command that made it, or update edgetl",
        ) from error


def _parts(values: Sequence[Mapping[str, Any]]) -> dict[str, SingleInput]:
    parts: dict[str, SingleInput] = {}
    for value in values:
        name = value["name"]
        if not isinstance(name, str) or not name.isidentifier() or name in parts:
            raise ValueError(f"the input name {name!r}")
        parts[name] = _single({key: held for key, held in value.items() if key != "name"})
    return parts


def _single(value: Mapping[str, Any]) -> SingleInput:
    if value["kind"] == "tensor":
        return TensorInput(shape=tuple(_positive(size) for size in value["shape"]))
    unknown = sorted(value.keys() - _IMAGE_KEYS)
    if value["kind"] != "image" or unknown:
        raise ValueError(
            f"the kind {value['kind']!r}" if not unknown else f"the key {unknown[0]!r}"
        )
    shorter, to = value["resize_shorter"], value.get("resize_to")
    return ImageInput(
        height=_positive(value["height"]),
        width=_positive(value["width"]),
        resize_shorter=None if shorter is None else _positive(shorter),
        resize_to=None if to is None else _pair(to),
        letterbox=_grey(value.get("letterbox")),
        interpolation=_one_of(value["interpolation"], get_args(Interpolation)),
        antialias=_one_of(value.get("antialias", True), (True, False)),
        channels=_one_of(value.get("channels", "rgb"), get_args(Channels)),
        pixel_range=_one_of(value.get("pixel_range", "0-1"), get_args(PixelRange)),
        mean=tuple(float(number) for number in value["mean"]),
        std=tuple(float(number) for number in value["std"]),
    )


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    # By type as well: 1 is equal to True.
    if not any(value == one and type(value) is type(one) for one in allowed):
        raise ValueError(f"{value!r}, not one of {allowed}")
    return value


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    return _positive(first), _positive(second)


def _grey(value: Any) -> int | None:
    if value is not None and (type(value) is not int or not 0 <= value <= 255):
        raise ValueError(f"the grey value {value!r}")
    return value


def _positive(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 24:
        raise ValueError(f"the size {value!r}")
    return value

"""Which input of an ONNX file takes which part of a classifier's input, and in which layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgetl.errors import ModelError
from edgetl.reference.onnx_file import OnnxDescription, OnnxValue, shape_text
from edgetl.reference.onnx_proto import SUBJECT
from edgetl.spec import ClassifierInput, ImageInput, SingleInput, named_parts

Layout = Literal["NCHW", "NHWC", "as it is"]

_WRONG_DTYPES = {
    "int64": ("edgetl takes images and float tensors, no tokens or indices", "int64"),
    "uint8": (
        "take the file's own preprocessing out of it: edgetl puts it into the graph",
        "uint8",
    ),
    "float16": ("export the network in float32; edgetl makes the smaller precisions", "float16"),
    "float64": ("convert the network to float32 before its export", "float64"),
}


@dataclass(frozen=True, kw_only=True)
class InputPart:
    """One input of the file.

    Attributes:
        name: Of the tensor that edgetl's graph takes.
        part: What it is.
        target: The file's own input.
        layout: Of the file's input: a tensor is taken as it is.
    """

    name: str
    part: SingleInput
    target: OnnxValue
    layout: Layout

    @property
    def batch(self) -> int | None:
        """The file's own batch size, None when it is free."""
        return self.target.shape[0]


def input_parts(description: OnnxDescription, input: ClassifierInput) -> tuple[InputPart, ...]:
    """Match the parts of a classifier's input with a file's inputs, in the order of the parts.

    Several inputs are matched by name where all names are the same, else in order.

    Args:
        description: Of the file.
        input: What the classifier takes.

    Raises:
        ModelError: When their numbers, names, dtypes or shapes do not fit together, when both
            layouts of an image fit, or when the inputs have batches of different sizes.

    Example:
        >>> import onnx
        >>> from edgetl.reference.onnx_file import describe_onnx
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[1, 8, 8, 3] x) => (float[1, 192] y) {f = Flatten(x) y = Add(f, f)}'''
        >>> found = describe_onnx(onnx.parser.parse_model(text).SerializeToString())
        >>> input_parts(found, ImageInput(height=8, width=8))[0].layout
        'NHWC'
    """
    parts = named_parts(input)
    targets = _targets(description, list(parts))
    found = tuple(
        InputPart(name=name, part=part, target=target, layout=_layout(target, part))
        for (name, part), target in zip(parts.items(), targets, strict=True)
    )
    if len({one.batch for one in found}) > 1:
        raise ModelError(
            f"{SUBJECT}, inputs",
            got=", ".join(str(one.target) for one in found),
            expected="one batch size, the first axis of every input",
            fix="export the network again with a free first axis in every input",
        )
    return found


def _targets(description: OnnxDescription, names: list[str]) -> list[OnnxValue]:
    inputs = {value.name: value for value in description.inputs}
    if len(inputs) != len(names):
        raise ModelError(
            f"{SUBJECT}, inputs",
            got=", ".join(map(str, inputs.values())) or "none",
            expected=f"{len(names)}: {', '.join(names)}",
            fix="describe each input of the file in [input], several as [input.parts.NAME]",
        )
    same = inputs.keys() & set(names)
    if len(same) == len(names):
        return [inputs[name] for name in names]
    if same and len(names) > 1:
        raise ModelError(
            f"{SUBJECT}, inputs",
            got=", ".join(inputs),
            expected=f"{', '.join(names)}, all the same names or none",
            fix="give the parts in [input.parts] the names of the file's inputs",
        )
    return list(description.inputs)


def _layout(target: OnnxValue, part: SingleInput) -> Layout:
    if target.dtype != "float32":
        fix, _ = _WRONG_DTYPES.get(
            "int64" if target.dtype in ("int32", "bool") else target.dtype,
            ("export the network with a float32 input", ""),
        )
        raise ModelError(_where(target), got=target.dtype, expected="float32", fix=fix)
    fitting = [name for name, sizes in _layouts(part).items() if _fits(target, sizes)]
    if len(fitting) == 1:
        return fitting[0]
    wanted = " or ".join(
        f"{shape_text((None, *sizes))}{'' if name == 'as it is' else f' ({name})'}"
        for name, sizes in _layouts(part).items()
    )
    if fitting:
        raise ModelError(
            _where(target),
            got=f"{shape_text(target.shape)}, which fits {' and '.join(fitting)}",
            expected=f"a shape that only one of {wanted} fits",
            fix="export the network with the sizes of its input fixed, except the batch",
        )
    raise ModelError(
        _where(target),
        got=shape_text(target.shape),
        expected=wanted,
        fix="write in [input] the size and channels that the network was exported with",
    )


def _layouts(part: SingleInput) -> dict[Layout, tuple[int, ...]]:
    if not isinstance(part, ImageInput):
        return {"as it is": part.shape}
    size, channels = (part.height, part.width), part.channel_count
    return {"NCHW": (channels, *size), "NHWC": (*size, channels)}


def _fits(target: OnnxValue, sizes: tuple[int, ...]) -> bool:
    if len(target.shape) != len(sizes) + 1:
        return False
    return all(got in (None, want) for got, want in zip(target.shape[1:], sizes, strict=True))


def _where(target: OnnxValue) -> str:
    return f"{SUBJECT}, input '{target.name}'"

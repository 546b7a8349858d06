"""An ONNX file made elsewhere: checked first, then read for what it takes and how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from edgetl.errors import ModelError
from edgetl.reference.onnx_proto import SUBJECT, dtype_name, opset_of, read_proto, real_inputs

if TYPE_CHECKING:
    import onnx

Output = Literal["logits", "probabilities"]

# What changes the shape of an answer at most, never its numbers.
_SHAPE_OPS = frozenset({"Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze"})
# An answer of one of these is logits unless its numbers look like probabilities.
_LOGIT_OPS = frozenset(
    {
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "Einsum",
        "Gemm",
        "GlobalAveragePool",
        "MatMul",
        "Mul",
        "ReduceMean",
        "Sub",
    }
)


class OnnxEnding(StrEnum):
    """What an ONNX file's answer is.

    ``probabilities`` is an answer of which the user says so and that no Softmax gives;
    ``unclear`` one of which the user has to say it.
    """

    LOGITS = "logits"
    SOFTMAX = "softmax"
    LOG_SOFTMAX = "log-softmax"
    PROBABILITIES = "probabilities"
    UNCLEAR = "unclear"


@dataclass(frozen=True, kw_only=True)
class OnnxValue:
    """An input or output: its name, dtype and shape; a free or unknown size is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True, kw_only=True)
class OnnxDescription:
    """What an ONNX file says of itself.

    Attributes:
        inputs, outputs: In the order of the file.
        answer: The output that is the classifier's.
        ending: What that answer is.
        logits: The tensor before the last Softmax or LogSoftmax; the answer where there is none.
        last_operator: What computes the answer, shape operators left aside.
        opset: Of the ONNX standard.
    """

    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    answer: str
    ending: OnnxEnding
    logits: str
    last_operator: str
    opset: int

    @property
    def note(self) -> str:
        """What a user should know of the ending, as one sentence."""
        notes = {
            OnnxEnding.LOGITS: "gives logits; a softmax is put after it",
            OnnxEnding.SOFTMAX: "ends in softmax already, which is not applied twice",
            OnnxEnding.LOG_SOFTMAX: "ends in log-softmax already, which softmax replaces",
            OnnxEnding.PROBABILITIES: "gives probabilities; their logarithm is taken as logits",
            OnnxEnding.UNCLEAR: f"ends in {self.last_operator}; say whether that is logits",
        }
        return f"output '{self.answer}' {notes[self.ending]}"


def describe_onnx(model: bytes, *, output: Output | None = None) -> OnnxDescription:
    """Read what an ONNX classifier takes and answers. Nothing is run, and no other file is read.

    Args:
        model: The bytes of an ONNX file, opset 9 to 26.
        output: What the answer is, where the user says so. Of several outputs it also chooses the
            one of that name.

    Raises:
        ModelError: When the file is not one that a backend may load, holds weights that are
            NaN, not float32 or quantized, has no float32 answer [batch, classes] or more than
            one, or ends otherwise than `output` says.

    Example:
        >>> import onnx
        >>> text = '''<ir_version: 8, opset_import: ["": 13]>
        ... g (float[1, 2] x) => (float[1, 2] y) {h = Relu(x) z = Add(h, h) y = Softmax(z)}'''
        >>> found = describe_onnx(onnx.parser.parse_model(text).SerializeToString())
        >>> found.inputs[0].shape, str(found.ending), found.logits, found.opset
        ((1, 2), 'softmax', 'z', 13)
    """
    return describe_proto(read_proto(model), output=output)


def describe_proto(proto: onnx.ModelProto, *, output: Output | None = None) -> OnnxDescription:
    """`describe_onnx` of a file that `read_proto` gave."""
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    outputs = tuple(_value(value) for value in graph.output)
    answer = _answer(outputs, makers, output)
    last = _last(answer.name, makers)
    ending, logits = _ending(last, answer.name)
    operator = "an input" if last is None else last.op_type
    return OnnxDescription(
        inputs=tuple(_value(value) for value in real_inputs(graph)),
        outputs=outputs,
        answer=answer.name,
        ending=_agreed(ending, output, answer.name, operator),
        logits=logits,
        last_operator=operator,
        opset=opset_of(proto),
    )


def shape_ops_back(name: str, makers: Mapping[str, onnx.NodeProto]) -> list[str]:
    """A tensor and those before it that hold the same numbers in another shape, nearest first."""
    chain = [name]
    while (node := makers.get(chain[-1])) is not None and _keeps_numbers(node):
        chain.append(node.input[0])
    return chain


def shape_text(shape: Iterable[int | None]) -> str:
    """A shape as text, a free size as ``?``.

    Example:
        >>> shape_text((None, 3, 8))
        '[?, 3, 8]'
    """
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _value(value: onnx.ValueInfoProto) -> OnnxValue:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(
            f"{SUBJECT}, '{value.name}'",
            got=value.type.WhichOneof("value") or "no type",
            expected="a tensor",
            fix="export the classifier with plain tensors as inputs and outputs",
        )
    sizes = tensor.shape.dim
    shape = tuple(int(one.dim_value) if one.HasField("dim_value") else None for one in sizes)
    return OnnxValue(name=value.name, dtype=dtype_name(tensor.elem_type), shape=shape)


def _answer(
    outputs: tuple[OnnxValue, ...], makers: Mapping[str, onnx.NodeProto], output: Output | None
) -> OnnxValue:
    listed = ", ".join(map(str, outputs)) or "no output"
    fit = [one for one in outputs if one.dtype == "float32" and len(one.shape) == 2]
    if not fit:
        raise ModelError(
            f"{SUBJECT}, outputs",
            got=listed,
            expected="one float32 output [batch, classes]",
            fix="export the network so that it answers one row of numbers for each input",
        )
    if len(fit) == 1:
        return fit[0]
    named = [one for one in fit if one.name.split(":")[0].lower() == output]
    if len(named) == 1:
        return named[0]
    over = [one for one in fit if _is_softmax_of(one.name, {o.name for o in fit}, makers)]
    if len(fit) == 2 and len(over) == 1:
        return over[0]
    raise ModelError(
        f"{SUBJECT}, outputs",
        got=listed,
        expected="one float32 output [batch, classes]",
        fix="keep one: onnx.utils.extract_model('model.onnx', 'one.onnx', "
        f"input_names=[...], output_names=['{fit[0].name}'])",
    )


def _is_softmax_of(name: str, others: set[str], makers: Mapping[str, onnx.NodeProto]) -> bool:
    last = _last(name, makers)
    if last is None or last.op_type not in ("Softmax", "LogSoftmax"):
        return False
    source = set(shape_ops_back(last.input[0], makers))
    return any(source & set(shape_ops_back(other, makers)) for other in others - {name})


def _last(name: str, makers: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    return makers.get(shape_ops_back(name, makers)[-1])


def _keeps_numbers(node: onnx.NodeProto) -> bool:
    from onnx import TensorProto

    if node.op_type == "Cast":
        # Twice through the logits' own type; any other would round them.
        return any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute)
    # A Dropout with a third input may be in training mode.
    return node.op_type in _SHAPE_OPS or (node.op_type == "Dropout" and len(node.input) < 3)


def _ending(last: onnx.NodeProto | None, answer: str) -> tuple[OnnxEnding, str]:
    if last is None:
        return OnnxEnding.UNCLEAR, answer
    if last.op_type in ("Softmax", "LogSoftmax"):
        _check_axis(last)
        ends = {"Softmax": OnnxEnding.SOFTMAX, "LogSoftmax": OnnxEnding.LOG_SOFTMAX}
        return ends[last.op_type], str(last.input[0])
    ending = OnnxEnding.LOGITS if last.op_type in _LOGIT_OPS else OnnxEnding.UNCLEAR
    return ending, answer


def _check_axis(node: onnx.NodeProto) -> None:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), -1)
    if axis not in (-1, 1):
        raise ModelError(
            f"{SUBJECT}, node '{node.name or node.output[0]}'",
            got=f"{node.op_type} over axis {axis}",
            expected="the axis of the classes, -1 (or 1 of two)",
            fix="take the softmax over [batch, classes], along the classes",
        )


def _agreed(ending: OnnxEnding, output: Output | None, answer: str, last: str) -> OnnxEnding:
    if output is None:
        return ending
    if ending is OnnxEnding.SOFTMAX and output == "logits":
        said = "probabilities"
    elif ending is OnnxEnding.LOG_SOFTMAX and output == "probabilities":
        said = "logits"
    elif ending in (OnnxEnding.LOGITS, OnnxEnding.UNCLEAR):
        return OnnxEnding(output)
    else:
        return ending
    raise ModelError(
        f"{SUBJECT}, output '{answer}'",
        got=last,
        expected=f"{output}, as the config says",
        fix=f'leave [model] output out, or write output = "{said}"',
    )

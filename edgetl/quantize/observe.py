"""One observation run over ptq samples: the least and greatest value of each activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

from edgetl.backends.ort import OrtBackend
from edgetl.errors import DataError, ModelError
from edgetl.quantize.head import read_model
from edgetl.quantize.onnx_runtime import load_on_cpu
from edgetl.quantize.ranges import Range, check_ptq_samples
from edgetl.spec import Array

_KINDS = {"least": "ReduceMin", "greatest": "ReduceMax"}


def observe(
    model: bytes,
    samples: Mapping[str, Array],
    *,
    tensors: Sequence[str],
    batch: int = 8,
    threads: int | None = None,
) -> dict[str, Range]:
    """Run the samples through the model and take the range of each named tensor.

    The minimum and maximum are computed in the graph, so what is kept is two numbers a tensor:
    memory is that of one batch, however many samples there are.

    Args:
        model: An ONNX file's bytes, with a free batch size.
        samples: Each input's name -> uint8 or float32 [n, ...], as the model takes it.
        tensors: Names of float32 tensors in the graph.
        batch: Samples at once.
        threads: Of ONNX Runtime; None takes every core.

    Returns:
        The range of each tensor, in the order of `tensors`.

    Raises:
        DataError: For no samples, a NaN in them, or samples that are all alike.
        SpecError: For samples of another dtype or shape.
        ModelError: When the model is not one that can be observed.
        BackendError: When ONNX Runtime fails, or an activation or answer is NaN or infinite.

    Example:
        >>> import numpy as np
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) <float[2, 2] w = {1, 0, 0, 1}>
        ... {h = MatMul(x, w) r = Relu(h) z = MatMul(r, w) probabilities = Softmax(z)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> observe(model, {"x": np.array([[1, -2], [3, 0]], np.float32)}, tensors=["x", "r"])
        {'x': Range(low=-2.0, high=3.0), 'r': Range(low=0.0, high=3.0)}
    """
    backend = load_on_cpu(_with_ranges(read_model(model), tensors), threads=threads)
    try:
        return _ranges(backend, samples, tensors, batch)
    finally:
        backend.close()


def _ranges(
    backend: OrtBackend, samples: Mapping[str, Array], tensors: Sequence[str], batch: int
) -> dict[str, Range]:
    count = _check_samples(backend, samples)
    found: dict[str, Range] = {}
    for start in range(0, count, batch):
        # The backend refuses a NaN in any answer, the probabilities among them, so that none is
        # lost in a minimum or maximum.
        answers = backend.run(
            {name: array[start : start + batch] for name, array in samples.items()}
        )
        for tensor in tensors:
            least, greatest = (float(answers[_output(kind, tensor)][0]) for kind in _KINDS)
            seen = Range(low=least, high=greatest)
            found[tensor] = found[tensor] | seen if tensor in found else seen
    return found


def _with_ranges(proto: onnx.ModelProto, tensors: Sequence[str]) -> bytes:
    graph = proto.graph
    shape = "edgetl ranges"
    graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [1], [1]))
    for tensor in tensors:
        for kind, operator in _KINDS.items():
            name = _output(kind, tensor)
            graph.node.append(helper.make_node(operator, [tensor], [f"{name}, scalar"], keepdims=0))
            graph.node.append(helper.make_node("Reshape", [f"{name}, scalar", shape], [name]))
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    data: bytes = proto.SerializeToString()
    return data


def _output(kind: str, tensor: str) -> str:
    return f"{kind} value of {tensor}"


def _check_samples(backend: OrtBackend, samples: Mapping[str, Array]) -> int:
    """How many samples there are, after checking that each input has as many."""
    specs = backend.input_spec
    if any(spec.shape[:1] != (None,) for spec in specs.values()):
        raise ModelError(
            "ONNX model",
            got="a fixed batch size",
            expected="a free batch size",
            fix="export the classifier with edgetl",
        )
    counts = {name: len(array) for name, array in samples.items()}
    if counts.keys() != specs.keys() or len(set(counts.values())) != 1:
        raise DataError(
            "ptq samples",
            got=", ".join(f"{count} of '{name}'" for name, count in counts.items()) or "none",
            expected=f"as many of each of {', '.join(specs)}",
            fix="pass one array for each input of the model",
        )
    for name, spec in specs.items():
        check_ptq_samples(samples[name], spec)
    return next(iter(counts.values()))

"""ONNX Runtime as the quantizer uses it: to observe a graph, and to see what it makes of one."""

from __future__ import annotations

from collections import Counter

from edgetl.backends.checked import check_threads
from edgetl.backends.ort import OrtBackend
from edgetl.errors import BackendError, ModelError

_CPU = "CPUExecutionProvider"


def load_on_cpu(model: bytes, *, threads: int | None = None) -> OrtBackend:
    """A model on ONNX Runtime's CPU provider, whatever its outputs are.

    Args:
        model: An ONNX file's bytes, made or checked by edgetl.
        threads: Of one call; None takes every core.

    Raises:
        ModelError: When ONNX Runtime refuses the model.
    """
    try:
        return OrtBackend(
            model, subject="ONNX model", threads=check_threads(threads), provider=_CPU
        )
    except BackendError as error:
        raise ModelError(
            "ONNX model",
            got=error.got,
            expected="a model that ONNX Runtime loads on the CPU",
            fix="export the network again",
        ) from error


def operator_histogram(model: bytes) -> dict[str, int]:
    """How often each operator stands in the graph that ONNX Runtime executes on the CPU.

    An INT8 convolution is a ``QLinearConv`` there; ``Conv`` and ``FusedConv`` run in float.

    Raises:
        ModelError: When ONNX Runtime refuses the model.

    Example:
        >>> from onnx import TensorProto, helper
        >>> x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
        >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
        >>> model = helper.make_model(
        ...     graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
        >>> operator_histogram(model.SerializeToString())
        {'Relu': 1}
    """
    backend = load_on_cpu(model, threads=1)
    try:
        layers = backend.execution().layers
    finally:
        backend.close()
    return dict(sorted(Counter(layer.type for layer in layers).items()))

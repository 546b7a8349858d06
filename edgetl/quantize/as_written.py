"""An ONNX file executed as it is written: ONNX Runtime without its graph optimisations."""

from __future__ import annotations

from typing import Any

from edgetl.backends.checked import check_threads
from edgetl.backends.onnx_check import check_onnx
from edgetl.backends.ort import CPU, OrtBackend
from edgetl.errors import BackendError, ModelError


class AsWritten(OrtBackend):
    """A session on the CPU in which every node runs as the file has it, none fused with another.

    A quantized file in QDQ form is so a simulation in float32: each QuantizeLinear rounds, each
    DequantizeLinear gives the rounded number back, and the layers between compute in float. What
    a backend's integer kernels do otherwise is not in it.
    """

    def _options(self) -> Any:
        options = super()._options()
        options.graph_optimization_level = self._ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return options


def load_as_written(
    model: bytes, *, subject: str = "ONNX model", threads: int | None = None
) -> AsWritten:
    """Load an ONNX file to be executed as it is written, on the CPU.

    Args:
        model: An ONNX file's bytes.
        subject: What to call it in an error.
        threads: Of one call; None takes every core.

    Raises:
        ModelError: When the file is refused, or ONNX Runtime cannot load it.

    Example:
        >>> import numpy as np, onnx
        >>> text = '''<ir_version: 10, opset_import: ["": 20]>
        ... g (float[b, 2] x) => (float[b, 2] probabilities) {probabilities = Softmax(x)}'''
        >>> model = onnx.parser.parse_model(text).SerializeToString()
        >>> backend = load_as_written(model, threads=1)
        >>> backend.run({"x": np.zeros((1, 2), np.float32)})["probabilities"].tolist()
        [[0.5, 0.5]]
        >>> backend.close()
    """
    check_onnx(model, subject)
    return opened_as_written(model, subject=subject, threads=threads)


def opened_as_written(model: bytes, *, subject: str, threads: int | None) -> AsWritten:
    """As `load_as_written`, for a file that edgetl made of checked ones.

    Raises:
        ModelError: When ONNX Runtime cannot load it.
    """
    try:
        return AsWritten(model, subject=subject, threads=check_threads(threads), provider=CPU)
    except BackendError as error:
        raise ModelError(
            subject,
            got=error.got,
            expected="a model that ONNX Runtime loads on the CPU without optimising it",
            fix="export the network again",
        ) from error

"""ONNX files as other tools write them, made with onnx.helper or torch's own exporters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

CLASSES = tuple("0123456789")
node = helper.make_node


class Small(nn.Module):
    """Two convolutions, a reshape as old code writes it, and a linear layer; 32 pixels a side."""

    def __init__(self, ending: nn.Module | None = None) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU6(),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.Hardswish(),
            nn.AvgPool2d(4),
        )
        self.head = nn.Linear(256, len(CLASSES))
        self.ending = ending or nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)
        x = torch.dropout(x.reshape(x.size(0), -1), 0.5, self.training)
        return self.ending(self.head(x))


def legacy_export(network: nn.Module, shape: Sequence[int], opset: int) -> bytes:
    """torch.onnx.export as it was before dynamo; every size in the file is fixed."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (torch.zeros(*shape),), file, dynamo=False, opset_version=opset
        )
    return file.getvalue()


def dynamo_export(network: nn.Module, shape: Sequence[int], *, free: bool) -> bytes:
    """torch.onnx.export by dynamo, with a fixed or a free batch."""
    file = io.BytesIO()
    # A traced batch of one would be a constant whatever is said of it.
    example = torch.zeros(2 if free else shape[0], *shape[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (example,),
            file,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("n")},) if free else None,
        )
    return file.getvalue()


def keras_like(*, batch: int | None = None, opset: int = 15) -> bytes:
    """NHWC in, Transpose first, MatMul and Add, Softmax, Identity: the form tf2onnx writes."""
    rng = np.random.default_rng(3)
    weights = {
        "conv/Conv2D/ReadVariableOp:0": rng.normal(0, 0.4, (8, 3, 3, 3)),
        "const_fold_opt__12": rng.normal(0, 0.1, 8),
        "dense/MatMul/ReadVariableOp:0": rng.normal(0, 0.9, (8, 10)),
        "dense/BiasAdd/ReadVariableOp:0": rng.normal(0, 0.1, 10),
    }
    names = list(weights)
    nodes = [
        node("Transpose", ["input_1:0"], ["t"], name="conv/Conv2D__6", perm=[0, 3, 1, 2]),
        node("Conv", ["t", *names[:2]], ["c"], name="conv/Conv2D", strides=[2, 2]),
        node("Relu", ["c"], ["r"], name="conv/Relu"),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Squeeze", ["p", "const_axes__21"], ["s"]),
        node("MatMul", ["s", names[2]], ["m"], name="dense/MatMul"),
        node("Add", ["m", names[3]], ["a"], name="dense/BiasAdd"),
        node("Softmax", ["a"], ["dense/Softmax:0"], name="dense/Softmax", axis=1),
        node("Identity", ["dense/Softmax:0"], ["Identity:0"], name="Identity"),
    ]
    free = "unk__23" if batch is None else batch
    return made(
        nodes,
        weights | {"const_axes__21": np.array([2, 3])},
        {"input_1:0": [free, 32, 32, 3]},
        {"Identity:0": [free, 10]},
        opset=opset,
    )


def perceptron_like(classifier: Any, *, opset: int = 15) -> bytes:
    """An sklearn MLPClassifier as a converter writes it: label and probabilities."""
    weights: dict[str, NDArray[Any]] = {}
    nodes, last = [], "X"
    layers = list(zip(classifier.coefs_, classifier.intercepts_, strict=True))
    for at, (kernel, bias) in enumerate(layers):
        weights |= {f"coefficient{at}": kernel, f"intercepts{at}": bias[None]}
        nodes += [
            node("MatMul", [last, f"coefficient{at}"], [f"mul_result{at}"]),
            node("Add", [f"mul_result{at}", f"intercepts{at}"], [f"add_result{at}"]),
        ]
        last = f"add_result{at}"
        if at < len(layers) - 1:
            nodes.append(node("Relu", [last], [f"next_activations{at}"]))
            last = f"next_activations{at}"
    nodes += [
        node("Softmax", [last], ["out_activations_result"]),
        node("Identity", ["out_activations_result"], ["probabilities"]),
        node("ArgMax", ["out_activations_result"], ["label"], axis=1, keepdims=0),
    ]
    inputs = {"X": [None, weights["coefficient0"].shape[0]]}
    outputs = {"label": [None], "probabilities": [None, len(classifier.classes_)]}
    return made(nodes, weights, inputs, outputs, opset=opset)


def made(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, Sequence[int | str | None]],
    outputs: Mapping[str, Sequence[int | str | None]],
    *,
    opset: int = 15,
    ir_version: int = 8,
) -> bytes:
    """A file of these nodes; weights become float32 or int64, an output 'label' is int64."""
    held = [
        numpy_helper.from_array(array.astype(np.int64 if array.dtype.kind == "i" else "f4"), name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "tf2onnx",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [
            helper.make_tensor_value_info(
                n, TensorProto.INT64 if n == "label" else TensorProto.FLOAT, s
            )
            for n, s in outputs.items()
        ],
        held,
    )
    model = helper.make_model(
        graph,
        ir_version=ir_version,
        opset_imports=[helper.make_opsetid("", opset)],
        producer_name="another tool",
        doc_string="/home/someone/train.py",
    )
    data: bytes = model.SerializeToString()
    return data

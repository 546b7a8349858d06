from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgetl.bundle.external_data import external_tensor


def _tensor(name: str, *, external: bool) -> TensorProto:
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), name)
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"
    return tensor


def _graph(nodes: list[onnx.NodeProto], tensors: list[TensorProto]) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return helper.make_graph(nodes, "g", [], [value], initializer=tensors)


def _model(place: str, *, external: bool) -> bytes:
    tensor = _tensor("weights", external=external)
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    plain = helper.make_node("Identity", ["weights"], ["y"])
    if place == "initializer":
        return helper.make_model(_graph([plain], [tensor])).SerializeToString()
    if place == "attribute":
        return helper.make_model(_graph([constant], [])).SerializeToString()
    if place == "subgraph":
        inner = _graph([constant], [])
        outer = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
        return helper.make_model(_graph([outer], [])).SerializeToString()
    if place == "function":
        function = helper.make_function(
            "d", "f", [], ["y"], [constant], [helper.make_opsetid("", 20)]
        )
        return helper.make_model(_graph([plain], []), functions=[function]).SerializeToString()
    sparse = helper.make_sparse_tensor(tensor, _tensor("indices", external=False), [9])
    model = helper.make_model(_graph([plain], []))
    if place == "sparse":
        model.graph.sparse_initializer.append(sparse)
    else:
        model.training_info.add().algorithm.CopyFrom(_graph([plain], [tensor]))
    return model.SerializeToString()


PLACES = ("initializer", "attribute", "subgraph", "function", "sparse", "training")


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_wherever_a_tensor_can_stand(place: str) -> None:
    assert external_tensor(_model(place, external=True)) == "weights"
    assert external_tensor(_model(place, external=False)) is None


def test_a_reference_without_a_location_flag_is_found() -> None:
    tensor = _tensor("weights", external=True)
    tensor.data_location = TensorProto.DEFAULT
    model = helper.make_model(_graph([], [tensor])).SerializeToString()
    assert external_tensor(model) == "weights"


def test_what_onnx_itself_saves_beside_a_model_is_found(tmp_path: Path) -> None:
    model = onnx.load_from_string(_model("initializer", external=False))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    assert external_tensor((tmp_path / "m.onnx").read_bytes()) == "weights"


@pytest.mark.parametrize(
    "data",
    [
        b"\x0b",
        b"\x00",
        b"\x3a\xff",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x09\x01",
    ],
)
def test_what_is_no_protobuf_is_said(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"protobuf|too early"):
        external_tensor(data)


def test_a_truncated_model_is_said() -> None:
    model = _model("initializer", external=False)
    for end in range(1, len(model)):
        try:
            assert external_tensor(model[:end]) is None  # cut between two fields of the model
        except ValueError:
            continue

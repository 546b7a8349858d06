from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from edgetl.errors import ModelError
from edgetl.reference.onnx_file import describe_onnx
from edgetl.reference.onnx_inputs import input_parts
from edgetl.spec import ClassifierInput, ImageInput, SeveralInputs, TensorInput

Sizes = list[int | str | None] | None


def match(input: ClassifierInput, *shapes: Sizes, element: int = TensorProto.FLOAT, names="xyz"):
    given = [
        helper.make_tensor_value_info(name, element, shape)
        for name, shape in zip(names, shapes, strict=False)
    ]
    nodes = [
        helper.make_node("Cast", [given[0].name], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Add", ["g", "g"], ["answer"]),
    ]
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, [None, None])
    graph = helper.make_graph(nodes, "g", given, [answer])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, ir_version=8, opset_imports=opsets)
    return input_parts(describe_onnx(model.SerializeToString()), input)


IMAGE = ImageInput(height=6, width=8)
GREY = ImageInput(height=6, width=8, channels="grey", mean=(0.5,), std=(0.5,))


@pytest.mark.parametrize(
    ("input", "shape", "layout", "batch"),
    [
        (IMAGE, [1, 3, 6, 8], "NCHW", 1),
        (IMAGE, ["n", 6, 8, 3], "NHWC", None),
        (IMAGE, [None, None, None, 3], "NHWC", None),
        (IMAGE, [4, 3, "height", "width"], "NCHW", 4),
        (GREY, [1, 1, 6, 8], "NCHW", 1),
        (GREY, [1, 6, 8, 1], "NHWC", 1),
        (TensorInput(shape=(5, 2)), [1, 5, 2], "as it is", 1),
        (TensorInput(shape=(5, 2)), ["n", "steps", 2], "as it is", None),
    ],
)
def test_the_layout_is_read_from_the_shape(
    input: ClassifierInput, shape: Sizes, layout: str, batch: int | None
) -> None:
    (part,) = match(input, shape)
    assert (part.layout, part.batch) == (layout, batch)


@pytest.mark.parametrize(
    ("input", "shape", "words"),
    [
        (IMAGE, [1, 3, 8, 6], r"got \[1, 3, 8, 6\]; expected \[\?, 3, 6, 8\] \(NCHW\) or \[\?, 6"),
        (IMAGE, [1, 1, 6, 8], r"\(NHWC\)"),
        (IMAGE, [1, 144], "size and channels"),
        (IMAGE, None, "'shape' of 'type' is required"),
        (IMAGE, ["n", "c", "h", "w"], "which fits NCHW and NHWC"),
        (ImageInput(height=3, width=3), [1, 3, 3, 3], "which fits NCHW and NHWC"),
        (TensorInput(shape=(5, 2)), [1, 10], r"expected \[\?, 5, 2\]"),
    ],
)
def test_a_shape_that_fits_none_or_both_is_refused(
    input: ClassifierInput, shape: Sizes, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        match(input, shape)


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (TensorProto.INT64, "got int64; .*no tokens"),
        (TensorProto.INT32, "got int32; .*no tokens"),
        (TensorProto.UINT8, "got uint8; .*the file's own preprocessing out of it"),
        (TensorProto.DOUBLE, "got float64; .*convert the network to float32"),
        (TensorProto.FLOAT16, "got float16; .*in float32"),
        (TensorProto.INT8, "got int8; expected float32"),
    ],
)
def test_inputs_that_are_not_float32_are_refused(element: int, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        match(TensorInput(shape=(2,)), [1, 2], element=element)


def pair(first: str, second: str) -> SeveralInputs:
    return SeveralInputs(parts={first: TensorInput(shape=(2,)), second: TensorInput(shape=(3,))})


def test_several_are_matched_by_name_where_all_are_the_same() -> None:
    found = match(pair("b", "a"), [1, 3], [1, 2], names=["a", "b"])
    assert [(part.name, part.target.name) for part in found] == [("b", "b"), ("a", "a")]


def test_several_are_matched_in_order_where_no_name_is_the_same() -> None:
    found = match(pair("b", "a"), [1, 2], [1, 3], names=["x:0", "y:0"])
    assert [(part.name, part.target.name) for part in found] == [("b", "x:0"), ("a", "y:0")]


def test_several_whose_names_are_the_same_in_part_are_refused() -> None:
    with pytest.raises(ModelError, match="all the same names or none"):
        match(pair("a", "c"), [1, 2], [1, 3], names=["a", "b"])


@pytest.mark.parametrize("shapes", [[[1, 2]], [[1, 2], [1, 3], [1, 4]]])
def test_another_number_of_inputs_is_refused(shapes: list[Sizes]) -> None:
    with pytest.raises(ModelError, match="expected 2: a, b"):
        match(pair("a", "b"), *shapes)


def test_batches_of_different_sizes_are_refused() -> None:
    with pytest.raises(ModelError, match="one batch size"):
        match(pair("a", "b"), [1, 2], ["n", 3])

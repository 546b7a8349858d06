"""A graph whose batch was fixed when it was exported, made to take any."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def free_batch(graph: ir.Graph, fixed: int | None) -> None:
    """Let the first axis of every input and of every answer be free, in place.

    Shapes that the file claims for values inside are dropped. Where the batch was fixed, a
    Reshape whose constant target begins with it has that size left to be computed: memory is
    row by row, so the outermost axis is the one that a larger batch makes longer. This holds for
    values with the batch as their first axis; whether it was so is for the caller to prove by
    running the graph.

    Args:
        graph: Changed in place; constants are initializers.
        fixed: The batch size that the file was exported with; None when it is free already.
    """
    for value in graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape(["batch", *list(value.shape)[1:]])
    depends = _depend_on_inputs(graph)
    for node in graph:
        for value in node.outputs:
            value.shape = value.type = None
        if fixed is not None and node.op_type == "Reshape" and node.inputs[0] in depends:
            _free_reshape(graph, node, fixed)


def _depend_on_inputs(graph: ir.Graph) -> set[ir.Value | None]:
    found: set[ir.Value | None] = set(graph.inputs)
    for node in graph:
        if any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _free_reshape(graph: ir.Graph, node: ir.Node, fixed: int) -> None:
    target = node.inputs[1]
    if target is None or target.const_value is None:
        return
    sizes = target.const_value.numpy().astype(np.int64).ravel().tolist()
    if not sizes or sizes[0] <= 0 or sizes[0] % fixed:
        return
    if -1 not in sizes:
        sizes[0] = -1
    elif sizes[0] == fixed and 0 not in sizes:
        # 0 copies the size of the same axis of what is reshaped, unless an attribute denies it.
        sizes[0] = 0
        node.attributes.pop("allowzero", None)
    else:
        return
    name = f"{node.name}.shape"
    freed = ir.Value(name=name, const_value=ir.tensor(np.array(sizes, np.int64), name=name))
    graph.register_initializer(freed)
    node.replace_input_with(1, freed)

"""ONNX models of a few nodes that are no detectors."""

import onnx
from onnx import TensorProto, helper


def save(path, nodes, inputs, outputs):
    """A model of these nodes; inputs and outputs by name: (type, shape)."""
    values = [[helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()] for side in (inputs, outputs)]
    model = helper.make_model(helper.make_graph(nodes, "g", *values), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def save_sum(path):
    free = {"a": (TensorProto.FLOAT, ["n"]), "b": (TensorProto.FLOAT, ["n"])}
    nodes = [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Less", ["a", "b"], ["less"])]
    return save(path, nodes, free, {"sum": (TensorProto.FLOAT, ["n"]), "less": (TensorProto.BOOL, ["n"])})


def save_table(path):
    """N -> an n x n table: a small question with a large answer."""
    nodes = [
        helper.make_node("Unsqueeze", ["x", "one"], ["column"]),
        helper.make_node("Mul", ["x", "column"], ["table"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("table", TensorProto.FLOAT, ["n", "m"])],
        [helper.make_tensor("one", TensorProto.INT64, [1], [1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path

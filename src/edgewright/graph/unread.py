"""Drop constants that nobody reads any more, and what was known of tensors that may be gone."""

import onnx


def drop_unread(graph: onnx.GraphProto) -> None:
    """Leave only the constants of `graph`, which has no inner graphs, that its nodes read or that are outputs."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    held = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(held)

"""Where things are in a model: its graph, the graphs inside If, Loop and Scan, and its local functions.

Depth is bounded by the parser, which refuses a message nested more than a hundred deep.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from edgewright.printable import printable


@dataclass(frozen=True, slots=True)
class Block:
    """A list of nodes and the names it starts from: a graph, a graph inside a node, or the body of a function."""

    where: str
    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    initializers: tuple[onnx.TensorProto, ...] = ()
    sparse: tuple[onnx.SparseTensorProto, ...] = ()
    opsets: tuple[tuple[str, int], ...] | None = None  # a function imports its own; a graph uses the model's


def block_of(graph: onnx.GraphProto, where: str = "graph") -> Block:
    return Block(
        where,
        tuple(graph.node),
        tuple(value.name for value in graph.input),
        tuple(value.name for value in graph.output),
        tuple(graph.initializer),
        tuple(graph.sparse_initializer),
    )


def blocks(model: onnx.ModelProto) -> Iterator[Block]:
    """The main graph first, then what is nested in it, then the functions."""
    for block in roots(model):
        yield block
        yield from _nested(block)


def roots(model: onnx.ModelProto) -> Iterator[Block]:
    """The main graph and the functions: the blocks that see no names but their own."""
    yield block_of(model.graph)
    for function in model.functions:
        opsets = tuple((opset.domain, opset.version) for opset in function.opset_import)
        where = f"function {printable(function.name)}"
        yield Block(where, tuple(function.node), tuple(function.input), tuple(function.output), opsets=opsets)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def subblocks(node: onnx.NodeProto, opsets: tuple[tuple[str, int], ...] | None = None) -> Iterator[Block]:
    for graph in subgraphs(node):
        block = block_of(graph, f"graph inside {node_label(node)}")
        yield Block(block.where, block.nodes, block.inputs, block.outputs, block.initializers, block.sparse, opsets)


def _nested(block: Block) -> Iterator[Block]:
    for node in block.nodes:
        for inner in subblocks(node, block.opsets):
            yield inner
            yield from _nested(inner)


def tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every tensor held in the model with a word on where it is: initializers, sparse parts and attributes."""
    for block in blocks(model):
        for tensor in block.initializers:
            yield f"initializer {printable(tensor.name)}", tensor
        for sparse in block.sparse:
            yield from _parts(sparse, f"sparse initializer {printable(sparse.values.name)}")
        for node in block.nodes:
            yield from _of_attributes(node)


def _of_attributes(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for attribute in node.attribute:
        where = f"attribute {printable(attribute.name)} of {node_label(node)}"
        held = [attribute.t] if attribute.HasField("t") else []
        yield from ((where, tensor) for tensor in (*held, *attribute.tensors))
        sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
        for one in (*sparse, *attribute.sparse_tensors):
            yield from _parts(one, where)


def _parts(sparse: onnx.SparseTensorProto, where: str) -> Iterator[tuple[str, onnx.TensorProto]]:
    yield where, sparse.values
    yield where, sparse.indices


def node_label(node: onnx.NodeProto) -> str:
    """A node by its name, or by what it makes where it has none."""
    named = node.name or next((name for name in node.output if name), "")
    return f"{printable(node.op_type, 40)} {printable(named)}".rstrip()


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What the caller must feed; up to IR version 3 every initializer was listed among the inputs as well."""
    held = {tensor.name for tensor in graph.initializer} | {sparse.values.name for sparse in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in held]


def normal_domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def opset_of(model: onnx.ModelProto, domain: str = "") -> int | None:
    """The version of `domain` that the model imports."""
    versions = [opset.version for opset in model.opset_import if normal_domain(opset.domain) == domain]
    return versions[0] if versions else None

"""How much a model holds and computes: parameters, and multiply-accumulates of one run."""

import math
from collections.abc import Callable, Iterator, Sequence

import onnx

from edgewright.graph.compatibility import attribute_int
from edgewright.graph.tensors import element_count
from edgewright.graph.values import Inferred, Value, infer
from edgewright.graph.weights import LEARNED, WEIGHTS, Operand, scopes

Sizes = tuple[int, ...]
SizeOf = Callable[[Sequence[str], int], Sizes | None]


def learned_operands(model: onnx.ModelProto) -> Iterator[Operand]:
    """Each learned tensor once, however many nodes share it."""
    for scope in scopes(model):
        seen = set()
        own = {tensor.name for tensor in scope.block.initializers} | {name for node in scope.block.nodes for name in node.output}
        for operand in scope.operands(WEIGHTS, LEARNED):
            if operand.name in own and operand.name not in seen:
                seen.add(operand.name)
                yield operand


def parameter_count(model: onnx.ModelProto) -> int:
    """Elements of weights, biases and normalisation scales; running statistics and quantization scales are not parameters."""
    return sum(element_count(operand.tensor) for operand in learned_operands(model))


def mac_count(model: onnx.ModelProto) -> int | None:
    """Multiply-accumulates of convolutions and matrix products; None where a size is free or a loop decides."""
    graph = infer(model)
    if any(node.op_type in COUNTS for inner in graph.nested for block in inner.all() for node in block.nodes) or model.functions:
        return None
    counts = [COUNTS[node.op_type](node, _sizes_in(graph)) for node in graph.nodes if node.op_type in COUNTS]
    return None if None in counts else sum(count for count in counts if count is not None)


def _sizes_in(graph: Inferred) -> SizeOf:
    def size_of(names: Sequence[str], index: int) -> Sizes | None:
        # A contributed operator has no schema that says how many operands it must have.
        return _fixed(graph.values.get(names[index])) if index < len(names) else None

    return size_of


def _fixed(value: Value | None) -> Sizes | None:
    if value is None or value.sizes is None:
        return None
    fixed = tuple(size for size in value.sizes if size is not None)
    return fixed if len(fixed) == len(value.sizes) else None


def _convolution(weight_at: int) -> Callable[[onnx.NodeProto, SizeOf], int | None]:
    def count(node: onnx.NodeProto, size_of: SizeOf) -> int | None:
        made, weight = size_of(node.output, 0), size_of(node.input, weight_at)
        return None if made is None or weight is None else math.prod(made) * math.prod(weight[1:])

    return count


def _transposed_convolution(node: onnx.NodeProto, size_of: SizeOf) -> int | None:
    got, weight = size_of(node.input, 0), size_of(node.input, 1)
    return None if got is None or weight is None else math.prod(got) * math.prod(weight[1:])


def _product(node: onnx.NodeProto, size_of: SizeOf) -> int | None:
    made, left = size_of(node.output, 0), size_of(node.input, 0)
    return None if made is None or not left else math.prod(made) * left[-1]


def _gemm(node: onnx.NodeProto, size_of: SizeOf) -> int | None:
    made, left = size_of(node.output, 0), size_of(node.input, 0)
    if made is None or left is None or len(left) != 2:
        return None
    return math.prod(made) * left[0 if attribute_int(node, "transA", 0) else 1]


COUNTS: dict[str, Callable[[onnx.NodeProto, SizeOf], int | None]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "QGemm": _gemm,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "MatMulIntegerToFloat": _product,
    "DynamicQuantizeMatMul": _product,
}

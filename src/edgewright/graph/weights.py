"""Which tensors are weights: the constants that reach a learned operand, directly or through casts and dequantization.

Zero biases, `-inf` attention masks and shape constants are common and sound, so what is asked of a weight is asked of weights only.
"""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.graph.walk import Block, roots, subblocks

# Operand positions, by operator. A matrix product may hold its weight on either side.
WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "DeformConv": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "ConvInteger": (1,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
    "QGemm": (0, 3),
    "FusedConv": (1,),
    "NhwcConv": (1,),
    "NhwcFusedConv": (1,),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "MatMulNBits": (1,),
}
LEARNED: dict[str, tuple[int, ...]] = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "DeformConv": (3,),
    "Gemm": (2,),
    "QLinearConv": (8,),
    "QGemm": (6,),
    "FusedConv": (2,),
    "NhwcConv": (2,),
    "NhwcFusedConv": (2,),
    "FusedGemm": (2,),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
MEASURED: dict[str, tuple[int, ...]] = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
}
VARIANCES: dict[str, tuple[int, ...]] = {"BatchNormalization": (4,)}
ZERO_POINTS: dict[str, dict[int, int]] = {
    "ConvInteger": {1: 3},
    "MatMulInteger": {0: 2, 1: 3},
    "QLinearConv": {3: 5},
    "QLinearMatMul": {0: 2, 3: 5},
    "QGemm": {0: 2, 3: 5},
}
CARRIERS = {"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "QuantizeLinear", "DequantizeLinear"}
MAX_CARRIERS = 16


@dataclass(frozen=True, slots=True)
class Operand:
    """A constant used at position `index` of `node`."""

    node: onnx.NodeProto
    index: int
    name: str
    tensor: onnx.TensorProto
    zero_point: onnx.TensorProto | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """A block with the constants and producers it can see, its own and those around it."""

    block: Block
    constants: Mapping[str, onnx.TensorProto]
    producers: Mapping[str, onnx.NodeProto]

    def operands(self, *tables: dict[str, tuple[int, ...]]) -> Iterator[Operand]:
        """The constants at the positions that any of the tables gives."""
        for node in self.block.nodes:
            for index in sorted({index for table in tables for index in table.get(node.op_type, ())}):
                operand = self._operand(node, index)
                if operand is not None:
                    yield operand

    def _operand(self, node: onnx.NodeProto, index: int) -> Operand | None:
        name = _input(node, index)
        zero_point = self.constants.get(_input(node, ZERO_POINTS.get(node.op_type, {}).get(index, -1)))
        for _ in range(MAX_CARRIERS):
            if name in self.constants:
                return Operand(node, index, name, self.constants[name], zero_point)
            producer = self.producers.get(name)
            if producer is None or producer.op_type not in CARRIERS:
                return None
            if producer.op_type == "DequantizeLinear":
                zero_point = self.constants.get(_input(producer, 2))
            name = _input(producer, 0)
        return None


def scopes(model: onnx.ModelProto) -> Iterator[Scope]:
    for block in roots(model):
        yield from _scopes(block, ChainMap(), ChainMap())


def _scopes(block: Block, constants: ChainMap[str, onnx.TensorProto], producers: ChainMap[str, onnx.NodeProto]) -> Iterator[Scope]:
    # Chained, not copied: ten thousand branches in a graph of as many names would be a hundred million entries.
    constants = constants.new_child(own_constants(block))
    producers = producers.new_child({name: node for node in block.nodes for name in node.output})
    yield Scope(block, constants, producers)
    for node in block.nodes:
        for inner in subblocks(node):
            yield from _scopes(inner, constants, producers)


def own_constants(block: Block) -> dict[str, onnx.TensorProto]:
    """Initializers, and what Constant nodes hold: some exporters keep weights there."""
    found = {tensor.name: tensor for tensor in block.initializers}
    for node in block.nodes:
        if node.op_type == "Constant":
            held = next((held for attribute in node.attribute if (held := _held(attribute)) is not None), None)
            found |= dict.fromkeys(node.output, held) if held is not None else {}
    return found


def _held(attribute: onnx.AttributeProto) -> onnx.TensorProto | None:
    """What a Constant node holds as an attribute, numbers written in lists among them."""
    numbers = {
        "value_float": (attribute.f, np.float32),
        "value_floats": (attribute.floats, np.float32),
        "value_int": (attribute.i, np.int64),
        "value_ints": (attribute.ints, np.int64),
    }
    if attribute.name == "value":
        return attribute.t
    if attribute.name not in numbers:
        return None
    values, dtype = numbers[attribute.name]
    return onnx.numpy_helper.from_array(np.array(values, dtype))


def is_blank(operand: Operand) -> bool:
    """Whether the weight says nothing: all zero or, for integers, all at the zero point."""
    if onnx.TensorProto.STRING in (operand.tensor.data_type, operand.zero_point.data_type if operand.zero_point is not None else None):
        return False
    values = onnx.numpy_helper.to_array(operand.tensor)
    if operand.zero_point is None:
        return not _any(values)
    zero = onnx.numpy_helper.to_array(operand.zero_point)
    # Zero points that differ by channel belong to an axis we do not know here; doubt is not a reason to refuse.
    return zero.size > 0 and bool((zero == zero.flat[0]).all()) and bool((values == zero.flat[0]).all())


def _any(values: NDArray[np.generic]) -> bool:
    return bool(np.any(values != values.dtype.type(0)))


def _input(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if 0 <= index < len(node.input) else ""

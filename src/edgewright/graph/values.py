"""Type and shape of every value in a model, as far as inference can tell.

Inference runs on a skeleton without the big weights, whose dims are all it reads: a 200 MB model costs a few MB, and what the file
claims about inner values is not believed.
"""

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from edgewright.graph.operators import CONTRIBUTED_DOMAIN, standard_domains
from edgewright.graph.tensors import element_count
from edgewright.graph.walk import normal_domain, subgraphs

Dim = int | str | None
# Contributed operators that quantizers and optimisers emit, and the standard one whose shapes they share: the operator and where its
# operands stand among theirs.
STAND_INS: dict[str, tuple[str, slice]] = {
    "QuantizeLinear": ("QuantizeLinear", slice(0, 3)),
    "DequantizeLinear": ("DequantizeLinear", slice(0, 3)),
    "QLinearSigmoid": ("Identity", slice(0, 1)),
    "QLinearLeakyRelu": ("Identity", slice(0, 1)),
    "QLinearSoftmax": ("Identity", slice(0, 1)),
    "QuickGelu": ("Identity", slice(0, 1)),
    "QLinearAdd": ("Add", slice(0, 6, 3)),
    "QLinearMul": ("Mul", slice(0, 6, 3)),
    "QLinearConcat": ("Concat", slice(2, None, 3)),
    "QLinearAveragePool": ("AveragePool", slice(0, 1)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", slice(0, 1)),
    "FusedConv": ("Conv", slice(0, 3)),
}
READ_BY_INFERENCE = 4096  # elements: shapes, scales and axes are far smaller, weights far larger


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor: element type (0 where unknown) and dims (None where not even the rank is known)."""

    elem_type: int
    dims: tuple[Dim, ...] | None

    @property
    def sizes(self) -> tuple[int | None, ...] | None:
        """The dims that are numbers, None in place of the others."""
        return None if self.dims is None else tuple(dim if isinstance(dim, int) else None for dim in self.dims)


@dataclass(frozen=True, slots=True)
class Inferred:
    """The main graph's values, those of the graphs inside it, and what inference could not agree with."""

    nodes: tuple[onnx.NodeProto, ...]
    values: ChainMap[str, Value]
    nested: tuple["Inferred", ...]
    complaint: str | None = None

    def all(self) -> Iterator["Inferred"]:
        yield self
        for inner in self.nested:
            yield from inner.all()


def infer(model: onnx.ModelProto) -> Inferred:
    """Infer, strictly where the model allows it; a model that defeats inference yields what is declared, and a complaint."""
    skeleton = _skeleton(model)
    complaint = None
    for strict in (True, False):
        try:
            inferred = onnx.shape_inference.infer_shapes(skeleton, strict_mode=strict, data_prop=True)
        except Exception as reason:  # noqa: BLE001 - a foreign graph can make the C++ side raise anything; it becomes a finding
            complaint = complaint or str(reason)
        else:
            return _values(model.graph, inferred.graph, ChainMap(), complaint)
    return _values(model.graph, skeleton.graph, ChainMap(), complaint)


def contradiction(model: onnx.ModelProto) -> str | None:
    """What shapes and types alone contradict, with no number followed through the graph: runtimes refuse it for the same reason."""
    if model.functions:
        return None
    try:
        onnx.shape_inference.infer_shapes(_skeleton(model), strict_mode=True)
    except onnx.shape_inference.InferenceError as reason:
        return str(reason)
    except Exception:  # noqa: BLE001 - as above; what is no verdict on shapes is no contradiction
        return None
    return None


def _skeleton(model: onnx.ModelProto) -> onnx.ModelProto:
    skeleton = onnx.ModelProto(ir_version=model.ir_version)
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    skeleton.graph.name = "skeleton"
    skeleton.graph.node.extend(_stand_in(node) for node in model.graph.node)
    skeleton.graph.input.extend(model.graph.input)
    skeleton.graph.output.extend(model.graph.output)
    skeleton.graph.sparse_initializer.extend(model.graph.sparse_initializer)
    skeleton.graph.initializer.extend(_hollow(tensor) for tensor in model.graph.initializer)
    # Inference knows nothing of foreign operators, so there the file's word is all there is.
    foreign = {name for node in skeleton.graph.node if normal_domain(node.domain) not in standard_domains() for name in node.output}
    skeleton.graph.value_info.extend(value for value in model.graph.value_info if value.name in foreign)
    return skeleton


def _stand_in(node: onnx.NodeProto) -> onnx.NodeProto:
    if node.domain != CONTRIBUTED_DOMAIN or node.op_type not in STAND_INS:
        return node
    operator, operands = STAND_INS[node.op_type]
    return onnx.NodeProto(op_type=operator, input=node.input[operands], output=node.output, attribute=node.attribute)


def _hollow(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if element_count(tensor) <= READ_BY_INFERENCE:
        return tensor
    return onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _values(asked: onnx.GraphProto, graph: onnx.GraphProto, outer: ChainMap[str, Value], complaint: str | None = None) -> Inferred:
    values = outer.new_child()  # chained, not copied: see weights.scopes
    for info in (*graph.input, *graph.output, *graph.value_info):
        if info.type.HasField("tensor_type"):
            values[info.name] = value_of(info)
    values.update({tensor.name: Value(tensor.data_type, tuple(tensor.dims)) for tensor in graph.initializer})
    pairs = [inner for pair in zip(asked.node, graph.node, strict=True) for inner in zip(*map(subgraphs, pair), strict=True)]
    nested = tuple(_values(before, after, values) for before, after in pairs)
    return Inferred(tuple(asked.node), values, nested, complaint)


def value_of(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    known = tensor.elem_type in onnx.TensorProto.DataType.values()  # protobuf lets any number through
    return Value(tensor.elem_type if known else 0, tuple(_dim(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None  # some exporters write -1 for a free axis
    return dim.dim_param or None

"""An ONNX graph of a convolutional detector as ncnn's two files: `param`, a text of layers, and `bin`, their weights.

The format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. ncnn leaves the batch axis out, which is 1 here, so an axis
counts one less, and nothing may be read twice: what has several readers goes through a `Split`. Why this is not pnnx's work is in
docs/decisions/0012-ncnn-conversion.md. An operator that is not in `WRITERS` is refused by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.helper import get_attribute_value

from edgewright.errors import EngineError
from edgewright.printable import printable

MAGIC = 7767517
HALF_WEIGHTS = 0x01306B47  # the tag in front of weights in float16; 0 in front of float32
BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}
TURNED = {"Add": 0, "Sub": 7, "Mul": 2, "Div": 8}  # the same with the operands the other way round
# The new axes from the innermost outwards, named as the old ones were: ncnn's src/layer/permute.cpp.
PERMUTATIONS = {
    2: ("wh", "hw"),
    3: ("whc", "hwc", "wch", "cwh", "hcw", "chw"),
}
AXES = {2: "hw", 3: "chw"}


@dataclass(frozen=True, slots=True)
class NcnnFiles:
    """The text and the weights; inputs are called in0, in1, ... and outputs out0, out1, ..."""

    param: str
    weights: bytes


@dataclass(slots=True)
class _Layer:
    kind: str
    reads: list[str]
    writes: list[str]
    parameters: str = ""


def write_ncnn(model: onnx.ModelProto, *, half: bool = False) -> NcnnFiles:
    """The model in ncnn's format, its weights in float16 if `half`.

    Raises:
        EngineError: an operator or a shape that ncnn, or this writer, does not have.
    """
    graph = _Graph(onnx.shape_inference.infer_shapes(model).graph, half=half)
    unknown = sorted({node.op_type for node in graph.nodes} - set(WRITERS))
    if unknown:
        raise EngineError(
            f"ncnn cannot take this model: it has the operator {printable(unknown[0])}",
            expected=f"{', '.join(sorted(WRITERS))}",
            fix="cut the head off, or use another engine",
        )
    for value in (*graph.fed, *(output.name for output in model.graph.output)):
        graph.shape(value)
    for at, value in enumerate(graph.fed):
        graph.layers.append(_Layer("Input", [], [value]))
        graph.named[value] = f"in{at}"
    for node in graph.nodes:
        WRITERS[node.op_type](graph, node)
    return NcnnFiles(graph.text(), b"".join(graph.weights))


@dataclass(slots=True)
class _Graph:
    """What is being read, and the layers written so far."""

    graph: onnx.GraphProto
    half: bool
    layers: list[_Layer] = field(default_factory=list)
    weights: list[bytes] = field(default_factory=list)
    named: dict[str, str] = field(default_factory=dict)
    held: dict[str, NDArray[Any]] = field(init=False)
    shapes: dict[str, tuple[int, ...]] = field(init=False)
    fed: list[str] = field(init=False)
    nodes: list[onnx.NodeProto] = field(init=False)
    swishes: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.graph
        self.held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                self.held[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self.shapes = {
            value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
            for value in (*graph.value_info, *graph.input, *graph.output)
        }
        self.fed = [value.name for value in graph.input if value.name not in self.held]
        for value in graph.input:
            if value.name in self.fed and value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
                raise EngineError("ncnn takes pictures as float32", got=f"the input {printable(value.name)} of another type")
        self.swishes = _swishes(graph)
        self.nodes = [node for node in graph.node if node.output[0] not in self.held and node.output[0] not in self.swishes]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor without its batch axis.

        Raises:
            EngineError: it is not known, or is no batch of one.
        """
        shape = self.shapes.get(name, ())
        if not 2 <= len(shape) <= 5 or shape[0] != 1 or 0 in shape:
            got = f"{list(shape)} at {printable(name)}"
            raise EngineError(
                "ncnn takes tensors of fixed size, one picture at a time", got=got, fix="export it with batch 1 and a fixed size"
            )
        return shape[1:]

    def constant(self, node: onnx.NodeProto, at: int) -> NDArray[Any] | None:
        """The input of that number, where it is a constant."""
        return self.held.get(node.input[at]) if at < len(node.input) and node.input[at] else None

    def add(self, kind: str, node: onnx.NodeProto, *, reads: Sequence[str] | None = None, parameters: str = "") -> None:
        """A layer for the node; tensors that hold numbers of the file become layers of their own."""
        names = list(node.input if reads is None else reads)
        for name in names:
            if name in self.held:
                self._remember(name)
        self.layers.append(_Layer(kind, names, list(node.output), parameters))

    def put(self, values: NDArray[Any], *, tagged: bool = True) -> None:
        """Weights into the file."""
        half = self.half and tagged
        data = np.ascontiguousarray(values, np.float16 if half else np.float32).tobytes()
        if tagged:
            self.weights.append((HALF_WEIGHTS if half else 0).to_bytes(4, "little"))
        self.weights.append(data + bytes(-len(data) % 4))

    def _remember(self, name: str) -> None:
        if any(name in layer.writes for layer in self.layers):
            return
        values = self.held[name]
        shape = values.shape[1:] if values.ndim > 3 else values.shape
        if not 1 <= len(shape) <= 3:
            raise EngineError("ncnn cannot take this model", got=f"a constant of {values.ndim} axes", fix="use another engine")
        sides = " ".join(f"{at}={side}" for at, side in enumerate(reversed(shape)))
        self.layers.append(_Layer("MemoryData", [], [name], sides))
        self.put(values, tagged=False)

    def text(self) -> str:
        """The param file."""
        self.named |= {value.name: f"out{at}" for at, value in enumerate(self.graph.output)}
        layers = self._read_once()
        blobs = sum(len(layer.writes) for layer in layers)
        lines = [str(MAGIC), f"{len(layers)} {blobs}"]
        known: dict[str, str] = dict(self.named)
        for at, layer in enumerate(layers):
            names = [known.setdefault(name, f"b{len(known)}") for name in (*layer.reads, *layer.writes)]
            lines.append(f"{layer.kind} l{at} {len(layer.reads)} {len(layer.writes)} {' '.join(names)} {layer.parameters}".rstrip())
        return "\n".join(lines) + "\n"

    def _read_once(self) -> list[_Layer]:
        """The layers with a Split behind everything that has more than one reader; who asks for an output is a reader."""
        readers: dict[str, list[tuple[_Layer, int]]] = {}
        for layer in self.layers:
            for at, name in enumerate(layer.reads):
                readers.setdefault(name, []).append((layer, at))
        asked = {value.name for value in self.graph.output}
        layers = []
        for layer in self.layers:
            layers.append(layer)
            for at, name in enumerate(layer.writes):
                mine = readers.get(name, [])
                if len(mine) + (name in asked) < 2:
                    continue
                whole = f"{name}\n"  # a name that no tensor of ours has: they are renamed when they are written
                copies = [f"{name}\n{n}" for n in range(len(mine))]
                layers.append(_Layer("Split", [whole], [*copies, *([name] if name in asked else [])]))
                layer.writes[at] = whole
                if name in self.fed:
                    self.named[whole] = self.named.pop(name)
                for (reader, place), copy in zip(mine, copies, strict=True):
                    reader.reads[place] = copy
        return layers


def _swishes(graph: onnx.GraphProto) -> dict[str, str]:
    """Sigmoids that nothing reads but the product with their own input, by their output: that product is one layer of ncnn's."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    found = {}
    for node in graph.node:
        mine = readers.get(node.output[0], []) if node.op_type == "Sigmoid" else []
        gate = node.output[0]
        if len(mine) == 1 and gate not in outputs and mine[0].op_type == "Mul" and sorted(mine[0].input) == sorted([node.input[0], gate]):
            found[gate] = node.input[0]
    return found


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _refuse(node: onnx.NodeProto, got: str) -> EngineError:
    return EngineError(f"ncnn cannot take this {node.op_type}", got=got, fix="use another engine")


def _axis(graph: _Graph, node: onnx.NodeProto, axis: int) -> int:
    """An axis of the node's first input as ncnn counts."""
    rank = len(graph.shape(node.input[0])) + 1
    axis %= rank
    if axis == 0:
        raise _refuse(node, "the batch axis")
    return axis - 1


def _pads(node: onnx.NodeProto, told: Mapping[str, Any]) -> list[int]:
    """Top, left, bottom, right."""
    if told.get("auto_pad", b"NOTSET") != b"NOTSET" or len(told.get("kernel_shape", [0, 0])) != 2:
        raise _refuse(node, "padding that the runtime is to choose, or another number of axes than two")
    return list(told.get("pads", [0] * 4))


def _conv(graph: _Graph, node: onnx.NodeProto) -> None:
    told, weight, bias = _attributes(node), graph.constant(node, 1), graph.constant(node, 2)
    if weight is None or weight.ndim != 4 or (bias is None and len(node.input) > 2):
        raise _refuse(node, "weights that are no constant of four axes")
    (top, left, bottom, right), group = _pads(node, told), told.get("group", 1)
    (dilate_y, dilate_x), (step_y, step_x) = told.get("dilations", (1, 1)), told.get("strides", (1, 1))
    out, _, high, wide = weight.shape
    values: dict[int, int] = {0: out, 1: wide, 11: high, 2: dilate_x, 12: dilate_y, 3: step_x, 13: step_y}
    values |= {4: left, 15: right, 14: top, 16: bottom, 5: int(bias is not None), 6: weight.size}
    if group > 1:
        values[7] = group
    parameters = " ".join(f"{key}={value}" for key, value in values.items())
    graph.add("Convolution" if group == 1 else "ConvolutionDepthWise", node, reads=[node.input[0]], parameters=parameters)
    graph.put(weight)
    if bias is not None:
        graph.put(bias, tagged=False)


def _mul(graph: _Graph, node: onnx.NodeProto) -> None:
    gates = [name for name in node.input if name in graph.swishes]
    if gates:
        graph.add("Swish", node, reads=[graph.swishes[gates[0]]])
    else:
        _binary(graph, node)


def _binary(graph: _Graph, node: onnx.NodeProto) -> None:
    """Two tensors of one shape, or a tensor and a constant of any that is spread over it."""
    (first, second), kinds = (graph.constant(node, at) for at in (0, 1)), (BINARY[node.op_type], TURNED[node.op_type])
    read, kind, held = (node.input[0], kinds[0], second) if first is None else (node.input[1], kinds[1], first)
    shape = graph.shape(read)
    if held is None:
        if graph.shape(node.input[1]) != shape:
            raise _refuse(node, "tensors of different shapes")
        graph.add("BinaryOp", node, parameters=f"0={kind}")
    elif held.size == 1:
        graph.add("BinaryOp", node, reads=[read], parameters=f"0={kind} 1=1 2={float(held.reshape(-1)[0]):.9g}")
    elif held.ndim == len(shape) + 1 and graph.shape(node.output[0]) == shape:
        graph.add("BinaryOp", node, reads=[read, node.input[0] if held is first else node.input[1]], parameters=f"0={kind}")
    else:
        raise _refuse(node, f"a constant of shape {list(held.shape)} beside {[1, *shape]}")


def _concat(graph: _Graph, node: onnx.NodeProto) -> None:
    graph.add("Concat", node, parameters=f"0={_axis(graph, node, _attributes(node)['axis'])}")


def _split(graph: _Graph, node: onnx.NodeProto) -> None:
    axis = _axis(graph, node, _attributes(node).get("axis", 0))
    sizes = [graph.shape(name)[axis] for name in node.output]
    graph.add("Slice", node, reads=[node.input[0]], parameters=f"-23300={len(sizes)},{','.join(map(str, sizes))} 1={axis}")


def _max_pool(graph: _Graph, node: onnx.NodeProto) -> None:
    told = _attributes(node)
    top, left, bottom, right = _pads(node, told)
    if told.get("ceil_mode", 0) or set(told.get("dilations", [1])) != {1} or len(node.output) > 1:
        raise _refuse(node, "rounding up, dilation or indices")
    (high, wide), (step_y, step_x) = told["kernel_shape"], told.get("strides", (1, 1))
    sides = f"1={wide} 11={high} 2={step_x} 12={step_y} 3={left} 14={right} 13={top} 15={bottom}"
    graph.add("Pooling", node, parameters=f"0=0 {sides} 5=1")


def _resize(graph: _Graph, node: onnx.NodeProto) -> None:
    (channels, high, wide), (after, higher, wider) = graph.shape(node.input[0]), graph.shape(node.output[0])
    if _attributes(node).get("mode", b"nearest") != b"nearest" or channels != after or higher % high or wider % wide:
        raise _refuse(node, "another way than the nearest value, or no whole factor")
    graph.add("Interp", node, reads=[node.input[0]], parameters=f"0=1 1={higher // high} 2={wider // wide}")


def _reshape(graph: _Graph, node: onnx.NodeProto) -> None:
    shape = graph.shape(node.output[0])
    keys = {1: "0", 2: "10", 3: "210", 4: ("2", "11", "1", "0")}[len(shape)]
    graph.add("Reshape", node, reads=[node.input[0]], parameters=" ".join(f"{key}={side}" for key, side in zip(keys, shape, strict=True)))


def _transpose(graph: _Graph, node: onnx.NodeProto) -> None:
    order = _attributes(node).get("perm", [])
    names = AXES.get(len(order) - 1)
    if names is None or order[0] != 0:
        raise _refuse(node, f"the order {list(order)}")
    inside_out = "".join(names[axis - 1] for axis in reversed(order[1:]))
    graph.add("Permute", node, parameters=f"0={PERMUTATIONS[len(names)].index(inside_out)}")


def _softmax(graph: _Graph, node: onnx.NodeProto) -> None:
    graph.add("Softmax", node, parameters=f"0={_axis(graph, node, _attributes(node).get('axis', -1))} 1=1")


def _matmul(graph: _Graph, node: onnx.NodeProto) -> None:
    if any(name in graph.held for name in node.input) or len({len(graph.shape(name)) for name in node.input}) != 1:
        raise _refuse(node, "a constant, or operands of different numbers of axes")
    graph.add("MatMul", node)


def _space_to_depth(graph: _Graph, node: onnx.NodeProto) -> None:
    # ONNX counts blocks first and channels inside (mode 1); pnnx 20261020 writes mode 0, and YOLOX comes out wrong.
    graph.add("Reorg", node, parameters=f"0={_attributes(node)['blocksize']} 1=1")


def _gather(graph: _Graph, node: onnx.NodeProto) -> None:
    """Channels in another order: ncnn has no such layer, but a 1 x 1 convolution with a single 1 a row says the same exactly."""
    order = graph.constant(node, 1)
    shape = graph.shape(node.input[0])
    if order is None or order.ndim != 1 or len(shape) != 3 or _axis(graph, node, _attributes(node).get("axis", 0)) != 0:
        raise _refuse(node, "something else than channels in a fixed order")
    chosen = np.eye(shape[0], dtype=np.float32)[order]
    graph.add("Convolution", node, reads=[node.input[0]], parameters=f"0={len(order)} 1=1 5=0 6={chosen.size}")
    graph.put(chosen)


def _relu(graph: _Graph, node: onnx.NodeProto) -> None:
    graph.add("ReLU", node, parameters=f"0={_attributes(node).get('alpha', 0.01):.9g}" if node.op_type == "LeakyRelu" else "")


WRITERS: Mapping[str, Callable[[_Graph, onnx.NodeProto], None]] = {
    "Add": _binary,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary,
    "Gather": _gather,
    "Identity": lambda graph, node: graph.add("Noop", node),
    "LeakyRelu": _relu,
    "MatMul": _matmul,
    "MaxPool": _max_pool,
    "Mul": _mul,
    "Relu": _relu,
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": lambda graph, node: graph.add("Sigmoid", node),
    "Softmax": _softmax,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Sub": _binary,
    "Tanh": lambda graph, node: graph.add("TanH", node),
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}

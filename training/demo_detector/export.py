"""From the module to an ONNX file that reads as a YOLOv8 export, node by node with onnx.helper.

The network's body is walked with torch.fx; batch norm is folded into its convolution; the decoding tail is written as the
YOLOv8 exporters write it: per stride box and class channels joined, strides joined, the distribution's mean as a 1x1
convolution over a softmax, distances to boxes with constant anchors.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from demo_detector.model import REG_MAX, STRIDES, ConvNormAct, DemoDetector
from edgewright.learn.cells import centres_of

OPSET: Final = 17
_IR_VERSION: Final = 8


class _BlocksAsLeaves(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, ConvNormAct) or super().is_leaf_module(m, module_qualified_name)


class _Writer:
    """Collects nodes and initializers; every method appends a node and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, *, outputs: int = 1, output: str | None = None, **attributes: Any) -> list[str]:
        names = [output] if output else [f"{name}_output_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        return names

    def conv(self, x: str, name: str, conv: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor) -> str:
        key = name.strip("/").replace("/", ".")
        inputs = [x, self.constant(f"{key}.weight", weight.numpy()), self.constant(f"{key}.bias", bias.numpy())]
        shape: dict[str, Any] = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride), "pads": list(conv.padding) * 2}
        return self.node("Conv", inputs, f"{name}/Conv", **shape, dilations=[1, 1], group=1)[0]


def folded(block: ConvNormAct) -> tuple[torch.Tensor, torch.Tensor]:
    """The weight and bias of one convolution that does what convolution and batch norm do."""
    norm = block.norm
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (block.conv.weight * scale[:, None, None, None]).detach(), (norm.bias - norm.running_mean * scale).detach()


def _module(writer: _Writer, module: nn.Module, name: str, x: str) -> str:
    if isinstance(module, ConvNormAct):
        y = writer.conv(x, f"{name}/conv", module.conv, *folded(module))
        return writer.node("Relu", [y], f"{name}/act/Relu")[0]
    if isinstance(module, nn.Conv2d):
        assert module.bias is not None
        return writer.conv(x, name, module, module.weight.detach(), module.bias.detach())
    if isinstance(module, nn.MaxPool2d):
        size, pad, where = cast("int", module.kernel_size), cast("int", module.padding), f"{name}/{len(writer.nodes)}/MaxPool"
        return writer.node("MaxPool", [x], where, kernel_shape=[size] * 2, strides=[1, 1], pads=[pad] * 4)[0]
    if isinstance(module, nn.Upsample):
        scales = writer.constant(f"scales.{len(writer.nodes)}", np.array([1, 1, 2, 2], np.float32))
        where, grid = f"{name}/{len(writer.nodes)}/Resize", "asymmetric"
        return writer.node("Resize", [x, "", scales], where, mode="nearest", nearest_mode="floor", coordinate_transformation_mode=grid)[0]
    raise TypeError(f"no ONNX for {type(module).__name__} at {name}; add it to _module")


def _function(writer: _Writer, node: fx.Node, values: dict[Any, Any]) -> Any:
    name, arguments = f"/{node.name}", cast("tuple[Any, ...]", node.args)
    if node.target is torch.cat:
        return writer.node("Concat", [values[a] for a in arguments[0]], f"{name}/Concat", axis=1)[0]
    if node.target is torch.chunk:
        return writer.node("Split", [values[arguments[0]]], f"{name}/Split", outputs=2, axis=1)
    if node.target is operator.getitem:
        return values[arguments[0]][arguments[1]]
    if node.target is operator.add:
        return writer.node("Add", [values[a] for a in arguments], f"{name}/Add")[0]
    raise TypeError(f"no ONNX for {node.target} at {node.name}; add it to _function")


def _body(writer: _Writer, model: DemoDetector) -> list[str]:
    values: dict[Any, Any] = {}
    modules = dict(model.named_modules())
    visit: dict[str, Callable[[Any], Any]] = {
        "placeholder": lambda _: "images",
        "call_module": lambda n: _module(writer, modules[n.target], "/" + n.target.replace(".", "/"), values[n.args[0]]),
        "call_function": lambda n: _function(writer, n, values),
        "output": lambda n: [values[a] for a in n.args[0]],
    }
    for node in _BlocksAsLeaves().trace(model).nodes:
        values[node] = visit[node.op](node)
    return list(values[node])


def _tail(writer: _Writer, maps: list[str], classes: int, size_px: int) -> None:
    """Raw maps to output0, as the YOLOv8 exporters write it."""
    sides_in_cells = [size_px // stride for stride in STRIDES]
    points = torch.cat([centres_of(side, side, torch.zeros(())) for side in sides_in_cells])
    strides = torch.cat([torch.full((side**2, 1), float(stride)) for side, stride in zip(sides_in_cells, STRIDES, strict=True)])
    cells = len(points)
    # /head/Concat, /head/Concat_1 and /head/Concat_2: the exporters number them so.
    pairs = zip(maps[::2], maps[1::2], strict=True)
    grids = [writer.node("Concat", list(pair), f"/head/Concat_{k}".removesuffix("_0"), axis=1)[0] for k, pair in enumerate(pairs)]
    rows = writer.constant("head.rows", np.array([1, 4 * REG_MAX + classes, -1], np.int64))
    flat = [writer.node("Reshape", [m, rows], f"/head/Reshape_{k}")[0] for k, m in enumerate(grids)]
    joined = writer.node("Concat", flat, "/head/Concat_3", axis=2)[0]
    parts = writer.constant("head.parts", np.array([4 * REG_MAX, classes], np.int64))
    sides, logits = writer.node("Split", [joined, parts], "/head/Split", outputs=2, axis=1)
    shape = writer.constant("head.dfl.shape", np.array([1, 4, REG_MAX, cells], np.int64))
    spread = writer.node("Reshape", [sides, shape], "/head/dfl/Reshape")[0]
    turned = writer.node("Transpose", [spread], "/head/dfl/Transpose", perm=[0, 2, 1, 3])[0]
    likely = writer.node("Softmax", [turned], "/head/dfl/Softmax", axis=1)[0]
    weight = writer.constant("head.dfl.conv.weight", np.arange(REG_MAX, dtype=np.float32).reshape(1, REG_MAX, 1, 1))
    one_by_one: dict[str, Any] = {"kernel_shape": [1, 1], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
    mean = writer.node("Conv", [likely, weight], "/head/dfl/conv/Conv", **one_by_one)[0]
    flat_shape = writer.constant("head.dfl.flat", np.array([1, 4, cells], np.int64))
    distances = writer.node("Reshape", [mean, flat_shape], "/head/dfl/Reshape_1")[0]
    anchors = writer.constant("head.anchors", points.T[None].numpy().astype(np.float32))
    halves = writer.constant("head.halves", np.array([2, 2], np.int64))
    near, far = writer.node("Split", [distances, halves], "/head/Split_1", outputs=2, axis=1)
    low = writer.node("Sub", [anchors, near], "/head/Sub")[0]
    high = writer.node("Add", [anchors, far], "/head/Add")[0]
    total = writer.node("Add", [low, high], "/head/Add_1")[0]
    centre = writer.node("Div", [total, writer.constant("head.two", np.array(2, np.float32))], "/head/Div")[0]
    size = writer.node("Sub", [high, low], "/head/Sub_1")[0]
    boxes = writer.node("Concat", [centre, size], "/head/Concat_4", axis=1)[0]
    pixels = writer.node("Mul", [boxes, writer.constant("head.strides", strides.T[None].numpy())], "/head/Mul")[0]
    scores = writer.node("Sigmoid", [logits], "/head/Sigmoid")[0]
    writer.node("Concat", [pixels, scores], "/head/Concat_5", output="output0", axis=1)


def to_onnx(model: DemoDetector, names: tuple[str, ...], *, size_px: int = 640, description: str = "") -> onnx.ModelProto:
    """The checked ONNX model of a module in evaluation mode."""
    writer = _Writer()
    model.eval()
    _tail(writer, _body(writer, model), len(names), size_px)
    cells = sum((size_px // s) ** 2 for s in STRIDES)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size_px, size_px])
    output = helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(names), cells])
    graph = helper.make_graph(writer.nodes, "main_graph", [images], [output], writer.constants)
    exported = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION, producer_name="edgewright")
    helper.set_model_props(exported, {
        "description": description, "author": "The edgewright founders", "license": "Apache-2.0", "stride": "32", "task": "detect",
        "batch": "1", "imgsz": str([size_px, size_px]), "names": str(dict(enumerate(names))),
    })  # fmt: skip
    onnx.checker.check_model(exported, full_check=True)
    return onnx.shape_inference.infer_shapes(exported)

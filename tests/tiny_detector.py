"""A whole YOLOv8-type detector of a few kilobytes, made on the spot, that really finds coloured rectangles.

Its first six channels carry a colour each (red, green, blue, yellow, cyan, magenta) down to the grid of stride 8, where a class
fires at the middle of a rectangle of about 24 x 24 pixels of its colour; the other channels and the coarser grids are seeded noise,
there to be quantized and watched. The tail is what Ultralytics exports: concatenate, split, softmax, DFL convolution, anchors, sigmoid.

    model = build_tiny_detector(classes=("red", "green"), activation="silu")
    path = save_tiny_detector(tmp_path / "tiny.onnx")
"""

import random as python_random
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 220, 40),
    "blue": (40, 40, 220),
    "yellow": (220, 220, 40),
    "cyan": (40, 220, 220),
    "magenta": (220, 40, 220),
}
STRIDES = (8, 16, 32)
SIDE_PX = 12.0  # from the middle of a cell to each side of its box
CHANNELS = 12
FULL = 3.0  # what a colour channel carries inside a rectangle of its colour
FIRES_ABOVE = {"relu": 0.8, "silu": 0.64}  # the share of FULL that arrives at stride 8 from a good rectangle; SiLU lets less through


def build_tiny_detector(
    *,
    classes: tuple[str, ...] = ("red", "green", "blue"),
    size: int = 64,
    reg_max: int = 4,
    activation: str = "silu",
    seed: int = 0,
    class_first: bool = False,
    dynamic: bool = False,
) -> onnx.ModelProto:
    """Input `images` [1, 3, size, size] -> `output0` [1, 4 + classes, cells].

    `activation`: silu or relu. `class_first`: the exporter concatenated class before box, which no real one does. `dynamic`: free
    input axes. Classes beyond the sixth never fire.
    """
    net = _Net(np.random.default_rng(seed), activation)
    channels = 3
    features = "images"
    levels = {}
    for stride in (2, 4, 8, 16, 32):
        weight = _colour_weights(net.rng) if stride == 2 else _carry_weights(net.rng, channels)
        features = net.activate(net.conv(features, weight, np.zeros(CHANNELS), stride=2))
        channels = CHANNELS
        levels[stride] = features
    pairs = [_head_pair(net, levels[stride], stride, len(classes), reg_max) for stride in STRIDES]
    _decode(net, pairs, size, len(classes), reg_max, class_first=class_first)
    cells = sum((size // stride) ** 2 for stride in STRIDES)
    shape = ["batch", 3, "height", "width"] if dynamic else [1, 3, size, size]
    graph = helper.make_graph(
        net.nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 4 + len(classes), cells])],
        net.held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    names = repr(dict(enumerate(classes)))
    helper.set_model_props(model, {"names": names, "imgsz": f"[{size}, {size}]", "stride": "32", "task": "detect"})
    return model


def save_tiny_detector(path: Path, **options) -> Path:
    """`build_tiny_detector` into a file."""
    onnx.save(build_tiny_detector(**options), path)
    return path


def rename_everything(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """A copy in which every node and every tensor, inputs and outputs too, has a name that says nothing."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    graph = renamed.graph
    rng = python_random.Random(seed)
    fresh: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return fresh.setdefault(name, f"{rng.getrandbits(64):016x}")

    for node in graph.node:
        node.name = new(f"node {node.name}")
        for names in (node.input, node.output):
            names[:] = [new(name) for name in names]
    for held in (*graph.initializer, *graph.input, *graph.output):
        held.name = new(held.name)
    del graph.value_info[:]
    return renamed


class _Net:
    """Nodes and weights, numbered as they come."""

    def __init__(self, rng: np.random.Generator, activation: str) -> None:
        self.rng = rng
        self.activation = activation
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, to: str | None = None, **attributes) -> str:
        output = to or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind.lower()}_{len(self.nodes)}", **attributes))
        return output

    def split(self, source: str, sizes: list[int]) -> list[str]:
        outputs = [f"t{len(self.nodes)}_{at}" for at in range(len(sizes))]
        self.nodes.append(
            helper.make_node("Split", [source, self.constant(sizes, np.int64)], outputs, name=f"split_{len(self.nodes)}", axis=1)
        )
        return outputs

    def constant(self, values, dtype=np.float32) -> str:
        name = f"w{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(self, source: str, weight, bias, *, stride: int = 1) -> str:
        pad = weight.shape[2] // 2
        return self.add("Conv", source, self.constant(weight), self.constant(bias), pads=[pad] * 4, strides=[stride] * 2)

    def activate(self, source: str) -> str:
        if self.activation == "relu":
            return self.add("Relu", source)
        return self.add("Mul", source, self.add("Sigmoid", source))


def _colour_weights(rng: np.random.Generator) -> np.ndarray:
    """[CHANNELS, 3, 3, 3]: the mean of a 3 x 3 patch against each colour, FULL where it is of that colour."""
    weight = rng.normal(0, 0.1, (CHANNELS, 3, 3, 3))
    for at, colour in enumerate(COLOURS.values()):
        direction = np.array(colour, float) - np.mean(colour)
        direction *= FULL * 255 / (direction @ colour)
        weight[at] = direction[:, None, None] / 9
    return weight


def _carry_weights(rng: np.random.Generator, channels: int) -> np.ndarray:
    """[CHANNELS, CHANNELS, 3, 3]: colour channels are averaged and carried on, the rest mix everything."""
    weight = rng.normal(0, 0.1, (CHANNELS, channels, 3, 3))
    weight[: len(COLOURS)] = 0
    for at in range(len(COLOURS)):
        weight[at, at] = 1 / 9
    return weight


def _head_pair(net: _Net, features: str, stride: int, classes: int, reg_max: int) -> tuple[str, str]:
    box_weight = net.rng.normal(0, 0.02, (4 * reg_max, CHANNELS, 1, 1))
    bins = np.arange(reg_max) - SIDE_PX / stride
    box = net.conv(features, box_weight, np.tile(-(bins**2), 4))
    weight = net.rng.normal(0, 0.02, (classes, CHANNELS, 3, 3))
    bias = np.full(classes, -6.0)
    if stride == STRIDES[0]:
        middle = np.outer([1, 2, 1], [1, 2, 1]) / 16
        for at in range(min(classes, len(COLOURS))):
            weight[at, at] = 8 * middle
            bias[at] = -8 * FULL * FIRES_ABOVE[net.activation]
    return box, net.conv(features, weight, bias)


def _decode(net: _Net, pairs: list[tuple[str, str]], size: int, classes: int, reg_max: int, *, class_first: bool) -> None:
    widths = [classes, 4 * reg_max] if class_first else [4 * reg_max, classes]
    levels = [net.add("Concat", *(reversed(pair) if class_first else pair), axis=1) for pair in pairs]
    flat = [net.add("Reshape", level, net.constant([1, sum(widths), -1], np.int64)) for level in levels]
    parts = net.split(net.add("Concat", *flat, axis=2), widths)
    scores, box = parts if class_first else reversed(parts)
    anchors, strides = _anchors(size)
    bins = net.add("Reshape", box, net.constant([1, 4, reg_max, anchors.shape[2]], np.int64))
    shares = net.add("Softmax", net.add("Transpose", bins, perm=[0, 2, 1, 3]), axis=1)
    mean = net.add("Conv", shares, net.constant(np.arange(reg_max, dtype=np.float32).reshape(1, reg_max, 1, 1)))
    left_top, right_bottom = net.split(net.add("Reshape", mean, net.constant([1, 4, anchors.shape[2]], np.int64)), [2, 2])
    low = net.add("Sub", net.constant(anchors), left_top)
    high = net.add("Add", net.constant(anchors), right_bottom)
    centre = net.add("Div", net.add("Add", low, high), net.constant(2.0))
    boxes = net.add("Mul", net.add("Concat", centre, net.add("Sub", high, low), axis=1), net.constant(strides))
    net.add("Concat", boxes, net.add("Sigmoid", scores), axis=1, to="output0")


def _anchors(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cell centres in cells [1, 2, cells], and the stride of each cell [1, cells]."""
    centres, strides = [], []
    for stride in STRIDES:
        side = size // stride
        row, column = np.divmod(np.arange(side * side), side)
        centres.append(np.stack([column, row]) + 0.5)
        strides.append(np.full(side * side, stride))
    return np.concatenate(centres, axis=1)[None].astype(np.float32), np.concatenate(strides)[None].astype(np.float32)

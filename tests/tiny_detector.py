"""A whole YOLO detector of a few kilobytes, of any family, made on the spot, that really finds coloured rectangles.

Its first six channels carry a colour each (red, green, blue, yellow, cyan, magenta) down to the grid of stride 8, where a class
fires at the middle of a rectangle of about 24 x 24 pixels of its colour; the other channels and the coarser grids are seeded noise,
there to be quantized and watched. The tail is what each family's own exporter writes: for YOLOv8 concatenate, split, softmax, DFL
convolution, anchors, sigmoid.

    model = build_tiny_detector(classes=("red", "green"), activation="silu")
    model = build_tiny_detector(family="yolox", size=(96, 64))
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
FIRES_AT = 8  # the grid on which classes fire
ANCHORS = ((24.0, 24.0), (11.375, 40.0))  # of stride 8, in pixels; the coarser grids' are as many times larger
SURE = 4.0  # the objectness logit of the first anchor, or of any cell where there are no anchors
CHANNELS = 12
FULL = 3.0  # what a colour channel carries inside a rectangle of its colour
FIRES_ABOVE = {"relu": 0.8, "silu": 0.64}  # the share of FULL that arrives at stride 8 from a good rectangle; SiLU lets less through


def build_tiny_detector(
    *,
    family: str = "yolov8",
    classes: tuple[str, ...] = ("red", "green", "blue"),
    size: int | tuple[int, int] = 64,
    reg_max: int = 4,
    strides: tuple[int, ...] = STRIDES,
    activation: str = "silu",
    seed: int = 0,
    class_first: bool = False,
    transposed: bool = False,
    dynamic: bool = False,
    opset: int = 17,
) -> onnx.ModelProto:
    """Input `images` [1, 3, high, wide] -> `output0`, by family.

    `family`: yolov8 [1, 4 + classes, cells], yolov5 [1, 2 * cells, 5 + classes], yolox and "yolox decoded" [1, cells, 5 + classes], end2end
    [1, boxes, 6], nms (yolov8 with the suppression in the graph) [1, boxes, 6]. `size`: a side, or width and height. `reg_max`: 1 is
    a plain distance, as in YOLO26. `activation`: silu or relu. `class_first`: the exporter concatenated class before box, which no
    real one does. `transposed`: the last two axes of the output swapped. `dynamic`: free axes. Classes beyond the sixth never fire.
    """
    wide, high = size if isinstance(size, tuple) else (size, size)
    net = _Net(np.random.default_rng(seed), activation, opset)
    channels = 3
    features = "images"
    levels = {}
    for stride in [2**n for n in range(1, max(strides).bit_length())]:
        weight = _colour_weights(net.rng) if stride == 2 else _carry_weights(net.rng, channels)
        if stride == 2 and family.startswith("yolox"):
            weight = weight[:, ::-1] / 255  # it eats BGR of 0..255
        features = net.activate(net.conv(features, weight, np.zeros(CHANNELS), stride=2))
        channels = CHANNELS
        levels[stride] = features
    head = _Head(net, {stride: levels[stride] for stride in strides}, (wide, high), len(classes), reg_max)
    build = {
        "yolov8": lambda: head.yolov8(class_first=class_first),
        "yolov5": head.yolov5,
        "yolox": lambda: head.yolox(decoded=False),
        "yolox decoded": lambda: head.yolox(decoded=True),
        "end2end": lambda: head.best(head.yolov8(class_first=class_first)),
        "nms": lambda: head.suppressed(head.yolov8(class_first=class_first)),
    }[family]
    output = build()
    if transposed:
        net.add("Transpose", output, perm=[0, 2, 1])
    net.nodes[-1].output[0] = "output0"
    inputs = ["batch", 3, "height", "width"] if dynamic else [1, 3, high, wide]
    graph = helper.make_graph(
        net.nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, head.shape(family, transposed=transposed, dynamic=dynamic))],
        net.held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    names = repr(dict(enumerate(classes)))
    helper.set_model_props(model, {"names": names, "imgsz": f"[{high}, {wide}]", "stride": "32", "task": "detect"})
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

    def __init__(self, rng: np.random.Generator, activation: str, opset: int) -> None:
        self.rng = rng
        self.activation = activation
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, **attributes) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind.lower()}_{len(self.nodes)}", **attributes))
        return output

    def split(self, source: str, sizes: list[int], axis: int = 1) -> list[str]:
        outputs = [f"t{len(self.nodes)}_{at}" for at in range(len(sizes))]
        given = [self.constant(sizes, np.int64)] if self.opset >= 13 else []
        named = {} if given else {"split": sizes}
        self.nodes.append(helper.make_node("Split", [source, *given], outputs, name=f"split_{len(self.nodes)}", axis=axis, **named))
        return outputs

    def reshape(self, source: str, *shape: int) -> str:
        return self.add("Reshape", source, self.constant(shape, np.int64))

    def as_float(self, source: str) -> str:
        return self.add("Cast", source, to=TensorProto.FLOAT)

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


class _Head:
    """The head convolutions on each grid, and the tail each family's exporter puts behind them."""

    def __init__(self, net: _Net, levels: dict[int, str], size_wh: tuple[int, int], classes: int, reg_max: int) -> None:
        self.net = net
        self.levels = levels
        self.classes = classes
        self.reg_max = reg_max
        self.grids = {stride: (size_wh[0] // stride, size_wh[1] // stride) for stride in levels}
        self.cells = sum(columns * rows for columns, rows in self.grids.values())

    def shape(self, family: str, *, transposed: bool, dynamic: bool) -> list[int | str]:
        shape = {
            "yolov8": [1, 4 + self.classes, self.cells],
            "yolov5": [1, len(ANCHORS) * self.cells, 5 + self.classes],
            "end2end": [1, min(300, self.cells), 6],
            "nms": [1, self.cells, 6],
        }.get(family, [1, self.cells, 5 + self.classes])
        if dynamic or family == "nms":
            shape[1 if shape[1] >= self.cells else 2] = "boxes"
        return [shape[0], shape[2], shape[1]] if transposed else shape

    # --- convolutions ---

    def class_conv(self, stride: int) -> str:
        weight, bias = self.class_weights(stride)
        return self.net.conv(self.levels[stride], weight, bias)

    def class_weights(self, stride: int) -> tuple[np.ndarray, np.ndarray]:
        weight = self.net.rng.normal(0, 0.02, (self.classes, CHANNELS, 3, 3))
        bias = np.full(self.classes, -6.0)
        if stride == FIRES_AT:
            middle = np.outer([1, 2, 1], [1, 2, 1]) / 16
            for at in range(min(self.classes, len(COLOURS))):
                weight[at, at] = 8 * middle
                bias[at] = -8 * FULL * FIRES_ABOVE[self.net.activation]
        return weight, bias

    def box_conv(self, stride: int) -> str:
        weight = self.net.rng.normal(0, 0.02, (4 * self.reg_max, CHANNELS, 1, 1))
        bins = np.arange(self.reg_max) - SIDE_PX / stride
        return self.net.conv(self.levels[stride], weight, np.tile(-(bins**2) if self.reg_max > 1 else [SIDE_PX / stride], 4))

    # --- tails ---

    def yolov8(self, *, class_first: bool) -> str:
        """Gives [1, 4 + classes, cells]."""
        net, reg_max = self.net, self.reg_max
        pairs = [(self.box_conv(stride), self.class_conv(stride)) for stride in self.levels]
        widths = [self.classes, 4 * reg_max] if class_first else [4 * reg_max, self.classes]
        levels = [net.add("Concat", *(reversed(pair) if class_first else pair), axis=1) for pair in pairs]
        flat = [net.reshape(level, 1, sum(widths), -1) for level in levels]
        parts = net.split(net.add("Concat", *flat, axis=2), widths)
        scores, box = parts if class_first else reversed(parts)
        anchors, strides = self.places(0.5)
        if reg_max > 1:
            bins = net.reshape(box, 1, 4, reg_max, self.cells)
            shares = net.add("Softmax", net.add("Transpose", bins, perm=[0, 2, 1, 3]), axis=1)
            mean = net.add("Conv", shares, net.constant(np.arange(reg_max, dtype=np.float32).reshape(1, reg_max, 1, 1)))
            box = net.reshape(mean, 1, 4, self.cells)
        left_top, right_bottom = net.split(box, [2, 2])
        low = net.add("Sub", net.constant(anchors), left_top)
        high = net.add("Add", net.constant(anchors), right_bottom)
        centre = net.add("Div", net.add("Add", low, high), net.constant(2.0))
        boxes = net.add("Mul", net.add("Concat", centre, net.add("Sub", high, low), axis=1), net.constant(strides))
        return net.add("Concat", boxes, net.add("Sigmoid", scores), axis=1)

    def yolov5(self) -> str:
        """Gives [1, anchors * cells, 5 + classes]."""
        return self.net.add("Concat", *(self.yolov5_grid(stride) for stride in self.levels), axis=1)

    def yolov5_grid(self, stride: int) -> str:
        net, values, (columns, rows) = self.net, 5 + self.classes, self.grids[stride]
        weight = net.rng.normal(0, 0.02, (len(ANCHORS), values, CHANNELS, 3, 3))
        bias = np.zeros((len(ANCHORS), values))
        for at in range(len(ANCHORS)):
            weight[at, 5:], bias[at, 5:] = self.class_weights(stride)
            bias[at, 4] = SURE if at == 0 else -SURE
        combined = net.conv(self.levels[stride], weight.reshape(-1, CHANNELS, 3, 3), bias.reshape(-1))
        apart = net.add("Transpose", net.reshape(combined, 1, len(ANCHORS), values, rows, columns), perm=[0, 1, 3, 4, 2])
        place, shape, rest = net.split(net.add("Sigmoid", apart), [2, 2, 1 + self.classes], axis=4)
        row, column = np.divmod(np.arange(rows * columns), columns)
        grid = (np.stack([column, row], axis=1) - 0.5).reshape(1, 1, rows, columns, 2)
        centre = net.add("Mul", net.add("Add", net.add("Mul", place, net.constant(2.0)), net.constant(grid)), net.constant(float(stride)))
        anchors = np.array(ANCHORS).reshape(1, len(ANCHORS), 1, 1, 2) * stride / FIRES_AT
        size = net.add("Mul", net.add("Pow", net.add("Mul", shape, net.constant(2.0)), net.constant(2.0)), net.constant(anchors))
        return net.reshape(net.add("Concat", centre, size, rest, axis=4), 1, -1, values)

    def yolox(self, *, decoded: bool) -> str:
        """Gives [1, cells, 5 + classes]."""
        net, flat = self.net, []
        for stride in self.levels:
            cls = net.add("Sigmoid", self.class_conv(stride))
            weight = net.rng.normal(0, 0.02, (4, CHANNELS, 1, 1))
            box = net.conv(self.levels[stride], weight, np.array([0.5, 0.5, *[np.log(2 * SIDE_PX / stride)] * 2]))
            sure = net.conv(self.levels[stride], net.rng.normal(0, 0.02, (1, CHANNELS, 1, 1)), np.array([SURE]))
            flat.append(net.reshape(net.add("Concat", box, net.add("Sigmoid", sure), cls, axis=1), 1, 5 + self.classes, -1))
        rows = net.add("Transpose", net.add("Concat", *flat, axis=2), perm=[0, 2, 1])
        if not decoded:
            return rows
        places, strides = (net.constant(each.transpose(0, 2, 1)) for each in self.places(0.0, per_side=False))
        offset, size, rest = net.split(rows, [2, 2, 1 + self.classes], axis=2)
        centre = net.add("Mul", net.add("Add", offset, places), strides)
        return net.add("Concat", centre, net.add("Mul", net.add("Exp", size), strides), rest, axis=2)

    def best(self, output: str) -> str:
        """[1, 4 + classes, cells] -> [1, boxes, 6]: the best cells, then their best classes, as YOLOv10's export does."""
        net, most = self.net, self.net.constant([min(300, self.cells)], np.int64)
        boxes, scores = net.split(net.add("Transpose", self.corners(output), perm=[0, 2, 1]), [4, self.classes], axis=2)
        _, cells = self.top(net.add("ReduceMax", scores, axes=[2], keepdims=0), most)
        column = net.add("Unsqueeze", cells, net.constant([2], np.int64))
        mine = net.add("GatherElements", scores, net.add("Tile", column, net.constant([1, 1, self.classes], np.int64)), axis=1)
        found, pairs = self.top(net.reshape(mine, 1, -1), most)
        at = net.add("Div", pairs, net.constant(self.classes, np.int64))
        kept = net.add("GatherElements", cells, at, axis=1)
        rows = net.add("Tile", net.add("Unsqueeze", kept, net.constant([2], np.int64)), net.constant([1, 1, 4], np.int64))
        class_ids = net.as_float(net.add("Mod", pairs, net.constant(self.classes, np.int64)))
        ends = [net.add("Unsqueeze", each, net.constant([2], np.int64)) for each in (found, class_ids)]
        return net.add("Concat", net.add("GatherElements", boxes, rows, axis=1), *ends, axis=2)

    def suppressed(self, output: str) -> str:
        """[1, 4 + classes, cells] -> [1, boxes, 6] through NonMaxSuppression."""
        net = self.net
        boxes, scores = net.split(self.corners(output), [4, self.classes])
        by_cell = net.add("Transpose", boxes, perm=[0, 2, 1])
        limits = [net.constant([100], np.int64), net.constant([0.7]), net.constant([0.01])]
        chosen = net.add("NonMaxSuppression", by_cell, scores, *limits)  # [boxes, 3]: batch, class, cell
        cls, cell = (net.add("Gather", chosen, net.constant(at, np.int64), axis=1) for at in (1, 2))
        values = net.add("Transpose", scores, perm=[0, 2, 1])
        pair = net.add("Concat", *(net.add("Unsqueeze", each, net.constant([1], np.int64)) for each in (cell, cls)), axis=1)
        score = net.add("GatherND", net.add("Squeeze", values, net.constant([0], np.int64)), pair)
        corners = net.add("Gather", net.add("Squeeze", by_cell, net.constant([0], np.int64)), cell, axis=0)
        ends = [net.add("Unsqueeze", each, net.constant([1], np.int64)) for each in (score, net.as_float(cls))]
        return net.add("Unsqueeze", net.add("Concat", corners, *ends, axis=1), net.constant([0], np.int64))

    def corners(self, output: str) -> str:
        centre, size, scores = self.net.split(output, [2, 2, self.classes])
        half = self.net.add("Div", size, self.net.constant(2.0))
        return self.net.add("Concat", self.net.add("Sub", centre, half), self.net.add("Add", centre, half), scores, axis=1)

    def top(self, source: str, most: str) -> tuple[str, str]:
        values, indices = (f"t{len(self.net.nodes)}_{at}" for at in range(2))
        self.net.nodes.append(helper.make_node("TopK", [source, most], [values, indices], name=f"topk_{len(self.net.nodes)}", axis=1))
        return values, indices

    def places(self, offset: float, *, per_side: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Cells in cells [1, 2, cells], and the stride of each cell [1, cells], or [1, 1, cells]."""
        places, strides = [], []
        for stride, (columns, rows) in self.grids.items():
            row, column = np.divmod(np.arange(rows * columns), columns)
            places.append(np.stack([column, row]) + offset)
            strides.append(np.full((1, rows * columns), stride))
        strides_row = np.concatenate(strides, axis=1).astype(np.float32)
        return np.concatenate(places, axis=1)[None].astype(np.float32), strides_row if per_side else strides_row[None]

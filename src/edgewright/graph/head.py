"""Recognise a detector by its head: from structure and shapes, never from names.

The walk starts at the network's output and goes back through whatever the exporter put there (concatenations, softmax,
anchor arithmetic) until it meets convolutions whose output lies on a grid: input size divided by a stride. Those are the
head convolutions. How many there are on each grid, how many channels they have, and which operators lie behind them tells the family:

    yolov8    two a grid: 4 * reg_max box channels, one channel a class          [1, 4 + classes, cells], or the two axes swapped
              (v8, v9, v11, v12, and YOLO26 without its end-to-end branch, whose reg_max is 1)
    yolov5    one a grid: anchors * (5 + classes)                                [1, anchors * cells, 5 + classes]
              (v5, v7; YOLOv6 writes the same layout from two a grid)
    yolox     three a grid: 4, 1, one channel a class                            [1, cells, 5 + classes], decoded (an Exp) or not
    end2end   any of these, and behind them a TopK or a suppression              [1, boxes, 6]
              (YOLOv10, YOLO26; NMS exported into the graph)

Which of two equally wide convolutions is the box one is not settled here: `compress.head_cut.raw_head` tries, and proves.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations

import onnx

from edgewright.artifact import Family, HeadOutput, HeadSpec, InputSpec, Role
from edgewright.errors import ModelError
from edgewright.graph.metadata import class_names, image_size
from edgewright.graph.shapes import fix_input_shape, output_shapes, shapes_of
from edgewright.graph.walk import real_inputs, subgraphs

CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv"}
SHAPE_ONLY = {"Shape", "Size", "ConstantOfShape"}  # what passes through them is a size, not a feature
LARGEST_STRIDE = 128
MOST_SHOWN = 12
DEFAULT_SIZE_WH = (640, 640)  # what the families' exporters use when nobody says otherwise
SIZE_STEP = 64  # a picture size that the grids of every family divide
USUAL_BOX_CHANNELS = 64  # 4 sides of 16 bins, in every DFL head published by the YOLO families but YOLOv6
USUAL_ANCHORS = 3
CHOOSES = {"TopK", "NonMaxSuppression"}
DECODES = {"Exp", "Sub", "Pow", "Softmax", "Tanh"}  # the arithmetic of every box decode; concatenating and moving axes needs none of them
ROTATES = {"Sin", "Cos"}
TRANSFORMS = {"LayerNormalization", "GridSample", "MultiHeadAttention", "Attention"}
WEIGHTED_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "QGemm"}
WIDE = 32  # a learned projection is wider; the exporters' matrices that turn centre and size into corners are 4 x 4
SUPPORTED = "a YOLO detector: one image [1, 3, height, width] in; the boxes of a YOLOv5, v7, v8 to v12, YOLO26 or YOLOX head out"
EXPORT_DECODED = "export it with its decode, as the exporters do by default"


@dataclass(frozen=True, slots=True)
class HeadConv:
    """A convolution of the head: the tensor it makes, its channels and the stride of its grid."""

    tensor: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class Head:
    """A recognised head: what the network eats, how many classes it tells apart, and its output as exported.

    `convs` are the convolutions found on each grid, finest grid first, within a grid in no particular order. `reg_max` as in `HeadSpec`.
    """

    input: InputSpec
    classes: int
    reg_max: int | None
    convs: tuple[tuple[HeadConv, ...], ...]
    decoded: HeadSpec

    @property
    def family(self) -> Family:
        return self.decoded.family

    @property
    def strides(self) -> tuple[int, ...]:
        return self.decoded.strides


@dataclass(frozen=True, slots=True)
class _Tail:
    """What lies between the head convolutions and the output: the convolutions by stride, the operators on the way."""

    output: str
    shape: tuple[int, ...]
    grids: tuple[tuple[HeadConv, ...], ...]
    operators: frozenset[str]
    projections: int
    cells: int
    named: int | None  # how many classes the metadata names: a hint

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the convolutions of one grid, narrowest first."""
        return tuple(sorted(conv.channels for conv in self.grids[0]))

    def layouts(self) -> Iterator[tuple[int, int]]:
        """(values a box, boxes) for both ways the two axes may be meant."""
        yield self.shape[1], self.shape[2]
        yield self.shape[2], self.shape[1]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a tail was understood to be."""

    family: Family
    classes: int
    reg_max: int | None = None
    role: Role = "decoded"


def recognise(model: onnx.ModelProto) -> Head:
    """The head of a YOLO detector.

    Raises:
        ModelError: it is something else; the message says what it looks like.
    """
    spec = _input_spec(model)
    fixed = fix_input_shape(model, spec.name, spec.shape)
    shapes = shapes_of(fixed)
    output, shape = _detections(output_shapes(model, shapes))
    tail = _tail(fixed, shapes, output, shape, spec)
    reading = _read(tail)
    if reading.family == "yolox":
        spec = InputSpec(spec.name, spec.shape, colour="BGR", scale=1.0)  # as its own preprocessing since release 0.1.1
    strides = tuple(grid[0].stride for grid in tail.grids)
    decoded = HeadSpec(reading.family, strides, reading.reg_max, (HeadOutput(output, reading.role),))
    return Head(spec, reading.classes, reading.reg_max, tail.grids, decoded)


def family_of(model: onnx.ModelProto) -> str | None:
    """The family's name where we decode it, else None; never raises for a sound model."""
    try:
        return recognise(model).family
    except ModelError:
        return None


def behind(graph: onnx.GraphProto, tensors: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that what is in `tensors` flows into, in the graph's order; what flows into a shape is a size and counts no more."""
    reached = set(tensors)
    found = []
    for node in graph.node:
        if node.op_type not in SHAPE_ONLY and not reached.isdisjoint(reads(node)):
            reached.update(node.output)
            found.append(node)
    return found


def reads(node: onnx.NodeProto) -> list[str]:
    """The names a node uses, those used by graphs inside it among them (an exported suppression may stand in an If)."""
    return list(dict.fromkeys(name for each in _with_nested(node) for name in each.input if name))


def _with_nested(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from _with_nested(inner)


# --- the input ----------------------------------------------------------------------------------------------------------------------------


def _input_spec(model: onnx.ModelProto) -> InputSpec:
    inputs = real_inputs(model.graph)
    if len(inputs) != 1:
        raise _not_supported(f"{len(inputs)} inputs")
    tensor = inputs[0].type.tensor_type
    dims = [max(dim.dim_value, 0) if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    if len(dims) == 4 and dims[3] == 3 and dims[1] != 3:
        raise _not_supported(f"an input of shape {_show(dims)}, channels last", fix="export it with channels first (NCHW)")
    if len(dims) != 4 or dims[1] not in (0, 3) or dims[0] > 1:
        raise _not_supported(f"an input of shape {_show(dims)}")
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        fix = "export it in float32" if tensor.elem_type == onnx.TensorProto.FLOAT16 else None
        raise _not_supported(f"an input of type {onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}", fix)
    wide, high = (-(-side // SIZE_STEP) * SIZE_STEP if side % 32 else side for side in image_size(model) or DEFAULT_SIZE_WH)
    return InputSpec(inputs[0].name, (1, 3, dims[2] or high, dims[3] or wide))


# --- the outputs --------------------------------------------------------------------------------------------------------------------------


def _detections(outputs: Sequence[tuple[str, tuple[int, ...] | None]]) -> tuple[str, tuple[int, ...]]:
    """Name and shape [1, ., .] of the output that holds the detections; 0 for a size that stays unknown."""
    if not outputs:
        raise _not_supported("no output")
    name, first = outputs[0]
    shapes = [shape for _, shape in outputs]
    if len(outputs) > 1 and not _followed_by_own_maps(shapes):
        raise _not_supported(*_several(shapes))
    if first is None:
        raise _not_supported("one output whose shape cannot be told")
    if len(first) == 3 and first[0] in (0, 1):
        return name, first
    if len(first) == 2 and first[1] in (6, 7):
        raise _not_supported(f"suppression exported into the graph, output {_show(first)}", "export it without NMS")
    if len(first) == 2:
        raise _not_supported(f"a classifier: one output {_show(first)}, a value for each class")
    if len(first) == 4:
        raise _not_supported(f"a network that gives maps (segmentation, depth, heat maps): one output {_show(first)}")
    if len(first) == 5:
        raise _not_supported(f"an undecoded YOLOv5 type map: one output {_show(first)}", EXPORT_DECODED)
    raise _not_supported(f"one output of shape {_show(first)}")


def _followed_by_own_maps(shapes: Sequence[tuple[int, ...] | None]) -> bool:
    """Old YOLOv5 exports give, after the decoded boxes, the maps [1, anchors, H, W, 5 + classes] they came from."""
    first = shapes[0]
    return first is not None and len(first) == 3 and all(s is not None and len(s) == 5 and s[4] == first[2] for s in shapes[1:])


def _several(shapes: Sequence[tuple[int, ...] | None]) -> tuple[str, str | None]:
    """What a network with these outputs looks like, and what to do about it."""
    shown = f"{len(shapes)} outputs {', '.join(map(_show, shapes[:6]))}{', ...' if len(shapes) > 6 else ''}"
    ranks = [len(shape or ()) for shape in shapes]
    if sorted(ranks) == [3, 4]:
        maps = next(shape for shape in shapes if shape is not None and len(shape) == 4)
        return f"a YOLO segmentation head, boxes with mask coefficients and {maps[1] or '?'} mask prototypes: {shown}", None
    if set(ranks) == {5}:
        return f"an undecoded YOLOv5 type head, a map for each grid: {shown}", EXPORT_DECODED
    if set(ranks) == {4} and len(shapes) > 2:
        return f"an undecoded head, maps for each grid: {shown}", EXPORT_DECODED
    pairs = [shape for shape in shapes if shape is not None and len(shape) == 3]
    if len(pairs) == len(shapes) == 2 and any(shape[2] == 4 for shape in pairs):
        few = 0 < pairs[0][1] <= 1000
        kind = "a DETR type head, queries" if few else "a foreign head (SSD, RetinaNet, YOLO-NAS, PP-YOLOE), boxes and scores"
        return f"{kind} in outputs of their own: {shown}", None
    if len(shapes) in (3, 4) and max(ranks) <= 3:
        return f"boxes, scores and classes in outputs of their own, suppression exported into the graph: {shown}", "export it without NMS"
    return f"a foreign head: {shown}", None


# --- the tail -----------------------------------------------------------------------------------------------------------------------------


def _tail(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], output: str, shape: tuple[int, ...], spec: InputSpec) -> _Tail:
    """Walk back from the output and stop at every convolution that lies on a grid of the input."""
    producer = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer} | {
        name for node in model.graph.node if node.op_type == "Constant" for name in node.output
    }
    convs: dict[str, HeadConv] = {}
    met: dict[str, onnx.NodeProto] = {}
    pending, seen = [output], {output}
    while pending:
        name = pending.pop()
        node = producer.get(name)
        if node is None or node.op_type in SHAPE_ONLY:
            continue
        conv = _on_grid(node, shapes, spec) if node.op_type in CONVOLUTIONS else None
        if conv is not None:
            convs[conv.tensor] = conv
            continue
        met[name] = node
        upstream = [each for each in reads(node) if each not in seen and not _is_scalar(shapes.get(each))]
        seen.update(upstream)
        pending.extend(upstream)
    if not convs:
        raise _not_supported(f"no convolution on a grid of the image before its output {_show(shape)}")
    on_the_way = [node for node in behind(model.graph, convs) if not met.keys().isdisjoint(node.output)]
    wide, high = spec.size_wh
    grids = _by_stride(convs.values())
    names = class_names(model)
    return _Tail(
        output,
        shape,
        grids,
        frozenset(each.op_type.removeprefix("QLinear") for node in on_the_way for each in _with_nested(node)),
        sum(_is_projection(node, shapes, constants) for node in met.values()),
        sum((wide // grid[0].stride) * (high // grid[0].stride) for grid in grids),
        None if names is None else len(names),
    )


def _is_scalar(shape: tuple[int, ...] | None) -> bool:
    # A quantized graph computes scales from features; such a scalar is arithmetic, not a path the features take. A map of rank 4 may
    # have one element as well: a class on a grid of one cell.
    return shape is not None and len(shape) < 4 and math.prod(shape) == 1


def _is_projection(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], constants: set[str]) -> bool:
    if node.op_type in TRANSFORMS:
        return True
    weights = [shapes.get(name, ()) for name in node.input if name in constants]
    return node.op_type in WEIGHTED_PRODUCTS and any(len(shape) >= 2 and min(shape[-2:]) >= WIDE for shape in weights)


def _on_grid(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], spec: InputSpec) -> HeadConv | None:
    shape = shapes.get(node.output[0], ())
    wide, high = spec.size_wh
    if len(shape) != 4 or not all(shape):
        return None
    stride = wide // shape[3]
    # The DFL convolution also ends in a rank-4 tensor, but its "grid" is sides x cells.
    if not 2 <= stride <= LARGEST_STRIDE or (high // stride, wide // stride) != shape[2:] or stride & (stride - 1):
        return None
    return HeadConv(node.output[0], shape[1], stride)


def _by_stride(convs: Iterable[HeadConv]) -> tuple[tuple[HeadConv, ...], ...]:
    groups: dict[int, list[HeadConv]] = defaultdict(list)
    for conv in convs:
        groups[conv.stride].append(conv)
    return tuple(tuple(groups[stride]) for stride in sorted(groups))


# --- the family ---------------------------------------------------------------------------------------------------------------------------


def _read(tail: _Tail) -> _Reading:
    """The family of a tail, or a refusal that says what it is."""
    if tail.projections > 1:
        raise _not_supported(f"a transformer decoder (DETR, RT-DETR): output {_show(tail.shape)}")
    if tail.operators & ROTATES:
        raise _not_supported(f"a YOLO oriented-box (OBB) head, boxes with an angle: output {_show(tail.shape)}")
    if len({tuple(sorted(conv.channels for conv in grid)) for grid in tail.grids}) != 1:
        shown = "; ".join(f"stride {grid[0].stride}: {_listed(conv.channels for conv in grid)}" for grid in tail.grids[:6])
        raise _not_supported(f"head convolutions that differ from grid to grid ({shown})")
    found = _end2end(tail) if tail.operators & CHOOSES else _first(tail)
    if found is None:
        raise _not_supported(_describe(tail), EXPORT_DECODED if not tail.operators & DECODES else None)
    return found


def _first(tail: _Tail) -> _Reading | None:
    """The reading that fits, by the number of convolutions a grid."""
    if "Sigmoid" not in tail.operators:
        return None
    read = {1: _one_a_grid, 2: _two_a_grid, 3: _three_a_grid}.get(len(tail.widths))
    if read is None:
        return None
    return next((found for values, boxes in tail.layouts() if (found := read(tail, values, boxes)) is not None), None)


def _one_a_grid(tail: _Tail, values: int, boxes: int) -> _Reading | None:
    channels = tail.widths[0]
    if values < 6 or channels % values or boxes not in (0, channels // values * tail.cells) or not tail.operators & {"Mul", "Pow"}:
        return None
    return _Reading("yolov5", values - 5)


def _two_a_grid(tail: _Tail, values: int, boxes: int) -> _Reading | None:
    if boxes not in (0, tail.cells) or not tail.operators & DECODES:
        return None
    for box, classes in permutations(tail.widths):
        if box % 4 == 0 and values == 4 + classes:
            return _Reading("yolov8", classes, box // 4)
        if box % 4 == 0 and values == 5 + classes:
            return _Reading("yolov5", classes)
    return None


def _three_a_grid(tail: _Tail, values: int, boxes: int) -> _Reading | None:
    if boxes not in (0, tail.cells):
        return None
    for box, objectness, classes in permutations(tail.widths):
        if (box, objectness, 5 + classes) == (4, 1, values):
            if "Exp" in tail.operators:
                return _Reading("yolox", classes)
            # Others have three branches too (keypoints, an angle); their boxes are decoded without an Exp.
            return None if tail.operators & DECODES else _Reading("yolox", classes, role="undecoded")
    return None


def _end2end(tail: _Tail) -> _Reading | None:
    if tail.shape[2] != 6:
        return None
    if len(tail.widths) == 1:
        classes = tail.widths[0] // USUAL_ANCHORS - 5
        return _Reading("end2end", classes) if tail.widths[0] % USUAL_ANCHORS == 0 and classes > 0 else None
    if len(tail.widths) == 3:
        return next((_Reading("end2end", c) for box, objectness, c in permutations(tail.widths) if (box, objectness) == (4, 1)), None)
    if len(tail.widths) != 2:
        return None
    ways = [(box, classes) for box, classes in permutations(tail.widths) if box % 4 == 0]
    spread = "Softmax" in tail.operators  # over the bins; a plain distance needs none

    def likely(way: tuple[int, int]) -> tuple[bool, bool, bool]:
        box, classes = way
        return (box > 4) == spread, classes == tail.named, box == USUAL_BOX_CHANNELS

    if not ways:
        return None
    box, classes = max(ways, key=likely)
    return _Reading("end2end", classes, box // 4)


# --- what it is instead -------------------------------------------------------------------------------------------------------------------


def _describe(tail: _Tail) -> str:
    shown, widths = _show(tail.shape), tail.widths
    branches = f"head convolutions of {_listed(widths)} channels at each of the strides {_listed(grid[0].stride for grid in tail.grids)}"
    if tail.operators & CHOOSES:
        return f"an end-to-end head with {tail.shape[2] or '?'} values a box (6 are expected: corners, score, class): output {shown}"
    if len(widths) == 3 and any(size == sum(way) for way in _thirds(tail) for size in tail.shape[1:]):
        return f"a YOLO head with a third branch (keypoints or mask coefficients): output {shown}, {branches}"
    if not tail.operators & DECODES:
        return f"an undecoded head: output {shown}, {branches}"
    return f"an output {shown} that we cannot read, {branches}"


def _thirds(tail: _Tail) -> Iterator[tuple[int, int, int]]:
    """Values a box of a head with a third branch: the box, the classes, the rest."""
    yield from ((4, classes, rest) for box, classes, rest in permutations(tail.widths) if box % 4 == 0)


def _not_supported(what: str, fix: str | None = None) -> ModelError:
    return ModelError("this model is not a detector we can decode", got=what, expected=SUPPORTED, fix=fix)


def _show(shape: Iterable[int] | None) -> str:
    return "unknown" if shape is None else _listed(str(n) if n else "?" for n in shape)


def _listed(things: Iterable[object]) -> str:
    """As a list, cut where it becomes long: a stranger's graph may have thousands of anything."""
    first = [str(thing) for thing in islice(things, MOST_SHOWN + 1)]
    return f"[{', '.join(first[:MOST_SHOWN])}{', ...' if len(first) > MOST_SHOWN else ''}]"

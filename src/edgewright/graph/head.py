"""Recognise a detector by its head: from structure and shapes, never from names.

The walk starts at the network's output and goes back through whatever the exporter put there (concatenations, softmax,
anchor arithmetic) until it meets convolutions whose output lies on a grid: input size divided by a stride. Those are the
head convolutions. How many there are on each grid, and how many channels they have, tells the family:

    anchor-free with DFL (YOLOv8, v9, v11)   two a grid: 4 * reg_max box channels, one channel a class
    objectness (YOLOv5)                      one a grid: anchors * (5 + classes)
    YOLOX                                    three a grid: 4, 1, classes
    end-to-end (YOLOv10, YOLO26)             output [1, boxes, 6]

Only the first is decoded so far; the others are recognised in order to be refused by what they are.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from edgewright.artifact import HeadOutput, HeadSpec, InputSpec
from edgewright.errors import ModelError
from edgewright.graph.metadata import image_size
from edgewright.graph.shapes import fix_input_shape, shapes_of

CONVOLUTIONS = {"Conv", "ConvInteger", "QLinearConv"}
SHAPE_ONLY = {"Shape", "Size", "ConstantOfShape"}  # what passes through them is a size, not a feature
DEFAULT_SIZE_WH = (640, 640)  # what the family's exporters use when nobody says otherwise
SUPPORTED = "a YOLOv8-type detector: one image in, one output [1, 4 + classes, cells]"


@dataclass(frozen=True, slots=True)
class HeadConv:
    """A convolution of the head: the tensor it makes, its channels and the stride of its grid."""

    tensor: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class YoloHead:
    """An anchor-free head: the decoded output, and the box and class convolution of each stride, finest first."""

    input: InputSpec
    output: str
    classes: int
    reg_max: int
    box_convs: tuple[HeadConv, ...]
    class_convs: tuple[HeadConv, ...]

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(conv.stride for conv in self.box_convs)

    @property
    def decoded(self) -> HeadSpec:
        """The head as exported: the network decodes."""
        return HeadSpec("yolov8", self.strides, self.reg_max, (HeadOutput(self.output, "decoded"),))

    @property
    def raw(self) -> HeadSpec:
        """The head cut at its convolutions: we decode."""
        pairs = zip(self.box_convs, self.class_convs, strict=True)
        outputs = [
            each for box, cls in pairs for each in (HeadOutput(box.tensor, "box", box.stride), HeadOutput(cls.tensor, "class", cls.stride))
        ]
        return HeadSpec("yolov8", self.strides, self.reg_max, tuple(outputs))


def recognise(model: onnx.ModelProto) -> YoloHead:
    """The head of a YOLOv8-type detector.

    Raises:
        ModelError: it is something else; the message says what it looks like.
    """
    spec = _input_spec(model)
    fixed = fix_input_shape(model, spec.name, spec.shape)
    shapes = shapes_of(fixed)
    if len(model.graph.output) != 1:
        raise _not_supported(f"{len(model.graph.output)} outputs")
    output = model.graph.output[0].name
    shape = shapes.get(output)
    by_stride = _group_by_stride(_head_convs(fixed, shapes, output, spec))
    if shape is None or len(shape) != 3 or shape[0] != 1:
        raise _not_supported(f"an output of shape {_show(shape)}")
    _refuse_other_families(shape, by_stride)
    return _assemble(spec, output, shape, by_stride)


def family_of(model: onnx.ModelProto) -> str | None:
    """The family's name where we decode it, else None; never raises for a sound model."""
    try:
        return recognise(model).decoded.family
    except ModelError:
        return None


def _input_spec(model: onnx.ModelProto) -> InputSpec:
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1:
        raise _not_supported(f"{len(inputs)} inputs")
    tensor = inputs[0].type.tensor_type
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    if len(dims) != 4 or dims[1] not in (0, 3) or dims[0] > 1:
        raise _not_supported(f"an input of shape {_show(dims)}")
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise _not_supported(f"an input of type {onnx.TensorProto.DataType.Name(tensor.elem_type).lower()}")
    wide, high = image_size(model) or DEFAULT_SIZE_WH
    return InputSpec(inputs[0].name, (1, 3, dims[2] or high, dims[3] or wide))


def _head_convs(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]], output: str, spec: InputSpec) -> list[HeadConv]:
    """Walk back from the output and stop at every convolution that lies on a grid of the input."""
    producer = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, HeadConv] = {}
    pending, seen = [output], {output}
    while pending:
        node = producer.get(pending.pop())
        if node is None or node.op_type in SHAPE_ONLY:
            continue
        conv = _on_grid(node, shapes, spec) if node.op_type in CONVOLUTIONS else None
        if conv is not None:
            found[conv.tensor] = conv
            continue
        upstream = [name for name in node.input if name not in seen and not _is_scalar(shapes.get(name))]
        seen.update(upstream)
        pending.extend(upstream)
    return list(found.values())


def _is_scalar(shape: tuple[int, ...] | None) -> bool:
    # A quantized graph computes scales from features; such a scalar is arithmetic, not a path the features take.
    return shape is not None and math.prod(shape) == 1


def _on_grid(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], spec: InputSpec) -> HeadConv | None:
    shape = shapes.get(node.output[0], ())
    wide, high = spec.size_wh
    if len(shape) != 4 or not all(shape):
        return None
    stride = wide // shape[3]
    # The DFL convolution also ends in a rank-4 tensor, but its "grid" is sides x cells.
    if stride < 2 or (high // stride, wide // stride) != shape[2:] or stride & (stride - 1):
        return None
    return HeadConv(node.output[0], shape[1], stride)


def _group_by_stride(convs: Iterable[HeadConv]) -> dict[int, list[HeadConv]]:
    groups: dict[int, list[HeadConv]] = defaultdict(list)
    for conv in convs:
        groups[conv.stride].append(conv)
    return dict(sorted(groups.items()))


def _refuse_other_families(shape: tuple[int, ...], by_stride: dict[int, list[HeadConv]]) -> None:
    rows, columns = shape[1:]
    if columns == 6 and rows <= 1000:
        raise _not_supported(f"an end-to-end head (YOLOv10 / YOLO26, or NMS exported into the graph): output {_show(shape)}")
    counts = {len(convs) for convs in by_stride.values()}
    if rows > columns and counts == {1}:
        raise _not_supported(f"an objectness head (YOLOv5 type): output {_show(shape)}")
    if rows > columns and counts == {3}:
        raise _not_supported(f"a decoupled objectness head (YOLOX type): output {_show(shape)}")
    if rows > columns:
        raise _not_supported(f"an output of shape {_show(shape)}")


def _assemble(spec: InputSpec, output: str, shape: tuple[int, ...], by_stride: dict[int, list[HeadConv]]) -> YoloHead:
    classes, cells = shape[1] - 4, shape[2]
    wide, high = spec.size_wh
    if classes < 1 or not by_stride or cells != sum((wide // s) * (high // s) for s in by_stride):
        raise _not_supported(f"an output {_show(shape)} that does not cover the grids of strides {sorted(by_stride)}")
    boxes, scores = [], []
    for stride, convs in by_stride.items():
        box, cls = _box_and_class(convs, classes, stride)
        boxes.append(box)
        scores.append(cls)
    if len({conv.channels for conv in boxes}) != 1:
        raise _not_supported(f"box branches of different widths, {[conv.channels for conv in boxes]}")
    return YoloHead(spec, output, classes, boxes[0].channels // 4, tuple(boxes), tuple(scores))


def _box_and_class(convs: list[HeadConv], classes: int, stride: int) -> tuple[HeadConv, HeadConv]:
    """Which of a grid's two convolutions is which: one has a channel a class, the other four sides of bins.

    When both have the same width the walk, which is last in first out, has met the class branch first: exporters concatenate
    box, class. The cut head is compared with the whole network before it is used (`compress.candidates.check_head_cut`), so a
    wrong guess is refused there.
    """
    if len(convs) != 2:
        raise _not_supported(f"{len(convs)} head convolutions at stride {stride} (expected a box and a class branch)")
    first, second = convs
    for cls, box in ((first, second), (second, first)):
        if cls.channels == classes and box.channels % 4 == 0 and box.channels >= 4:
            return box, cls
    raise _not_supported(f"head convolutions of {first.channels} and {second.channels} channels at stride {stride} for {classes} classes")


def _not_supported(what: str) -> ModelError:
    return ModelError("this model is not a detector we can decode", got=what, expected=SUPPORTED)


def _show(shape: Iterable[int] | None) -> str:
    return "unknown" if shape is None else "[" + ", ".join(str(n) if n else "?" for n in shape) + "]"

"""End the network at its head convolutions, and fold what can be folded.

The decode behind them (softmax over every cell, anchor arithmetic, a last concatenation of pixels and probabilities) costs time for
8,400 cells where a dozen survive, and shares one scale between ranges a thousand times apart if it is quantized. Cut off, it
runs in numpy for the survivors alone.

That our decode is the exporter's is not believed but shown: `raw_head` runs the part of the graph that would be cut off by itself, on
made-up logits, and keeps the one reading of the head under which both say the same at every cell.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations, product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.artifact import RAW_ROLES, Anchors, Family, HeadOutput, HeadSpec
from edgewright.engines.onnxruntime import QUIET
from edgewright.errors import ModelError
from edgewright.graph.head import Head, HeadConv, reads, recognise
from edgewright.graph.shapes import fix_input_shape
from edgewright.graph.walk import blocks
from edgewright.printable import printable
from edgewright.vision.encoded import Tensor
from edgewright.vision.heads import Candidates, decode
from edgewright.whole_file import telling_of_the_disk, write_whole

Logits: TypeAlias = Mapping[str, Tensor]  # what the head convolutions give, by tensor, [1, channels, H, W]

OLDEST_OPSET = 13  # per-channel DequantizeLinear (its axis attribute) arrived here
SAME_ANSWER = 1e-4  # of the upgraded graph, absolute and relative: float sums in another order, no more
# How far the graph's decode and ours may be apart, and what of a box's size: an exp multiplies the rounding of its argument.
SAME_PX = 0.05
SAME_SHARE = 1e-4
SAME_SCORE = 1e-3
SAME_CLASS = 0.999  # of all cells; two classes may tie within float rounding
EVERY_CELL = -1.0  # no probability is below
SEEDS = (0, 1, 2)
SPREAD = 2.0  # of made-up logits: probabilities from 0.002 to 0.998, box sides all over the bins
MOST_READINGS = 512  # four grids with two equally wide convolutions have 16
UNREAD = "the head of this model was not understood"
READABLE = "the decode of a YOLOv5, v8, v10, YOLO26 or YOLOX head"


def fold(source: Path, target: Path, head: Head) -> None:
    """Write `source` with its input pinned to the head's size, BatchNormalization folded into convolutions and constants computed.

    Raises:
        ModelError: the graph is older than quantization needs and cannot be brought up to date.
    """
    import onnxruntime  # noqa: PLC0415 - heavy

    model = upgrade(fix_input_shape(onnx.load(source), head.input.name, head.input.shape), head)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    # The basic level folds and removes, but stays within standard operators; higher levels write for this very CPU.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    given = model.SerializeToString()
    # It writes to a path: to one in memory, because on a full disk it leaves half a file and speaks of the model.
    with open(os.memfd_create("folded"), "rb") as folded:  # noqa: PTH123 - a descriptor
        with telling_of_the_disk(target, len(given)):
            os.posix_fallocate(folded.fileno(), 0, len(given))  # a limit on the size of files (ulimit -f) is met here
        options.optimized_model_filepath = f"/proc/self/fd/{folded.fileno()}"
        onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
        write_whole(target, folded.read())


def upgrade(model: onnx.ModelProto, head: Head) -> onnx.ModelProto:
    """The model in an opset that quantization can be written in; one that is new enough comes back as it is.

    Raises:
        ModelError: the converter cannot, or the converted model answers differently.
    """
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset >= OLDEST_OPSET:
        return model
    again = f"export it again with opset {OLDEST_OPSET} or newer"
    try:
        newer = onnx.version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:  # the converter is foreign code and raises what it likes
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"this model's opset {opset} cannot be brought to {OLDEST_OPSET}", got=reason, fix=again) from error
    feed = np.random.default_rng(0).random(head.input.shape, np.float32) * np.float32(255 * head.input.scale)
    before, after = (_open(each).run(None, {head.input.name: feed}) for each in (model, newer))
    same = len(before) == len(after) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=SAME_ANSWER, atol=SAME_ANSWER) for a, b in zip(before, after, strict=True)
    )
    if not same:
        raise ModelError(f"this model answers differently once its opset {opset} is brought to {OLDEST_OPSET}", fix=again)
    return newer


def raw_head(folded: onnx.ModelProto, head: Head) -> HeadSpec:
    """The head of the network cut at its head convolutions, shown to say what the whole network says.

    `folded` is the model as `fold` writes it. Every reading of the convolutions that their channels allow (which is the box one, which the
    class one) decodes made-up logits and is held against the graph's own tail.

    Raises:
        ModelError: no reading agrees at every cell. The decode then has to stay in the graph.
    """
    head = _found_again(folded, head)
    tail = _Tail.of(folded, head)
    trials = [(logits, tail.run(logits)) for logits in _made_up(tail.shapes)]
    agree = _same_rows if head.family == "end2end" else _same_cells
    differences = []
    for reading in _readings(head, tail, trials[0][1]):
        differences.append(agree(head, reading, trials))
        if differences[-1].is_none:
            return reading
    raise _not_understood(min(differences, default=NO_READING))


def cut_head(model: onnx.ModelProto, raw: HeadSpec) -> onnx.ModelProto:
    """The part of `model` that leads to the raw head's convolutions, which become its outputs in the order of `raw`."""
    return onnx.shape_inference.infer_shapes(_part(model, [output.name for output in raw.outputs]))


# --- the tail, run by itself --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Tail:
    """The part of a graph behind its head convolutions, open in ONNX Runtime."""

    session: Any
    shapes: Mapping[str, tuple[int, ...]]
    suppresses: bool

    @classmethod
    def of(cls, model: onnx.ModelProto, head: Head) -> "_Tail":
        wide, high = head.input.size_wh
        shapes = {c.tensor: (1, c.channels, high // c.stride, wide // c.stride) for grid in head.convs for c in grid}
        part = _part(model, [head.decoded.outputs[0].name], shapes)
        try:
            session = _open(part)
        except Exception as error:  # its exception classes share no public root
            raise ModelError(UNREAD, got="a decode that reads more than the head convolutions", expected=READABLE) from error
        return cls(session, shapes, any(node.op_type == "NonMaxSuppression" for block in blocks(part) for node in block.nodes))

    def run(self, logits: Logits) -> Tensor:
        [output] = self.session.run(None, dict(logits))
        return np.asarray(output, np.float32)


def _made_up(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Logits]:
    """Zeros, then logits drawn at random."""
    yield {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        yield {name: rng.normal(0, SPREAD, shape).astype(np.float32) for name, shape in shapes.items()}


# --- the readings -------------------------------------------------------------------------------------------------------------------------


def _readings(head: Head, tail: _Tail, at_zero: Tensor) -> Iterator[HeadSpec]:
    """Every way to take the convolutions that their channels allow, the likeliest first."""
    family = _raw_family(head, tail)
    anchors = tuple(_anchors(head, grid[0], at_zero[0]) for grid in head.convs) if family == "yolov5" else None
    if family is None or any(
        len(sizes) * (5 + head.classes) != grid[0].channels for sizes, grid in zip(anchors or (), head.convs, strict=False)
    ):
        return
    for ways in islice(product(*(_ways(grid, family, head) for grid in head.convs)), MOST_READINGS):
        outputs = tuple(
            HeadOutput(conv.tensor, role, conv.stride) for way in ways for conv, role in zip(way, RAW_ROLES[family], strict=True)
        )
        bins = ways[0][0].channels // 4 if family in ("yolov8", "end2end") else None
        if bins is None or all(way[0].channels == 4 * bins for way in ways):
            yield HeadSpec(family, head.strides, bins, outputs, anchors)


def _raw_family(head: Head, tail: _Tail) -> Family | None:
    """How the convolutions are decoded. A suppression in the graph says nothing about how: without it we suppress ourselves.

    None where we cannot: anchors, for one, cannot be read from the few boxes that a suppression leaves.
    """
    if head.family == "end2end" and (not tail.suppresses or len(head.convs[0]) == 1):
        return "end2end" if len(head.convs[0]) == 2 else None
    families: dict[int, Family] = {1: "yolov5", 2: "yolov8", 3: "yolox"}
    return families.get(len(head.convs[0]))


def _ways(grid: Sequence[HeadConv], family: Family, head: Head) -> Iterator[tuple[HeadConv, ...]]:
    """A grid's convolutions in the order of the family's roles."""
    # Exporters concatenate box, (objectness,) class, and the walk that found them was last in, first out.
    for way in permutations(reversed(grid)):
        widths = [conv.channels for conv in way]
        fits = {
            "yolov5": True,
            "yolox": widths == [4, 1, head.classes],
        }.get(family, widths[-1] == head.classes and widths[0] % 4 == 0 and head.reg_max in (None, widths[0] // 4))
        if fits:
            yield way


def _anchors(head: Head, conv: HeadConv, at_zero: Tensor) -> Anchors:
    """The anchors of a grid, read from its first cell at zero logits: the sigmoid is 1/2 there, so a side is (2 / 2)^2 anchors."""
    rows = at_zero.T if at_zero.shape[0] == 5 + head.classes != at_zero.shape[1] else at_zero
    first = rows[np.abs(rows[:, :2] - conv.stride / 2).max(axis=1) < SAME_PX]
    return tuple((float(wide), float(high)) for wide, high in first[:, 2:4])


# --- one held against the other -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class _Difference:
    """The largest there was: share of the boxes with another class or no like, then of scores, then of pixels beyond rounding."""

    share: float
    score: float = 0.0
    excess_px: float = 0.0

    @property
    def is_none(self) -> bool:
        return self.share <= 1 - SAME_CLASS and self.score <= SAME_SCORE and self.excess_px <= 0

    def __str__(self) -> str:
        return f"{self.share:.1%} of the boxes that differ, scores by up to {self.score:.3g}"


NO_READING = _Difference(1.0, np.inf, np.inf)


def _same_cells(head: Head, reading: HeadSpec, trials: Sequence[tuple[Logits, Tensor]]) -> _Difference:
    """Our decode against the graph's at every cell. At zero logits every box lies at its cell, which tells which row is which."""
    pairs = [(_whole(head, output), _cut(head, reading, logits)) for logits, output in trials]
    if any(len(whole[1]) != len(cut[1]) for whole, cut in pairs):
        return NO_READING
    whole_order, cut_order = (_by_place(boxes) for boxes, _, _ in pairs[0])
    worst = []
    for (boxes, scores, ids), (cut_boxes, cut_scores, cut_ids) in pairs:
        boxes, cut_boxes = boxes[whole_order], cut_boxes[cut_order]
        worst.append(
            _Difference(
                float(np.mean(ids[whole_order] != cut_ids[cut_order])),
                float(np.abs(scores[whole_order] - cut_scores[cut_order]).max()),
                float((np.abs(boxes - cut_boxes) - _tolerance_px(boxes)[:, None]).max()),
            )
        )
    return _Difference(max(d.share for d in worst), max(d.score for d in worst), max(d.excess_px for d in worst))


def _same_rows(head: Head, reading: HeadSpec, trials: Sequence[tuple[Logits, Tensor]]) -> _Difference:
    """The rows of an end-to-end output against our boxes; at zero logits all cells tie, so the random trials tell."""
    agree = _suppressed_rows if reading.needs_nms else _chosen_rows
    shares = [agree(_whole(head, output, 0.0), _cut(head, reading, logits)) for logits, output in trials[1:]]
    return _Difference(max(shares))


def _chosen_rows(rows: Candidates, ours: Candidates) -> float:
    """The share of rows that are no boxes of ours, or ours that are no rows.

    The last of both are left out: which of two nearly equal scores makes the list is up to rounding.
    """
    last = max(rows[1].min(initial=1.0), ours[1].min(initial=1.0)) + SAME_SCORE
    pairs = ((rows, ours), (ours, rows))
    missing = [not _like(other, *row).any() for these, other in pairs for row in zip(*these, strict=True) if row[1] > last]
    return float(np.mean(missing)) if missing else 1.0


def _suppressed_rows(rows: Candidates, ours: Candidates) -> float:
    """The share of rows, of those that a suppression in the graph left over, that are no boxes of ours.

    It may look at each class by itself and so keep a box for a class that is not its best.
    """
    boxes, scores, _ = ours
    best = [_like(ours, *row).any() for row in zip(*rows, strict=True)]
    known = [bool((_near(boxes, box) & (scores >= score)).any()) for box, score, _ in zip(*rows, strict=True)]
    return 1.0 - float(np.mean(np.array(best) | np.array(known))) if any(best) else 1.0


def _like(found: Candidates, box: Tensor, score: np.float32, class_id: np.int64) -> NDArray[np.bool_]:
    boxes, scores, class_ids = found
    like: NDArray[np.bool_] = (np.abs(scores - score) <= SAME_SCORE) & (class_ids == class_id) & _near(boxes, box)
    return like


def _near(boxes: Tensor, box: Tensor) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = (np.abs(boxes - box) <= _tolerance_px(box[None])[0]).all(axis=1)
    return near


def _whole(head: Head, output: Tensor, score_above: float = EVERY_CELL) -> Candidates:
    return decode(head.decoded, [output], score_above, size_wh=head.input.size_wh)


def _cut(head: Head, reading: HeadSpec, logits: Logits) -> Candidates:
    return decode(reading, [logits[output.name] for output in reading.outputs], EVERY_CELL, size_wh=head.input.size_wh)


def _by_place(boxes: Tensor) -> NDArray[np.int64]:
    """An order of the boxes that does not depend on how they were listed: by centre, whole pixels at zero logits, then by size."""
    centre, size = np.rint((boxes[:, :2] + boxes[:, 2:]) / 2), boxes[:, 2:] - boxes[:, :2]
    shape = size[:, 0] + size[:, 1] * np.float32(1.618)  # anchors of one cell may share a side
    return np.lexsort((shape, centre[:, 1], centre[:, 0])).astype(np.int64)


def _tolerance_px(boxes: Tensor) -> Tensor:
    """For each box: what rounding explains."""
    sides = np.abs(boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    tolerance: Tensor = (SAME_PX + SAME_SHARE * sides).astype(np.float32)
    return tolerance


def _not_understood(difference: _Difference) -> ModelError:
    return ModelError(UNREAD, got=f"a decode of our own with {difference}", expected=READABLE)


# --- parts of a graph ---------------------------------------------------------------------------------------------------------------------


def _found_again(folded: onnx.ModelProto, head: Head) -> Head:
    """The head in the folded graph, where a convolution may have swallowed the arithmetic behind it and taken its tensor's name."""
    made = {name for node in folded.graph.node for name in node.output}
    return head if made.issuperset(_tensors(head)) else recognise(folded)


def _tensors(head: Head) -> list[str]:
    return [conv.tensor for grid in head.convs for conv in grid]


def _part(model: onnx.ModelProto, wanted: Sequence[str], given: Mapping[str, tuple[int, ...]] | None = None) -> onnx.ModelProto:
    """The part of `model` that computes the tensors `wanted`, from its inputs or, where there are any, from the tensors `given`."""
    given = given or {}
    kept = _upstream(model.graph, wanted, given)
    made = kept - set(given)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    for field, keep in (
        (graph.node, [node for node in graph.node if any(name in made for name in node.output)]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in kept]),
        (graph.value_info, [value for value in graph.value_info if value.name in made]),
        (graph.input, [_float_value(name, shape) for name, shape in given.items()] or list(graph.input)),
        (graph.output, [_float_value(name, None) for name in wanted]),
    ):
        held = [type(each).FromString(each.SerializeToString()) for each in keep]
        del field[:]
        field.extend(held)
    return part


def _upstream(graph: onnx.GraphProto, wanted: Sequence[str], given: Mapping[str, Any]) -> set[str]:
    producer = {name: node for node in graph.node for name in node.output}
    missing = [name for name in wanted if name not in producer]
    if missing:
        raise ModelError(f"the head convolution {printable(missing[0])} is gone after folding", fix="report this model")
    kept, pending = set(wanted), list(wanted)
    while pending:
        name = pending.pop()
        node = None if name in given else producer.get(name)
        fresh = [each for each in (reads(node) if node else ()) if each not in kept]
        kept.update(fresh)
        pending.extend(fresh)
    return kept


def _float_value(name: str, shape: Sequence[int] | None) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def _open(model: onnx.ModelProto) -> Any:
    import onnxruntime  # noqa: PLC0415 - heavy

    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

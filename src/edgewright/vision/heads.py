"""From a network's output tensors to candidate boxes; one detector family a function, `decode` for all.

Decoding happens in one of two places. A *decoded* output has been through the exporter's own tail: box and class
probabilities for every cell. A *raw* head gives the last convolutions themselves; then scores are compared as logits
and only the survivors, a dozen out of 8,400, are decoded. Tensors of integers are compared as integers (`encoded`).

    yolov8    four box sides a cell, each a distribution over `reg_max` bins (DFL, Generalized Focal Loss, arXiv 2006.04388) or,
              with one bin, a plain distance (YOLO26); a logit for each class
    yolov5    a few anchors a cell; centre and size are sigmoids of the anchor (docs.ultralytics.com, YOLOv5 architecture,
              "Eliminate Grid Sensitivity"); score = objectness x class
    yolox     an offset from the cell and the logarithm of the size, both in cells (YOLOX, arXiv 2107.08430); the same score
    end2end   the convolutions of yolov8, trained so that one cell speaks for an object (YOLOv10, arXiv 2405.14458)

A box keeps its best class only, except in an end-to-end output, whose rows are taken as they stand: the exporters' tails keep the best
(cell, class) pairs, and the mAP that is published for such models counts them.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import RAW_ROLES, Anchors, HeadOutput, HeadSpec
from edgewright.detections import Boxes, ClassIds, Scores
from edgewright.vision.encoded import Tensor, Values, encoded, is_encoding, real

Candidates: TypeAlias = tuple[Boxes, Scores, ClassIds]  # boxes in input pixels, not yet suppressed, unsorted

MOST_END2END = 300  # boxes an image that the exporters' own tails keep
LARGEST_LOG_SIZE = 12.0  # e^12 cells is beyond any picture; a network gone wrong must not give infinities
LARGEST_LOGIT = 88.0  # e^88 is the last that float32 holds


def decode(head: HeadSpec, outputs: Sequence[NDArray[Any]], score_above: float, *, size_wh: tuple[int, int]) -> Candidates:
    """Candidates with a score above `score_above` from the tensors that `head` names, in its order, each [1, ...].

    `size_wh`: of the network's input, in pixels. The boxes come in the order of the tensors' cells.
    """
    tensors = [_values(*pair) for pair in zip(outputs, head.outputs, strict=False)]
    if not head.is_raw:
        return _decode_whole(head, tensors[0], score_above, size_wh)
    if head.outputs[0].role == "undecoded":
        return yolox_undecoded(_cells_first(tensors[0], head, size_wh), _grid(head.strides, size_wh), score_above)
    count = len(RAW_ROLES[head.family])
    grids = [tensors[at : at + count] for at in range(0, len(tensors), count)]
    if head.family == "yolov5":
        anchors = head.anchors or ()
        return yolov5_raw(
            [(combined, stride, sizes) for (combined,), stride, sizes in zip(grids, head.strides, anchors, strict=True)], score_above
        )
    if head.family == "yolox":
        return yolox_raw([(box, obj, cls, stride) for (box, obj, cls), stride in zip(grids, head.strides, strict=True)], score_above)
    pairs = [(box, cls, stride) for (box, cls), stride in zip(grids, head.strides, strict=True)]
    return end2end_raw(pairs, score_above) if head.family == "end2end" else yolov8_raw(pairs, score_above)


def can_decode(head: HeadSpec, outputs: Sequence[NDArray[Any]], classes: int) -> bool:
    """Whether tensors, each [1, ...], have the values that `decode` takes apart for that many classes."""
    if len(outputs) < len(head.outputs):
        return False
    named = list(zip(outputs, head.outputs, strict=False))
    return all(_holds(output.shape[1:], values, head) for output, values in zip(outputs, _values_of(head, classes), strict=False)) and all(
        is_encoding(output.dtype) if named_as.scale is not None else output.dtype.kind == "f" for output, named_as in named
    )


def yolov8_decoded(output: Values, score_above: float) -> Candidates:
    """Candidates from `output` [4 + classes, cells]: cx cy w h in input pixels, then a probability for each class."""
    best = output[4:].max(axis=0)
    keep = np.flatnonzero(best > score_above)
    return _corners(real(output[:4, keep]).T), real(best[keep]), real(output[4:, keep]).argmax(axis=0)


def objectness_decoded(output: Values, score_above: float) -> Candidates:
    """Candidates from `output` [boxes, 5 + classes]: cx cy w h in input pixels, objectness, a probability for each class.

    YOLOv5's and YOLOv7's, and YOLOX's where the decode was exported.
    """
    keep, scores, class_ids = _scored_by_product(output, score_above)
    return _corners(real(output[keep, :4])), scores, class_ids


def end2end_decoded(output: Values, score_above: float) -> Candidates:
    """Candidates from `output` [boxes, 6]: x1 y1 x2 y2 in input pixels, score, class."""
    rows = real(output[output[:, 4] > score_above])
    return rows[:, :4], rows[:, 4], np.rint(np.nan_to_num(rows[:, 5])).astype(np.int64)


def yolox_undecoded(output: Values, grid: tuple[Tensor, Tensor], score_above: float) -> Candidates:
    """Candidates from `output` [cells, 5 + classes]: offset and log size in cells, then probabilities: objectness, each class.

    `grid`: column and row [cells, 2] and stride [cells, 1] of each cell.
    """
    keep, scores, class_ids = _scored_by_product(output, score_above)
    cells, strides = grid
    return _yolox_boxes(real(output[keep, :4]), cells[keep], strides[keep]), scores, class_ids


def yolov8_raw(grids: Sequence[tuple[Values, Values, int]], score_above: float) -> Candidates:
    """Candidates from the head convolutions: for each grid the box logits [4 * reg_max, H, W], class logits [classes, H, W], stride."""
    boxes, logits = _yolov8_cells(grids, _logit(score_above))
    return boxes, _sigmoid(logits.max(axis=1)), logits.argmax(axis=1)


def end2end_raw(grids: Sequence[tuple[Values, Values, int]], score_above: float) -> Candidates:
    """The best 300 pairs of a cell and a class among the best 300 cells, from the same convolutions; best first.

    So ends the exporters' own tail (Ultralytics, `Detect.postprocess`).
    """
    logit_above = _logit(score_above)
    boxes, logits = _yolov8_cells(grids, logit_above)
    best = np.argsort(-logits.max(axis=1), kind="stable")[:MOST_END2END]
    cell, class_ids = np.nonzero(logits[best] > logit_above)
    found = logits[best[cell], class_ids]
    pairs = np.argsort(-found, kind="stable")[:MOST_END2END]
    return boxes[best[cell[pairs]]], _sigmoid(found[pairs]), class_ids[pairs]


def yolov5_raw(grids: Sequence[tuple[Values, int, Anchors]], score_above: float) -> Candidates:
    """Candidates from the head convolutions: for each grid the logits [anchors * (5 + classes), H, W], its stride and anchors.

    The boxes come anchor by anchor, as the exporters lay them out.
    """
    return _joined([_yolov5_grid(combined, stride, anchors, score_above) for combined, stride, anchors in grids])


def yolox_raw(grids: Sequence[tuple[Values, Values, Values, int]], score_above: float) -> Candidates:
    """Candidates from the head convolutions: for each grid box [4, H, W], objectness [1, H, W], class logits [classes, H, W], stride."""
    return _joined([_yolox_grid(box, objectness, cls, stride, score_above) for box, objectness, cls, stride in grids])


def _values_of(head: HeadSpec, classes: int) -> list[int]:
    """How many values each output has for a box, or for a cell of a grid."""
    of_box = {"yolov8": 4 + classes, "end2end": 6}.get(head.family, 5 + classes)
    if not head.is_raw or head.outputs[0].role == "undecoded":
        return [of_box]
    count = len(RAW_ROLES[head.family])
    anchors = [len(sizes) for sizes in head.anchors or () for _ in range(count)] or [0] * len(head.outputs)
    of_role = {"box": 4 * (head.reg_max or 1), "class": classes, "objectness": 1}
    return [of_role.get(output.role, each * of_box) for output, each in zip(head.outputs, anchors, strict=True)]


def _holds(shape: tuple[int, ...], values: int, head: HeadSpec) -> bool:
    if head.outputs[0].role in ("decoded", "undecoded"):
        return len(shape) == 2 and values in shape
    return len(shape) == 3 and shape[0] == values


def _values(output: NDArray[Any], named_as: HeadOutput) -> Values:
    """What an output [1, ...] holds of its one picture."""
    if named_as.scale is None:
        floats: Tensor = output[0]
        return floats
    return encoded(output[0], scale=named_as.scale, zero_point=named_as.zero_point)


def _decode_whole(head: HeadSpec, output: Values, score_above: float, size_wh: tuple[int, int]) -> Candidates:
    if head.family == "end2end":
        return end2end_decoded(output, score_above)
    rows = _cells_first(output, head, size_wh)
    return yolov8_decoded(rows.T, score_above) if head.family == "yolov8" else objectness_decoded(rows, score_above)


def _cells_first(output: Values, head: HeadSpec, size_wh: tuple[int, int]) -> Values:
    """[cells, values] whichever way the exporter wrote it; the usual way where the shape leaves it open."""
    cells = sum((size_wh[0] // stride) * (size_wh[1] // stride) for stride in head.strides) or 1
    first, second = (size % cells == 0 for size in output.shape)
    return output.T if second and (head.family == "yolov8" or not first) else output


def _yolov8_cells(grids: Sequence[tuple[Values, Values, int]], logit_above: float) -> tuple[Boxes, Tensor]:
    """Boxes [found, 4] and class logits [found, classes] of the cells with a logit above `logit_above`."""
    boxes, logits = zip(*(_yolov8_grid(box, cls, stride, logit_above) for box, cls, stride in grids), strict=True)
    return np.concatenate(boxes), np.concatenate(logits)


def _yolov8_grid(box_logits: Values, class_logits: Values, stride: int, logit_above: float) -> tuple[Boxes, Tensor]:
    columns = class_logits.shape[2]
    class_logits = class_logits.reshape(class_logits.shape[0], -1)
    best = class_logits.max(axis=0)
    keep = np.flatnonzero(best > logit_above)
    sides = _expected_distance(real(box_logits.reshape(4, -1, best.shape[0])[:, :, keep]))  # left, top, right, bottom; in cells
    centre = np.stack([keep % columns, keep // columns]).astype(np.float32) + np.float32(0.5)
    boxes = np.concatenate([centre - sides[:2], centre + sides[2:]]).T * np.float32(stride)
    return boxes, real(class_logits[:, keep]).T


def _yolov5_grid(combined: Values, stride: int, anchors: Anchors, score_above: float) -> Candidates:
    columns = combined.shape[2]
    values = combined.reshape(len(anchors), -1, combined.shape[1] * columns)  # [anchors, 5 + classes, cells]
    anchor, cell = np.nonzero(values[:, 4] > _logit(score_above))  # a product of probabilities is no larger than either
    found = real(values[anchor, :, cell])
    keep, scores, class_ids = _scored_by_logits(found[:, 4], found[:, 5:], score_above)
    anchor, cell, shares = anchor[keep], cell[keep], 2 * _sigmoid(found[keep, :4])
    place = np.stack([cell % columns, cell // columns], axis=1).astype(np.float32)
    centre = (shares[:, :2] - np.float32(0.5) + place) * np.float32(stride)
    size = shares[:, 2:] ** 2 * np.array(anchors, np.float32)[anchor]
    return _corners(np.concatenate([centre, size], axis=1)), scores, class_ids


def _yolox_grid(box: Values, objectness: Values, class_logits: Values, stride: int, score_above: float) -> Candidates:
    columns = box.shape[2]
    flat = objectness.reshape(-1)
    cell = np.flatnonzero(flat > _logit(score_above))
    found = real(class_logits.reshape(class_logits.shape[0], -1)[:, cell]).T
    keep, scores, class_ids = _scored_by_logits(real(flat[cell]), found, score_above)
    cell = cell[keep]
    place = np.stack([cell % columns, cell // columns], axis=1).astype(np.float32)
    return _yolox_boxes(real(box.reshape(4, -1)[:, cell]).T, place, np.float32(stride)), scores, class_ids


def _yolox_boxes(values: Tensor, cells: Tensor, strides: Tensor | np.float32) -> Boxes:
    centre = (values[:, :2] + cells) * strides
    size = np.exp(np.minimum(values[:, 2:], LARGEST_LOG_SIZE)) * strides
    return _corners(np.concatenate([centre, size], axis=1))


def _scored_by_product(output: Values, score_above: float) -> tuple[NDArray[np.int64], Scores, ClassIds]:
    """Rows [boxes, 5 + classes] whose objectness times best class is above the score: which, with what score and class."""
    likely = np.flatnonzero(output[:, 4] > score_above)
    found = real(output[likely])
    scores = found[:, 4] * found[:, 5:].max(axis=1)
    keep = np.flatnonzero(scores > score_above)
    return likely[keep], scores[keep], found[keep, 5:].argmax(axis=1)


def _scored_by_logits(objectness: Tensor, class_logits: Tensor, score_above: float) -> tuple[NDArray[np.int64], Scores, ClassIds]:
    """The same from logits: `objectness` [boxes], `class_logits` [boxes, classes]."""
    scores = _sigmoid(objectness) * _sigmoid(class_logits.max(axis=1))
    keep = np.flatnonzero(scores > score_above)
    return keep, scores[keep], class_logits[keep].argmax(axis=1)


def _grid(strides: Sequence[int], size_wh: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Column and row [cells, 2] and stride [cells, 1] of each cell, grid after grid."""
    places, scales = [], []
    for stride in strides:
        columns, rows = size_wh[0] // stride, size_wh[1] // stride
        row, column = np.divmod(np.arange(rows * columns), columns)
        places.append(np.stack([column, row], axis=1))
        scales.append(np.full((rows * columns, 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(scales).astype(np.float32)


def _joined(parts: Sequence[Candidates]) -> Candidates:
    boxes, scores, class_ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    return boxes, scores, class_ids


def _corners(centre_size: Tensor) -> Boxes:
    """From cx cy w h [boxes, 4] to x1 y1 x2 y2."""
    half = centre_size[:, 2:] / 2
    corners: Boxes = np.concatenate([centre_size[:, :2] - half, centre_size[:, :2] + half], axis=1).astype(np.float32, copy=False)
    return corners


def _expected_distance(logits: Tensor) -> Tensor:
    """The mean of the softmax distribution over bins 0..reg_max-1; `logits` [4, reg_max, cells] -> [4, cells].

    With one bin there is no distribution: the value is the distance.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    bins = np.arange(logits.shape[1], dtype=np.float32)
    mean: Tensor = np.einsum("sbc,b->sc", weights, bins) / weights.sum(axis=1)
    return mean


def _logit(probability: float) -> float:
    if probability <= 0:
        return -np.inf
    return float(np.log(probability) - np.log1p(-probability)) if probability < 1 else np.inf


def _sigmoid(logits: Tensor) -> Tensor:
    return (1 / (1 + np.exp(np.minimum(-logits, np.float32(LARGEST_LOGIT))))).astype(np.float32, copy=False)

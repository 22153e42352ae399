"""What the raw outputs of a head say at every cell, as tensors that gradients flow through.

The same readings as `vision.heads`, which decodes the few survivors of a threshold in numpy; here every cell counts, also those that
see nothing. Of a head with anchors each anchor of a cell is a cell of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgewright.artifact import RAW_ROLES, Anchors, HeadSpec
from edgewright.errors import ModelError

LARGEST_LOG_SIZE = 10.0  # e^10 cells: past every picture, and far from what overflows


@dataclass(frozen=True, slots=True)
class Cells:
    """Shapes: N pictures, A cells, C classes, B bins of a box side.

    class_logits [N, A, C]; objectness [N, A], a logit, where the head has one; sides [N, A, 4, B], logits of the distances left, top,
    right and bottom in strides, where they are distributions (DFL); boxes_xyxy [N, A, 4] in input pixels; points_xy [A, 2], the cells'
    centres in input pixels; strides [A, 1].
    """

    class_logits: Tensor
    objectness: Tensor | None
    sides: Tensor | None
    boxes_xyxy: Tensor
    points_xy: Tensor
    strides: Tensor

    def scores(self) -> Tensor:
        """The probability of each class, [N, A, C]."""
        likely = self.class_logits.sigmoid()
        return likely if self.objectness is None else likely * self.objectness.sigmoid()[..., None]


def read_cells(head: HeadSpec, outputs: Sequence[Tensor]) -> Cells:
    """The cells of a raw head from its outputs [N, channels, H, W], in the order in which `head` names them.

    Raises:
        ModelError: the head is decoded in the graph, so that there is nothing raw to learn from.
    """
    if not head.is_raw or head.outputs[0].role == "undecoded":
        raise ModelError("this model cannot be trained: its decode was not understood", expected="a head of the YOLO family")
    roles = len(RAW_ROLES[head.family])
    maps = [each.float() for each in outputs]
    grids = [maps[at : at + roles] for at in range(0, len(maps), roles)]
    if head.family == "yolov5":
        parts = [_anchored(grid[0], stride, sizes) for grid, stride, sizes in zip(grids, head.strides, head.anchors or (), strict=True)]
    elif head.family == "yolox":
        parts = [_offsets(grid, stride) for grid, stride in zip(grids, head.strides, strict=True)]
    else:
        parts = [_distances(grid, stride) for grid, stride in zip(grids, head.strides, strict=True)]
    return _joined(parts)


def centres_of(high: int, wide: int, like: Tensor) -> Tensor:
    """The cells' centres in cells, row after row, [H * W, 2] as x, y."""
    y, x = torch.meshgrid(torch.arange(high, device=like.device), torch.arange(wide, device=like.device), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2).to(like.dtype) + 0.5


def expected_distances(sides: Tensor) -> Tensor:
    """The mean of each side's distribution over 0, 1, 2, ... (arXiv 2006.04388): [..., 4, B] -> [..., 4]."""
    bins = torch.arange(sides.shape[-1], device=sides.device, dtype=sides.dtype)
    return (sides.softmax(-1) * bins).sum(-1)


def _distances(grid: Sequence[Tensor], stride: int) -> Cells:
    box, classes = grid
    high, wide = box.shape[2:]
    centres = centres_of(high, wide, box)
    sides = box.flatten(2).transpose(1, 2).unflatten(-1, (4, -1))
    distances = expected_distances(sides) if sides.shape[-1] > 1 else sides[..., 0]
    boxes = torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1) * stride
    return _cells(classes.flatten(2).transpose(1, 2), None, sides if sides.shape[-1] > 1 else None, boxes, centres, stride)


def _offsets(grid: Sequence[Tensor], stride: int) -> Cells:
    box, objectness, classes = grid
    high, wide = box.shape[2:]
    centres = centres_of(high, wide, box)
    values = box.flatten(2).transpose(1, 2)
    middle = (values[..., :2] + centres - 0.5) * stride
    size = values[..., 2:].clamp(max=LARGEST_LOG_SIZE).exp() * stride
    return _cells(classes.flatten(2).transpose(1, 2), objectness.flatten(1), None, _corners(middle, size), centres, stride)


def _anchored(combined: Tensor, stride: int, sizes: Anchors) -> Cells:
    count, (high, wide) = len(sizes), combined.shape[2:]
    values = combined.unflatten(1, (count, -1)).flatten(3).transpose(2, 3)  # [N, anchors, cells, 5 + C]
    centres = centres_of(high, wide, combined)
    shares = 2 * values[..., :4].sigmoid()
    middle = (shares[..., :2] - 1 + centres) * stride
    size = shares[..., 2:] ** 2 * torch.tensor(sizes, device=values.device, dtype=values.dtype)[:, None]
    flat = values.flatten(1, 2)
    boxes = _corners(middle, size).flatten(1, 2)
    return _cells(flat[..., 5:], flat[..., 4], None, boxes, centres.repeat(count, 1), stride)


def _cells(classes: Tensor, objectness: Tensor | None, sides: Tensor | None, boxes: Tensor, centres: Tensor, stride: int) -> Cells:
    return Cells(classes, objectness, sides, boxes, centres * stride, torch.full_like(centres[:, :1], stride))


def _corners(middle: Tensor, size: Tensor) -> Tensor:
    return torch.cat([middle - size / 2, middle + size / 2], -1)


def _joined(parts: Sequence[Cells]) -> Cells:
    """Grid after grid."""
    objectness = [part.objectness for part in parts if part.objectness is not None]
    sides = [part.sides for part in parts if part.sides is not None]
    return Cells(
        torch.cat([part.class_logits for part in parts], 1),
        torch.cat(objectness, 1) if objectness else None,
        torch.cat(sides, 1) if sides else None,
        torch.cat([part.boxes_xyxy for part in parts], 1),
        torch.cat([part.points_xy for part in parts]),
        torch.cat([part.strides for part in parts]),
    )

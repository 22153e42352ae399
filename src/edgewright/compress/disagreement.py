"""How far two forms of one network are apart, where it matters to a detector.

Mean squared error over whole tensors is ruled by the thousands of cells that see nothing. Here only the cells that either network
takes most seriously count, by how seriously, and what counts is what a user would see of them: the score and the box. The figure
moves smoothly with the smallest change, so it tells layers and range rules apart on a handful of pictures, where mAP is all chance.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import HeadSpec
from edgewright.detections import Boxes, Scores
from edgewright.vision.heads import Candidates, decode

EVERY_CELL = -1.0  # no probability is below
MOST_CELLS = 300  # an image: as many as the protocol lets a detector report

Feed = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Reference:
    """The float network's word on a few pictures: what it said at every cell, and what it was fed, held or read whenever asked for."""

    head: HeadSpec
    size_wh: tuple[int, int]
    feeds: Sequence[Feed]
    said: tuple[Candidates, ...]

    @classmethod
    def of(cls, head: HeadSpec, size_wh: tuple[int, int], feeds: Sequence[Feed], run: Callable[[Feed], list[NDArray[Any]]]) -> "Reference":
        """Ask the float network, opened as `run(feed) -> outputs`, whose head is `head` and whose input is `size_wh` pixels."""
        return cls(head, size_wh, feeds, tuple(every_cell(head, size_wh, run(feed)) for feed in feeds))

    def first(self, count: int) -> "Reference":
        """The same for fewer pictures."""
        return replace(self, feeds=self.feeds[:count], said=self.said[:count])

    def error(self, outputs: Iterable[Sequence[NDArray[Any]]], head: HeadSpec | None = None) -> float:
        """The mean disagreement of another form of the network, from its outputs for each feed in turn: 0 is none, 2 the most.

        `head`: how its outputs are read, where not as the float network's.
        """
        return float(np.mean(list(self.errors(outputs, head))))

    def errors(self, outputs: Iterable[Sequence[NDArray[Any]]], head: HeadSpec | None = None) -> Iterator[float]:
        """The disagreement on each picture."""
        for said, found in zip(self.said, outputs, strict=True):
            yield disagreement(said, every_cell(head or self.head, self.size_wh, found))


def disagreement(a: Candidates, b: Candidates) -> float:
    """How far two answers about the same cells are apart: change of score plus 1 - IoU of the boxes, a class that flips counting in full.

    `a`, `b`: boxes [cells, 4], best scores [cells], classes [cells], cell by cell the same. Weighed by the larger of the two scores,
    over the `MOST_CELLS` cells where that is largest.
    """
    weight = np.maximum(a[1], b[1])
    at = np.argpartition(-weight, min(MOST_CELLS, len(weight)) - 1)[:MOST_CELLS]
    score_apart = np.where(a[2][at] == b[2][at], np.abs(a[1][at] - b[1][at]), weight[at])
    box_apart = 1 - _iou(a[0][at], b[0][at])
    total = float(weight[at].sum())
    return float((weight[at] * (score_apart + box_apart)).sum() / total) if total > 0 else 0.0


def _iou(a: Boxes, b: Boxes) -> Scores:
    """Row by row; two empty boxes at the same place are the same."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    same = (a == b).all(axis=1)
    return np.where(same, 1.0, np.clip(shared / np.where(union > 0, union, 1.0), 0.0, 1.0)).astype(np.float32)


def every_cell(head: HeadSpec, size_wh: tuple[int, int], outputs: Sequence[NDArray[Any]]) -> Candidates:
    """Boxes, best scores and classes of all cells, in their order."""
    # An end-to-end head would keep its best cells in an order of its own; its convolutions are those of an anchor-free one.
    aligned = replace(head, family="yolov8") if head.is_raw and head.family == "end2end" else head
    return decode(aligned, outputs, EVERY_CELL, size_wh=size_wh)

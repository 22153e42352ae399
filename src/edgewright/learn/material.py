"""Frames as a student sees them: cut, flipped and re-lit afresh for every step, with nobody to say what is in them.

Batches depend on (seed, step) alone, so a run that was interrupted sees what an uninterrupted one would have seen. Whatever is done to a
picture, the teacher sees the same picture, so its answers are right for it, whether or not the picture is one of this world.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgewright.artifact import InputSpec
from edgewright.data.camera_model import CameraModel, Exposure, Jpeg, Sensor, Tone, WhiteBalance
from edgewright.data.images import read_image
from edgewright.data.sample import Truth
from edgewright.detections import Boxes, ClassIds, ImageRgb
from edgewright.learn.losses import BoxesInBatch, padded
from edgewright.vision.letterbox import GREY, Letterbox

# What a fixed camera's picture changes by over days: light, colour, noise, compression. Mild, since the frames come from that camera.
USUAL_CAMERA = CameraModel(
    "usual changes",
    exposure=Exposure((-0.7, 0.5)),
    sensor=Sensor((0.0, 2.0), (8_000, 20_000), (2, 8)),
    white_balance=WhiteBalance((-25, 25)),
    tone=Tone((0.85, 1.2)),
    jpeg=Jpeg((55, 95)),
)
LEAST_SHARE = 0.5  # of a labelled box that a cut must leave
ZOOM = (0.75, 1.35)  # of a picture in the network's own scale


@dataclass(frozen=True, slots=True)
class View:
    """A picture as it is learned from: which one, letterboxed, cut with its corner at `x`, `y`, and perhaps mirrored."""

    picture: ImageRgb
    index: int
    letterbox: Letterbox
    x: int
    y: int
    mirrored: bool

    @property
    def source_wh(self) -> tuple[int, int]:
        return self.letterbox.source_wh

    def boxes(self, boxes_xyxy: Boxes, class_ids: ClassIds) -> tuple[Boxes, ClassIds]:
        """Boxes of the source picture in this view, without those that the cut leaves too little of."""
        high, wide = self.picture.shape[:2]
        corner = np.array([self.letterbox.left - self.x, self.letterbox.top - self.y] * 2, np.float32)
        moved = boxes_xyxy * np.float32(self.letterbox.scale) + corner
        if self.mirrored:
            moved = np.stack([wide - moved[:, 2], moved[:, 1], wide - moved[:, 0], moved[:, 3]], 1)
        inside = np.clip(moved, 0, [wide, high, wide, high])
        share = (inside[:, 2:] - inside[:, :2]).prod(1) / np.maximum((moved[:, 2:] - moved[:, :2]).prod(1), 1e-6)
        keep = share > LEAST_SHARE
        return inside[keep].astype(np.float32), class_ids[keep]


@dataclass(frozen=True, slots=True)
class LabelledBatch:
    """Pictures [N, H, W, 3] RGB, and what is in them where somebody has said it."""

    pictures: NDArray[np.uint8]
    truth: BoxesInBatch | None = None


@dataclass(frozen=True, slots=True)
class Frames:
    """Pictures by path, and how a batch is made of them.

    `size_wh`: of the pictures of a batch, smaller than the network's input where training on cuts is enough; `zoomed`, `flipped`,
    `through_camera`: the share of pictures that are.
    """

    paths: Sequence[Path]
    input: InputSpec
    size_wh: tuple[int, int]
    seed: int = 0
    batch: int = 8
    zoomed: float = 0.5
    flipped: float = 0.5
    through_camera: float = 0.25
    camera: CameraModel = USUAL_CAMERA

    def pictures(self, step: int) -> NDArray[np.uint8]:
        """The batch of a step, [N, H, W, 3] RGB: every picture once before any comes again."""
        return np.stack([view.picture for view in self._views(step)])

    def labelled(self, step: int, truth_of: Callable[[int, tuple[int, int]], Truth]) -> LabelledBatch:
        """The same with what is in it; `truth_of(index, size_wh)` are the labels of a picture, which is of that size."""
        views = list(self._views(step))
        truths = [truth_of(view.index, view.source_wh) for view in views]
        boxes = [view.boxes(t.boxes_xyxy[~t.crowd], t.class_ids[~t.crowd]) for view, t in zip(views, truths, strict=True)]
        return LabelledBatch(np.stack([view.picture for view in views]), padded(boxes))

    def _views(self, step: int) -> Iterator[View]:
        rng = np.random.default_rng([self.seed, step])
        for place in range(step * self.batch, (step + 1) * self.batch):
            pass_, at = divmod(place, len(self.paths))
            yield self._view(rng, int(_order(self.seed, pass_, len(self.paths))[at]))

    def _view(self, rng: np.random.Generator, index: int) -> View:
        zoom = rng.uniform(*ZOOM) if rng.random() < self.zoomed else 1.0
        wide, high = (max(32, round(side * zoom)) for side in self.input.size_wh)
        image = read_image(self.paths[index])
        letterbox = Letterbox.fit((image.shape[1], image.shape[0]), (wide, high))
        cut, x, y = _cut(rng, letterbox.apply(image), self.size_wh)
        turned = rng.random() < self.flipped
        cut = np.ascontiguousarray(cut[:, ::-1] if turned else cut)
        seen = self.camera.apply(cut, rng) if rng.random() < self.through_camera else cut
        return View(seen, index, letterbox, x, y, turned)


@lru_cache(maxsize=2)  # a batch may end one pass and begin the next
def _order(seed: int, pass_: int, count: int) -> NDArray[np.int64]:
    """The order of the frames in a pass over them."""
    return np.random.default_rng([seed, pass_, 1]).permutation(count)


def _cut(rng: np.random.Generator, drawn: ImageRgb, size_wh: tuple[int, int]) -> tuple[ImageRgb, int, int]:
    """A window of that size, anywhere in the picture, and its corner there; grey where the picture is smaller."""
    (wide, high), (rows, columns) = size_wh, drawn.shape[:2]
    left, top = (int(rng.integers(0, max(have - want, 0) + 1)) for have, want in ((columns, wide), (rows, high)))
    window = drawn[top : top + high, left : left + wide]
    if window.shape[:2] == (high, wide):
        return window, left, top
    whole = np.full((high, wide, 3), GREY, np.uint8)
    x, y = (int(rng.integers(0, room + 1)) for room in (wide - window.shape[1], high - window.shape[0]))
    whole[y : y + window.shape[0], x : x + window.shape[1]] = window
    return whole, left - x, top - y


def to_input(pictures: NDArray[np.uint8], spec: InputSpec) -> Tensor:
    """Pictures [N, H, W, 3] RGB as the network takes them, [N, 3, H, W] float32."""
    ordered = pictures if spec.colour == "RGB" else pictures[..., ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(ordered)).permute(0, 3, 1, 2).float()
    mean = torch.tensor(spec.mean).reshape(1, 3, 1, 1)
    return ((tensor - mean) * spec.scale).contiguous(memory_format=torch.channels_last)

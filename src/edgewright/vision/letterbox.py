"""Fit a picture of any shape into a detector's input, and carry boxes back.

The convention is that of the YOLO family: scale so that the picture fits, centre it, fill the rest with grey 114.
Rounding follows the published implementations (half pixels go to the right and bottom border), because half a pixel
moves mAP50-95 in the third digit. A picture that is shrunk is smoothed first: two of four pixels left out alias, and cost a network at
half the camera's size a point of mAP50 on fine detail (docs/decisions/0008).
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes, ImageRgb

GREY = 114
MOST_SMOOTHED = 2.2  # times smaller; beyond, three taps are too few


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How a source picture lies in the network's input: scaled by `scale`, then moved by `left`, `top` pixels."""

    source_wh: tuple[int, int]
    input_wh: tuple[int, int]
    scale: float
    left: int
    top: int

    @classmethod
    def fit(cls, source_wh: tuple[int, int], input_wh: tuple[int, int]) -> "Letterbox":
        """The letterbox that shows the whole source, centred."""
        scale = min(input_wh[0] / source_wh[0], input_wh[1] / source_wh[1])
        wide, high = _scaled_wh(source_wh, scale)
        # -0.1: an odd border puts its extra pixel right and below, as the exporters' own preprocessing does.
        left = round((input_wh[0] - wide) / 2 - 0.1)
        top = round((input_wh[1] - high) / 2 - 0.1)
        return cls(source_wh, input_wh, scale, left, top)

    @property
    def drawn_wh(self) -> tuple[int, int]:
        """Width and height of the source where it lies in the input."""
        return _scaled_wh(self.source_wh, self.scale)

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns of the input that the source covers; the rest is border."""
        wide, high = self.drawn_wh
        return slice(self.top, self.top + high), slice(self.left, self.left + wide)

    def apply(self, image_rgb: ImageRgb, *, value: int = GREY, into: ImageRgb | None = None) -> ImageRgb:
        """Draw the source into a new input picture, uint8 H x W x 3, or over the whole of `into`, which is one."""
        if into is None:
            if self.drawn_wh == self.source_wh == self.input_wh:
                return image_rgb
            into = np.empty((self.input_wh[1], self.input_wh[0], 3), np.uint8)
        if self.drawn_wh != self.input_wh:
            into[:] = value
        self.draw(image_rgb, into[self.place])
        return into

    def draw(self, image_rgb: ImageRgb, window: ImageRgb) -> None:
        """The source, scaled, into `window`, which is `place` of an input picture or another of its size; no other pixel is touched."""
        if self.drawn_wh == self.source_wh:
            window[:] = image_rgb
        else:
            _resize(image_rgb, self.drawn_wh, 1 / self.scale, window)

    def to_source(self, boxes_xyxy: Boxes) -> Boxes:
        """Boxes in input pixels, N x 4, as boxes in source pixels, clipped to the picture."""
        shift = np.array([self.left, self.top, self.left, self.top], np.float32)
        limit = np.array([*self.source_wh, *self.source_wh], np.float32)
        moved: Boxes = np.clip((boxes_xyxy - shift) / np.float32(self.scale), 0, limit).astype(np.float32, copy=False)
        return moved


def _resize(image_rgb: ImageRgb, wanted_wh: tuple[int, int], shrink: float, window: ImageRgb) -> None:
    """Bilinear; where it is to become `shrink` > 1 times smaller, as wide as the triangle that covers every pixel (Pillow's BILINEAR).

    Between neighbours OpenCV's bilinear filter is a triangle of variance 1/6 source pixels; shrinking by f takes f^2/6. A smoothing
    [w, 1 - 2w, w] of variance 2w supplies what is missing: w = (f^2 - 1) / 12, [1, 2, 1] / 4 at one half, where the two together
    are the triangle exactly. What shrinks more is brought to twice the wanted size first, by averaging areas.
    """
    if shrink > MOST_SMOOTHED:
        image_rgb = _as_rgb(cv2.resize(image_rgb, (2 * wanted_wh[0], 2 * wanted_wh[1]), interpolation=cv2.INTER_AREA))
        shrink = 2.0
    if shrink > 1:
        side = (shrink**2 - 1) / 12
        taps = np.array([side, 1 - 2 * side, side])
        image_rgb = _as_rgb(cv2.sepFilter2D(image_rgb, -1, taps, taps, borderType=cv2.BORDER_REPLICATE))
    drawn = cv2.resize(image_rgb, wanted_wh, dst=window, interpolation=cv2.INTER_LINEAR)
    if drawn is not window:  # OpenCV writes into any window whose rows are contiguous, and else into one of its own
        window[:] = drawn


def _as_rgb(pixels: NDArray[Any]) -> ImageRgb:
    return pixels.astype(np.uint8, copy=False)


def _scaled_wh(source_wh: tuple[int, int], scale: float) -> tuple[int, int]:
    # A sliver scaled to nothing still has one pixel: a 1 x 5000 picture is odd, not an error.
    return max(1, round(source_wh[0] * scale)), max(1, round(source_wh[1] * scale))

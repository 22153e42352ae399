"""What the network reads: one tensor that is written again and again, a picture in each place of its batch.

A picture is letterboxed straight into it where the network takes bytes side by side (uint8 NHWC: the buffer *is* the network's input).
Elsewhere its planes are told apart, and each goes through a table of 256 values into its place: that is the shift and the scale of every
pixel, computed once and rounded as if it were computed for each. Of 640 x 640 pixels that takes 0.5 ms where transposing, converting and
scaling one after the other took 0.8.

The border is written when the geometry of a place changes, and not again for the frames after it.

    buffer = InputBuffer(artifact.input)
    letterbox = buffer.put(0, image_rgb)        # buffer.tensor is ready to be fed
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import InputSpec
from edgewright.detections import ImageRgb
from edgewright.vision.letterbox import Letterbox

LEVELS = 256
Plane = NDArray[np.uint8]


class InputBuffer:
    """The input of one detector: `tensor`, in the layout, colour order and type that `spec` asks for.

    Whoever reads `tensor` is done with it before the next picture is put; it is never given away.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.tensor: NDArray[Any] = np.empty(spec.shape, spec.dtype)
        self._spec = spec
        self._levels = _levels(spec)
        self._letterboxes: list[Letterbox | None] = [None] * spec.shape[0]
        self._canvas: NDArray[np.uint8] | None = None  # of pictures that are scaled before they are taken apart
        self._planes: NDArray[np.uint8] | None = None

    def put(self, at: int, image_rgb: ImageRgb) -> Letterbox:
        """Draw a picture into a place of the batch; how it lies there."""
        letterbox = Letterbox.fit((image_rgb.shape[1], image_rgb.shape[0]), self._spec.size_wh)
        if self._letterboxes[at] != letterbox:
            self._write_border(at)
            self._letterboxes[at] = letterbox
        if self._spec.layout == "NHWC":
            self._write_interleaved(self.tensor[at][letterbox.place], image_rgb, letterbox)
        else:
            self._write_planes(self.tensor[at][:, *letterbox.place], self._drawn(image_rgb, letterbox))
        return letterbox

    def fill(self, pictures: int) -> None:
        """Show the last of so many pictures in the places that are left over."""
        for at in range(pictures, len(self._letterboxes)):
            self.tensor[at] = self.tensor[pictures - 1]
            self._letterboxes[at] = self._letterboxes[pictures - 1]

    def _write_border(self, at: int) -> None:
        """Over the whole place; the picture comes on top."""
        border = self._levels[:, self._spec.letterbox_value]
        self.tensor[at] = border if self._spec.layout == "NHWC" else border[:, None, None]

    def _write_interleaved(self, window: NDArray[Any], image_rgb: ImageRgb, letterbox: Letterbox) -> None:
        if self._spec.dtype == "uint8":
            letterbox.draw(image_rgb, window)
            if self._spec.colour == "BGR":
                cv2.cvtColor(window, cv2.COLOR_RGB2BGR, dst=window)
            return
        pixels = self._drawn(image_rgb, letterbox)
        for channel, source in enumerate(self._sources()):
            np.take(self._levels[channel], pixels[..., source], out=window[..., channel], mode="clip")

    def _write_planes(self, window: NDArray[Any], pixels: ImageRgb) -> None:
        planes = self._apart(pixels)
        for channel, source in enumerate(self._sources()):
            if self._spec.dtype == "uint8":
                window[channel] = planes[source]
            else:
                look_up(planes[source], self._levels[channel], window[channel])

    def _drawn(self, image_rgb: ImageRgb, letterbox: Letterbox) -> ImageRgb:
        """The picture as large as it is shown: itself, where it is."""
        wide, high = letterbox.drawn_wh
        if (wide, high) == letterbox.source_wh:
            return image_rgb
        if self._canvas is None or self._canvas.shape != (high, wide, 3):
            self._canvas = np.empty((high, wide, 3), np.uint8)
        letterbox.draw(image_rgb, self._canvas)
        return self._canvas

    def _apart(self, pixels: ImageRgb) -> Sequence[Plane]:
        high, wide, _ = pixels.shape
        if self._planes is None or self._planes.shape != (3, high, wide):
            self._planes = np.empty((3, high, wide), np.uint8)
        planes = list(self._planes)
        found: Sequence[Plane] = cv2.split(pixels, planes)  # type: ignore[assignment]  # into the planes it is given
        return found

    def _sources(self) -> tuple[int, int, int]:
        """Which of red, green and blue each channel of the network is."""
        return (0, 1, 2) if self._spec.colour == "RGB" else (2, 1, 0)


def look_up(plane: Plane, levels: NDArray[Any], window: NDArray[Any]) -> None:
    """Each value of a plane through a table, into a window of its size."""
    drawn = cv2.LUT(plane, levels, dst=window)
    if drawn is not window:  # see `Letterbox.draw`
        window[:] = drawn


def _levels(spec: InputSpec) -> NDArray[Any]:
    """What each of 256 pixel values becomes in each of the network's channels, [3, 256]."""
    pixels = np.broadcast_to(np.arange(LEVELS), (3, LEVELS)).astype(spec.dtype)
    if spec.dtype == "uint8":
        return pixels
    return np.asarray((pixels - np.array(spec.mean, np.float32)[:, None]) * np.float32(spec.scale), np.float32)

"""Does anything move? A running mean of small grey pictures, and how much of the picture differs from it.

The method is the oldest one there is (a running average as background); Frigate spares its detector the same way. What does not move is not
shown to the model, and so not seen: `at_least_every_s` bounds for how long (docs/reference/service.md has what that costs in recall).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb
from edgewright.run.settings import MotionSettings

SMALL_WIDE = 160  # pixels; a person far away is a few of them
LEARNED_IN_S = 5.0  # after which what has come to rest is half background
SMOOTHED = 3  # pixels; single ones are noise


class Motion:
    """The background of one camera."""

    def __init__(self, settings: MotionSettings) -> None:
        self._settings = settings
        self._background: NDArray[np.float32] | None = None
        self._looked_s = 0.0
        self._shown_s = -np.inf

    def moves(self, picture_rgb: ImageRgb, now_s: float) -> bool:
        """Whether the model should see this frame, H x W x 3; every frame has to be shown here, in the order of time (seconds)."""
        grey = _small(picture_rgb)
        if self._background is None or self._background.shape != grey.shape:
            self._background, moved = grey, True
        else:
            share = float(np.mean(np.abs(grey - self._background) > self._settings.change))
            moved = share > self._settings.area
            elapsed_s = max(0.0, now_s - self._looked_s)
            learned = 1 - 0.5 ** (elapsed_s / LEARNED_IN_S)
            self._background += np.float32(learned) * (grey - self._background)
        self._looked_s = now_s
        if moved or now_s - self._shown_s >= self._settings.at_least_every_s:
            self._shown_s = now_s
            return True
        return False


def _small(picture_rgb: ImageRgb) -> NDArray[np.float32]:
    high, wide, _ = picture_rgb.shape
    size = (min(SMALL_WIDE, wide), max(1, round(high * min(SMALL_WIDE, wide) / wide)))
    grey = cv2.cvtColor(cv2.resize(picture_rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return cv2.blur(grey, (SMOOTHED, SMOOTHED)).astype(np.float32)

"""Where a box will be: a Kalman filter of constant velocity, for many boxes at once.

A box is its centre, width and height. The filter of DeepSORT (arXiv 1703.07402) and ByteTrack (arXiv 2110.06864) couples none of its four
figures with another, so each has its own little filter of a value and its rate: 2 x 2, without a matrix to invert. Two things differ from
their code. Width takes the place of the aspect ratio, which an occlusion changes while width and height hold (BoT-SORT, arXiv 2206.14651);
and time is seconds, not frames, with noise that grows with the time between two frames, however irregular these come. At `PAPER_FPS` it is
theirs.
"""

from dataclasses import dataclass, replace
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Boxes

Figures: TypeAlias = NDArray[np.float64]  # N x 4: of centre x, centre y, width, height; pixels

# Standard deviations as shares of the box's own size, of one frame, as in DeepSORT's code.
PAPER_FPS = 30.0
POSITION = 1 / 20
VELOCITY = 1 / 160
BEGIN_POSITION, BEGIN_VELOCITY = 2 * POSITION, 10 * VELOCITY * PAPER_FPS  # of a box that was seen once; the second a second
DRIFT = POSITION**2 * PAPER_FPS  # variance that a position gains a second
PUSH = (VELOCITY * PAPER_FPS) ** 2 * PAPER_FPS  # and a velocity, in (sizes a second)^2
SMALLEST_PX = 1.0  # a box shrinks no further


@dataclass(frozen=True, slots=True)
class Motion:
    """What is believed of N boxes: `value` and `rate` (pixels, pixels a second), with their variances and covariance; all N x 4."""

    value: Figures
    rate: Figures
    value_variance: Figures
    covariance: Figures
    rate_variance: Figures

    @classmethod
    def of(cls, boxes_xyxy: Boxes) -> Self:
        """Boxes that were just seen for the first time, at rest as far as is known."""
        value = to_figures(boxes_xyxy)
        size = _sizes(value)
        none = np.zeros_like(value)
        return cls(value, none, (BEGIN_POSITION * size) ** 2, none, (BEGIN_VELOCITY * size) ** 2)

    @property
    def boxes_xyxy(self) -> Figures:
        """The boxes, N x 4, float64."""
        half = self.value[:, 2:].clip(SMALLEST_PX) / 2
        return np.concatenate([self.value[:, :2] - half, self.value[:, :2] + half], axis=1)

    def after(self, seconds: float) -> "Motion":
        """The same boxes that much later."""
        size = _sizes(self.value)
        push = PUSH * size**2
        return Motion(
            self.value + self.rate * seconds,
            self.rate,
            self.value_variance
            + 2 * seconds * self.covariance
            + seconds**2 * self.rate_variance
            + DRIFT * size**2 * seconds
            + push * seconds**3 / 3,
            self.covariance + seconds * self.rate_variance + push * seconds**2 / 2,
            self.rate_variance + push * seconds,
        )

    def seen(self, boxes_xyxy: Boxes) -> "Motion":
        """The same boxes, each now seen where `boxes_xyxy` has it."""
        doubt = (POSITION * _sizes(self.value)) ** 2
        total = self.value_variance + doubt
        value_gain, rate_gain = self.value_variance / total, self.covariance / total
        surprise = to_figures(boxes_xyxy) - self.value
        return Motion(
            self.value + value_gain * surprise,
            self.rate + rate_gain * surprise,
            (1 - value_gain) * self.value_variance,
            (1 - value_gain) * self.covariance,
            self.rate_variance - rate_gain * self.covariance,
        )

    def of_one_size(self) -> "Motion":
        """The same boxes while they are hidden: one that closed as its object went behind something does not close further."""
        return replace(self, rate=np.concatenate([self.rate[:, :2], np.zeros_like(self.rate[:, 2:])], axis=1))

    def __getitem__(self, keep: NDArray[np.bool_] | slice) -> "Motion":
        return Motion(*(part[keep] for part in self._parts()))

    def __add__(self, others: "Motion") -> "Motion":
        """These boxes, then the others."""
        return Motion(*map(np.concatenate, zip(self._parts(), others._parts(), strict=True)))

    def _parts(self) -> tuple[Figures, ...]:
        return self.value, self.rate, self.value_variance, self.covariance, self.rate_variance


def to_figures(boxes_xyxy: Boxes) -> Figures:
    """Centre x, centre y, width, height."""
    boxes = boxes_xyxy.astype(np.float64, copy=False)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def _sizes(figures: Figures) -> Figures:
    """What each figure's noise is measured by: the width across, the height up and down."""
    size = figures[:, 2:].clip(SMALLEST_PX)
    return np.concatenate([size, size], axis=1)

"""What varies from board to board, in ranges that the two splits do not share.

Every number of a board that a detector could learn by heart is drawn from a band that belongs to one split alone: the bands
of `held_out` lie between and beyond those of `train`, so a score on held-out boards says something about boards never seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

import numpy as np

Split = Literal["train", "held_out"]
Look = Literal["camera", "binary"]
Bands = tuple[tuple[float, float], ...]

RANGES: Final[Mapping[Split, Mapping[str, Bands]]] = {
    "train": {
        "trace_width_px": ((6.5, 8.5), (11.0, 15.0), (20.0, 28.0), (38.0, 58.0)),
        "gap_ratio": ((0.95, 1.25), (1.6, 2.3)),
        "pad_ratio": ((1.7, 2.1), (2.5, 3.1)),
        "density": ((0.25, 0.5), (0.7, 1.0)),
        "bend_deg": ((28.0, 33.0), (44.0, 46.0), (60.0, 66.0)),
        "tilt_deg": ((-2.0, 2.0),),
        "mask_hue": ((0.0, 7.0), (56.0, 76.0), (104.0, 114.0), (136.0, 150.0)),
        "light_falloff": ((0.0, 0.26),),
    },
    "held_out": {
        "trace_width_px": ((9.0, 10.5), (16.0, 19.0), (29.0, 36.0)),
        "gap_ratio": ((1.3, 1.55), (2.4, 2.7)),
        "pad_ratio": ((2.15, 2.45),),
        "density": ((0.52, 0.68),),
        "bend_deg": ((35.0, 41.0), (49.0, 56.0)),
        "tilt_deg": ((-3.4, -2.2), (2.2, 3.4)),
        "mask_hue": ((9.0, 16.0), (80.0, 100.0), (117.0, 128.0)),
        "light_falloff": ((0.28, 0.38),),
    },
}


@dataclass(frozen=True, slots=True)
class BoardParameters:
    """One board's draw from `RANGES`; ratios are to the trace width, the hue is OpenCV's 0..180."""

    trace_width_px: float
    gap_ratio: float
    pad_ratio: float
    density: float
    bend_deg: float
    tilt_deg: float
    mask_hue: float
    light_falloff: float

    @property
    def gap_px(self) -> float:
        return max(7.0, self.trace_width_px * self.gap_ratio)

    @property
    def pitch_px(self) -> float:
        return self.trace_width_px + self.gap_px

    @property
    def pad_px(self) -> float:
        return max(15.0, min(self.trace_width_px * self.pad_ratio, self.trace_width_px + 34.0))


def draw_parameters(rng: np.random.Generator, split: Split) -> BoardParameters:
    """Each parameter from one of its split's bands, all bands equally likely."""
    bands = RANGES[split]
    return BoardParameters(**{field.name: float(rng.uniform(*rng.choice(bands[field.name]))) for field in fields(BoardParameters)})

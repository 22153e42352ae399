"""Many pictures at one glance."""

import math
from collections.abc import Iterable

import numpy as np

from edgewright.detections import ImageRgb
from edgewright.vision.letterbox import Letterbox

COLUMNS = 8
TILE_PX = 160
GAP_PX = 4


def contact_sheet(pictures: Iterable[ImageRgb], count: int) -> ImageRgb:
    """`count` pictures, each whole in a tile of its own, eight a row; H x W x 3."""
    columns = max(1, min(COLUMNS, count))
    rows = max(1, math.ceil(count / columns))
    step = TILE_PX + GAP_PX
    sheet = np.full((rows * step + GAP_PX, columns * step + GAP_PX, 3), 255, np.uint8)
    for at, picture in zip(range(count), pictures, strict=False):
        top, left = (GAP_PX + index * step for index in divmod(at, columns))
        tile = Letterbox.fit((picture.shape[1], picture.shape[0]), (TILE_PX, TILE_PX)).apply(picture, value=235)
        sheet[top : top + TILE_PX, left : left + TILE_PX] = tile
    return sheet

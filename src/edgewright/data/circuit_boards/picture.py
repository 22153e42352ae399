"""One board from one seed: artwork, then defects, then a look. Equal arguments give equal pixels.

>>> draw_board(7).image_rgb.shape
(640, 640, 3)
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards.defects import Defect, add_defects, boxes_of
from edgewright.data.circuit_boards.layout import Canvas, compose
from edgewright.data.circuit_boards.looks import binary, camera, compressed, viewpoint
from edgewright.data.circuit_boards.parameters import BoardParameters, Look, Split, draw_parameters

_BORDER_PX: Final = 32  # artwork beyond the picture's edge, for the tilted camera to see
_TILT_SHARE: Final = 0.045  # of the picture's side that the most tilted camera can leave out of view
_CLEAN_SHARE: Final = 0.06


@dataclass(frozen=True, slots=True)
class BoardPicture:
    """A picture and its truth, boxes in pixels."""

    image_rgb: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int64]


def board_parameters(seed: int, split: Split) -> BoardParameters:
    """What `draw_board` of the same seed and split is made with."""
    return draw_parameters(_streams(seed, split)[0], split)


def draw_board(seed: int, *, split: Split = "train", look: Look = "camera", size_px: int = 640) -> BoardPicture:
    """The board of this seed; about one in sixteen has no defect."""
    return _draw(seed, split, look, size_px, defective=True)


def draw_flawless_board(seed: int, *, split: Split = "train", look: Look = "camera", size_px: int = 640) -> BoardPicture:
    """The same board, light and noise as `draw_board` of this seed, without its defects."""
    return _draw(seed, split, look, size_px, defective=False)


def _streams(seed: int, split: Split) -> list[np.random.Generator]:
    """Separate random numbers for artwork, defects and look, so that leaving one out does not move the others."""
    return [np.random.default_rng([seed, split == "held_out", part]) for part in range(4)]


def _draw(seed: int, split: Split, look: Look, size_px: int, *, defective: bool) -> BoardPicture:
    for_parameters, for_artwork, for_defects, for_look = _streams(seed, split)
    parameters = draw_parameters(for_parameters, split)
    canvas = compose(for_artwork, parameters, size_px + 2 * _BORDER_PX)
    metal = np.minimum(canvas.copper, 255 - canvas.drill)
    defects: tuple[Defect, ...] = ()
    if defective:
        keep_clear = canvas.drill | canvas.silk if look == "camera" else np.zeros_like(metal)
        count = 0 if for_defects.random() < _CLEAN_SHARE else int(for_defects.integers(4, 13))
        unseen_px = _BORDER_PX if look == "binary" else _BORDER_PX + round(_TILT_SHARE * size_px)
        defects = add_defects(for_defects, metal, count=count, border_px=unseen_px, keep_clear=keep_clear)
    if look == "binary":
        image, seen = _scanned(for_look, metal, defects, size_px)
    else:
        image, seen = _photographed(for_look, canvas, metal, defects, parameters)
    return BoardPicture(image, boxes_of(seen, size_px), np.array([d.class_id for d in seen], np.int64))


def _scanned(
    rng: np.random.Generator, metal: NDArray[np.uint8], defects: tuple[Defect, ...], size_px: int
) -> tuple[NDArray[np.uint8], tuple[Defect, ...]]:
    inside = slice(_BORDER_PX, _BORDER_PX + size_px)
    image = binary(rng, np.ascontiguousarray(metal[inside, inside]))
    return image, tuple(replace(d, changed_xy=d.changed_xy - np.float32(_BORDER_PX)) for d in defects)


def _photographed(
    rng: np.random.Generator, canvas: Canvas, metal: NDArray[np.uint8], defects: tuple[Defect, ...], p: BoardParameters
) -> tuple[NDArray[np.uint8], tuple[Defect, ...]]:
    size_px = canvas.size_px - 2 * _BORDER_PX
    view = viewpoint(rng, p, size_px, _BORDER_PX)
    flat = camera(rng, canvas, metal, p)
    image = np.asarray(cv2.warpPerspective(flat, view, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)
    return compressed(rng, image), tuple(replace(d, changed_xy=_seen_from(view, d.changed_xy)) for d in defects)


def _seen_from(view: NDArray[np.float64], points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.perspectiveTransform(points_xy[None], view)[0], np.float32)

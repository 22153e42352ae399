"""Defects drawn into the metal with a wobbly brush, and kept only when they are what their label says.

The six kinds are told apart by topology, which is what a person goes by: inside a small window an open parts copper, a short
joins it, spurious copper adds an island, a pin-hole adds a hole, and a mouse bite or a spur changes an outline and nothing else.
A stroke that comes out as anything else is undone. The brush and its sizes follow the look of DeepPCB's published defects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]

CLASS_NAMES: Final[tuple[str, ...]] = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
BOX_MARGIN_PX: Final = 10  # DeepPCB's boxes stand 9 to 10 px off the change, measured on its training images
_WINDOW_PX: Final = 12
_SPECK_AREA: Final = 6
_STUMP_AREA: Final = 60  # both ends of an open must be there to see


@dataclass(frozen=True, slots=True)
class Defect:
    """A kind and the pixels (x, y) that it changed."""

    class_id: int
    changed_xy: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Stroke:
    points: Points
    widths_px: NDArray[np.float64]
    adds: bool


@dataclass(frozen=True, slots=True)
class _Metal:
    """The metal with its signed distance: positive inside, negative outside, in pixels."""

    mask: Mask
    depth: NDArray[np.float32]
    edges_xy: NDArray[np.int64]
    inner: tuple[int, int]
    seen: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask, border_px: int) -> "_Metal":
        solid = (mask > 127).astype(np.uint8)
        depth = cv2.distanceTransform(solid, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - solid, cv2.DIST_L2, 3)
        inner = (border_px + 8, mask.shape[0] - border_px - 8)
        band = depth[inner[0] : inner[1], inner[0] : inner[1]]
        edges = np.argwhere((band > 0) & (band < 1.2))[:, ::-1] + inner[0]
        return cls(mask, np.asarray(depth, np.float32), edges, inner, (border_px, mask.shape[0] - border_px))

    def at(self, points: Points) -> NDArray[np.float32]:
        xy = np.clip(np.round(points).astype(int), 0, self.mask.shape[0] - 1)
        return np.asarray(self.depth[xy[:, 1], xy[:, 0]])

    def inward(self, at: Points) -> Points | None:
        """The direction into the metal, from the slope of the depth round an edge point."""
        x, y = int(at[0]), int(at[1])
        patch = self.depth[y - 3 : y + 4, x - 3 : x + 4]
        slope = np.array([patch[:, 4:].sum() - patch[:, :3].sum(), patch[4:].sum() - patch[:3].sum()])
        length = float(np.linalg.norm(slope))
        return slope / length if length > 8 else None

    def run(self, at: Points, way: Points, *, inside: bool, limit_px: int) -> float | None:
        """How far metal (or space) lasts from an edge point in one direction; None past the limit."""
        steps = np.arange(2.0, limit_px)
        depth = self.at(at + steps[:, None] * way)
        over = np.flatnonzero(depth <= 0 if inside else depth > 0)
        return float(steps[over[0]]) if len(over) else None


def _brush(rng: np.random.Generator, start: Points, end: Points, width_px: float, *, wobble: float) -> tuple[Points, NDArray[np.float64]]:
    """A freehand line: a bowed path with a jittering brush."""
    length = float(np.linalg.norm(end - start))
    count = max(3, int(length / 4))
    t = np.linspace(0, 1, count)[:, None]
    unit = (end - start) / max(length, 1e-6)
    normal = np.array([-unit[1], unit[0]])
    bow = np.sin(t * np.pi) * rng.normal(0, 0.12) * length
    jitter = np.cumsum(rng.normal(0, wobble, (count, 1)), 0)
    jitter -= t * jitter[-1]
    widths = np.maximum(width_px * rng.uniform(0.75, 1.25, count), 2.0)
    return start + (end - start) * t + normal * (bow + jitter), widths


def _edge(rng: np.random.Generator, metal: _Metal) -> tuple[Points, Points] | None:
    if not len(metal.edges_xy):
        return None
    at = metal.edges_xy[int(rng.integers(len(metal.edges_xy)))].astype(np.float64)
    way = metal.inward(at)
    return None if way is None else (at, way)


def _span_limit(rng: np.random.Generator) -> int:
    return 36 if rng.random() < 0.6 else 90


def _bridge(rng: np.random.Generator, metal: _Metal, *, cuts: bool) -> _Stroke | None:
    """From an edge straight across to the next one: across metal to open, across space to short."""
    found = _edge(rng, metal)
    if found is None:
        return None
    at, inward = found
    way = inward if cuts else -inward
    span = metal.run(at, way, inside=cuts, limit_px=_span_limit(rng))
    if span is None or span < 4:
        return None
    aside = np.array([-way[1], way[0]]) * rng.normal(0, 0.22) * span
    over = float(rng.uniform(1, 4))
    start, end = at - way * over - aside / 2, at + way * (span + over) + aside / 2
    width = float(rng.uniform(3.5, 9.0) if span < 40 else rng.uniform(4.0, 12.0))
    if cuts and span < 24 and rng.random() < 0.2:  # a stretch of the trace is missing
        width = float(rng.uniform(9.0, 16.0))
    return _Stroke(*_brush(rng, start, end, width, wobble=0.5), adds=not cuts)


def _bite(rng: np.random.Generator, metal: _Metal, *, cuts: bool) -> _Stroke | None:
    """From an edge part of the way: into metal for a mouse bite, into space for a spur."""
    found = _edge(rng, metal)
    if found is None:
        return None
    at, inward = found
    way = inward if cuts else -inward
    span = metal.run(at, way, inside=cuts, limit_px=40)
    room = 40.0 if span is None else span
    deepest = min(room - 3.5, room * 0.8, 20.0)
    if deepest < 3.5:
        return None
    depth = float(rng.uniform(3.5, deepest))
    aside = np.array([-way[1], way[0]]) * rng.normal(0, 0.5) * min(depth, 9.0)
    width = float(rng.uniform(3.5, 7.5))
    tip = at + way * max(depth - width / 2, 1.0) + aside
    points, widths = _brush(rng, at - way * (0.5 if not cuts else rng.uniform(0, 3)), tip, width, wobble=0.7)
    if rng.random() < 0.3:  # a second lobe beside the first
        lobe = at + way * depth * 0.4 + np.array([-way[1], way[0]]) * rng.choice([-1, 1]) * rng.uniform(3, 9)
        other, more = _brush(rng, at, lobe, width, wobble=0.7)
        points, widths = np.vstack([points, other]), np.concatenate([widths, more])
    return _Stroke(points, widths, adds=not cuts)


def _blob(rng: np.random.Generator, metal: _Metal, *, cuts: bool) -> _Stroke | None:
    """A short scribble well inside metal for a pin-hole, well inside space for spurious copper."""
    at = rng.uniform(*metal.inner, 2)
    room = float(metal.at(at[None])[0]) * (1 if cuts else -1)
    if room < 6.5:
        return None
    reach = min(room - 3.5, float(rng.choice([5.0, 10.0, 18.0], p=[0.3, 0.45, 0.25])) + rng.uniform(0, 4))
    width = float(min(rng.uniform(3.5, 8.0), reach * 1.2))
    corners = int(rng.integers(2, 5))
    knots = at + rng.uniform(-1, 1, (corners, 2)) * max(reach - width / 2, 0.5) * 0.75
    parts = [_brush(rng, a, b, width, wobble=0.4) for a, b in pairwise(knots)]
    return _Stroke(np.vstack([p for p, _ in parts]), np.concatenate([w for _, w in parts]), adds=not cuts)


_Maker = Callable[[np.random.Generator, _Metal], _Stroke | None]
_MAKERS: Final[Mapping[str, _Maker]] = {
    "open": lambda rng, metal: _bridge(rng, metal, cuts=True),
    "short": lambda rng, metal: _bridge(rng, metal, cuts=False),
    "mousebite": lambda rng, metal: _bite(rng, metal, cuts=True),
    "spur": lambda rng, metal: _bite(rng, metal, cuts=False),
    "copper": lambda rng, metal: _blob(rng, metal, cuts=False),
    "pin-hole": lambda rng, metal: _blob(rng, metal, cuts=True),
}


def _pieces(solid: NDArray[np.bool_], at_least: int = _SPECK_AREA) -> int:
    _, _, stats, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8), connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > at_least).sum())


def _is_what_it_says(kind: str, before: Mask, after: Mask) -> bool:
    """Compare the number of pieces of copper and of space in a window, before and after."""
    was, now = before > 127, after > 127
    smallest = _STUMP_AREA if kind == "open" else _SPECK_AREA
    copper, space = _pieces(now, smallest) - _pieces(was, smallest), _pieces(~now) - _pieces(~was)
    return {
        "open": copper == 1 and space <= 0,
        "short": copper <= 0 and space - copper >= 1,
        "mousebite": copper == 0 and space == 0,
        "spur": copper == 0 and space == 0,
        "copper": copper == 1 and space == 0,
        "pin-hole": copper == 0 and space == 1,
    }[kind]


def _paint(mask: Mask, stroke: _Stroke, *, ragged: NDArray[np.float32] | None) -> tuple[slice, slice, Mask] | None:
    """The stroke's window and what the window would look like with it."""
    reach = _WINDOW_PX + float(stroke.widths_px.max()) / 2
    low = np.floor(stroke.points.min(0) - reach).astype(int)
    high = np.ceil(stroke.points.max(0) + reach).astype(int)
    if low.min() < 0 or high.max() > mask.shape[0]:
        return None
    brush = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    fixed = np.round((stroke.points - low) * 16).astype(np.int32)
    for a, b, width in zip(fixed[:-1], fixed[1:], stroke.widths_px[1:], strict=True):
        cv2.line(brush, tuple(a), tuple(b), 255, max(2, round(float(width))), cv2.LINE_AA, 4)
    if ragged is not None:
        rough = cv2.GaussianBlur(brush, (0, 0), 1.2).astype(np.float32) + ragged[: brush.shape[0], : brush.shape[1]]
        brush = np.asarray(np.where(rough > 127, 255, 0), np.uint8)
    rows, columns = slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
    here = mask[rows, columns]
    return rows, columns, np.asarray(np.maximum(here, brush) if stroke.adds else np.minimum(here, 255 - brush), np.uint8)


def add_defects(rng: np.random.Generator, metal: Mask, *, count: int, border_px: int, keep_clear: Mask) -> tuple[Defect, ...]:
    """Draw up to `count` defects into `metal`, in place, none over another, over the border or over `keep_clear`."""
    surface = _Metal.of(metal, border_px)
    blocked = keep_clear > 127
    found: list[Defect] = []
    kinds = rng.permutation(np.resize(rng.permutation(len(CLASS_NAMES)), count))
    for class_id in kinds:
        defect = _try_one(rng, surface, int(class_id), blocked)
        if defect is not None:
            found.append(defect)
    return tuple(found)


def _try_one(rng: np.random.Generator, surface: _Metal, class_id: int, blocked: NDArray[np.bool_]) -> Defect | None:
    kind = CLASS_NAMES[class_id]
    for _ in range(25):
        stroke = _MAKERS[kind](rng, surface)
        if stroke is None:
            continue
        ragged = rng.normal(0, 45, (160, 160)).astype(np.float32) if rng.random() < 0.25 else None
        painted = _paint(surface.mask, stroke, ragged=ragged) if ragged is None or np.ptp(stroke.points, axis=0).max() < 110 else None
        if painted is None:
            continue
        rows, columns, after = painted
        before = surface.mask[rows, columns]
        changed = np.abs(after.astype(np.int16) - before) > 127
        if changed.sum() < 18 or blocked[rows, columns].any() or not _is_what_it_says(kind, before, after):
            continue
        changed_xy = np.argwhere(changed)[:, ::-1] + [columns.start, rows.start]
        if changed_xy.min() < surface.seen[0] or changed_xy.max() >= surface.seen[1]:
            continue
        surface.mask[rows, columns] = after
        blocked[rows, columns] = True
        return Defect(class_id, changed_xy.astype(np.float32))
    return None


def boxes_of(defects: tuple[Defect, ...], size_px: int, *, margin_px: float = BOX_MARGIN_PX) -> NDArray[np.float32]:
    """Boxes round the changed pixels with the margin, cut at the picture's edge."""
    if not defects:
        return np.zeros((0, 4), np.float32)
    tight = np.stack([np.concatenate([d.changed_xy.min(0) - margin_px, d.changed_xy.max(0) + 1 + margin_px]) for d in defects])
    return np.asarray(np.clip(tight, 0, size_px), np.float32)

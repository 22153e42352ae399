"""The artwork of a board: copper, holes, openings in the solder mask and silk screen, as masks of 0..255.

A canvas refuses what would touch copper that is already there, so layouts can be laid over each other the way a router
would: `free` asks, `trace` and `pad` draw. `compose` picks a recipe and is the only thing the rest of the package calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards.parameters import BoardParameters

Points = NDArray[np.float64]
Mask = NDArray[np.uint8]
_SHIFT: Final = 4  # cv2 takes fixed-point coordinates; four bits are a sixteenth of a pixel


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def _disc(mask: Mask, centre: Points, diameter_px: float, value: int, line: int = cv2.LINE_AA) -> None:
    cv2.circle(mask, tuple(_fixed(centre)), int(diameter_px / 2 * (1 << _SHIFT)), value, -1, line, _SHIFT)


def _path(mask: Mask, points: Points, width_px: float, value: int = 255) -> None:
    cv2.polylines(mask, [_fixed(points)], False, value, max(1, round(width_px)), cv2.LINE_AA, _SHIFT)


@dataclass(slots=True)
class Canvas:
    """Masks of one square board, with a half-resolution map of what is taken."""

    size_px: int
    clearance_px: float
    copper: Mask = field(init=False)
    exposed: Mask = field(init=False)
    drill: Mask = field(init=False)
    silk: Mask = field(init=False)
    taken: Mask = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.size_px, self.size_px)
        self.copper, self.exposed, self.drill, self.silk = (np.zeros(shape, np.uint8) for _ in range(4))
        self.taken = np.zeros((self.size_px // 2, self.size_px // 2), np.uint8)

    def free(self, points: Points, width_px: float, *, own_ends_px: float = 0.0) -> bool:
        """Whether a stroke keeps its clearance; discs of `own_ends_px` at both ends belong to it and are not looked at."""
        half = points / 2
        low = np.maximum(np.floor(half.min(0) - width_px / 4 - 2), 0).astype(int)
        high = np.minimum(np.ceil(half.max(0) + width_px / 4 + 2), self.size_px // 2).astype(int)
        if (high - low).min() <= 0:
            return True
        probe = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        cv2.polylines(probe, [_fixed(half - low)], False, 1, max(1, round(width_px / 2)), cv2.LINE_8, _SHIFT)
        for end in (half[0], half[-1]) if own_ends_px else ():
            _disc(probe, end - low, own_ends_px, 0, cv2.LINE_8)
        return not np.any(probe & self.taken[low[1] : high[1], low[0] : high[0]])

    def trace(self, points: Points, width_px: float) -> None:
        _path(self.copper, points, width_px)
        self.claim(points, width_px)

    def claim(self, points: Points, width_px: float) -> None:
        thick = max(1, round(width_px / 2 + self.clearance_px))
        cv2.polylines(self.taken, [_fixed(points / 2)], False, 1, thick, cv2.LINE_8, _SHIFT)

    def pad(self, outline: Points, *, drill_px: float = 0.0, exposed: bool = True) -> None:
        """Fill a convex outline; a drilled pad gets a round hole at its centre."""
        cv2.fillPoly(self.copper, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
        if exposed:
            cv2.fillPoly(self.exposed, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self.taken, [_fixed(_grown(outline, self.clearance_px) / 2)], 1, cv2.LINE_8, _SHIFT)
        if drill_px:
            self.hole((outline.min(0) + outline.max(0)) / 2, drill_px)

    def hole(self, centre: Points, diameter_px: float) -> None:
        _disc(self.drill, centre, diameter_px, 255)

    def pad_is_free(self, outline: Points) -> bool:
        return self.free(np.vstack([outline.min(0), outline.max(0)]), float(np.ptp(outline, axis=0).min()))


def _grown(outline: Points, by_px: float) -> Points:
    centre = outline.mean(0)
    away = outline - centre
    return np.asarray(centre + away * (1 + by_px / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-6)))


def _turned(points: Points, angle_rad: float) -> Points:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def _ellipse(centre: Points, size_wh: tuple[float, float], *, corners: int = 28) -> Points:
    turn = (np.arange(corners) + 0.5) * 2 * np.pi / corners
    grow = 1 / np.cos(np.pi / corners)
    return np.asarray(centre + np.stack([np.cos(turn) * size_wh[0], np.sin(turn) * size_wh[1]], 1) * grow / 2)


def _rectangle(
    centre: Points, size_wh: tuple[float, float], *, cut_px: float = 0.0, rounded: bool = False, angle_rad: float = 0.0
) -> Points:
    """A rectangle whose corners are square, cut or round."""
    w, h = size_wh[0] / 2, size_wh[1] / 2
    cut = min(cut_px, w * 0.95, h * 0.95)
    steps = np.linspace(0, np.pi / 2, 5 if rounded else 2) if cut else np.zeros(1)
    arc = np.stack([np.cos(steps), np.sin(steps)], 1) * cut
    inner = np.array([[w - cut, h - cut], [cut - w, h - cut], [cut - w, cut - h], [w - cut, cut - h]])
    corners = [_turned(arc, k * np.pi / 2) + inner[k] for k in range(4)]
    return np.asarray(centre + _turned(np.concatenate(corners), angle_rad))


def _offset(path: Points, distance: float) -> Points:
    """A path beside a path: mitred at the corners, so that the gap between neighbours stays the same round a bend."""
    along = np.diff(path, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.stack([-along[:, 1], along[:, 0]], 1)
    before, after = np.vstack([normal[:1], normal]), np.vstack([normal, normal[-1:]])
    mitre = before + after
    return np.asarray(path + mitre * (2 * distance / np.maximum((mitre**2).sum(1, keepdims=True), 0.6)))


def _smoothed(path: Points, rounds: int) -> Points:
    """Chaikin's corner cutting, ends kept."""
    for _ in range(rounds):
        inner = np.stack([0.75 * path[:-1] + 0.25 * path[1:], 0.25 * path[:-1] + 0.75 * path[1:]], 1).reshape(-1, 2)
        path = np.vstack([path[:1], inner, path[-1:]])
    return path


@dataclass(slots=True)
class _Style:
    """The manners of one board: they stay the same over all its layouts, as they would in one design."""

    drilled: bool
    pad_shape: str
    curved: bool
    exposed_vias: bool

    def pad(self, rng: np.random.Generator, centre: Points, size_px: float) -> Points:
        if self.pad_shape == "square":
            return _rectangle(centre, (size_px, size_px), cut_px=size_px * float(rng.choice([0.0, 0.15])), rounded=True)
        if self.pad_shape == "octagon":
            return _ellipse(centre, (size_px, size_px), corners=8)
        return _ellipse(centre, (size_px, size_px))


Layout = Callable[[Canvas, np.random.Generator, BoardParameters, _Style], None]


def _somewhere(canvas: Canvas, rng: np.random.Generator) -> Points:
    return rng.uniform(0, canvas.size_px, 2)


def _put_pad(canvas: Canvas, rng: np.random.Generator, style: _Style, centre: Points, size_px: float, *, exposed: bool = True) -> bool:
    outline = style.pad(rng, centre, size_px)
    if not canvas.pad_is_free(outline):
        return False
    canvas.pad(outline, drill_px=size_px * float(rng.uniform(0.4, 0.55)) if style.drilled and size_px >= 15 else 0.0, exposed=exposed)
    return True


def _necked(canvas: Canvas, rng: np.random.Generator, path: Points, width_px: float) -> None:
    """A trace, sometimes with a smooth narrower stretch or a wider one: an honest change of width, not a defect."""
    canvas.trace(path, width_px)
    if len(path) == 2 and width_px > 12 and rng.random() < 0.25:
        middle = path[0] + (path[1] - path[0]) * rng.uniform(0.3, 0.7)
        unit = (path[1] - path[0]) / max(np.linalg.norm(path[1] - path[0]), 1e-6)
        canvas.trace(np.vstack([middle - unit * width_px * 2, middle + unit * width_px * 2]), width_px * 1.3)


def bus(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Parallel traces that bend together; some stop at a pad."""
    size = canvas.size_px
    count = int(rng.integers(2, max(3, int(size * (0.25 + 0.75 * p.density) / p.pitch_px))))
    widths = p.trace_width_px * rng.choice([1.0, 1.0, 1.0, 1.6], count)
    across = np.concatenate([[0.0], np.cumsum((widths[:-1] + widths[1:]) / 2 + p.gap_px)])
    across -= across.mean()
    reach = float(np.ptp(across)) * 0.6 + 2 * p.pitch_px
    heading = float(rng.integers(0, 4)) * np.pi / 2 + float(rng.choice([0.0, 0.0, 0.0, np.radians(p.bend_deg)]))
    path, here, bend = [np.zeros(2)], heading, 0.0
    for _ in range(int(rng.integers(1, 5))):
        path.append(path[-1] + np.array([np.cos(here + bend), np.sin(here + bend)]) * (reach + rng.uniform(20, size * 0.5)))
        bend = 0.0 if bend else float(rng.choice([-1, 1])) * np.radians(p.bend_deg)
    centre = np.array(path)
    first, last = centre[1] - centre[0], centre[-1] - centre[-2]
    centre[0] -= first / np.linalg.norm(first) * size
    centre[-1] += last / np.linalg.norm(last) * size
    centre += rng.uniform(0.2, 0.8, 2) * size - centre[1:-1].mean(0) if len(centre) > 2 else rng.uniform(0.2, 0.8, 2) * size
    lines = []
    for width, aside in zip(widths, across, strict=True):
        line = _offset(centre, float(aside))
        lines.append((_smoothed(line, 3) if style.curved else line, float(width)))
    for line, width in [(line, width) for line, width in lines if canvas.free(line, width)]:
        if rng.random() < 0.2:
            unit = (line[-2] - line[-1]) / max(np.linalg.norm(line[-2] - line[-1]), 1e-6)
            end = line[-1] + unit * rng.uniform(size * 0.7, size * 1.2)
            line = np.vstack([line[:-1], end])
            drill = width * 0.5 if style.drilled and width > 10 else 0
            canvas.pad(style.pad(rng, end, width + min(p.gap_px - 4, width * 0.8)), drill_px=drill)
        _necked(canvas, rng, line, width)


def _elbow(rng: np.random.Generator, a: Points, b: Points, bend_deg: float) -> Points:
    """From a to b: straight, then slanted, then perhaps straight again; or a right angle."""
    d = b - a
    if rng.random() < 0.25 or np.abs(d).min() < 3:
        return np.array([a, [b[0], a[1]], b]) if rng.random() < 0.5 else np.array([a, [a[0], b[1]], b])
    slope = np.tan(np.radians(min(bend_deg, 90 - bend_deg) if rng.random() < 0.5 else bend_deg))
    if abs(d[0]) * slope > abs(d[1]):
        run = abs(d[1]) / slope * np.sign(d[0])
        lead = (d[0] - run) * rng.choice([0.0, 0.5, 1.0])
        return np.array([a, [a[0] + lead, a[1]], [a[0] + lead + run, b[1]], b])
    rise = abs(d[0]) * slope * np.sign(d[1])
    lead = (d[1] - rise) * rng.choice([0.0, 0.5, 1.0])
    return np.array([a, [a[0], a[1] + lead], [b[0], a[1] + lead + rise], b])


def routed(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Pads on a loose grid, joined wherever a trace finds its way."""
    grid = max(p.pad_px + p.gap_px, 26.0) * float(rng.uniform(1.0, 1.6))
    cells = int(canvas.size_px / grid) + 1
    chosen = rng.permutation(cells * cells)[: min(int(cells * cells * p.density * 0.55), 70)]
    pads = []
    for cell in chosen:
        centre = (np.array(divmod(int(cell), cells), np.float64) + rng.uniform(0.35, 0.65, 2)) * grid
        pad = p.pad_px * float(rng.choice([1.0, 1.0, 1.3]))
        if _put_pad(canvas, rng, style, centre, pad, exposed=style.exposed_vias or rng.random() < 0.5):
            pads.append(centre)
    tries = min(len(pads) * 2, 70)
    for _ in range(tries if len(pads) > 1 else 0):
        a = pads[int(rng.integers(len(pads)))]
        b = pads[int(rng.integers(len(pads)))] if rng.random() < 0.75 else a + rng.normal(0, grid * 3, 2)
        if np.abs(b - a).sum() > canvas.size_px * 0.6 or np.abs(b - a).max() < 8:
            continue
        path = _elbow(rng, a, b, p.bend_deg)
        path = path[np.concatenate([[True], np.abs(np.diff(path, axis=0)).max(1) > 1])]
        if len(path) > 1 and canvas.free(path, p.trace_width_px, own_ends_px=p.pad_px / 2 * 1.35 + canvas.clearance_px + 2):
            canvas.trace(_smoothed(path, 3) if style.curved else path, p.trace_width_px)


def pad_rows(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """A package's or a connector's rows of pads with their fan-out."""
    pitch = max(p.pitch_px, 17.0)
    width = min(pitch - 8.0, max(p.trace_width_px * 1.4, pitch * float(rng.uniform(0.45, 0.6))))
    length, count = width * float(rng.uniform(1.6, 3.2)), int(rng.integers(4, 16))
    rows = int(rng.choice([1, 2, 4], p=[0.3, 0.4, 0.3]))
    half = count * pitch / 2 + length * 0.9
    centre = rng.uniform(0.15, 0.85, 2) * canvas.size_px
    for row in range(rows):
        turn = row * (np.pi / 2 if rows == 4 else np.pi)
        out = half if rows == 4 else half * 0.6
        _one_row(canvas, rng, p, style, _Row(centre, turn, out, pitch, width, length, count))
    _package_outline(canvas, rng, centre, half - length * 0.5)


@dataclass(frozen=True, slots=True)
class _Row:
    """Where one row of pads stands (centre, turn, distance out) and what it is made of."""

    centre: Points
    turn: float
    out: float
    pitch: float
    width: float
    length: float
    count: int


def _one_row(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style, row: _Row) -> None:
    centre, turn, out, pitch, width, length = row.centre, row.turn, row.out, row.pitch, row.width, row.length
    rounded, fan = rng.random() < 0.5, float(rng.uniform(0.0, 0.8)) * (1 if rng.random() < 0.7 else 0)
    thin = min(p.trace_width_px, width * 0.8)
    for k in range(row.count):
        along = (k - (row.count - 1) / 2) * pitch
        upright = _rectangle(np.array([along, out]), (width, length), cut_px=width * 0.3 if rounded else 0, rounded=True)
        outline = centre + _turned(upright, turn)
        if not canvas.pad_is_free(outline):
            continue
        tip, way = out + length / 2, length * 0.5 + rng.uniform(0.5, 4.0) * pitch
        aside = along + np.sign(along) * fan * abs(along)
        turns_at = tip + 4 + fan * 8
        slant = abs(aside - along)
        path = np.array([[along, out], [along, turns_at], [aside, turns_at + slant], [aside, tip + 12 + slant + way]])
        path = centre + _turned(path, turn)
        wired = rng.random() < 0.3 + 0.6 * p.density and canvas.free(path[1:], thin)
        canvas.pad(outline)
        if wired:
            canvas.trace(path, thin)
            if rng.random() < 0.6:
                _put_end(canvas, rng, style, path[-1], min(p.pad_px, pitch - 4))


def _put_end(canvas: Canvas, rng: np.random.Generator, style: _Style, centre: Points, size_px: float) -> None:
    drilled = style.drilled and size_px >= 13
    canvas.pad(style.pad(rng, centre, size_px), drill_px=size_px * 0.45 if drilled else 0.0, exposed=style.exposed_vias)


def _package_outline(canvas: Canvas, rng: np.random.Generator, centre: Points, half: float) -> None:
    box = _rectangle(centre, (half * 1.3, half * 1.3))
    cv2.polylines(canvas.silk, [_fixed(box)], True, 255, 2, cv2.LINE_AA, _SHIFT)
    _write(canvas, rng, centre - [half * 0.25, 0])


def _write(canvas: Canvas, rng: np.random.Generator, at: Points) -> None:
    name = f"{rng.choice(list('RCULQDJ'))}{int(rng.integers(1, 99))}"
    cv2.putText(canvas.silk, name, (int(at[0]), int(at[1])), cv2.FONT_HERSHEY_SIMPLEX, float(rng.uniform(0.4, 0.7)), 255, 1, cv2.LINE_AA)


def ball_grid(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Balls on a square grid, each with a short slanted trace to its via."""
    ball = max(14.0, min(p.pad_px, 30.0))
    pitch = (ball + max(8.0, min(p.gap_px, 20.0))) * float(rng.uniform(1.15, 1.5))
    count = int(rng.integers(4, max(5, min(13, int(canvas.size_px * 0.9 / pitch)))))
    start = rng.uniform(0, max(canvas.size_px - count * pitch, 1), 2) + pitch / 2
    keep_out, via = int(rng.choice([0, 0, 2])), ball * 0.62
    lead = np.array([rng.choice([-1, 1]), rng.choice([-1, 1])]) * pitch / 2
    for i, j in np.ndindex(count, count):
        centre = start + np.array([i, j]) * pitch
        if max(abs(i - count / 2), abs(j - count / 2)) < keep_out or not canvas.pad_is_free(_ellipse(centre, (ball, ball))):
            continue
        _disc(canvas.copper, centre, ball, 255)
        _disc(canvas.exposed, centre, ball, 255)
        if rng.random() < p.density * 0.8 and np.hypot(*lead) > ball / 2 + via / 2 + 4:
            _path(canvas.copper, np.vstack([centre, centre + lead]), max(4.0, ball * 0.28))
            _disc(canvas.copper, centre + lead, via, 255)
            if style.drilled and via > 14:
                canvas.hole(centre + lead, via * 0.45)
    block = np.vstack([start - pitch, start + (count + 0.2) * pitch]) / 2
    cv2.rectangle(canvas.taken, tuple(np.round(block[0]).astype(int)), tuple(np.round(block[1]).astype(int)), 1, -1)


def plane(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Large areas of copper with cut corners or as discs, drilled, slit and with islands in them."""
    for _ in range(int(rng.integers(1, 4))):
        centre, size = _somewhere(canvas, rng), rng.uniform(0.2, 1.0, 2) * canvas.size_px
        if rng.random() < 0.25:
            outline = _ellipse(centre, (float(size.max()), float(size.max())), corners=72)
        else:
            cut, rounded = float(rng.choice([0, 12, 40, 90])), rng.random() < 0.5
            angle = float(rng.choice([0, 0, 0, np.radians(p.bend_deg)]))
            outline = _rectangle(centre, (float(size[0]), float(size[1])), cut_px=cut, rounded=rounded, angle_rad=angle)
        if canvas.pad_is_free(outline):
            canvas.pad(outline, exposed=rng.random() < 0.15)
            _pierce(canvas, rng, p, style, outline)


def _pierce(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style, outline: Points) -> None:
    low, high = outline.min(0), outline.max(0)
    for _ in range(int(rng.integers(0, int(2 + 8 * p.density)))):
        at = rng.uniform(low, high)
        kind = rng.random()
        if kind < 0.45:
            canvas.hole(at, float(rng.choice([14.0, 18.0, 26.0, 60.0], p=[0.4, 0.3, 0.2, 0.1])))
        elif kind < 0.8:
            _island(canvas, rng, p, style, at)
        elif rng.random() < 0.5:
            _slit(canvas, rng, p, at)


def _island(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style, at: Points) -> None:
    """A pad in its own clearing, tied to the plane by four spokes or not at all."""
    pad = p.pad_px * float(rng.uniform(1.0, 1.6))
    clearing = pad + 2 * float(rng.uniform(8, 14))
    _disc(canvas.copper, at, clearing, 0)
    _disc(canvas.exposed, at, clearing, 0)
    if rng.random() < 0.45:
        turn = float(rng.choice([0, np.pi / 4]))
        for k in range(4):
            arm = _turned(np.array([[0.0, 0.0], [clearing / 2 + 3, 0.0]]), turn + k * np.pi / 2) + at
            _path(canvas.copper, arm, max(5.0, pad * 0.25))
    canvas.pad(style.pad(rng, at, pad), drill_px=pad * 0.45 if style.drilled else 0.0)


def _slit(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, at: Points) -> None:
    heading = float(rng.integers(0, 4)) * np.pi / 2 + float(rng.choice([0.0, np.radians(p.bend_deg)]))
    tip = at + np.array([np.cos(heading), np.sin(heading)]) * canvas.size_px
    for mask in (canvas.copper, canvas.exposed):
        _path(mask, np.vstack([at, tip]), max(9.0, min(p.gap_px, 24.0)), 0)


def rings(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Concentric arcs: coils, antennas, rounded corners of a bus."""
    centre = rng.uniform(-0.2, 1.2, 2) * canvas.size_px
    start, sweep = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.5, 2.0)) * np.pi
    radius, turns = p.pitch_px * float(rng.uniform(1.5, 4)), int(rng.integers(3, 9))
    arcs = []
    for k in range(turns):
        angle = np.linspace(start, start + sweep, 48)
        arcs.append(centre + np.stack([np.cos(angle), np.sin(angle)], 1) * (radius + k * p.pitch_px))
    for arc in [arc for arc in arcs if canvas.free(arc, p.trace_width_px)]:
        canvas.trace(arc, p.trace_width_px)
        if rng.random() < 0.3:
            drill = p.trace_width_px * 0.5 if style.drilled and p.trace_width_px > 10 else 0
            canvas.pad(_ellipse(arc[-1], (p.trace_width_px + 5,) * 2), drill_px=drill)


def pin_header(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """A row or two of large drilled pads, neighbours sometimes joined."""
    pad = max(22.0, p.pad_px * float(rng.uniform(1.0, 1.5)))
    pitch, count, rows = pad + max(9.0, p.gap_px), int(rng.integers(3, 10)), int(rng.integers(1, 4))
    turn, at = float(rng.integers(0, 2)) * np.pi / 2, _somewhere(canvas, rng)
    for i, j in np.ndindex(count, rows):
        centre = at + _turned(np.array([i, j]) * pitch, turn)
        outline = _rectangle(centre, (pad, pad)) if i == j == 0 else style.pad(rng, centre, pad)
        if not canvas.pad_is_free(outline):
            continue
        canvas.pad(outline, drill_px=pad * 0.5)
        if i and rng.random() < 0.2:
            _path(canvas.copper, np.vstack([centre, centre - _turned(np.array([pitch, 0]), turn)]), pad * 0.35)


def vias(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """A field of small round vias: specks by design, not by accident."""
    for _ in range(int(10 + 40 * p.density)):
        _put_pad(canvas, rng, style, _somewhere(canvas, rng), float(rng.choice([13.0, 16.0, 20.0])), exposed=style.exposed_vias)


def slabs(canvas: Canvas, rng: np.random.Generator, p: BoardParameters, style: _Style) -> None:
    """Power traces: very wide, ending in large drilled pads."""
    width = float(rng.uniform(2.0, 3.5)) * max(p.trace_width_px, 18.0)
    for _ in range(int(rng.integers(2, 6))):
        a, b = _somewhere(canvas, rng) * 1.2 - 60, _somewhere(canvas, rng) * 1.2 - 60
        path = _elbow(rng, a, b, p.bend_deg)
        if canvas.free(path, width):
            canvas.trace(path, width)
            for end in (path[0], path[-1]):
                canvas.pad(style.pad(rng, end, width * 1.25), drill_px=width * float(rng.uniform(0.25, 0.5)) if rng.random() < 0.7 else 0)


def pour(canvas: Canvas, rng: np.random.Generator, p: BoardParameters) -> None:
    """Flood what is left with ground, at a clearance from every net."""
    reach = float(np.clip(p.gap_px * 0.8, 8, 22))
    away = cv2.distanceTransform(255 - canvas.copper, cv2.DIST_L2, 3)
    flood = (away > reach).astype(np.uint8) * np.uint8(255)
    rounded = cv2.morphologyEx(flood, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)))
    if rng.random() < 0.3:
        edge = int(rng.uniform(0.3, 0.7) * canvas.size_px)
        rounded[:edge] = 0
    np.maximum(canvas.copper, rounded, out=canvas.copper)


RECIPES: Final[Sequence[tuple[float, tuple[Layout, ...]]]] = (
    (0.22, (bus,)),
    (0.10, (bus, bus, routed)),
    (0.16, (pad_rows, routed, vias)),
    (0.10, (pad_rows, pad_rows, bus, vias)),
    (0.07, (ball_grid, routed)),
    (0.12, (plane, routed)),
    (0.07, (plane, plane, vias)),
    (0.05, (rings, routed)),
    (0.06, (pin_header, slabs, routed)),
    (0.05, (slabs, plane)),
)


def compose(rng: np.random.Generator, p: BoardParameters, size_px: int) -> Canvas:
    """One board's artwork."""
    style = _Style(drilled=rng.random() < 0.6, pad_shape=str(rng.choice(["round", "round", "round", "octagon", "square"])),
                   curved=rng.random() < 0.25, exposed_vias=rng.random() < 0.6)  # fmt: skip
    canvas = Canvas(size_px, clearance_px=float(np.clip(p.gap_px, 7, 30)))
    odds = np.array([weight for weight, _ in RECIPES])
    for layout in RECIPES[int(rng.choice(len(RECIPES), p=odds / odds.sum()))][1]:
        layout(canvas, rng, p, style)
    if rng.random() < 0.2:
        pour(canvas, rng, p)
    for _ in range(int(rng.integers(0, 5))):
        _write(canvas, rng, _somewhere(canvas, rng))
    return canvas

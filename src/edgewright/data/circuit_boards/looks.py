"""From artwork to pixels: a camera over a finished board, or DeepPCB's black-and-white scan of bare copper."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.data.circuit_boards.layout import Canvas
from edgewright.data.circuit_boards.parameters import BoardParameters

Mask = NDArray[np.uint8]
Image = NDArray[np.uint8]
Colour = tuple[float, float, float]

_FINISHES: Final[tuple[Colour, ...]] = ((212, 175, 88), (224, 190, 112), (192, 196, 200), (176, 180, 186), (206, 134, 92))
_LAMINATES: Final[tuple[Colour, ...]] = ((196, 182, 128), (170, 160, 108), (150, 158, 112), (120, 104, 70))


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.float32]:
    """One sheet of unit noise for all pictures; each takes its own corner of it, turned its own way."""
    return np.random.default_rng(20260807).standard_normal((1536, 1536), dtype=np.float32)


def _noise(rng: np.random.Generator, size_px: int) -> NDArray[np.float32]:
    y, x = rng.integers(0, 1536 - size_px, 2) if size_px < 1536 else (0, 0)
    sheet = _grain()[y : y + size_px, x : x + size_px]
    if sheet.shape[0] < size_px:
        sheet = np.resize(sheet, (size_px, size_px))
    return sheet[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]


def binary(rng: np.random.Generator, metal: Mask) -> Image:
    """Copper black, all else white, with the stepped and toothed edges of a thresholded scan."""
    soft = cv2.GaussianBlur(metal, (0, 0), float(rng.uniform(0.7, 1.1))).astype(np.float32)
    noise = cv2.GaussianBlur(_noise(rng, metal.shape[0]), (0, 0), float(rng.uniform(0.5, 0.9)))
    level = float(rng.uniform(118, 138))
    ink = (soft + noise * float(rng.choice([12.0, 28.0, 46.0])) > level).astype(np.uint8)
    return np.repeat(((1 - ink) * np.uint8(255))[:, :, None], 3, axis=2)


@dataclass(frozen=True, slots=True)
class _Palette:
    """The tones of one board, RGB 0..255."""

    ground: Colour
    covered_copper: Colour
    bare_copper: Colour
    laminate: Colour
    hole: Colour
    silk: Colour
    masked: bool


def _from_hsv(hue: float, saturation: float, value: float) -> Colour:
    pixel = cv2.cvtColor(np.array([[[hue % 180, saturation, value]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return (float(pixel[0]), float(pixel[1]), float(pixel[2]))


def _palette(rng: np.random.Generator, p: BoardParameters) -> _Palette:
    finish = _FINISHES[int(rng.integers(len(_FINISHES)))]
    laminate = _LAMINATES[int(rng.integers(len(_LAMINATES)))]
    hole = (18.0, 17.0, 16.0) if rng.random() < 0.7 else (232.0, 232.0, 228.0)  # backlit now and then
    if rng.random() < 0.12:  # etched, not yet masked
        return _Palette(laminate, (198, 122, 84), (206, 132, 92), laminate, hole, laminate, masked=False)
    value, saturation = float(rng.uniform(62, 118)), float(rng.uniform(150, 230))
    if rng.random() < 0.1:
        value, saturation = float(rng.uniform(34, 52)), float(rng.uniform(10, 60))  # black solder mask
    lift = float(rng.uniform(1.4, 1.75))
    ground = _from_hsv(p.mask_hue, saturation, value)
    covered = _from_hsv(p.mask_hue - 3, saturation * float(rng.uniform(0.78, 0.95)), min(value * lift + 10, 230))
    silk = (236, 236, 228) if rng.random() < 0.85 else (232, 214, 120)
    return _Palette(ground, covered, finish, laminate, hole, silk, masked=True)


def _tones(canvas: Canvas, metal: Mask, palette: _Palette) -> tuple[Image, Mask]:
    """Every pixel's material as a tone; also the mask of bare metal, which shines."""
    opening = cv2.dilate(canvas.exposed, np.ones((5, 5), np.uint8)) > 127
    solid, hole = metal > 127, canvas.drill > 127
    material = np.where(opening, np.where(solid, 3, 2), solid.astype(np.uint8)).astype(np.uint8)
    if palette.masked:
        material[(canvas.silk > 110) & ~opening & ~hole] = 5
    material[hole & ~solid] = 4
    table = np.array([palette.ground, palette.covered_copper, palette.laminate, palette.bare_copper, palette.hole, palette.silk], np.uint8)
    return table[material], np.asarray((material == 3) * np.uint8(255), np.uint8)


def _light(rng: np.random.Generator, p: BoardParameters, size_px: int) -> NDArray[np.float32]:
    """A lamp off to one side: brightness falls away across the picture."""
    turn = float(rng.uniform(0, 2 * np.pi))
    grid = np.linspace(-1, 1, 9, dtype=np.float32)
    slope = np.cos(turn) * grid[None, :] + np.sin(turn) * grid[:, None]
    bowl = 1 - 0.12 * (grid[None, :] ** 2 + grid[:, None] ** 2)
    field = (1 + p.light_falloff * slope) * bowl * float(rng.uniform(0.85, 1.2))
    return np.asarray(cv2.resize(field.astype(np.float32), (size_px, size_px), interpolation=cv2.INTER_CUBIC))


def camera(rng: np.random.Generator, canvas: Canvas, metal: Mask, p: BoardParameters) -> Image:
    """Solder mask, tin or gold, silk screen; relief at the copper's edge; light, sensor noise."""
    palette = _palette(rng, p)
    tones, shiny = _tones(canvas, metal, palette)
    size = canvas.size_px
    relief = cv2.filter2D(cv2.GaussianBlur(metal, (0, 0), 1.0), cv2.CV_32F, np.array([[-1, 0, 0], [0, 0, 0], [0, 0, 1]], np.float32))
    texture = cv2.resize(_noise(rng, size // 4), (size, size), interpolation=cv2.INTER_CUBIC)
    shade = 1 + relief * float(rng.uniform(0.0008, 0.0018)) + texture * 0.012
    if rng.random() < 0.8:
        brushed = cv2.resize(_noise(rng, size // 8), (size, size), interpolation=cv2.INTER_LINEAR)
        shade += brushed * (shiny > 0) * 0.04
    return _develop(rng, tones, shade * _light(rng, p, size))


def _develop(rng: np.random.Generator, tones: Image, shade: NDArray[np.float32]) -> Image:
    size = tones.shape[0]
    soft = cv2.GaussianBlur(tones, (0, 0), float(rng.uniform(0.6, 1.1)))
    cast = rng.uniform(0.95, 1.05, 3).astype(np.float32)
    lit = cv2.multiply(soft.astype(np.float32), cv2.merge([shade.astype(np.float32) * c for c in cast]))
    noisy = lit + (_noise(rng, size) * np.float32(rng.uniform(1.0, 5.0)))[:, :, None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(noisy, 0)), np.uint8)


def compressed(rng: np.random.Generator, image: Image) -> Image:
    """Through a JPEG file and back, as a camera would hand it over."""
    quality = int(rng.integers(62, 96))
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8) if ok else image


def viewpoint(rng: np.random.Generator, p: BoardParameters, size_px: int, border_px: int) -> NDArray[np.float64]:
    """The homography from artwork to picture of a camera that hangs almost straight above."""
    middle = size_px / 2 + border_px
    turn = np.radians(p.tilt_deg)
    out = np.array([[1, 0, size_px / 2], [0, 1, size_px / 2], [0, 0, 1]])
    spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [*rng.uniform(-4e-5, 4e-5, 2), 1]])
    return np.asarray(out @ spin @ np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1]]))

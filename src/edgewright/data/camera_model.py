"""What a camera does to a picture: optics, exposure, sensor noise, white balance, tone curve, JPEG, in that order.

The picture at hand is taken for the scene: its sRGB values are turned back into linear light, go through the camera, and come out as
sRGB again. (What its own camera did to it stays in it, so a model describes what is added.) Each step is data, a range for each
parameter; a picture draws its values from a generator seeded by its own digest, so the same picture always comes out the same.
Boxes do not move.

>>> camera = CameraModel("dark", exposure=Exposure((-1.0, -1.0)))
>>> camera.apply(np.full((1, 1, 3), 200, np.uint8), np.random.default_rng(0)).tolist()  # half the light
[[[147, 147, 147]]]
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb
from edgewright.errors import DataError
from edgewright.printable import brief

Range: TypeAlias = tuple[float, float]  # low, high; drawn uniformly
Light: TypeAlias = NDArray[np.float32]  # rows x W x 3, linear, 1 is white
Effect: TypeAlias = Callable[[Light, int], Light]  # rows of a picture, and the number of the first of them

WHITE = 65_535  # linear light between the steps in 16 bits: sRGB's darkest step is 20 of these
ROWS_AT_ONCE = 64  # float arithmetic on a strip: a 50-megapixel picture costs no gigabytes
MOST_JPEG_PX = 65_500  # a side, libjpeg's limit


class Step:
    """A frozen dataclass whose numbers are checked against their limits."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for each in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            if "limits" in each.metadata:
                _check_range(f"{type(self).__name__} {each.name}", getattr(self, each.name), each.metadata["limits"])

    def to_json(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Defocus(Step):
    """Out of focus, a point becomes a disc (geometrical optics: the image of the aperture) of this radius in pixels."""

    radius_px: Range = field(metadata={"limits": (0, 16)})

    def psf(self, rng: np.random.Generator) -> Light:
        """The point spread, odd x odd, sum 1."""
        radius = rng.uniform(*self.radius_px)
        reach = math.ceil(radius)
        # Each pixel counts by the share of it that the disc covers, sampled 8 x 8.
        at = (np.arange((2 * reach + 1) * 8) + 0.5) / 8 - (reach + 0.5)
        inside = (at[:, None] ** 2 + at[None, :] ** 2 <= max(radius, 0.5) ** 2).astype(np.float32)
        return _as_psf(inside.reshape(2 * reach + 1, 8, 2 * reach + 1, 8).sum(axis=(1, 3)))


@dataclass(frozen=True, slots=True)
class MotionBlur(Step):
    """Even motion along a line while the shutter is open: a point becomes that line (length in pixels, 0 degrees to the right)."""

    length_px: Range = field(metadata={"limits": (0, 64)})
    angle_deg: Range = field(metadata={"limits": (-180, 180)})

    def psf(self, rng: np.random.Generator) -> Light:
        """The point spread, odd x odd, sum 1."""
        length, angle = rng.uniform(*self.length_px), math.radians(rng.uniform(*self.angle_deg))
        reach = math.ceil(length / 2) + 1
        along = np.linspace(-length / 2, length / 2, 8 * math.ceil(length) + 1)
        spread = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        # Each point of the way falls on the four pixels round it, by nearness. Rows count downwards.
        x, y = reach + along * math.cos(angle), reach - along * math.sin(angle)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        for step_y, step_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            share = (1 - np.abs(x - left - step_x)) * (1 - np.abs(y - top - step_y))
            np.add.at(spread, (np.minimum(top + step_y, 2 * reach), np.minimum(left + step_x, 2 * reach)), share)
        return _as_psf(spread)


@dataclass(frozen=True, slots=True)
class Vignetting(Step):
    """Light falls off with the angle from the axis as cos^4 (Kingslake, Optical System Design, 1983); the corners lose this share."""

    corner_loss: Range = field(metadata={"limits": (0, 0.95)})

    def effect(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Effect:
        # cos^4 = 1 / (1 + tan^2)^2, and tan grows with the distance from the centre: 1 in the corner.
        tan2 = 1 / math.sqrt(1 - rng.uniform(*self.corner_loss)) - 1
        wide, high = size_wh
        x = ((np.arange(wide, dtype=np.float32) + 0.5) / wide * 2 - 1) * wide / math.hypot(wide, high)
        y = ((np.arange(high, dtype=np.float32) + 0.5) / high * 2 - 1) * high / math.hypot(wide, high)

        def darken(light: Light, top: int) -> Light:
            fall = 1 / (1 + tan2 * (x[None, :] ** 2 + y[top : top + len(light), None] ** 2)) ** 2
            return light * fall[..., None].astype(np.float32)

        return darken


@dataclass(frozen=True, slots=True)
class Exposure(Step):
    """More or less light on the sensor, in stops (EV): each doubles it. What exceeds white is clipped, as a full well is."""

    ev: Range = field(metadata={"limits": (-8, 8)})

    def effect(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Effect:
        _ = size_wh
        factor = np.float32(2.0 ** rng.uniform(*self.ev))
        return lambda light, _top: np.minimum(light * factor, np.float32(1))


@dataclass(frozen=True, slots=True)
class Sensor(Step):
    """Photon counting, read-out and gain: Poisson-Gaussian noise (Foi, Trimeche, Katkovnik, Egiazarian, IEEE TIP 17(10), 2008).

    `full_well_e`: electrons at white and gain 0; `read_noise_e`: electrons, one standard deviation; `gain_ev`: stops of amplification
    after counting. With gain g = 2^gain_ev the variance of a value y is a y + b, where a = g / full_well and
    b = (g read_noise / full_well)^2; the Poisson part is taken as Gaussian with its signal's variance, as the paper does in section II.
    """

    gain_ev: Range = field(metadata={"limits": (0, 8)})
    full_well_e: Range = field(metadata={"limits": (100, 200_000)})
    read_noise_e: Range = field(metadata={"limits": (0, 1000)})

    def effect(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Effect:
        _ = size_wh
        gain, full_well, read_noise = 2.0 ** rng.uniform(*self.gain_ev), rng.uniform(*self.full_well_e), rng.uniform(*self.read_noise_e)
        a, b = np.float32(gain / full_well), np.float32((gain * read_noise / full_well) ** 2)

        def count(light: Light, _top: int) -> Light:
            value = light * np.float32(gain)
            noise = rng.standard_normal(value.shape, np.float32)
            noise *= np.sqrt(a * value + b)
            value += noise
            return np.clip(value, 0, 1, out=value)

        return count


@dataclass(frozen=True, slots=True)
class WhiteBalance(Step):
    """The colour temperature was misjudged by this many mired (a million / kelvin), away from D65 along the CIE daylight locus.

    Positive is warmer. The channels are scaled as a camera does (von Kries), green staying as it is.
    """

    shift_mired: Range = field(metadata={"limits": (-100, 90)})

    def effect(self, rng: np.random.Generator, size_wh: tuple[int, int]) -> Effect:
        _ = size_wh
        gains = daylight_gains(rng.uniform(*self.shift_mired))
        return lambda light, _top: np.minimum(light * gains, np.float32(1))


@dataclass(frozen=True, slots=True)
class Tone(Step):
    """The sRGB transfer curve (IEC 61966-2-1), and on its 0..1 an exponent: 1 is the standard, above it darker, below it lighter."""

    gamma: Range = field(metadata={"limits": (0.25, 4)})

    def exponent(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(*self.gamma))


@dataclass(frozen=True, slots=True)
class Jpeg(Step):
    """Encoded and decoded again by libjpeg at a quality 1..100, its chroma at half the resolution (4:2:0: both ways, 4:2:2: across)."""

    quality: Range = field(metadata={"limits": (1, 100)})
    chroma: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"

    FACTORS: ClassVar[dict[str, int]] = {
        "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }

    def __post_init__(self) -> None:
        Step.__post_init__(self)
        if not isinstance(self.chroma, str) or self.chroma not in self.FACTORS:
            raise DataError("Jpeg chroma is no subsampling we know", got=brief(self.chroma), expected=", ".join(self.FACTORS))

    def through(self, image_rgb: ImageRgb, rng: np.random.Generator) -> ImageRgb:
        if max(image_rgb.shape[:2]) > MOST_JPEG_PX:
            raise DataError("a picture is too large for JPEG", got=f"shape {image_rgb.shape}", expected=f"sides up to {MOST_JPEG_PX}")
        quality = round(rng.uniform(*self.quality))
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, self.FACTORS[self.chroma]]
        done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), settings)
        decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if done else None
        if decoded is None:
            raise DataError(f"cannot encode a picture of shape {image_rgb.shape} as JPEG")
        return decoded.astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A camera, in the order in which light meets its parts; a step that is None does nothing."""

    name: str
    defocus: Defocus | None = None
    motion: MotionBlur | None = None
    vignetting: Vignetting | None = None
    exposure: Exposure | None = None
    sensor: Sensor | None = None
    white_balance: WhiteBalance | None = None
    tone: Tone | None = None
    jpeg: Jpeg | None = None

    def apply(self, image_rgb: ImageRgb, rng: np.random.Generator) -> ImageRgb:
        """The picture, H x W x 3 RGB uint8, as this camera would have taken it; `rng` decides within the ranges.

        Raises:
            DataError: a side is longer than JPEG can be, and the camera writes JPEG.
        """
        high, wide = image_rgb.shape[:2]
        light = TO_LIGHT[image_rgb]
        for optics in (self.defocus, self.motion):
            if optics is not None:
                light = _spread(light, optics.psf(rng))
        electronics = (self.vignetting, self.exposure, self.sensor, self.white_balance)
        effects = [step.effect(rng, (wide, high)) for step in electronics if step is not None]
        curve = _tone_curve(1.0 if self.tone is None else self.tone.exponent(rng))
        developed = np.empty_like(image_rgb)
        for top in range(0, high, ROWS_AT_ONCE):
            strip = light[top : top + ROWS_AT_ONCE]
            developed[top : top + ROWS_AT_ONCE] = curve[_through(effects, strip, top) if effects else strip]
        return developed if self.jpeg is None else self.jpeg.through(developed, rng)

    @property
    def digest(self) -> str:
        """One name for what it does, whatever it is called."""
        return "sha256:" + hashlib.sha256(json.dumps(self.steps(), sort_keys=True).encode()).hexdigest()

    def steps(self) -> dict[str, dict[str, Any]]:
        """The ranges of each step that does something, by the keys of a camera file."""
        steps = {each.name: getattr(self, each.name) for each in fields(self)[1:]}
        return {name: step.to_json() for name, step in steps.items() if step is not None}

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "digest": self.digest, "steps": self.steps()}


def picture_rng(seed: int, sha256: str) -> np.random.Generator:
    """The generator of the picture whose file has this digest (64 hex digits)."""
    return np.random.default_rng([seed, int(sha256, 16)])


def daylight_gains(shift_mired: float) -> Light:
    """Red, green and blue (linear sRGB) of daylight that is `shift_mired` from D65, relative to D65 and to green.

    CIE 15:2018, equations for the D illuminants (4,000 to 25,000 K); the matrix is IEC 61966-2-1's.
    """
    white, shifted = (TO_LINEAR_SRGB @ _daylight_xyz(D65_MIRED + shift) for shift in (0.0, shift_mired))
    gains = shifted / white
    return np.asarray(gains / gains[1], np.float32)


D65_MIRED = 1e6 / 6504
TO_LINEAR_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def _daylight_xyz(mired: float) -> NDArray[np.float64]:
    k = mired / 1e3  # 1000 / kelvin
    low = (-4.6070, 2.9678, 0.09911, 0.244063)
    high = (-2.0064, 1.9018, 0.24748, 0.237040)
    x = float(np.polyval(low if mired >= 1e6 / 7000 else high, k))
    y = -3.000 * x**2 + 2.870 * x - 0.275
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _light_of_srgb() -> NDArray[np.uint16]:
    """Linear light of each 8-bit sRGB value (IEC 61966-2-1), white at `WHITE`."""
    v = np.arange(256) / 255
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.rint(linear * WHITE), np.uint16)


def _srgb_of_light() -> NDArray[np.float32]:
    """The sRGB value, 0..1, of each of the linear values (IEC 61966-2-1)."""
    light = np.arange(WHITE + 1) / WHITE
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


TO_LIGHT = _light_of_srgb()
TO_SRGB = _srgb_of_light()


def _tone_curve(exponent: float) -> NDArray[np.uint8]:
    """The 8-bit value of each linear value."""
    return np.asarray(np.rint(TO_SRGB ** np.float32(exponent) * 255), np.uint8)


def _through(effects: Sequence[Effect], strip: NDArray[np.uint16], top: int) -> NDArray[np.uint16]:
    light = strip.astype(np.float32) * np.float32(1 / WHITE)
    for effect in effects:
        light = effect(light, top)
    # Every effect that can exceed white clips it, so this does not wrap round.
    light *= WHITE
    return np.asarray(np.rint(light, out=light), np.uint16)


def _spread(light: NDArray[np.uint16], psf: Light) -> NDArray[np.uint16]:
    if psf.shape == (1, 1):
        return light
    # A spread is no kernel to correlate with but one to convolve with; ours are point-symmetric, for which both are the same.
    return cv2.filter2D(light, -1, psf, borderType=cv2.BORDER_REPLICATE).astype(np.uint16, copy=False)


def _as_psf(weights: NDArray[np.float32]) -> Light:
    """Sum 1, without the empty border."""
    rows, columns = np.flatnonzero(weights.any(axis=1)), np.flatnonzero(weights.any(axis=0))
    edge = min(rows[0], columns[0])
    trimmed = weights[edge : len(weights) - edge, edge : len(weights) - edge]
    return np.asarray(trimmed / trimmed.sum(), np.float32)


def _check_range(name: str, value: Any, limits: Range) -> None:
    sound = (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in value)
        and limits[0] <= value[0] <= value[1] <= limits[1]
    )
    if not sound:
        got = f"[{', '.join(map(brief, value[:4]))}]" if isinstance(value, tuple) else brief(value)
        raise DataError(f"{name} cannot be that", got=got, expected=f"a number or [low, high] from {limits[0]:g} to {limits[1]:g}")

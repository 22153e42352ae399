"""Cameras by name or from a file, and a data set seen through one."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgewright.artifact import sha256_of
from edgewright.data.camera_model import (
    CameraModel,
    Defocus,
    Exposure,
    Jpeg,
    MotionBlur,
    Sensor,
    Step,
    Tone,
    Vignetting,
    WhiteBalance,
    picture_rng,
)
from edgewright.data.dataset import Dataset, LabelledImage, Sample
from edgewright.errors import DataError
from edgewright.printable import brief, printable
from edgewright.regular_file import read_regular, why

MOST_TOML_BYTES = 16 << 10  # the time that tomllib takes over dotted keys grows with the square of their number
LONGEST_NAME = 80

# Full well and read noise: 1/3-inch industrial sensors hold 10,000 to 30,000 electrons, webcams' 1.4 um pixels about 5,000, both with a few
# electrons of read noise (EMVA 1288 sheets). Blur is in pixels of pictures about 640 wide.
PRESETS = {
    camera.name: camera
    for camera in (
        CameraModel("none"),
        CameraModel(
            "clean",  # a good camera in good light
            defocus=Defocus((0.0, 0.7)),
            sensor=Sensor((0.0, 0.5), (15_000.0, 25_000.0), (3.0, 6.0)),
            jpeg=Jpeg((90.0, 97.0), "4:4:4"),
        ),
        CameraModel(
            "dim-line",  # two to three stops short of light, and the gain gives half of it back
            defocus=Defocus((0.3, 1.0)),
            vignetting=Vignetting((0.1, 0.3)),
            exposure=Exposure((-3.0, -2.0)),
            sensor=Sensor((0.5, 1.5), (8_000.0, 12_000.0), (5.0, 9.0)),
            white_balance=WhiteBalance((-20.0, 20.0)),
            jpeg=Jpeg((80.0, 92.0)),
        ),
        CameraModel(
            "bright-line",  # one to two stops too much light: what is bright drowns
            exposure=Exposure((1.0, 2.0)),
            sensor=Sensor((0.0, 0.0), (8_000.0, 12_000.0), (5.0, 9.0)),
            white_balance=WhiteBalance((-20.0, 20.0)),
            jpeg=Jpeg((80.0, 92.0)),
        ),
        CameraModel(
            "fast-line",  # parts that move across while the shutter is open
            defocus=Defocus((0.0, 0.7)),
            motion=MotionBlur((4.0, 12.0), (-5.0, 5.0)),
            exposure=Exposure((-1.0, 0.0)),
            sensor=Sensor((0.0, 1.0), (8_000.0, 12_000.0), (5.0, 9.0)),
            jpeg=Jpeg((80.0, 92.0)),
        ),
        CameraModel(
            "cheap-usb",  # a webcam indoors: small pixels, gain, a wrong guess at the light, hard compression
            defocus=Defocus((0.5, 1.5)),
            vignetting=Vignetting((0.2, 0.45)),
            exposure=Exposure((-2.0, -1.0)),
            sensor=Sensor((1.0, 2.0), (4_000.0, 6_000.0), (3.0, 6.0)),
            white_balance=WhiteBalance((-45.0, 45.0)),
            tone=Tone((0.85, 1.2)),
            jpeg=Jpeg((40.0, 70.0)),
        ),
    )
}


def open_camera(name_or_file: str) -> CameraModel:
    """A preset by its name, or the camera in a TOML file (docs/reference/calibrate.md).

    Raises:
        DataError: there is no such preset or file, or the file says something a camera cannot do.
    """
    if name_or_file in PRESETS:
        return PRESETS[name_or_file]
    try:
        content = read_regular(Path(name_or_file), MOST_TOML_BYTES)
    except OSError as error:
        expected = f"one of {', '.join(PRESETS)}, or a TOML file of at most {MOST_TOML_BYTES} bytes"
        raise DataError(f"there is no camera {printable(repr(name_or_file), 200)}", got=why(error), expected=expected) from error
    shown = printable(name_or_file, 200)
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # of a number of thousands of digits tomllib says the first
        raise DataError(f"{shown} cannot be read as TOML", got=printable(" ".join(str(error).split()), 200)) from error
    return _parse(shown, Path(name_or_file).stem, document)


@dataclass(frozen=True, slots=True)
class _ThroughCamera(Dataset):
    """A data set whose stream goes through a camera."""

    camera: CameraModel = PRESETS["none"]
    seed: int = 0

    def stream(
        self, samples: Sequence[Sample], *, broken: list[str] | None = None, damaged: list[str] | None = None
    ) -> Iterator[LabelledImage]:
        for picture in Dataset.stream(self, samples, broken=broken, damaged=damaged):
            rng = picture_rng(self.seed, sha256_of(picture.sample.image))
            yield LabelledImage(picture.sample, self.camera.apply(picture.image_rgb, rng), picture.truth)


def through_camera(dataset: Dataset, camera: CameraModel, seed: int) -> Dataset:
    """The same data set, whose pictures come off the stream as the camera would have taken them; labels stay as they are."""
    held = {each.name: getattr(dataset, each.name) for each in fields(dataset)}
    return _ThroughCamera(**held, camera=camera, seed=seed)


STEPS: dict[str, type[Step]] = {
    "defocus": Defocus,
    "motion": MotionBlur,
    "vignetting": Vignetting,
    "exposure": Exposure,
    "sensor": Sensor,
    "white_balance": WhiteBalance,
    "tone": Tone,
    "jpeg": Jpeg,
}


def _parse(shown: str, stem: str, document: dict[str, Any]) -> CameraModel:
    _refuse_unknown(shown, "", document, {"name", *STEPS})
    name = document.pop("name", printable(stem))
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
        raise DataError(f"{shown} has no usable name", got=brief(name), expected=f"a line of at most {LONGEST_NAME} characters")
    try:
        steps = {key: _parse_step(shown, key, table) for key, table in document.items()}
    except DataError as error:
        raise DataError(f"{shown}: {error.what}", got=error.got, expected=error.expected) from error
    return CameraModel(name, **steps)


def _parse_step(shown: str, key: str, table: Any) -> Any:
    step = STEPS[key]
    known = {each.name: each for each in fields(step)}  # type: ignore[arg-type]
    if not isinstance(table, dict):
        raise DataError(f"[{key}] is no table", got=brief(table))
    _refuse_unknown(shown, f"[{key}] ", table, set(known))
    missing = [each for each in known if each not in table and each != "chroma"]
    if missing:
        raise DataError(f"[{key}] lacks {', '.join(missing)}", expected=", ".join(known))
    return step(**{name: _as_range(value) if known[name].metadata else value for name, value in table.items()})


def _as_range(value: Any) -> Any:
    """A number stands for a range; what is neither is refused by the step."""
    if isinstance(value, list):
        return tuple(value)
    return (value, value)


def _refuse_unknown(shown: str, place: str, table: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise DataError(f"{shown}: {place}has the unknown key {brief(unknown[0])}", expected=", ".join(sorted(known)))

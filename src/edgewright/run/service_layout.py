"""The tables of a service.toml: every key, the field that it fills and what it may be. docs/reference/service.md says the same in words."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright.regular_file import is_folder, is_regular
from edgewright.run.http_layout import http_keys
from edgewright.run.output_layout import output_kinds
from edgewright.run.secret_places import SecretPlaces
from edgewright.run.secrets import Address
from edgewright.run.settings import (
    CameraSettings,
    GovernSettings,
    ModelSettings,
    MotionSettings,
    Polygon,
    RuleSettings,
)
from edgewright.run.source_forms import FORMS, source_kind
from edgewright.run.toml_values import (
    DAY,
    HOUR,
    MIB,
    NAMES,
    TIB,
    Keys,
    Reader,
    Unfit,
    duration,
    flag,
    holding,
    listed,
    name,
    number,
    one_of,
    size,
    text,
    whole,
)

MOST_CAMERAS = 64
MOST_MODELS = 16
MOST_RULES = 256
MOST_OUTPUTS = 32
MOST_CLASSES = 1000
MOST_LIGHTER = 4
MOST_POINTS = 64

_share = number(0, 1)
_point = listed(_share, 2, 2, "shares, x and y")
_score = number(0, 1)


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tables of one file may hold; paths are relative to its folder, secrets come from its surroundings."""

    service: Keys
    govern: Keys
    http: Keys
    model: Keys
    camera: Keys
    rules: dict[str, Keys]
    outputs: dict[str, Keys]

    @classmethod
    def around(cls, places: SecretPlaces) -> "Layout":
        """The layout of a file in `places.folder`."""
        path = _path(places.folder)
        return cls(_service(path), _GOVERN, http_keys(places, path), _model(path), _camera(places), _rules(), output_kinds(places, path))


def _service(path: Reader) -> Keys:
    return Keys(
        "[service]",
        {
            "name": ("name", name),
            "state": ("state", path),
            "memory": ("memory_bytes", size(64 * MIB, 16 * TIB)),
            "disk_a_day": ("disk_bytes_a_day", size(MIB, 1024 * TIB)),
        },
    )


_GOVERN = Keys(
    "[govern]",
    {
        "enabled": ("enabled", flag),
        "limit_c": ("limit_c", number(30, 120)),
        "lowest_fps": ("lowest_fps", number(above=0, most=1000)),
        "fewest_threads": ("fewest_threads", whole(1, 1024)),
    },
    made=GovernSettings,
)


def _model(path: Reader) -> Keys:
    artifact = holding(path, _is_there, "an artifact's folder, or an .onnx file, that is there")
    return Keys(
        "a model",
        {
            "name": ("name", name),
            "artifact": ("artifact", artifact),
            "threads": ("threads", whole(1, 1024)),
            "score": ("score", _score),
            "answer_within": ("answer_within_s", duration(0.1, HOUR)),
            "lighter": ("lighter", listed(artifact, 1, MOST_LIGHTER, "artifacts")),
            "best_effort": ("best_effort", flag),
        },
        needed=("name", "artifact"),
        made=ModelSettings,
    )


def _camera(places: SecretPlaces) -> Keys:
    box = holding(listed(_share, 4, 4, "shares"), _is_box, "x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    return Keys(
        "a camera",
        {
            "name": ("name", name),
            "source": ("source", lambda value: read_source(value, places)),
            "models": ("models", NAMES),
            "live": ("live", flag),
            "reader": ("reader", one_of("auto", "opencv", "ffmpeg")),
            "transport": ("transport", one_of("tcp", "udp")),
            "fps": ("fps", number(above=0, most=1000)),
            "size": ("size_wh", listed(whole(16, 16_384), 2, 2, "whole numbers, width and height")),
            "region": ("region", box),
            "motion": ("motion", _motion),
            "stall": ("stall_s", duration(1, DAY)),
            "loop": ("loop", flag),
            "watch": ("watch", flag),
            "tracking": ("tracking", flag),
        },
        needed=("name", "source"),
        made=CameraSettings,
    )


def read_source(value: Any, places: SecretPlaces) -> Address:
    """A camera's source; the path of a file or folder is made absolute, so that it cannot be taken for a number or a URL."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 999:
        return Address(str(value))
    if not isinstance(value, str):
        raise Unfit(expected=FORMS)

    def resolved(source: str) -> str:
        if source_kind(source) in ("usb", "csi", "rtsp", "http"):
            return source
        if "://" in source:
            raise Unfit(
                expected=FORMS, fix="in a user or password write %40 for @, %2F for /, %3A for :, %23 for #, or take it from ${NAME}"
            )
        path = str(places.folder / source)
        if source_kind(path) is None:
            raise Unfit(expected=FORMS)
        return path

    return places.address(value, resolved)


_MOTION_KEYS = Keys(
    "motion",
    {
        "area": ("area", number(0, 1)),
        "change": ("change", whole(1, 255)),
        "at_least_every": ("at_least_every_s", duration(0.1, DAY)),
    },
    made=MotionSettings,
)


def _motion(value: Any) -> MotionSettings | None:
    if isinstance(value, bool):
        return MotionSettings() if value else None
    if not isinstance(value, dict):
        raise Unfit(expected="true, false, or a table [camera.motion]")
    return _MOTION_KEYS(value)  # type: ignore[no-any-return]


def _rules() -> dict[str, Keys]:
    line = holding(listed(_point, 2, 2, "points"), lambda points: points[0] != points[1], "two points apart")
    polygon = holding(listed(_point, 3, MOST_POINTS, "points"), _encloses, "points around an area")
    kinds: dict[str, tuple[str, Reader]] = {"zone": ("polygon", polygon), "line": ("line", line), "seen": ("", text)}
    return {
        kind: Keys(
            f'a rule of kind = "{kind}"',
            {
                "name": ("name", name),
                "kind": ("kind", one_of(*kinds)),
                "cameras": ("cameras", NAMES),
                "models": ("models", NAMES),
                "classes": ("classes", listed(text, 1, MOST_CLASSES, "names of classes")),
                "score": ("score", _score),
                **({own: (own, reader)} if own else {}),
                **({} if kind == "line" else {"frames_of": ("frames_of", _frames_of)}),
                "again_after": ("again_after_s", duration(0, 30 * DAY)),
            },
            needed=("name", own) if own else ("name",),
            made=RuleSettings,
        )
        for kind, (own, reader) in kinds.items()
    }


_frames_of = holding(listed(whole(1, 1000), 2, 2, "whole numbers"), lambda found: found[0] <= found[1], "[k, n]: on k of the last n frames")


def _path(folder: Path) -> Reader:
    return lambda value: folder / text(value)


def _is_there(path: Path) -> bool:
    return is_folder(path) or (path.suffix == ".onnx" and is_regular(path))


def _is_box(box: tuple[float, float, float, float]) -> bool:
    return box[0] < box[2] and box[1] < box[3]


def _encloses(polygon: Polygon) -> bool:
    """Whether it has an area (by the shoelace formula); three points on a line have none."""
    following = (*polygon[1:], polygon[0])
    doubled = math.fsum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(polygon, following, strict=True))
    return abs(doubled) > 1e-6

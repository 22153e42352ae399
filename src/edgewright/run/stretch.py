"""A stretch of frames with what was decided about each, kept so that somebody elsewhere can see what the service saw.

    with StretchWriter(Path("incident"), most_bytes=1 << 30) as stretch:
        stretch.add(image_rgb, FrameFacts("line 1", 812, captured_s, monotonic_s, {"answers": [...], "workers": {...}}))
    for frame in paced(read_stretch(Path("incident")), clock, sleep): ...

The folder holds `stretch.json` (what this is), `frames.jsonl` (a line a frame) and `pictures/000000000.jpg`, .... A frame that was dropped
may have a line, with its reason, and no picture. A picture is there whole before its line is, so after a SIGKILL all lines but a torn last
one are good. Pictures are JPEGs of quality 95 without chroma subsampling; where a replay has to decide the very same, to the last box at
the threshold, PNG keeps every bit (docs/reference/recording.md says what either costs).

Whoever reads believes nothing: all sizes and numbers have bounds, a line names a picture by its number only, links are not followed, and
each picture has the digest that its line says.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeAlias

import cv2
import simplejpeg

from edgewright.clock import Clock
from edgewright.data.images import open_picture
from edgewright.detections import ImageRgb
from edgewright.errors import DataError, InputError
from edgewright.printable import brief, printable
from edgewright.regular_file import open_regular, read_regular, why
from edgewright.whole_file import is_own_file, is_own_folder, make_folder, telling_of_the_disk, write_whole

Pictures: TypeAlias = Literal["jpeg", "png"]

SCHEMA = 1
HEADER, INDEX, FOLDER = "stretch.json", "frames.jsonl", "pictures"
SUFFIXES: Mapping[Pictures, str] = {"jpeg": ".jpg", "png": ".png"}
JPEG_QUALITY = 95
MOST_HEADER_BYTES = 1 << 16
MOST_LINE_BYTES = 1 << 20  # an answer of 300 boxes has 20 kB
MOST_PICTURE_BYTES = 1 << 26
MOST_FRAMES = 1 << 24  # 19 days at 10 frames a second
MOST_NUMBER = 1 << 53
LONGEST_NAME = 200
LATEST_S = 253402300799.0  # the year 9999
LONGEST_WAIT_S = 60.0  # between two frames of a replay, whatever their times say


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """A frame's number, when it was captured, on either clock, and what was decided: answers, why it was dropped, how the workers were."""

    camera: str
    frame: int
    captured_s: float
    monotonic_s: float
    decisions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StretchFrame:
    """As it was recorded; a dropped frame may have no picture."""

    facts: FrameFacts
    image_rgb: ImageRgb | None


class StretchWriter:
    """Records into a folder that is new or empty, up to `most_bytes`: then it is `full`, and what is there stays a stretch without gaps.

    Raises:
        InputError: there is something in the folder.
        DiskError: it cannot be made.
    """

    def __init__(self, folder: Path, most_bytes: int, *, pictures: Pictures = "jpeg") -> None:
        self.folder = folder
        self.frames = self.bytes = 0
        self.full = False
        self._most_bytes, self._kind = most_bytes, pictures
        self._pictures = 0
        make_folder(folder)
        with telling_of_the_disk(folder):
            if any(folder.iterdir()):
                got = "a folder with something in it"
                raise InputError(f"cannot record into {printable(str(folder), 300)}", got=got, expected="a new or an empty one")
        make_folder(folder / FOLDER)
        header = {"schema": SCHEMA, "what": "edgewright stretch", "pictures": pictures}
        write_whole(folder / HEADER, json.dumps(header).encode() + b"\n")
        with telling_of_the_disk(folder / INDEX):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._index = os.open(folder / INDEX, flags, 0o666)

    def add(self, image_rgb: ImageRgb | None, facts: FrameFacts) -> bool:
        """Append a frame (H x W x 3); False where it, and all after it, are too many.

        Raises:
            DiskError: it cannot be written; those before it are good.
        """
        picture = None if image_rgb is None else _encode(image_rgb, self._kind)
        line = self._line(image_rgb, picture, facts)
        size = len(line) + (0 if picture is None else len(picture))
        too_long = len(line) > MOST_LINE_BYTES or (picture is not None and len(picture) > MOST_PICTURE_BYTES)
        self.full = self.full or self.bytes + size > self._most_bytes or self.frames >= MOST_FRAMES or too_long
        if self.full:
            return False
        if picture is not None:
            write_whole(self.folder / picture_name(self._pictures, self._kind), picture, sync=False)
            self._pictures += 1
        self._append(line)
        self.frames += 1
        self.bytes += size
        return True

    def _line(self, image_rgb: ImageRgb | None, picture: bytes | None, facts: FrameFacts) -> bytes:
        said: dict[str, Any] = {
            "camera": facts.camera,
            "frame": facts.frame,
            "captured_s": round(facts.captured_s, 6),
            "monotonic_s": round(facts.monotonic_s, 6),
        }
        if image_rgb is not None and picture is not None:
            size_wh = [image_rgb.shape[1], image_rgb.shape[0]]
            said |= {"picture": self._pictures, "size_wh": size_wh, "sha256": hashlib.sha256(picture).hexdigest()}
        return json.dumps({**said, "decisions": dict(facts.decisions)}, allow_nan=False).encode() + b"\n"

    def _append(self, line: bytes) -> None:
        """The line stands in the file whole, or not at all."""
        with telling_of_the_disk(self.folder / INDEX, len(line)):
            size = os.fstat(self._index).st_size
            left = memoryview(line)
            try:
                while left:
                    left = left[os.write(self._index, left) :]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._index, size)
                raise

    def close(self) -> None:
        """All is on the disk."""
        if self._index >= 0:
            with telling_of_the_disk(self.folder / INDEX):
                try:
                    os.fsync(self._index)
                finally:
                    os.close(self._index)
                    self._index = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def picture_name(number: int, kind: Pictures) -> str:
    """Where a picture lies in the folder."""
    return f"{FOLDER}/{number:09}{SUFFIXES[kind]}"


def read_stretch(folder: Path) -> Iterator[StretchFrame]:
    """The frames of a recorded stretch, in order, one at a time; a torn last line is passed over.

    Raises:
        DataError: the folder holds no stretch, or a line or a picture is not as it was written.
    """
    kind = _kind_of(folder)
    if not is_own_folder(folder / FOLDER):
        raise _no_stretch(folder, f"no folder {FOLDER}")
    for number, line in enumerate(_lines(folder)):
        facts, place = _facts_of(line, number)
        yield StretchFrame(facts, None if place is None else _picture(folder, kind, place, number))


def paced(frames: Iterable[StretchFrame], clock: Clock, sleep: Callable[[float], None], *, speed: float = 1.0) -> Iterator[StretchFrame]:
    """The same frames, each no earlier than it was captured, counted from the first; `speed` 2: in half the time.

    Whoever is slower than the stretch gets the next frame at once, and so catches up. A gap of more than a minute is one minute.
    """
    due_s = last_s = None
    for frame in frames:
        now_s, at_s = clock.monotonic_s(), frame.facts.monotonic_s
        if due_s is None or last_s is None:
            due_s = now_s
        else:
            due_s += min(max(at_s - last_s, 0.0), LONGEST_WAIT_S) / speed
        last_s = at_s
        if due_s > now_s:
            sleep(due_s - now_s)
        yield frame


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a picture, as its line has it."""

    number: int
    size_wh: tuple[int, int]
    sha256: str


def _kind_of(folder: Path) -> Pictures:
    path = folder / HEADER
    try:
        if not is_own_file(path):
            raise _no_stretch(folder, f"no file {HEADER}")
        header = _json(read_regular(path, MOST_HEADER_BYTES))
    except OSError as error:
        raise _no_stretch(folder, f"a {HEADER} that cannot be read: {why(error)}") from error
    except ValueError as error:
        raise _no_stretch(folder, f"a {HEADER} that is no JSON") from error
    if not isinstance(header, dict) or header.get("what") != "edgewright stretch":
        raise _no_stretch(folder, f"a {HEADER} of something else")
    if header.get("schema") != SCHEMA:
        got = f"schema {brief(header.get('schema'))}"
        raise DataError(f"{printable(str(folder), 300)} is a stretch that we cannot read", got=got, expected=f"schema {SCHEMA}")
    for kind in SUFFIXES:
        if header.get("pictures") == kind:
            return kind
    raise _no_stretch(folder, f"pictures of kind {brief(header.get('pictures'))}")


def _lines(folder: Path) -> Iterator[bytes]:
    path = folder / INDEX
    if not is_own_file(path):
        raise _no_stretch(folder, f"no file {INDEX}")
    try:
        with open_regular(path) as stream:
            for number in range(MOST_FRAMES):
                line = stream.readline(MOST_LINE_BYTES + 1)
                if len(line) > MOST_LINE_BYTES:
                    _refuse(number, f"more than {MOST_LINE_BYTES} bytes")
                if not line.endswith(b"\n"):
                    return  # the end, or a line that was being written when the service was killed
                yield line
    except OSError as error:
        raise _no_stretch(folder, f"a {INDEX} that cannot be read: {why(error)}") from error


def _facts_of(line: bytes, number: int) -> tuple[FrameFacts, _Place | None]:
    try:
        said = _json(line)
    except ValueError:
        _refuse(number, "no JSON")
    if not isinstance(said, dict):
        _refuse(number, brief(said))
    camera, decisions = said.get("camera"), said.get("decisions")
    if not isinstance(camera, str) or len(camera) > LONGEST_NAME:
        _refuse(number, f"camera {brief(camera)}")
    if not isinstance(decisions, dict):
        _refuse(number, f"decisions {brief(decisions)}")
    facts = FrameFacts(
        camera,
        _whole_number(said, "frame", number, MOST_NUMBER),
        _seconds(said, "captured_s", number),
        _seconds(said, "monotonic_s", number),
        decisions,
    )
    return facts, _place_of(said, number) if "picture" in said else None


def _place_of(said: dict[str, Any], number: int) -> _Place:
    size, digest = said.get("size_wh"), said.get("sha256")
    if not isinstance(size, list) or len(size) != 2 or any(type(side) is not int or not 0 < side < 1 << 16 for side in size):
        _refuse(number, f"size_wh {brief(size)}")
    if not isinstance(digest, str) or len(digest) != 64:
        _refuse(number, f"sha256 {brief(digest)}")
    return _Place(_whole_number(said, "picture", number, MOST_FRAMES), (size[0], size[1]), digest)


def _picture(folder: Path, kind: Pictures, place: _Place, number: int) -> ImageRgb:
    name = picture_name(place.number, kind)
    path = folder / name
    if not is_own_file(path):
        _refuse(number, f"no file {name}")
    try:
        content = read_regular(path, MOST_PICTURE_BYTES)
    except OSError as error:
        _refuse(number, f"a {name} that cannot be read: {why(error)}")
    if hashlib.sha256(content).hexdigest() != place.sha256:
        _refuse(number, f"a {name} that is not the one recorded")
    picture = open_picture(path)
    if picture.kind != {"jpeg": "JPEG", "png": "PNG"}[kind] or picture.structure.size_wh != place.size_wh:
        _refuse(number, f"a {name} of {picture.kind}, {'x'.join(map(str, picture.structure.size_wh))} pixels")
    return picture.decode()


def _encode(image_rgb: ImageRgb, kind: Pictures) -> bytes:
    if kind == "jpeg":
        # OpenCV and its views may hand us what is not contiguous; simplejpeg takes it row by row.
        encoded: bytes = simplejpeg.encode_jpeg(image_rgb.copy(order="C"), JPEG_QUALITY, "RGB", "444")
        return encoded
    sound, png = cv2.imencode(".png", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not sound:
        raise InputError("a picture cannot be made a PNG", got="x".join(map(str, image_rgb.shape)))
    return png.tobytes()


def _json(content: bytes) -> Any:
    """What it says; a ValueError where it is no JSON, is nested a thousand deep, or has numbers that are none."""
    try:
        return json.loads(content, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _whole_number(said: dict[str, Any], key: str, number: int, most: int) -> int:
    value = said.get(key)
    if type(value) is not int or not 0 <= value < most:
        _refuse(number, f"{key} {brief(value)}")
    return value


def _seconds(said: dict[str, Any], key: str, number: int) -> float:
    value = said.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_S or not math.isfinite(value):
        _refuse(number, f"{key} {brief(value)}")
    return float(value)


def _refuse(number: int, got: str) -> NoReturn:
    raise DataError(f"line {number + 1} of {INDEX} is not as it was written", got=got, fix="record it again")


def _no_stretch(folder: Path, got: str) -> DataError:
    return DataError(f"{printable(str(folder), 300)} holds no recorded stretch", got=got, expected=f"{HEADER}, {INDEX} and {FOLDER}/")

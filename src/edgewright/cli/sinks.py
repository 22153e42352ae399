"""Where detections go: a drawn video, drawn pictures, lines of JSON. A file that was there stays until the new one is whole."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

from edgewright.data.images import SUFFIXES, encode_jpeg
from edgewright.data.source import PictureSource
from edgewright.data.video import USUAL_FPS, WebmWriter
from edgewright.detections import Detections, Frame
from edgewright.errors import InputError
from edgewright.vision.drawing import draw
from edgewright.whole_file import locked, named_file, write_whole

Write: TypeAlias = Callable[[str, Frame, Detections], object]


@contextmanager
def open_sinks(source: PictureSource, *, out: Path | None, jsonl: Path | None) -> Iterator[Write]:
    """One function that writes a frame's detections to every sink asked for.

    Raises:
        InputError: `out` does not suit the source.
    """
    with ExitStack() as stack:
        sinks: list[Write] = []
        if jsonl is not None:
            sinks.append(_jsonl(jsonl, stack))
        if out is not None:
            sinks.append(_video(out, source, stack) if out.suffix.lower() == ".webm" else _pictures(out, source, stack))

        def write(name: str, frame: Frame, found: Detections) -> None:
            for sink in sinks:
                sink(name, frame, found)

        yield write


def _jsonl(path: Path, stack: ExitStack) -> Write:
    if not path.absolute().parent.is_dir():
        raise InputError(f"--jsonl {path} lies in a folder that is not there", fix=f"create {path.parent} first")
    if str(path) == "-":
        return lambda _name, frame, found: sys.stdout.write(_line(frame, found))
    stream = stack.enter_context(named_file(path))
    return lambda _name, frame, found: stream.write(_line(frame, found).encode())


def _line(frame: Frame, found: Detections) -> str:
    return json.dumps({"frame": frame.index, "time_s": round(frame.time_s, 4), **found.to_json()}) + "\n"


def _video(path: Path, source: PictureSource, stack: ExitStack) -> Write:
    if not source.is_video:
        raise InputError(f"--out {path} is a video, but {source.path} is not", expected="a folder for pictures")
    if path.resolve() == source.path.resolve():
        raise InputError(f"--out {path} is the video itself", fix="name another file")
    writer = stack.enter_context(WebmWriter(path, source.fps or USUAL_FPS))
    return lambda _name, frame, found: writer.write(draw(frame.image_rgb, found))


def _pictures(folder: Path, source: PictureSource, stack: ExitStack) -> Write:
    if folder.suffix.lower() in (".mp4", ".avi", ".mkv", ".mov"):
        raise InputError(
            f"--out {folder}: we write WebM, which every browser plays", got=folder.suffix, expected=".webm, or a folder for pictures"
        )
    if folder.is_file() or folder.suffix.lower() in SUFFIXES:
        raise InputError(f"--out {folder} is no folder", expected="a folder, which gets a .jpg for each picture")
    pictures = source.path if source.path.is_dir() else source.path.parent
    if folder.resolve() == pictures.resolve() and not source.is_video:
        raise InputError(f"--out {folder} holds the pictures themselves", fix="name another folder, so that none is overwritten")
    stack.enter_context(locked(folder))
    # Each picture is whole, or as it was; none waits for the disk.
    return lambda name, frame, found: write_whole(folder / f"{name}.jpg", encode_jpeg(draw(frame.image_rgb, found)), sync=False)

"""Pictures from a place: an image file, a folder of them, or a video file, as one stream of frames."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.data import images, video
from edgewright.detections import Frame
from edgewright.errors import DataError
from edgewright.printable import printable
from edgewright.regular_file import is_folder, is_regular


@dataclass(slots=True)
class PictureSource:
    """Iterate for (name, frame). `frames` and `fps` where known before.

    While it is iterated, `broken` fills with what was passed over, and why; `damaged` with what was decoded although its data are
    damaged; `reading`, of a video, with the counts.
    """

    path: Path
    is_video: bool
    frames: int | None
    fps: float | None
    broken: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    reading: video.Reading | None = None

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        return self._video() if self.is_video else self._images()

    def _video(self) -> Iterator[tuple[str, Frame]]:
        self.reading = video.Reading()
        for frame in video.read_frames(self.path, self.reading):
            yield f"{self.path.stem}-{frame.index:06d}", frame
        name = printable(self.path.name)
        self.broken.extend(filter(None, [self.reading.sentence(name)]))
        self.damaged.extend(filter(None, [self.reading.damage(name)]))

    def _images(self) -> Iterator[tuple[str, Frame]]:
        index = 0
        files = _image_files(self.path)
        stems = Counter(path.stem for path in files)
        for path in files:
            try:
                pixels = images.read_image(path, damaged=self.damaged)
            except DataError as error:
                if is_regular(self.path):
                    raise
                self.broken.append(str(error))
                continue
            # a.jpg beside a.png: the whole name tells them apart.
            yield path.stem if stems[path.stem] == 1 else path.name, Frame(pixels, index, 0.0)
            index += 1
        if index == 0:
            raise DataError(
                f"no picture in {printable(str(self.path), 200)} can be decoded", got=self.broken[0] if self.broken else "no picture"
            )


def open_source(path: Path) -> PictureSource:
    """The pictures at `path`.

    Raises:
        DataError: nothing is there, or it is no picture, folder of pictures or video.
    """
    shown = printable(str(path), 200)
    if is_folder(path):
        found = len(_image_files(path))
        if not found:
            raise DataError(f"{shown} holds no pictures", expected=f"files ending in {', '.join(sorted(images.SUFFIXES))}")
        return PictureSource(path, is_video=False, frames=found, fps=None)
    if not is_regular(path):
        expected = "an image, a folder of images or a video file"
        if os.path.lexists(path):
            raise DataError(f"{shown} cannot be read", got="a pipe, a device or a link to nowhere", expected=expected)
        raise DataError(f"{shown} is not there", expected=expected)
    if path.suffix.lower() in images.SUFFIXES:
        return PictureSource(path, is_video=False, frames=1, fps=None)
    if path.suffix.lower() in video.SUFFIXES:
        fps, frames = video.probe(path)
        return PictureSource(path, is_video=True, frames=frames, fps=fps)
    expected = ", ".join(sorted(images.SUFFIXES | video.SUFFIXES))
    raise DataError(f"{shown} is neither picture nor video", got=f"a {printable(path.suffix, 20) or 'nameless'} file", expected=expected)


def _image_files(path: Path) -> list[Path]:
    return [path] if is_regular(path) else sorted(p for p in path.iterdir() if p.suffix.lower() in images.SUFFIXES and p.is_file())

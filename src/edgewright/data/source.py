"""Pictures from a place: an image file, a folder of them, or a video file, as one stream of frames."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgewright.data import images, video
from edgewright.detections import Frame
from edgewright.errors import DataError


@dataclass(slots=True)
class PictureSource:
    """Iterate for (name, frame). `frames` and `fps` where known before; `broken` fills with what was passed over, and why."""

    path: Path
    is_video: bool
    frames: int | None
    fps: float | None
    broken: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, Frame]]:
        return self._video() if self.is_video else self._images()

    def _video(self) -> Iterator[tuple[str, Frame]]:
        for frame in video.read_frames(self.path):
            yield f"{self.path.stem}-{frame.index:06d}", frame

    def _images(self) -> Iterator[tuple[str, Frame]]:
        index = 0
        files = _image_files(self.path)
        stems = Counter(path.stem for path in files)
        for path in files:
            try:
                pixels = images.read_image(path)
            except DataError as error:
                if self.path.is_file():
                    raise
                self.broken.append(str(error))
                continue
            # a.jpg beside a.png: the whole name tells them apart.
            yield path.stem if stems[path.stem] == 1 else path.name, Frame(pixels, index, 0.0)
            index += 1
        if index == 0:
            raise DataError(f"no picture in {self.path} can be decoded", got=self.broken[0] if self.broken else "no picture")


def open_source(path: Path) -> PictureSource:
    """The pictures at `path`.

    Raises:
        DataError: nothing is there, or it is no picture, folder of pictures or video.
    """
    if path.is_dir():
        found = len(_image_files(path))
        if not found:
            raise DataError(f"{path} holds no pictures", expected=f"files ending in {', '.join(sorted(images.SUFFIXES))}")
        return PictureSource(path, is_video=False, frames=found, fps=None)
    if not path.is_file():
        raise DataError(f"{path} is not there", expected="an image, a folder of images or a video file")
    if path.suffix.lower() in images.SUFFIXES:
        return PictureSource(path, is_video=False, frames=1, fps=None)
    if path.suffix.lower() in video.SUFFIXES:
        fps, frames = video.probe(path)
        return PictureSource(path, is_video=True, frames=frames, fps=fps)
    expected = ", ".join(sorted(images.SUFFIXES | video.SUFFIXES))
    raise DataError(f"{path} is neither picture nor video", got=f"a {path.suffix or 'nameless'} file", expected=expected)


def _image_files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in images.SUFFIXES and p.is_file())

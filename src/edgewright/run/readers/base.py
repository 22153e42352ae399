"""What a reader is, and what it is told."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from edgewright.detections import ImageRgb
from edgewright.run.settings import CameraSettings

Kind: TypeAlias = Literal["stream", "ffmpeg", "clip", "folder", "replay", "csi"]
STRETCH_INDEX = "frames.jsonl"  # what the folder of a recorded stretch holds
LIVE_KINDS = frozenset({"stream", "ffmpeg", "csi"})
MOST_PIXELS = 1 << 26  # of a frame; twice what 8K has


class ReaderLost(Exception):  # noqa: N818 - a state of the world, not a mistake
    """No more frames: the camera is gone, hangs up or cannot be reached. Trying again later may help."""


class PictureChanged(ReaderLost):
    """It goes on with pictures of another size, for which the decoder has to be opened anew. Nothing has failed."""

    def __init__(self) -> None:
        super().__init__("its picture has another size now")


@dataclass(frozen=True, slots=True)
class SourceOrder:
    """A source to be opened, as the capture process is told it: `CameraSettings`, resolved."""

    kind: Kind
    address: str
    transport: str = "tcp"
    size_wh: tuple[int, int] | None = None
    fps: float | None = None
    loop: bool = False
    watch: bool = False
    timeout_s: float = 10.0  # of opening, and of a read

    @classmethod
    def of(cls, camera: CameraSettings) -> "SourceOrder":
        """What to open for a camera; looks at the disk to tell a file from a folder."""
        return cls(
            kind_of(camera),
            camera.source.reveal(),
            camera.transport,
            camera.size_wh,
            camera.fps,
            camera.loop,
            camera.watch,
            max(1.0, camera.stall_s / 2),
        )

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "SourceOrder":
        size = fields.get("size_wh")
        return cls(**{**fields, "size_wh": None if size is None else (size[0], size[1])})


class Reader(Protocol):
    """A source that was opened. `next`, then `size_wh` and `draw` as often as wanted, then `next`.

    `is_patient`: it may have no frame for hours. `name`: what decodes. `fps` and `frames` where the source says. `time_s`: when the frame
    is due, seconds from the first, of what is not live.
    """

    name: str
    is_patient: bool
    fps: float | None
    frames: int | None
    time_s: float

    def next(self) -> bool | None:
        """Wait for the next frame, cheaply; False at the end, None where there is none yet. Raises ReaderLost."""
        ...

    def size_wh(self) -> tuple[int, int]:
        """Of this frame, which is decoded now if it was not before. Raises ReaderLost."""
        ...

    def draw(self, picture: ImageRgb) -> None:
        """The frame as RGB into a picture of its size."""
        ...

    def close(self) -> None: ...


def kind_of(camera: CameraSettings) -> Kind:
    """Which reader opens a camera's source."""
    address = camera.source.reveal()
    if address.startswith("csi:"):
        return "csi"
    if camera.source.scheme:
        return "ffmpeg" if camera.reader == "ffmpeg" else "stream"
    if address.isdecimal() or address.startswith("/dev/"):
        return "stream"
    path = Path(address)
    if path.is_dir():
        return "replay" if (path / STRETCH_INDEX).is_file() else "folder"
    return "clip"


def is_live(camera: CameraSettings) -> bool:
    """Whether the latest frame wins; otherwise every frame is answered."""
    return kind_of(camera) in LIVE_KINDS if camera.live is None else camera.live

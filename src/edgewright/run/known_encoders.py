"""The video encoders we know, as data: what each is called, what it writes, and the device files without which it is not even tried.

All of them are child processes that take raw pictures on standard input and write one file, so that one that hangs or crashes takes
nothing with it. An encoder of ffmpeg is the system's own `ffmpeg`; OpenCV's VP8 runs in a Python of ours, and is always there.

Being listed proves nothing: the ffmpeg of a Raspberry Pi 5 lists `h264_v4l2m2m`, whose hardware only a Pi 3 and 4 have. So who is permitted
here still has to encode ten frames (`encoders.probe`). Being tried may be worse: an Orin Nano has no encoder, and one that is used all the
same freezes the board and reboots it (FAQ of NVIDIA-AI-IOT/deepstream_python_apps). So a Jetson without `/dev/nvhost-msenc` is never asked
for one, whoever wishes it.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.detections import ImageRgb

Container: TypeAlias = Literal["mp4", "webm"]
Pixels: TypeAlias = Literal["yuv420p", "bgr24"]

OPENCV_VP8 = "opencv_vp8"
VP8_CHILD = "edgewright.run.vp8_child"
KEY_EVERY_S = 5.0  # a player can jump to a key frame only
FRAGMENT_US = 1_000_000  # as much is lost at most when ffmpeg is killed; OpenCV is not to be told, and loses up to 5 s, or 256 KiB
BITS_PER_PIXEL = 0.1  # for hardware that wants a bit rate: 0.23 Mbit/s for 640x360 at 10 frames a second, 6 for 1080p at 30
LEAST_BITS_A_S = 200_000
# What cv2 turns RGB into, said in the file: a player that guessed BT.709, as many do of large pictures, would shift the colours.
BT601 = "colorprim=smpte170m:transfer=smpte170m:colormatrix=smpte170m:range=tv"

JETSON_ENCODER = "dev/nvhost-msenc"  # what frigate asks for as well, before it uses the encoder of a Jetson
TEGRA_FILES = ("etc/nv_tegra_release", "dev/nvmap", "dev/nvhost-ctrl", "dev/nvhost-gpu", "dev/nvhost-ctrl-gpu", "dev/nvhost-vic")
TEGRA_TREE = ("proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible")
MOST_TREE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """How an encoder is started. `needs`: paths below the root, all of which must be there. `{bits}` and `{key}` are filled in.

    Frames are even in width and height, as 4:2:0 wants them.
    """

    name: str
    container: Container
    hardware: bool
    pixels: Pixels
    arguments: tuple[str, ...] = ()
    before_input: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        return f".{self.container}"

    def command(self, path: Path, size_wh: tuple[int, int], fps: float, ffmpeg: str) -> list[str]:
        """The child that writes `path`."""
        wide, high = size_wh
        if self.name == OPENCV_VP8:
            # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
            return [sys.executable, "-P", "-m", VP8_CHILD, f"{wide}x{high}", f"{fps:g}", "--", os.fspath(path)]
        filled = {"bits": str(round(max(BITS_PER_PIXEL * wide * high * fps, LEAST_BITS_A_S))), "key": str(max(1, round(KEY_EVERY_S * fps)))}
        return [
            *(ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *self.before_input),
            *("-f", "rawvideo", "-pix_fmt", self.pixels, "-video_size", f"{wide}x{high}", "-framerate", f"{fps:g}", "-i", "pipe:0"),
            *("-an", *(argument.format(**filled) for argument in self.arguments), *CONTAINERS[self.container]),
            f"file:{path}",  # whatever the name looks like, it is a file's
        ]

    def frame_of(self, image_rgb: ImageRgb, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
        """The bytes of a picture as the child takes them; of an odd side the last row or column goes."""
        wide, high = size_wh
        part = np.ascontiguousarray(image_rgb[:high, :wide])
        code = cv2.COLOR_RGB2YUV_I420 if self.pixels == "yuv420p" else cv2.COLOR_RGB2BGR
        return cv2.cvtColor(part, code).astype(np.uint8, copy=False).reshape(-1)


FLUSHED = ("-flush_packets", "1")  # or 256 KiB wait in the child: minutes of a dark hall
# A fragmented MP4 plays without its end, and so does a WebM.
CONTAINERS: dict[Container, tuple[str, ...]] = {
    "mp4": ("-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-frag_duration", str(FRAGMENT_US), *FLUSHED, "-f", "mp4"),
    "webm": ("-cluster_time_limit", str(FRAGMENT_US // 1000), *FLUSHED, "-f", "webm"),
}

# In the order in which they are tried.
KNOWN: tuple[KnownEncoder, ...] = (
    KnownEncoder("h264_nvmpi", "mp4", True, "yuv420p", ("-c:v", "h264_nvmpi", "-b:v", "{bits}", "-g", "{key}"), needs=(JETSON_ENCODER,)),
    KnownEncoder("h264_v4l2m2m", "mp4", True, "yuv420p", ("-c:v", "h264_v4l2m2m", "-b:v", "{bits}", "-g", "{key}"), needs=("dev/video11",)),
    KnownEncoder(
        *("h264_vaapi", "mp4", True, "yuv420p"),
        arguments=("-vf", "format=nv12,hwupload", "-c:v", "h264_vaapi", "-b:v", "{bits}", "-g", "{key}"),
        before_input=("-vaapi_device", "/dev/dri/renderD128"),
        needs=("dev/dri/renderD128",),
    ),
    KnownEncoder(
        *("h264_nvenc", "mp4", True, "yuv420p"),
        arguments=("-c:v", "h264_nvenc", "-b:v", "{bits}", "-g", "{key}", "-bf", "0"),
        needs=("dev/nvidiactl",),
    ),
    KnownEncoder(
        *("libx264", "mp4", False, "yuv420p"),
        # One thread: what it costs beside a model can be planned, and 640x360 take it 2 ms.
        arguments=(
            *("-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-crf", "26"),
            *("-threads", "1", "-g", "{key}", "-x264-params", BT601),
        ),
    ),
    KnownEncoder(
        *("libvpx", "webm", False, "yuv420p"),
        arguments=(
            *("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-crf", "24", "-b:v", "{bits}"),
            *("-threads", "1", "-g", "{key}"),
        ),
    ),
    KnownEncoder(OPENCV_VP8, "webm", False, "bgr24"),
)
BY_NAME = {encoder.name: encoder for encoder in KNOWN}
ALWAYS_THERE = BY_NAME[OPENCV_VP8]


def why_never(encoder: KnownEncoder, root: Path = Path("/")) -> str | None:
    """Why this machine must not even be asked for the encoder; None where it may be tried. `root`: the tree the device files are in."""
    if not encoder.hardware:
        return None
    if is_tegra(root) and not (root / JETSON_ENCODER).exists():
        return f"this Jetson has no /{JETSON_ENCODER}, so no encoder; one that is used all the same may freeze the board"
    missing = [path for path in encoder.needs if not (root / path).exists()]
    return f"there is no {_listed(missing)}" if missing else None


def is_tegra(root: Path = Path("/")) -> bool:
    """Whether this is a Jetson, which says so in several places; in a container not all of them are seen."""
    return any((root / path).exists() for path in TEGRA_FILES) or any(b"nvidia,tegra" in _head(root / path) for path in TEGRA_TREE)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MOST_TREE_BYTES)
    except OSError:
        return b""


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(f"/{path}" for path in paths)

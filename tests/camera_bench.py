"""Cameras for tests: they show a clip in an endless loop, and can be killed, hung, garbled and changed.

    with CameraBench(test_data) as bench:
        camera = bench.rtsp("car-detection.mp4", (640, 360), fps=10)
        camera.url                          # rtsp://127.0.0.1:PORT/cam, the same through all that happens to it
        camera.fault("bitflip", 1e-4)       # see fault_proxy.py for the others; fault("pass") ends it
        camera.kill(); camera.restart()
        camera.change_size((320, 180))      # within the session, at the next key picture: half a second at most
        read_number(picture)                # the number burnt into a picture, and so when it was sent: camera.sent_s(number, near_s)

Each camera is a process of its own, which ends with this one. Clips are encoded once for a machine, into its folder for temporary files.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import pytest

from clip_file import as_entry
from fault_proxy import FaultProxy, Mode, MultipartParts, RtspParts

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's, which has GStreamer's bindings
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
CLIP_SECONDS = 10
LIFE_SECONDS = 2 * 3600  # of a camera whose tests forgot it
NUMBER_BITS = 10  # a clip has at most 1024 pictures
Size = tuple[int, int]  # width, height


@functools.cache
def lacking_gstreamer() -> str:
    """Why no RTSP camera can be had here, with the way out; empty where one can."""
    needed = "appsrc h264parse rtph264pay rawvideoparse"
    code = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; Gst.init(None); "
        f"have = Gst.ElementFactory.find; lacking = [e for e in {needed.split()} if not have(e)]; "
        "assert not lacking, lacking; assert have('x264enc') or have('openh264enc'), 'no H.264 encoder'"
    )
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, timeout=60, check=False)
    except OSError:
        return f"needs GStreamer's RTSP server: apt-get install python3 {PACKAGES}"
    return f"needs GStreamer's RTSP server: apt-get install {PACKAGES}" if done.returncode else ""


# --- pictures with numbers ----------------------------------------------------------------------------------------------------------------


def burn_number(picture: np.ndarray, number: int) -> None:
    """The bits of a number as black and white squares in the lower left corner, and above each its opposite."""
    side = _side(picture)
    bits = np.array([[number >> at & 1 for at in range(NUMBER_BITS)]], np.uint8)
    squares = np.kron(np.concatenate([1 - bits, bits]), np.full((side, side), 255, np.uint8))
    picture[-2 * side :, : NUMBER_BITS * side] = squares[:, :, None]


def read_number(picture: np.ndarray) -> int | None:
    """The number burnt into a picture; None where its squares do not agree, as in one that was spoiled."""
    side = _side(picture)
    corner = picture[-2 * side :, : NUMBER_BITS * side].mean(axis=2).reshape(2, side, NUMBER_BITS, side)
    light = corner[:, side // 4 : -(side // 4), :, side // 4 : -(side // 4)].mean(axis=(1, 3)) > 127
    if (light[0] == light[1]).any():
        return None
    return int((light[1] << np.arange(NUMBER_BITS)).sum())


def _side(picture: np.ndarray) -> int:
    return max(4, picture.shape[0] // 45 * 2)


def numbered_pictures(video: Path, size: Size, fps: int, seconds: int = CLIP_SECONDS):
    """Pictures of a video, [height, width, 3] uint8 BGR, at another rate and size."""
    capture = cv2.VideoCapture(str(video))
    try:
        its_fps, at = capture.get(cv2.CAP_PROP_FPS), -1
        picture = None
        for number in range(seconds * fps):
            while at < number * its_fps / fps and capture.grab():
                at += 1
                picture = None
            if picture is None:
                read, whole = capture.retrieve()
                assert read, f"{video} ends before {seconds} s"
                picture = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
            numbered = picture.copy()
            burn_number(numbered, number)
            yield numbered
    finally:
        capture.release()


def clip(video: Path, size: Size, fps: int, kind: str) -> Path:
    """The clip file of a video, made where it is not there yet. `kind`: h264, jpeg."""
    assert fps % 2 == 0, "a key picture stands at every half second"
    assert size[0] % 4 == size[1] % 2 == 0, "I420 rows in GStreamer are multiples of four bytes"
    folder = Path(tempfile.gettempdir()) / f"edgewright-clips-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.getuid(), f"{folder} is somebody else's"
    made_by = b"".join((HERE / name).read_bytes() for name in ("camera_bench.py", "clip_file.py", "rtsp_server.py"))
    says = f"{video.name} {video.stat().st_size} {size} {fps} {kind} {CLIP_SECONDS}".encode() + made_by
    path = folder / f"{video.stem}-{size[0]}x{size[1]}-{fps}-{kind}-{hashlib.sha256(says).hexdigest()[:12]}"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}.part")
        (_write_h264 if kind == "h264" else _write_jpeg)(part, video, size, fps)
        part.rename(path)
    return path


def _write_jpeg(path: Path, video: Path, size: Size, fps: int) -> None:
    with path.open("wb") as stream:
        for picture in numbered_pictures(video, size, fps):
            stream.write(as_entry(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()))


def _write_h264(path: Path, video: Path, size: Size, fps: int) -> None:
    command = [SYSTEM_PYTHON, HERE / "rtsp_server.py", "encode", *map(str, size), str(fps), path]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        for picture in numbered_pictures(video, size, fps):
            encoder.stdin.write(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).tobytes())
        encoder.stdin.close()
        assert encoder.wait(timeout=60) == 0, "the clip could not be encoded"


# --- cameras ------------------------------------------------------------------------------------------------------------------------------


class Camera:
    """A process that serves a clip, behind a proxy that holds its port. `scheme`: rtsp, http."""

    def __init__(self, scheme: str, video: Path, size: Size, fps: int, *, login: tuple[str, str] = ("", ""), seed: int = 0) -> None:
        self._scheme, self._video, self.fps = scheme, video, fps
        self._kind = "h264" if scheme == "rtsp" else "jpeg"
        self._clip = clip(video, size, fps, self._kind)
        self._login = login
        self._process: subprocess.Popen[str] | None = None
        self._began_s = 0.0
        self.proxy = FaultProxy(RtspParts if scheme == "rtsp" else MultipartParts, seed)
        try:
            self.restart()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"{self._scheme}://127.0.0.1:{self.proxy.port}/cam"

    @property
    def url_with_password(self) -> str:
        return self.url.replace("://", "://{}:{}@".format(*self._login))

    @property
    def pid(self) -> int | None:
        """Of the process that serves; None while it is killed."""
        return self._process.pid if self._process is not None else None

    def fault(self, mode: Mode, rate: float = 0.0) -> None:
        """See FaultProxy.set_mode."""
        self.proxy.set_mode(mode, rate)

    def kill(self) -> None:
        """As when its power goes: connections end, and new ones are refused."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=10)
            self._process = None
        self.proxy.set_upstream(None)

    def restart(self) -> None:
        """Another process, at the same URL."""
        self.kill()
        command = (
            [SYSTEM_PYTHON, HERE / "rtsp_server.py", "serve"] if self._scheme == "rtsp" else [sys.executable, HERE / "mjpeg_server.py"]
        )
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        user, password = self._login
        self._say(json.dumps({"clip": str(self._clip), "fps": self.fps, "seconds": LIFE_SECONDS, "user": user, "password": password}))
        answer = self._process.stdout.readline()
        assert answer, f"the {self._scheme} server did not start"
        self._began_s = json.loads(answer)["began_s"]
        self.proxy.set_upstream(json.loads(answer)["port"])

    def prepare(self, size: Size) -> None:
        """Encode the clip that `change_size` will want, so that the change itself takes no time."""
        clip(self._video, size, self.fps, self._kind)

    def change_size(self, size: Size) -> None:
        """The same stream goes on with pictures of another size."""
        self._clip = clip(self._video, size, self.fps, self._kind)
        self._say(f"clip {self._clip}")

    def sent_s(self, number: int, near_s: float) -> float:
        """When (time.monotonic) the picture of this number went out, the last time before `near_s`."""
        loop_s = CLIP_SECONDS
        first_s = self._began_s + number / self.fps
        return first_s + (near_s - first_s) // loop_s * loop_s

    def close(self) -> None:
        self.kill()
        self.proxy.close()

    def _say(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class CameraBench:
    """Cameras that end together."""

    def __init__(self, test_data: Path) -> None:
        self._videos = test_data / "video"
        self.cameras: list[Camera] = []

    def rtsp(self, video: str, size: Size = (640, 360), fps: int = 10, **more) -> Camera:
        """H.264 through GStreamer's server; skips the test where there is none. `login`: user and password; `seed`: of the faults."""
        if why := lacking_gstreamer():
            pytest.skip(why)
        return self._add("rtsp", video, size, fps, **more)

    def mjpeg(self, video: str, size: Size = (640, 360), fps: int = 10, **more) -> Camera:
        return self._add("http", video, size, fps, **more)

    def _add(self, scheme: str, video: str, size: Size, fps: int, **more) -> Camera:
        self.cameras.append(Camera(scheme, self._videos / video, size, fps, **more))
        return self.cameras[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for camera in self.cameras:
            camera.close()

"""What it costs that somebody looks: processor time of a live service and of its HTTP front, with nobody and with one viewer.

    python benchmarks/previews.py MODEL CLIP [SECONDS]

The clip plays a camera of 10 frames a second, as it is and blown up to 1920 x 1080. Other processes (capture, model) cost the same either
way.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from edgewright.data.video import read_frames
from edgewright.run.memory import MIB, pss_bytes

FPS, FRAMES = 10, 100
LARGE_WH = (1920, 1080)
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    model, clip = Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 30.0
    with tempfile.TemporaryDirectory() as scratch:
        for size_wh in (None, LARGE_WH):
            print(json.dumps(cost(model, _film(clip, Path(scratch) / "film.avi", size_wh), Path(scratch), seconds)))


def cost(model: Path, film: Path, folder: Path, seconds: float) -> dict[str, object]:
    with _served(model, film, folder) as (service, url):
        (front,) = [pid for pid in _children(service) if b"front_child" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        pids = {"service": service, "front": front}
        without = _measured(pids, seconds)
        memory = pss_bytes(front) or 0
        seen, ended = [0], threading.Event()
        viewer = threading.Thread(target=_look, args=(url, seen, ended))
        viewer.start()
        time.sleep(3)
        began = seen[0]
        looked = _measured(pids, seconds)
        pictures = seen[0] - began
        grown = (pss_bytes(front) or 0) - memory
        ended.set()
        viewer.join()
    return {
        "size_wh": _size(film),
        "pictures_a_second": round(pictures / seconds, 2),
        "nobody_percent": {name: round(100 * spent / seconds, 2) for name, spent in without.items()},
        "one_viewer_percent": {name: round(100 * spent / seconds, 2) for name, spent in looked.items()},
        "ms_a_picture": {name: round(1e3 * (looked[name] - without[name]) / max(pictures, 1), 2) for name in pids},
        "front_mib": {"nobody": round(memory / MIB, 1), "more_with_a_viewer": round(grown / MIB, 1)},
    }


@contextmanager
def _served(model: Path, film: Path, folder: Path) -> Iterator[tuple[int, str]]:
    tables = (
        '[service]\nstate = "state"\n[http]\nport = 0\n'
        f"[[model]]\nname = 'model'\nartifact = {json.dumps(str(model))}\nthreads = 1\n"
        f"[[camera]]\nname = 'camera'\nsource = {json.dumps(str(film))}\nlive = true\nloop = true\n"
    )
    (folder / "service.toml").write_text(tables)
    command = [sys.executable, "-m", "edgewright", "serve", str(folder / "service.toml"), "--log", "json"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        urls: list[str] = []
        loaded = threading.Event()
        threading.Thread(target=_hear, args=(process, urls, loaded), daemon=True).start()
        if not loaded.wait(120):
            raise SystemExit("it does not start")
        time.sleep(5)
        yield process.pid, f"{urls[0]}/live/cameras/camera/preview"
    finally:
        process.terminate()
        process.wait()


def _hear(process: "subprocess.Popen[bytes]", urls: list[str], loaded: threading.Event) -> None:
    assert process.stderr is not None
    is_loaded = False
    for line in process.stderr:
        event = json.loads(line)
        urls += [event["data"]["url"]] if "url" in event["data"] else []
        is_loaded |= event["kind"] == "worker" and "is loaded" in event["text"]
        if is_loaded and urls:
            loaded.set()


def _look(url: str, seen: list[int], ended: threading.Event) -> None:
    with urllib.request.urlopen(url, timeout=30) as stream:  # noqa: S310 - of our own server
        while not ended.is_set():
            seen[0] += stream.read1(1 << 20).count(b"X-Timestamp")


def _measured(pids: dict[str, int], seconds: float) -> dict[str, float]:
    """Processor seconds of each."""
    before = {name: _spent_s(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    return {name: _spent_s(pid) - before[name] for name, pid in pids.items()}


def _spent_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _film(clip: Path, path: Path, size_wh: tuple[int, int] | None) -> Path:
    """The first frames, as Motion JPEG."""
    writer = None
    for frame in read_frames(clip):
        picture = frame.image_rgb[..., ::-1] if size_wh is None else cv2.resize(frame.image_rgb[..., ::-1], size_wh)
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), float(FPS), picture.shape[1::-1])
        writer.write(picture)
        if frame.index + 1 >= FRAMES:
            break
    assert writer is not None
    writer.release()
    return path


def _size(film: Path) -> tuple[int, int]:
    frame = next(iter(read_frames(film))).image_rgb
    return frame.shape[1], frame.shape[0]


if __name__ == "__main__":
    main()

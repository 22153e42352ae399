"""The main job on built-in material: fit our own detector to pictures we draw ourselves, then watch it work. Offline."""

import os
from importlib.resources import files
from pathlib import Path

from edgewright.data.circuit_boards import conveyor_frames, write_dataset
from edgewright.data.video import WebmWriter
from edgewright.detector import open_detector
from edgewright.errors import HostError
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.evidence import Evidence
from edgewright.fit.watch import Watch
from edgewright.vision.drawing import draw
from edgewright.whole_file import is_own_folder, locked, make_folder, remove, sweep

VIDEO = "conveyor.webm"
TRAIN, VAL = 96, 64  # boards
CALIBRATED = 64  # of the train boards; what is chosen is chosen on the others
ENGINES = ("onnxruntime",)  # what `make demo` installs; two minutes are too few to search them all
FRAMES = 96
FPS = 24.0


def demo_model() -> Path:
    """The detector that comes with the source; its card lies beside it.

    Raises:
        HostError: this is an install from a wheel, which leaves it out.
    """
    path = Path(str(files("edgewright"))) / "demo_model" / "circuit_boards.onnx"
    if not path.is_file():
        raise HostError("the demo's detector is not in this install", fix="run `make demo` in a clone of the repository")
    return path


def demo(folder: Path, watch: Watch) -> Evidence:
    """Draw the boards, fit the detector to them, and let the fitted one watch a conveyor belt.

    Raises:
        InputError: another run is at work in `folder`.
        DiskError: something cannot be written there.
    """
    with locked(folder):
        watch.stage("draw")
        data = write_dataset(_own_folder(folder / "boards"), train=TRAIN, val=VAL, progress=watch.advance)
        out = _own_folder(folder / "fitted")
        evidence = fit(
            FitRequest(demo_model(), data, out, Budget(max_drop=1.0), images=CALIBRATED, engines=ENGINES, command="make demo"), watch=watch
        )
        if evidence.ships:
            watch.stage("video")
            make_video(out, folder / VIDEO, watch)
        return evidence


def _own_folder(folder: Path) -> Path:
    """A folder of ours inside the demo's, without links that would lead out of it."""
    if os.path.lexists(folder) and not is_own_folder(folder):
        remove(folder)
    make_folder(folder)
    sweep(folder)
    return folder


def make_video(artifact: Path, target: Path, watch: Watch) -> None:
    """Boards on a belt, with what the detector sees drawn in."""
    with open_detector(artifact) as detector, WebmWriter(target, FPS) as writer:
        for done, frame_rgb in enumerate(conveyor_frames(seed=7, frames=FRAMES), 1):
            writer.write(draw(frame_rgb, detector.detect(frame_rgb)))
            watch.advance(done, FRAMES)

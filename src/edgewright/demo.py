"""The main job on built-in material: fit our own detector to pictures we draw ourselves, then watch it work. Offline."""

from importlib.resources import files
from pathlib import Path

from edgewright.data.circuit_boards import conveyor_frames, write_dataset
from edgewright.data.video import WebmWriter
from edgewright.detector import open_detector
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.evidence import Evidence
from edgewright.fit.watch import Watch
from edgewright.vision.drawing import draw

VIDEO = "conveyor.webm"
TRAIN, VAL = 112, 64  # boards
CALIBRATED = 64  # of the train boards; what is chosen is chosen on the others
FRAMES = 120
FPS = 24.0


def demo_model() -> Path:
    """The detector that ships with the package; its card lies beside it."""
    return Path(str(files("edgewright"))) / "demo_model" / "circuit_boards.onnx"


def demo(folder: Path, watch: Watch) -> Evidence:
    """Draw the boards, fit the detector to them, and let the fitted one watch a conveyor belt."""
    watch.stage("draw")
    data = write_dataset(folder / "boards", train=TRAIN, val=VAL, progress=watch.advance)
    request = FitRequest(demo_model(), data, folder / "fitted", Budget(max_drop=1.0), images=CALIBRATED, command="make demo")
    evidence = fit(request, watch=watch)
    if evidence.ships:
        watch.stage("video")
        make_video(folder / "fitted", folder / VIDEO, watch)
    return evidence


def make_video(artifact: Path, target: Path, watch: Watch) -> None:
    """Boards on a belt, with what the detector sees drawn in."""
    with open_detector(artifact) as detector, WebmWriter(target, FPS) as writer:
        for done, frame_rgb in enumerate(conveyor_frames(seed=7, frames=FRAMES), 1):
            writer.write(draw(frame_rgb, detector.detect(frame_rgb)))
            watch.advance(done, FRAMES)

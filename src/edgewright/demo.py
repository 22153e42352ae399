"""The main job on built-in material: fit our own detector to pictures we draw ourselves, then watch it work. Offline.

    python -m edgewright.demo            # what `make demo` runs

It writes to `demo-output/`: the data set, the fitted artifact with its report, and a conveyor belt video with what the INT8 detector sees.
"""

import argparse
import sys
import time
from importlib.resources import files
from pathlib import Path

from edgewright.cli.fit import show
from edgewright.cli.output import Terminal, console_for
from edgewright.data.circuit_boards import conveyor_frames, write_dataset
from edgewright.data.video import WebmWriter
from edgewright.detector import open_detector
from edgewright.errors import EdgewrightError
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.watch import Watch
from edgewright.vision.drawing import draw

TRAIN, VAL = 128, 96  # boards
FRAMES = 240
FPS = 24.0


def demo_model() -> Path:
    """The detector that ships with the package; its card lies beside it."""
    return Path(str(files("edgewright"))) / "demo_model" / "circuit_boards.onnx"


def run(folder: Path) -> int:
    """Draw the boards, fit the detector, make the video; the exit code of the fit."""
    began = time.monotonic()
    console = console_for(quiet=False, json_path=None)
    with Terminal(quiet=False) as terminal:
        terminal.stage("draw")
        data = write_dataset(folder / "boards", train=TRAIN, val=VAL, progress=terminal.advance)
        request = FitRequest(demo_model(), data, folder / "fitted", Budget(max_drop=1.0), command="make demo")
        evidence = fit(request, watch=terminal)
        terminal.stage("video")
        if evidence.ships:
            make_video(folder / "fitted", folder / "conveyor.webm", terminal)
    show(evidence.to_json(), folder / "fitted", console)
    if evidence.ships:
        console.print(f"video:  {folder / 'conveyor.webm'}", markup=False)
    console.print(f"done in {time.monotonic() - began:.0f} s", markup=False)
    return 0 if evidence.ships else 1


def make_video(artifact: Path, target: Path, watch: Watch) -> None:
    """Boards on a belt, with what the detector sees drawn in."""
    with open_detector(artifact) as detector, WebmWriter(target, FPS) as writer:
        for done, frame_rgb in enumerate(conveyor_frames(seed=7, frames=FRAMES), 1):
            writer.write(draw(frame_rgb, detector.detect(frame_rgb)))
            watch.advance(done, FRAMES)


def main() -> int:
    """Run the demo; an error of ours is one sentence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog="example: python -m edgewright.demo --out demo-output")
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="where everything goes (default: %(default)s)")
    try:
        return run(parser.parse_args().out)
    except EdgewrightError as error:
        sys.stderr.write(f"edgewright: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())

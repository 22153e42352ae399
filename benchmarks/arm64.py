"""Remake the arm64 section of docs/performance.md: the package on an emulated Raspberry Pi, its answers held against those given here.

    python benchmarks/arm64.py                          # makes artifacts of YOLOv8n itself
    python benchmarks/arm64.py --artifact fitted        # one that was fitted; may be given again
    python benchmarks/arm64.py --processor cortex-a72   # a Raspberry Pi 4: said, and not written down
    python benchmarks/arm64.py --pictures 2             # a quick look, not written down either

It needs root, mmdebstrap and QEMU (it says which is missing, exit code 3), the network for wheels and the test data
(EDGEWRIGHT_TEST_DATA, default ../shared/data). The board stays in .arm64/ and is used again. Exit code 1: an answer, a test or the size
is not what we promise.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.accuracy.coco import evaluate
from edgewright.accuracy.compare import compare
from edgewright.accuracy.predictions import predict
from edgewright.artifact import Artifact
from edgewright.compress.recipes import INT8, Recipe
from edgewright.data.dataset import Dataset, Sample, open_dataset
from edgewright.detections import Detections, ImageRgb
from edgewright.fit.single import QuantizeRequest, quantize
from emulated_board import PROCESSORS, EmulatedBoard, Missing
from page import ROOT, render
from performance import write_result
from two_machines import Side, answers, broken_promises, counted, installed_size

DATA = Path(os.environ.get("EDGEWRIGHT_TEST_DATA", ROOT.parent / "shared" / "data"))
FOLDER = ROOT / ".arm64"
CATALOG_BOARD, PROCESSOR = "rpi5", "cortex-a76"
PICTURES = 32
FLOAT_PICTURES = 4  # QEMU computes float32 in software, a minute a picture
PYTHON, EDGEWRIGHT = "/opt/edgewright/bin/python", "/opt/edgewright/bin/edgewright"  # on the board
WORDS, LAST_LINES = 4, 20  # of a command that failed, and of what it said
TESTS = "not dies"  # QEMU adds last words of its own to those of a process that is aborted
TEST_NEEDS = ("onnx", "hypothesis", "pytest", "pytest-timeout")
RECIPES = (
    Recipe("float32, head cut", "float32", "float"),
    replace(INT8, name="int8, U8S8", scheme="arm64"),  # S8S8 answers otherwise there than here: docs/decisions/0007
)


def measure(board: EmulatedBoard, artifacts: Mapping[str, Path], pictures: int) -> dict[str, Any]:
    """The package, its answers and its tests on the board; `artifacts` are folders by name."""
    desk = Desk(board, pictures)
    say("installing from wheels")
    board.install(ROOT)
    size = installed_size(board.site_packages)
    say(f"{size['bytes'] / 1e6:.1f} MB are installed; trying the command")
    found = {"board": describe(board), "size": size, "command": desk.try_command([*artifacts.values()][-1]), "artifacts": []}
    for name, folder in artifacts.items():
        say(f"pictures there and here: {name}")
        found["artifacts"].append({"name": name, **desk.hold_against(folder)})
        say(json.dumps(found["artifacts"][-1]))
    say("tests/engines")
    found["tests"] = desk.test_engines()
    say(json.dumps(found["tests"]))
    return found


class Desk:
    """A folder that the board and this machine both see, with what both are shown."""

    def __init__(self, board: EmulatedBoard, pictures: int) -> None:
        self._board = board
        self._folder = board.folder / "exchange"
        self._data: Dataset = open_dataset(DATA / "coco/data.yaml")
        self._samples: tuple[Sample, ...] = self._data.split("val")[:pictures]
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def try_command(self, artifact: Path) -> dict[str, Any]:
        """Import, help, and one picture through `edgewright detect`, there and here."""
        laid, [picture] = self._lay(artifact), self._show(self._samples[:1])
        self._board.run(PYTHON, "-c", "import edgewright")
        helped = self._board.run(EDGEWRIGHT, "--help").stdout
        words = ["--jsonl", "-", "--quiet"]
        there = self._board.run(EDGEWRIGHT, "detect", self._board.there(laid), self._board.there(picture), *words).stdout
        here = _python("-m", "edgewright", "detect", str(laid), str(picture), *words)
        seen = [json.loads(line)["classes"] for line in (there, here)]
        return {"help_names_detect": "detect" in helped, "classes_there": seen[0], "classes_here": seen[1]}

    def hold_against(self, artifact: Path) -> dict[str, Any]:
        """What the artifact says of the pictures there and here, and what it is worth in mAP."""
        laid = self._lay(artifact)
        opened = Artifact.load(laid)
        samples = self._samples[:FLOAT_PICTURES] if opened.precision == "float32" else self._samples
        self._show(samples)
        script = Path(shutil.copy(Path(__file__).with_name("on_the_board.py"), self._folder))
        there, here = (self._folder / f"{where}.npz" for where in ("there", "here"))
        files = (script, laid, self._folder / "pictures")
        self._board.run(PYTHON, *map(self._board.there, (*files, there)))
        _python(*map(str, (*files, here)))
        sides = Side.load(there), Side.load(here)
        judged = [evaluate(predict(Replayed(opened, side), self._data, samples)) for side in sides]
        reports = [each.report for each in judged]
        return {
            "precision": opened.precision,
            "map50_there": reports[0].map50,
            "map50_here": reports[1].map50,
            "map50_95_there": reports[0].map50_95,
            "map50_95_here": reports[1].map50_95,
            "points_apart": compare(*judged).map50_95.to_json(),
            **answers(*sides),
        }

    def test_engines(self) -> dict[str, Any]:
        """The tests of the engines, run there; what they need beside a board's packages is installed after all else was measured."""
        shutil.copytree(ROOT / "tests", self._folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self._folder)
        self._board.download(*TEST_NEEDS)
        self._board.add(*TEST_NEEDS)
        command = (
            f"cd {self._board.there(self._folder)} && {PYTHON} -m pytest tests/engines -q --timeout 1800 -p no:cacheprovider -k '{TESTS}'"
        )
        done = self._board.run("sh", "-c", command, check=False)
        return {**counted(done.stdout), "not_passed": [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]}

    def _lay(self, artifact: Path) -> Path:
        laid = self._folder / "artifact"
        shutil.rmtree(laid, ignore_errors=True)
        return Path(shutil.copytree(artifact, laid))

    def _show(self, samples: Sequence[Sample]) -> list[Path]:
        """These pictures alone lie in the folder, numbered in their order."""
        shown = self._folder / "pictures"
        shutil.rmtree(shown, ignore_errors=True)
        shown.mkdir()
        return [Path(shutil.copy(each.image, shown / f"{at:04d}{each.image.suffix}")) for at, each in enumerate(samples)]


class Replayed:
    """A detector that says again what was said of each picture, in their order."""

    def __init__(self, artifact: Artifact, side: Side) -> None:
        self.artifact = artifact
        self._pictures = iter(range(len(side.given)))
        self._rows = side.rows

    def detect(self, image_rgb: ImageRgb, *, score_above: float) -> Detections:
        """What was said of the next picture."""
        del image_rgb
        rows = self._rows[self._rows[:, 0] == next(self._pictures)]
        rows = rows[rows[:, 2] > score_above]
        return Detections(rows[:, 3:].astype(np.float32), rows[:, 2].astype(np.float32), rows[:, 1].astype(np.int64), self.artifact.classes)


def describe(board: EmulatedBoard) -> dict[str, Any]:
    """The board, by its own account, and what is installed there."""
    script = (
        "import json; from importlib import metadata; from edgewright.board.profile import Board;"
        "print(json.dumps([Board.detect().to_json(), {d.name: d.version for d in metadata.distributions()}]))"
    )
    itself, versions = json.loads(board.run(PYTHON, "-c", script).stdout)
    release = board.run("sh", "-c", ". /etc/os-release; echo $PRETTY_NAME").stdout.strip()
    qemu = subprocess.run(["qemu-aarch64-static", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    emulator = " ".join(qemu.split()[:3])
    kept = {key: itself[key] for key in ("machine", "isa", "python")}
    return {"processor": board.processor, "release": release, "emulator": emulator, **kept, "versions": versions}


def make_artifacts(folder: Path) -> dict[str, Path]:
    """YOLOv8n in float and in both encodings, calibrated on 64 train pictures: folders by name."""
    shutil.rmtree(folder, ignore_errors=True)
    made = {}
    for at, recipe in enumerate(RECIPES):
        say(f"making {recipe.name!r}")
        made[recipe.name] = folder / str(at)
        folder.mkdir(exist_ok=True)
        quantize(QuantizeRequest(DATA / "models/yolov8n.onnx", made[recipe.name], recipe, DATA / "coco/data.yaml", board=CATALOG_BOARD))
    return made


def refuse_without_data() -> None:
    """Raises Missing where the test data are not."""
    if not (DATA / "coco").is_dir():
        raise Missing(f"there is no test data at {DATA}: set EDGEWRIGHT_TEST_DATA to where it is")


def say(line: str) -> None:
    """A line of progress, with the time."""
    print(time.strftime("%H:%M:%S"), line, file=sys.stderr, flush=True)


def _python(*words: str) -> str:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Measure, write down, render; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, action="append", default=[], help="a fitted folder (default: our own)")
    parser.add_argument("--processor", choices=PROCESSORS, default=PROCESSOR, help="what QEMU emulates (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="how many of COCO val (default: %(default)s; float has fewer)")
    asked = parser.parse_args()
    began = time.monotonic()
    board = EmulatedBoard(FOLDER, asked.processor)
    try:
        refuse_without_data()
        say(f"the board: {FOLDER}, made in a few minutes unless it is there")
        board.build()
        artifacts = {path.resolve().name: path for path in asked.artifact} or make_artifacts(FOLDER / "artifacts")
        found = measure(board, artifacts, asked.pictures)
    except Missing as error:
        print(error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("stopped; nothing is left mounted or running", file=sys.stderr)
        return 130
    except subprocess.CalledProcessError as error:
        said = f"{error.stdout or ''}{error.stderr or ''}".splitlines()[-LAST_LINES:]
        print(f"exit status {error.returncode} of {' '.join(map(str, error.cmd[-WORDS:]))}:", *said, sep="\n", file=sys.stderr)
        return 3
    if (asked.processor, asked.pictures) == (PROCESSOR, PICTURES):
        write_result("arm64", found, seconds=time.monotonic() - began)
        render()
    broken = broken_promises(found)
    print("\n".join(broken) or "all as promised", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

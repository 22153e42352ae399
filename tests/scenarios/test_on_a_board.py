"""A board has numpy, OpenCV and one engine: what runs there must run, and what does not must say what is missing."""

import json
import os
import subprocess
import sys

import pytest

import edgewright as ew
from edgewright.fit import Budget, FitRequest, fit
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

# None in sys.modules makes an import fail as if the package were not installed; in every process that Python starts there.
MISSING = ["onnx", "pycocotools", "yaml", "jinja2", "torch"]
BOARD = f"import sys; sys.modules.update(dict.fromkeys({MISSING}))"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A fitted artifact, and the data it was fitted to."""
    folder = tmp_path_factory.mktemp("fitted")
    data = write_tiny_dataset(folder / "data", train=16, val=6)
    fit(
        FitRequest(
            save_tiny_detector(folder / "tiny.onnx"),
            data,
            folder / "out",
            Budget(max_drop=100),
            threads=1,
            images=6,
            engines=("onnxruntime",),
        )
    )
    return folder / "out", data


@pytest.fixture(scope="module")
def on_a_board(tmp_path_factory):
    """Run the command where only a board's packages can be imported."""
    folder = tmp_path_factory.mktemp("board")
    (folder / "sitecustomize.py").write_text(BOARD)
    here = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    def run(*words):
        command = [sys.executable, "-m", "edgewright", *map(str, words)]
        return subprocess.run(command, env=here, capture_output=True, text=True, check=False, timeout=120)

    return run


def test_detects_with_what_a_board_has(on_a_board, fitted, tmp_path):
    artifact, data = fitted
    picture = data.parent / "images/val/0000.png"
    done = on_a_board("detect", artifact, picture, "--jsonl", tmp_path / "seen.jsonl")
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "seen.jsonl").read_text())
    with ew.open(artifact) as detector:
        assert line["classes"] == detector(picture).names


def test_measures_its_artifact(on_a_board, fitted):
    done = on_a_board("bench", fitted[0], "--threads", 1, "--rounds", 2, "--json", "-", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"][0]["p50_ms"] > 0


@pytest.mark.parametrize("words", [("eval", "ARTIFACT", "--data", "DATA"), ("inspect", "MODEL"), ("detect", "MODEL", "PICTURE")])
def test_names_what_to_install_for_the_rest(on_a_board, fitted, words):
    artifact, data = fitted
    picture = data.parent / "images/val/0000.png"
    places = {"ARTIFACT": artifact, "DATA": data, "MODEL": next(artifact.glob("*.onnx")), "PICTURE": picture}
    done = on_a_board(*(places.get(word, word) for word in words), "--quiet")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "pip install 'edgewright[fit]'" in done.stderr

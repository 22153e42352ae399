"""Thousands of mangled journals, predictions and histograms: a fit that goes on believes what is sound and does the rest again."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from state_trials import MOST_S, TRIALS, mangled_archive
from text_mutations import mutated

from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

TRIES = Path(__file__).with_name("state_trials.py")
START_S = 120  # an interpreter with onnx and OpenCV on the slowest machine we know


def tried(kinds: list[str], first: int, count: int) -> dict:
    command = [sys.executable, "-W", "error", str(TRIES), ",".join(kinds), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S + MOST_S * count, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_mangled_state_is_believed_or_made_again():
    found = tried(list(TRIALS), 0, 60)
    assert found["wrong"] == []
    assert all(10 < count < 60 for count in found["refused"].values()), found["refused"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", TRIALS)
def test_two_thousand_of_each(kind):
    found = tried([kind], 1000, 2000)
    assert found["wrong"] == []
    print(f"{kind}: 2000 mangled, {found['refused'][kind]} refused or made again, 0 crashes")


def fit(model: Path, data: Path, out: Path) -> subprocess.CompletedProcess:
    words = [
        sys.executable,
        "-m",
        "edgewright",
        "fit",
        model,
        "--engines",
        "onnxruntime",
        "--data",
        data,
        "--out",
        out,
        "--resume",
        "--quiet",
    ]
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=600, check=False, env={**os.environ, "COLUMNS": "200"}
    )


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_fit_goes_on_whatever_became_of_its_working_folder(tmp_path):
    model, data = save_tiny_detector(tmp_path / "tiny.onnx", activation="relu"), write_tiny_dataset(tmp_path / "set", 8, 8)
    first = fit(model, data, tmp_path / "sound")
    assert first.returncode in (0, 1), first.stderr
    verdict = json.loads((tmp_path / "sound/evidence.json").read_text())["verdict"]
    codes = []
    for seed in range(8):
        rng, out = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(tmp_path / "sound", out)
        state = sorted(path for path in (out / ".fit").rglob("*") if path.suffix in (".jsonl", ".npz"))
        assert len({path.suffix for path in state}) == 2
        for path in state if seed % 2 else [rng.choice(state)]:
            sound = path.read_bytes()
            path.write_bytes(mangled_archive(sound, rng) if path.suffix == ".npz" else mutated(sound, "lines", seed))
        again = fit(model, data, out)
        assert again.returncode in (0, 1), (seed, again.stderr)
        assert "Traceback" not in again.stderr
        assert json.loads((out / "evidence.json").read_text())["verdict"] == verdict
        codes.append(again.returncode)
    print(f"fit --resume on 8 mangled working folders: exit codes {codes}")

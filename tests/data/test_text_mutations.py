"""Thousands of mangled texts: each is taken, or refused in one short printable sentence, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from text_mutations import mutated, mutations
from text_trials import CAMERA, LONGEST_SENTENCE, MOST_S, TRIALS, what_is_wrong

import edgewright.data.folder
from edgewright.artifact import FILE_NAME
from edgewright.graph.describe import describe_detector
from tiny_dataset import write_tiny_coco_json, write_tiny_dataset, write_tiny_voc
from tiny_detector import save_tiny_detector

TRIES = Path(__file__).with_name("text_trials.py")
START_S = 120  # an interpreter with OpenCV on the slowest machine we know


def tried(kinds: list[str], first: int, count: int) -> dict:
    """What a child of bounded memory made of them; a warning is an error there too."""
    command = [sys.executable, "-W", "error", str(TRIES), ",".join(kinds), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_S + MOST_S * count, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_mangled_texts_are_taken_or_refused_in_a_sentence():
    found = tried(list(TRIALS), 0, 150)
    assert found["wrong"] == []
    # Neither is everything refused, which would prove nothing, nor is the generator so tame that nothing is.
    assert all(20 < count < 150 for count in found["refused"].values()), found["refused"]


@pytest.mark.soak
@pytest.mark.parametrize("kind", TRIALS)
def test_two_thousand_of_each(kind):
    found = tried([kind], 1000, 2000)
    assert found["wrong"] == []
    print(f"{kind}: 2000 mangled, {found['refused'][kind]} refused, 0 crashes")


@pytest.mark.parametrize("kind", TRIALS)
def test_texts_of_hypothesis_own_are_taken_or_refused_in_a_sentence(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(edgewright.data.folder, "MOST_FILES", 20_000)  # a yaml may name the whole disk of whoever runs this
    (tmp_path / "a").mkdir()
    trial = TRIALS[kind](tmp_path / "a")

    @settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(mutations(trial.file.read_bytes(), trial.syntax))
    def none_goes_wrong(content):
        assert what_is_wrong(trial, content)[1] is None

    none_goes_wrong()


def test_the_same_seed_mangles_alike():
    for kind in ("json", "yaml", "xml", "toml", "lines"):
        sound = b"path: .\n" if kind == "yaml" else b'{"a": [1, 2]}' if kind == "json" else CAMERA.encode()
        once, again, other = (tuple(mutated(sound, kind, seed) for seed in seeds) for seeds in (range(50), range(50), range(50, 100)))
        assert once == again != other
        assert len(set(once)) > 20


# --- by the real command ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx", activation="relu")


def data_yaml(folder, model):
    path = write_tiny_dataset(folder / "set", 3, 3)
    return path, "yaml", ["eval", model, "--data", path]


def label_lines(folder, model):
    path = write_tiny_dataset(folder / "set", 3, 3)
    return folder / "set/labels/val/0000.txt", "lines", ["eval", model, "--data", path]


def coco_json(folder, model):
    path = write_tiny_coco_json(folder / "set", 2, 3) / "annotations/instances_val.json"
    return path, "json", ["eval", model, "--data", path, "--split", "all"]


def voc_xml(folder, model):
    root = write_tiny_voc(folder / "set", 2, 3)
    return root / "Annotations/val_0001.xml", "xml", ["eval", model, "--data", root]


def camera_toml(folder, model):
    (folder / "camera.toml").write_text(CAMERA)
    return (
        folder / "camera.toml",
        "toml",
        ["eval", model, "--data", write_tiny_dataset(folder / "set", 1, 2), "--camera", folder / "camera.toml"],
    )


def artifact_json(folder, model):
    fitted = folder / "fitted"
    fitted.mkdir()
    (fitted / model.name).write_bytes(model.read_bytes())
    (fitted / FILE_NAME).write_text(json.dumps(describe_detector(fitted / model.name).to_json()))
    write_tiny_dataset(folder / "set", 1, 1)
    return fitted / FILE_NAME, "json", ["detect", fitted, folder / "set/images/val"]


OUTER = (data_yaml, coco_json, voc_xml, artifact_json, label_lines, camera_toml)


def assert_one_sentence_and_a_known_code(command: list[object], seed: int) -> int:
    words = [sys.executable, "-m", "edgewright", *map(str, command)]
    done = subprocess.run(words, capture_output=True, timeout=START_S + MOST_S, check=False, env={**os.environ, "COLUMNS": "200"})
    err = done.stderr.decode("utf-8")
    assert done.returncode in (0, 1, 2, 3), (seed, done.returncode, err[-3000:])
    assert "Traceback" not in err, (seed, err)
    assert b"\x1b" not in done.stdout + done.stderr, seed
    said = [line for line in err.splitlines() if line.startswith("edgewright: ")]
    assert len(said) == (done.returncode != 0), (seed, err)
    assert all(len(line) < LONGEST_SENTENCE for line in said)
    return done.returncode


@pytest.mark.parametrize("place", OUTER, ids=lambda place: place.__name__)
def test_the_command_says_one_sentence(place, tmp_path, model):
    file, syntax, command = place(tmp_path, model)
    file.write_bytes(mutated(file.read_bytes(), syntax, 7))
    assert_one_sentence_and_a_known_code(command, 7)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("place", OUTER, ids=lambda place: place.__name__)
def test_the_command_says_one_sentence_of_thirty_five(place, tmp_path, model):
    file, syntax, command = place(tmp_path, model)
    sound, codes = file.read_bytes(), []
    for seed in range(100, 135):
        file.write_bytes(mutated(sound, syntax, seed))
        codes.append(assert_one_sentence_and_a_known_code(command, seed))
    print(f"{place.__name__}: exit codes { ({code: codes.count(code) for code in sorted(set(codes))}) }")

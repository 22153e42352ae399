"""`edgewright calibrate`: the set that `fit` would choose, audited, shown and handed on."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgewright.artifact import sha256_of
from edgewright.data.calibration import choose_calibration
from edgewright.data.cameras import PRESETS
from edgewright.data.dataset import open_dataset
from edgewright.data.images import read_image
from edgewright.detector import to_tensor
from edgewright.graph.describe import describe_detector
from tiny_dataset import write_tiny_dataset

REFERENCE = Path(__file__).parents[2] / "docs/reference/calibrate.md"


def documented(heading: str) -> set[str]:
    """The keys and codes that a table of the page names in its first column."""
    text = REFERENCE.read_text("utf-8").split(heading, 1)[1].split("\n\n", 2)[1]
    return {key for line in text.splitlines()[2:] for key in re.findall(r"`([a-z0-9_-]+)`", line.split("|")[1])}


def test_it_writes_what_its_page_says(edgewright, tiny_data, tmp_path):
    ran = edgewright("calibrate", tiny_data, "--out", tmp_path / "out", "--images", 4, "--seed", 2, "--json", "-")
    assert ran.exit_code == 0
    assert ran.json == json.loads((tmp_path / "out/calibration.json").read_text())
    assert set(ran.json) == documented("## calibration.json")
    chosen = choose_calibration(open_dataset(tiny_data), 4, seed=2)
    assert (ran.json["digest"], ran.json["images"], ran.json["seed"], ran.json["camera"]) == (chosen.digest, 4, 2, None)
    assert [each["path"] for each in ran.json["pictures"]] == [str(sample.image) for sample in chosen.samples]
    assert all(each["sha256"] == sha256_of(Path(each["path"])) for each in ran.json["pictures"])
    assert read_image(tmp_path / "out/calibration.jpg").shape == (168, 660, 3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["calibration.jpg", "calibration.json"]


def test_the_audit_has_the_keys_of_its_page(edgewright, tiny_data, tmp_path):
    found = edgewright("calibrate", tiny_data, "--out", tmp_path / "out", "--json", "-").json["audit"]
    named = documented("`audit`:") | {"duplicate_pairs", "leaking_pairs"}
    assert set(found) == named
    assert [finding["code"] for finding in found["findings"]] == ["few-images"]
    page = REFERENCE.read_text("utf-8")
    source = (Path(__file__).parents[2] / "src/edgewright/data/audit.py").read_text("utf-8")
    said = set(re.findall(r'(?:warning|error)\(\s*f?"([a-z{}-]+)"', source)) - {"domain-{name}"} | {"domain-judging", "domain-against"}
    assert said == set(re.findall(r"^\| `([a-z-]+)` \| (?:error|warning)", page, re.MULTILINE))


def test_the_tables_say_what_is_covered(edgewright, tiny_data, tmp_path):
    ran = edgewright("calibrate", tiny_data, "--out", tmp_path / "out", "--camera", "dim-line")
    assert ran.exit_code == 0
    for words in (
        "seen through dim-line",
        "train (6)",
        "chosen (6)",
        "classes",
        "judging split (6)",
        "brightness",
        "warning: 6 pictures",
        "calibration.jpg",
    ):
        assert words in ran.out, words


@pytest.mark.parametrize("camera", ["none", "cheap-usb"])
def test_the_tensors_are_those_of_deployment(edgewright, tiny_model, tiny_data, tmp_path, camera):
    ran = edgewright("calibrate", tiny_data, "--out", tmp_path / "out", "--model", tiny_model, "--camera", camera, "--json", "-")
    assert ran.exit_code == 0
    path = tmp_path / "out/calibration.npz"
    artifact = describe_detector(tiny_model)
    with np.load(path, allow_pickle=False) as held:
        assert held.files == [artifact.input.name]
        tensors = held[artifact.input.name]
    assert ran.json["npz"] == {
        "path": str(path),
        "array": artifact.input.name,
        "shape": list(tensors.shape),
        "dtype": "float32",
        "bytes": path.stat().st_size,
    }
    assert (tensors.shape, tensors.dtype) == ((6, 3, 64, 64), np.float32)
    chosen = choose_calibration(open_dataset(tiny_data), 6, seed=0, camera=PRESETS[camera])
    for sample, tensor in zip(chosen.samples, tensors, strict=True):
        picture = chosen.read(sample)
        assert (to_tensor(picture, artifact)[0] == tensor).all()
    assert "MB" in ran.err


def test_the_tensors_can_lie_elsewhere(edgewright, tiny_model, tiny_data, tmp_path):
    words = ("calibrate", tiny_data, "--out", tmp_path / "out", "--quiet")
    assert edgewright(*words, "--model", tiny_model, "--npz", tmp_path / "set.npz").exit_code == 0
    assert (tmp_path / "set.npz").is_file()
    assert not (tmp_path / "out/calibration.npz").exists()
    edgewright(*words, "--npz", tmp_path / "set.npz").assert_refused(2, "--npz needs --model")
    edgewright(*words, "--model", tiny_model, "--npz", tmp_path / "no/set.npz").assert_refused(2, "cannot be written")


def test_a_judging_picture_in_the_set_is_exit_1(edgewright, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=3, val=3)
    (tmp_path / "data/images/train/0000.png").write_bytes((tmp_path / "data/images/val/0001.png").read_bytes())
    ran = edgewright("calibrate", data, "--out", tmp_path / "out")
    assert ran.exit_code == 1
    assert "error: 1 of 3 pictures are in the judging split as well" in ran.out
    assert (tmp_path / "out/calibration.json").is_file()


def test_frames_of_the_deployed_camera_are_compared(edgewright, tmp_path):
    data = write_tiny_dataset(tmp_path / "data", train=20, val=20)
    (tmp_path / "frames").mkdir()
    for number, sample in enumerate(open_dataset(data).split("val")):
        dark = PRESETS["dim-line"].apply(read_image(sample.image), np.random.default_rng(number))
        cv2.imwrite(str(tmp_path / f"frames/{number}.png"), dark[..., ::-1])
    words = ("calibrate", data, "--out", tmp_path / "out", "--against", tmp_path / "frames", "--json", "-")
    clean, dark = (edgewright(*words, "--camera", camera).json["audit"] for camera in ("none", "dim-line"))
    assert clean["domain"]["against"]["brightness"]["differs"]
    assert not dark["domain"]["against"]["brightness"]["differs"]
    assert "domain-against" in {finding["code"] for finding in clean["findings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--camera", "phone"), "there is no camera 'phone'"),
        (("--against", "nowhere"), "no such folder"),
        (("--model", "nowhere.onnx"), "there is no file"),
    ],
)
def test_wrong_words_are_one_sentence_before_anything_is_written(edgewright, tiny_data, tmp_path, words, said):
    edgewright("calibrate", tiny_data, "--out", tmp_path / "out", *words, "--quiet").assert_refused(2, said)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(edgewright, tiny_data, tmp_path):
    (tmp_path / "out").write_text("mine")
    edgewright("calibrate", tiny_data, "--out", tmp_path / "out").assert_refused(2, "is a file")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_camera_file(edgewright, tiny_data, tmp_path):
    words = ("calibrate", tiny_data, "--out", tmp_path / "out", "--camera", tmp_path / "camera.toml")
    (tmp_path / "camera.toml").write_text('name = "line \\u001b[31m3"\n[exposure]\nev = -1\n')
    edgewright(*words).assert_refused(2, "no usable name", "\\x1b[31m3")
    (tmp_path / "camera.toml").write_text('name = "line 3"\n[exposure]\nev = -1\n')
    assert edgewright(*words).exit_code == 0
    written = json.loads((tmp_path / "out/calibration.json").read_text())
    assert written["camera"]["steps"] == {"exposure": {"ev": [-1, -1]}}


def test_a_folder_of_pictures_alone(edgewright, tiny_data, tmp_path):
    ran = edgewright("calibrate", tiny_data.parent / "images/train", "--out", tmp_path / "out", "--json", "-")
    assert ran.exit_code == 0
    assert 1 <= ran.json["images"] < 6
    assert ran.json["audit"]["classes"] == {}

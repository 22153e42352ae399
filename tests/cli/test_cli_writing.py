"""Where the verbs write: nothing is followed, nothing is mixed, and what was there stays until the new is whole."""

import json
import resource

import cv2
import numpy as np
import pytest

from edgewright.whole_file import locked


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((64, 64, 3), 114, np.uint8))
    return folder


@pytest.fixture
def victim(tmp_path):
    """A file outside, whose bytes must not change."""
    path = tmp_path / "victim"
    path.write_bytes(b"precious")
    yield path
    assert path.read_bytes() == b"precious"


def result_in(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


def words_for(verb, model, data, photos, out):
    return {
        "fit": ("fit", model, "--engines", "onnxruntime", "--data", data, "--out", out),
        "quantize": ("quantize", model, "--data", data, "--out", out, "--images", 4),
        "calibrate": ("calibrate", data, "--out", out, "--images", 4, "--model", model),
        "detect": ("detect", model, photos, "--out", out),
    }[verb]


@pytest.mark.parametrize("verb", ["fit", "quantize", "calibrate", "detect"])
def test_a_second_run_on_a_folder_is_told_so_and_changes_nothing(edgewright, tiny_model, tiny_data, photos, tmp_path, verb):
    out = tmp_path / "out"
    with locked(out):
        (out / "artifact.json").write_bytes(b"of the first run")
        ran = edgewright(*words_for(verb, tiny_model, tiny_data, photos, out), "--quiet")
        ran.assert_refused(2, "another run of edgewright is at work", "choose another --out")
        assert result_in(out) == {"artifact.json": b"of the first run"}


@pytest.mark.parametrize(
    ("verb", "names"),
    [
        ("quantize", ["artifact.json"]),
        ("calibrate", ["calibration.json", "calibration.jpg", "calibration.npz"]),
        ("detect", ["a.jpg", "b.jpg"]),
    ],
)
def test_links_where_a_verb_writes_are_replaced(edgewright, tiny_model, tiny_data, photos, victim, tmp_path, verb, names):
    out = tmp_path / "out"
    out.mkdir()
    for name in names:
        (out / name).symlink_to(victim)
    assert edgewright(*words_for(verb, tiny_model, tiny_data, photos, out), "--quiet").exit_code == 0
    assert set(names) <= set(result_in(out))
    assert not any(path.is_symlink() for path in out.rglob("*"))


@pytest.mark.parametrize("option", ["--json", "--jsonl"])
def test_a_link_that_a_file_was_asked_for_is_replaced(edgewright, tiny_model, photos, victim, tmp_path, option):
    (tmp_path / "seen").symlink_to(victim)
    assert edgewright("detect", tiny_model, photos, "--quiet", option, tmp_path / "seen").exit_code == 0
    assert not (tmp_path / "seen").is_symlink()
    assert json.loads((tmp_path / "seen").read_text().splitlines()[0][:1] + "}") == {}


def test_lines_of_a_run_that_fails_do_not_take_the_place_of_older_ones(edgewright, tiny_model, photos, tmp_path):
    lines = tmp_path / "seen.jsonl"
    lines.write_text("older\n")
    for picture in photos.iterdir():
        picture.write_bytes(b"no picture")
    assert edgewright("detect", tiny_model, photos, "--quiet", "--jsonl", lines).exit_code == 2
    assert lines.read_text() == "older\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("verb", ["quantize", "calibrate"])
def test_a_result_that_cannot_be_written_whole_leaves_the_older_one(edgewright, tiny_model, tiny_data, photos, tmp_path, verb):
    out = tmp_path / "out"
    words = words_for(verb, tiny_model, tiny_data, photos, out)
    assert edgewright(*words, "--quiet").exit_code == 0
    before = result_in(out)
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, held[1]))
    try:
        ran = edgewright(*words, "--quiet", "--seed", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    ran.assert_refused(3, "cannot write", "may not grow that large")
    assert result_in(out) == before

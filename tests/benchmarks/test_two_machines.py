"""The arithmetic of benchmarks/arm64.py, and what it says of a machine that cannot; the emulated board itself is `make arm64`."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: other tests have modules of the same names

import emulated_board
from emulated_board import EmulatedBoard, Missing
from two_machines import Side, alike, answers, broken_promises, counted, installed_size

SOMETHING = [0, 2, 0.9, 10, 20, 30, 40]


def side(*rows, gave=("same",)):
    return Side(np.array(rows, float).reshape(-1, 7), ("input",) * len(gave), gave)


@pytest.mark.parametrize(
    ("column", "by", "found"),
    [(0, 1, 0), (1, 1, 0), (2, -0.009, 1), (2, -0.02, 0), (3, 0.9, 1), (6, -1.1, 0)],
    ids=["picture", "class", "score", "score far", "side", "side far"],
)
def test_boxes_are_alike_within_a_pixel_and_a_hundredth(column, by, found):
    other = np.array([SOMETHING], float)
    other[0, column] += by
    assert alike(np.array([SOMETHING], float), other) == found


def test_equal_boxes_are_counted_as_often_as_both_have_them():
    moved = [*SOMETHING[:6], 40.001]
    faint = [*SOMETHING[:2], 0.1, *SOMETHING[3:]]
    found = answers(side(SOMETHING, SOMETHING, faint), side(SOMETHING, moved, faint))
    assert (found["boxes_there"], found["boxes_here"], found["boxes_equal"]) == (3, 3, 2)
    assert (found["shown_there"], found["shown_here"], found["shown_alike"]) == (2, 2, 2)


def test_outputs_are_equal_picture_by_picture():
    found = answers(side(SOMETHING, gave=("a", "b", "c")), side(gave=("a", "x", "c")))
    assert (found["pictures"], found["inputs_equal"], found["outputs_equal"], found["shown_alike"]) == (3, 3, 2, 0)


@pytest.mark.parametrize(
    ("said", "passed", "failed", "error", "skipped"),
    [
        ("....\n16 passed in 31.40s\n", 16, 0, 0, 0),
        ("F.\n3 failed, 14 passed, 2 skipped in 9s", 14, 3, 0, 2),
        ("!!\n1 error in 2.02s", 0, 0, 1, 0),
        ("5 passed, 2 errors in 1s", 5, 0, 2, 0),
        ("", 0, 0, 0, 0),
    ],
)
def test_counts_what_pytest_says_at_its_end(said, passed, failed, error, skipped):
    assert counted(said) == {"passed": passed, "failed": failed, "error": error, "skipped": skipped}


def test_the_size_is_all_files_and_folders_but_bytecode(tmp_path):
    (tmp_path / "thing/__pycache__").mkdir(parents=True)
    (tmp_path / "thing/__init__.py").write_bytes(bytes(1000))
    (tmp_path / "thing/__pycache__/__init__.pyc").write_bytes(bytes(5000))
    (tmp_path / "thing-1.dist-info").mkdir()
    (tmp_path / "thing-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1\n")
    listed = ("thing/__init__.py", "thing/__pycache__/__init__.pyc", "../../bin/thing", "thing-1.dist-info/METADATA")
    (tmp_path / "thing-1.dist-info/RECORD").write_text("".join(f"{name},,\n" for name in listed))
    found = installed_size(tmp_path)
    metadata_bytes, record_bytes = ((tmp_path / "thing-1.dist-info" / name).stat().st_size for name in ("METADATA", "RECORD"))
    folders = sum(path.stat().st_size for path in (tmp_path, tmp_path / "thing", tmp_path / "thing-1.dist-info"))
    assert found == {"bytes": 1000 + metadata_bytes + record_bytes + folders, "packages": {"thing": 1000 + metadata_bytes}}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("artifacts", [{"name": "int8", "points_apart": {"estimate": -0.31}}], "int8: -0.31 points"),
        ("size", {"bytes": 221e6}, "221.0 MB are installed"),
        ("tests", {"passed": 3, "failed": 1, "error": 0}, "not all pass"),
        ("command", {"classes_there": [], "classes_here": ["dog"], "help_names_detect": True}, "does not work there"),
    ],
)
def test_names_the_promise_that_is_broken(key, value, says):
    found = {
        "artifacts": [{"name": "int8", "points_apart": {"estimate": 0.29}}],
        "size": {"bytes": 219e6},
        "tests": {"passed": 3, "failed": 0, "error": 0},
        "command": {"classes_there": ["cat"], "classes_here": ["cat"], "help_names_detect": True},
    }
    assert broken_promises(found) == []
    [sentence] = broken_promises({**found, key: value})
    assert says in sentence


def test_a_machine_without_the_programs_is_told_which_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _program: None)
    with pytest.raises(Missing, match="sudo apt-get install mmdebstrap qemu-user-static"):
        EmulatedBoard(tmp_path / "board", "cortex-a76").build()
    assert not (tmp_path / "board").exists()


def test_one_who_is_not_root_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    monkeypatch.setattr(emulated_board, "RULE", Path(__file__))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Missing, match="root"):
        EmulatedBoard(tmp_path / "board", "cortex-a76").build()

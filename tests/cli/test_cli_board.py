"""`edgewright board`: what this machine is and how it feels."""

import json

import pytest

from edgewright.board import bandwidth
from edgewright.testing.boards import FakeBoard, known_trees

CONTRACT = {"board", "catalog", "now", "bandwidth"}


def test_this_machine(edgewright):
    ran = edgewright("board", "--json", "-")
    assert ran.exit_code == 0
    assert set(ran.json) == CONTRACT
    assert ran.json["board"]["name"] == "host"
    assert ran.json["now"]["memory"]["total_bytes"] > 0
    assert ran.json["bandwidth"] is None


@pytest.mark.parametrize("name", known_trees())
def test_every_board_is_shown(edgewright, tmp_path, name):
    board = FakeBoard(tmp_path, name)
    ran = edgewright("board", "--root", tmp_path, "--json", tmp_path / "board.json")
    assert ran.exit_code == 0
    assert board.read("proc/device-tree/model").rstrip("\0") in ran.out
    assert board.catalog_name in ran.out
    assert "GiB available" in ran.out
    assert "doubtful" not in ran.out
    assert json.loads((tmp_path / "board.json").read_text())["catalog"] == board.catalog_name


def test_what_is_wrong_is_shown(edgewright, tmp_path):
    board = FakeBoard(tmp_path, "orin-nano")
    board.set_temperature(97.5, "tj-thermal")
    board.set_pressure("memory", some=12.5, full=3.5)
    board.set_memory_limit(300 << 20, 290 << 20)
    board.garble("sys/class/hwmon/hwmon2/rpm", b"\x1b[31merror")
    out = edgewright("board", "--root", tmp_path).out
    assert "97.5 C  tj-thermal (slowed down from 99 C, off at 104 C)" in out
    assert "some waited 12.5 % of the time, all waited 3.5 % of the time" in out
    assert "290 MiB of 300 MiB (version 2)" in out
    assert "doubtful: sys/class/hwmon/hwmon2/rpm: \\x1b[31merror" in out
    assert "\x1b" not in out


def test_a_sagging_pi_is_shown(edgewright, tmp_path):
    board = FakeBoard(tmp_path, "rpi4")
    board.set_throttled("under-voltage", "throttled")
    board.set_throttled("under-voltage")
    assert "under-voltage; since the start: throttled" in edgewright("board", "--root", tmp_path).out


def test_a_machine_that_tells_nothing(edgewright, tmp_path):
    ran = edgewright("board", "--root", tmp_path)
    assert ran.exit_code == 0
    assert "temperature" in ran.out


def test_names_of_strangers_are_drawn_and_not_obeyed(edgewright, tmp_path):
    board = FakeBoard(tmp_path, "rpi5")
    board.garble("sys/class/thermal/thermal_zone0/type", b"\x1b[2J[bold]zone" + b"x" * 5000)
    board.garble("proc/device-tree/model", b"\x1b]0;owned\x07")
    ran = edgewright("board", "--root", tmp_path)
    assert ran.exit_code == 0
    assert "\x1b" not in ran.out
    assert "\x07" not in ran.out


def test_bandwidth_is_measured_and_held_against_the_data_sheet(edgewright, tmp_path, monkeypatch):
    monkeypatch.setattr(bandwidth, "SMALLEST_BYTES", bandwidth.FEWEST_BYTES)
    monkeypatch.setattr(bandwidth, "BLOCK_S", 0.001)
    board = FakeBoard(tmp_path, "rpi5")
    ran = edgewright("board", "--root", board.root, "--bandwidth", "--json", "-")
    assert ran.exit_code == 0
    measured = ran.json["bandwidth"]
    assert (measured["array_bytes"], measured["cache_bytes"], measured["beyond_cache"]) == (8 << 20, 2 << 20, True)
    first = measured["figures"][0]
    assert (first["kind"], first["threads"]) == ("read", 1)
    assert first["share"] == pytest.approx(first["gb_per_s"] / 17.0, abs=1e-3)
    assert "of the data sheet" in ran.err


def test_too_little_memory_is_a_sentence(edgewright, tmp_path):
    board = FakeBoard(tmp_path, "rpi4")
    board.set_available_memory(40 << 20)
    edgewright("board", "--root", tmp_path, "--bandwidth", "--json", "-").assert_refused(3, "too little memory", "40 MiB available")


def test_quiet_says_nothing(edgewright):
    ran = edgewright("board", "--quiet")
    assert (ran.exit_code, ran.out, ran.err) == (0, "", "")

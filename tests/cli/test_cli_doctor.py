"""`edgewright doctor` and `edgewright doctor oom`."""

import json

import pytest

from edgewright.doctor import limit, oom
from edgewright.doctor.critical import Critical
from edgewright.doctor.kernel_log import Kill, Kills
from edgewright.doctor.oom import Explained, Split
from edgewright.doctor.trial import Trial
from edgewright.stats import Interval
from edgewright.testing.boards import FakeBoard

MIB = 1 << 20
CONTRACT = {"well", "findings", "looked", "unproven"}
FINDING = {"code", "severity", "what", "why_it_matters", "fix", "source"}


@pytest.fixture
def board(tmp_path):
    return FakeBoard(tmp_path / "board", "rpi4")


def test_a_board_is_examined(edgewright, board):
    ran = edgewright("doctor", "--root", board.root, "--quiet", "--json", "-")
    assert ran.exit_code == 0
    assert set(ran.json) == CONTRACT
    assert all(set(finding) == FINDING for finding in ran.json["findings"])
    assert ran.json["well"]


def test_the_line_to_type_is_shown(edgewright, board):
    out = edgewright("doctor", "--root", board.root).out
    assert "warning: the kernel hides memory, processor and disk pressure [psi-off]" in out
    assert "$ sudo sed -i '1 s/$/ psi=1/' /boot/firmware/cmdline.txt" in out
    assert "Nobody has tried on a machine like this" in out


def test_something_wrong_is_exit_1(edgewright, board):
    board.set_throttled("under-voltage")
    ran = edgewright("doctor", "--root", board.root)
    assert ran.exit_code == 1
    assert ran.out.startswith("error: the supply sags now")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cough",), "nothing, or oom MODEL"),
        (("oom",), "nothing, or oom MODEL"),
        (("oom", "a.onnx", "b.onnx"), "nothing, or oom MODEL"),
        (("--limit", "300MiB"), "are for a model"),
        (("--batch", "2"), "are for a model"),
        (("oom", "a.onnx", "--limit", "much"), "64 MiB"),
        (("oom", "a.onnx", "--limit", "-3"), "64 MiB"),
        (("oom", "a.onnx", "--limit", "1 KiB"), "64 MiB"),
        (("oom", "none.onnx", "--limit", "300MiB"), "there is no file"),
    ],
)
def test_what_makes_no_sense_is_exit_2(edgewright, words, said):
    edgewright("doctor", *words, "--quiet").assert_refused(2, said)


def explained(**changes):
    known = {
        "model": "m.onnx",
        "engine": "onnxruntime",
        "threads": 2,
        "limit_bytes": 300 * MIB,
        "how": "a memory control group, version 1: the kernel kills",
        "given_batch": 8,
        "given_size_wh": (640, 640),
        "given": Trial("killed", "opened", 30 * MIB, 60 * MIB, 5 * MIB, 300 * MIB),
        "sizes_wh": ((608, 608), (640, 640)),
        "size": Critical(1, 2, 2),
        "fixed_size": None,
        "batch": Critical(3, 4, 4),
        "fixed_batch": None,
        "split": Split(30 * MIB, 20 * MIB, 12 * MIB, 150 * MIB, 5 * MIB, Interval(2048.0, 1024.0, 4096.0), 30),
        "advice": (),
        "kills": Kills(log_readable=True, logged=(Kill(12.0, 7, "python3", 99 * MIB, by_limit=True),), counted=()),
    }
    return Explained(**known | changes)


def test_an_explanation_is_shown(edgewright, monkeypatch, tmp_path):
    monkeypatch.setattr(oom, "explain", lambda *_words, **_more: explained())
    monkeypatch.setattr(limit, "choose_limiter", limit.Watches)
    ran = edgewright("doctor", "oom", "m.onnx", "--limit", "300MiB", "--json", tmp_path / "oom.json")
    assert ran.exit_code == 1
    assert "it does not fit: it was killed in its first run" in ran.out
    assert "largest picture that fits: 608x608; 640x640 does not" in ran.out
    assert "largest batch at that size: 3; 4 does not fit" in ran.out
    assert "it takes more with every run: 2.0 KiB a run (95 %: 1.0 to 4.0, 30 runs)" in ran.out
    assert "killed before, by a control group's limit, 12 s after the start of the machine: python3 (process 7)" in ran.out
    document = json.loads((tmp_path / "oom.json").read_text())
    assert document["largest"] == {"size_wh": [608, 608], "batch": 3}
    assert document["split"]["leaks"]


def test_a_model_that_fits_is_exit_0(edgewright, monkeypatch):
    fits = explained(given=Trial("fits", peak_bytes=70 * MIB), size=Critical(2, None, 1), batch=Critical(64, None, 7))
    monkeypatch.setattr(oom, "explain", lambda *_words, **_more: fits)
    monkeypatch.setattr(limit, "choose_limiter", limit.Watches)
    ran = edgewright("doctor", "oom", "m.onnx")
    assert ran.exit_code == 0
    assert "it fits as it is, with 70 MiB at most" in ran.out
    assert "64, as many as were tried" in ran.out

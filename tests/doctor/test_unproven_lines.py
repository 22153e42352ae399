"""What doctor says is unproven is what the documents say."""

from pathlib import Path

import pytest

from edgewright.doctor.unproven import TABLE, unproven_on
from edgewright.testing.boards import FakeBoard
from examined_machines import machine_of

LIST = Path(__file__).parents[2] / "docs/unproven.md"


def test_every_line_stands_in_the_document_word_for_word():
    rows = {line.split(" | ")[0].removeprefix("| ") for line in LIST.read_text("utf-8").splitlines() if line.startswith("| ")}
    assert [line.what for line in TABLE if line.what not in rows] == []


@pytest.mark.parametrize(("name", "most"), [("rpi5", "Raspberry Pi or Jetson"), ("orin-nano", "TensorRT")])
def test_a_board_hears_what_concerns_it(tmp_path, name, most):
    machine = machine_of(FakeBoard(tmp_path, name))
    said = " ".join(line.what for line in unproven_on(machine))
    machine.close()
    assert most in said
    assert "x86 without VNNI" not in said

"""An artifact of bfloat16 on a processor without AMX: run, with a word about it."""

import json
from dataclasses import replace

import pytest

from edgewright.artifact import describe_file
from edgewright.board.profile import Board
from edgewright.engines import is_installed, openvino
from edgewright.graph.describe import describe_detector


@pytest.fixture
def halves(tiny_model, tmp_path, monkeypatch):
    """The folder of such an artifact, on a machine whose processor says that it has no AMX."""
    if not is_installed("openvino") or "bfloat16" not in openvino.float_precisions():
        pytest.skip("OpenVINO does not take bfloat16 on this processor")
    folder = tmp_path / "fitted"
    folder.mkdir()
    files = tuple(describe_file(path, folder) for path in openvino.convert(tiny_model, folder, "bfloat16"))
    made = replace(describe_detector(tiny_model), engine="openvino", precision="bfloat16", files=files)
    (folder / "artifact.json").write_text(json.dumps(made.to_json()))
    here = replace(Board.detect(), isa=frozenset({"avx2", "avx512f", "vnni"}))
    monkeypatch.setattr(Board, "detect", lambda: here)
    return folder


def test_detect_and_bench_say_so(edgewright, halves, tiny_model, tiny_data):
    ran = edgewright("detect", halves, tiny_data.parent / "images/val")
    assert ran.exit_code == 0, ran
    assert f"warning: {halves}: it computes in bfloat16, for which this processor has no instructions" in ran.err
    ran = edgewright("bench", tiny_model, halves, "--threads", 1, "--rounds", 2, "--json", "-")
    assert ran.exit_code == 0, ran
    assert ran.err.count("computes in bfloat16") == 1
    assert ran.json["rows"]


def test_a_service_says_so_when_it_begins(edgewright, halves, tiny_data, tmp_path):
    ran = edgewright("serve", halves, "--camera", tiny_data.parent / "images/val", "--frames", 1, "--state", tmp_path / "state")
    assert ran.exit_code == 0, ran
    [line] = [line for line in ran.err.splitlines() if "computes in bfloat16" in line]
    assert " ! model " in line  # a warning, for people

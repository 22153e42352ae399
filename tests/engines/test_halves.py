"""Who is told that bfloat16 is no gain here."""

import json
from dataclasses import replace

import pytest

from edgewright.board.profile import Board
from edgewright.engines.halves import slower_artifact, slower_here
from edgewright.graph.describe import describe_detector
from tiny_detector import save_tiny_detector


def board(*isa, machine="x86_64"):
    return Board(machine, None, 2, frozenset(isa), None)


@pytest.mark.parametrize(
    ("engine", "precision", "where", "said"),
    [
        ("openvino", "bfloat16", board("avx2", "avx512f", "vnni", "bf16", "amx_int8"), None),
        ("openvino", "bfloat16", board("avx2", "avx512f", "vnni", "bf16"), "without AMX"),
        ("openvino", "bfloat16", board("avx2", "avx512f", "vnni"), "about three times as long"),
        ("openvino", "int8", board("avx2"), None),
        ("openvino", "float32", board("avx2"), None),
        ("onnxruntime", "bfloat16", board("avx2"), None),
        ("openvino", "bfloat16", board("neon", machine="aarch64"), None),  # nobody has measured it
        ("openvino", "bfloat16", board(), None),  # a machine that does not say what it is
    ],
)
def test_who_is_told(engine, precision, where, said):
    found = slower_here(engine, precision, where)
    assert (found is None) == (said is None)
    assert said is None or (said in found and found.endswith("fit again on this machine"))


def test_of_an_artifact_that_came_from_another_machine(tmp_path):
    made = replace(describe_detector(save_tiny_detector(tmp_path / "tiny.onnx")), engine="openvino", precision="bfloat16")
    (tmp_path / "artifact.json").write_text(json.dumps(made.to_json()))
    assert "no instructions" in slower_artifact(tmp_path, board("avx2"))
    assert slower_artifact(tmp_path, board("amx_int8", "bf16")) is None
    assert slower_artifact(tmp_path / "tiny.onnx", board("avx2")) is None
    assert slower_artifact(tmp_path / "gone", board("avx2")) is None
    (tmp_path / "artifact.json").write_text("{}")
    assert slower_artifact(tmp_path, board("avx2")) is None

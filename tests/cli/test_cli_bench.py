"""`edgewright bench`: rows and ratios."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench.contract import ROW_KEYS
from edgewright.bench import measure as measure_module


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measure_module, "BLOCK_MS", 10.0)


def test_json_is_all_there_is_on_standard_output(edgewright, tiny_model, quantized_model):
    ran = edgewright("bench", tiny_model, quantized_model, "--threads", 1, "--rounds", 2, "--json", "-")
    assert ran.exit_code == 0
    assert set(ran.json) == {"rows", "ratios"}
    assert [set(row) for row in ran.json["rows"]] == [ROW_KEYS, ROW_KEYS]
    [ratio] = ran.json["ratios"]
    assert (ratio["a"], ratio["b"]) == (str(tiny_model), str(quantized_model))
    assert set(ratio["p50"]) == {"estimate", "low", "high"}
    assert ran.json["rows"][0]["precision"] == "float32"


def test_several_threads_are_compared(edgewright, tiny_model):
    ran = edgewright("bench", tiny_model, "--threads", 1, "--threads", 2, "--rounds", 2)
    assert ran.exit_code == 0
    assert "(2 threads) runs" in ran.out
    assert "as fast as" in ran.out


def test_the_same_model_twice_is_refused(edgewright, tiny_model):
    edgewright("bench", tiny_model, tiny_model, "--quiet").assert_refused(2, "named twice")


def test_a_sound_model_that_the_engine_cannot_run_is_exit_3(edgewright, tmp_path):
    weights = onnx.numpy_helper.from_array(np.random.default_rng(0).random((1, 3, 3, 3)), "w")  # float64, which no kernel convolves
    x, y = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, side, 8, 8]) for name, side in (("x", 3), ("y", 1)))
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)], "net", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "double.onnx")
    edgewright("bench", tmp_path / "double.onnx", "--quiet").assert_refused(3, "double.onnx does not run", "ONNX Runtime")


def test_a_missing_engine_is_exit_3_and_says_how_to_install_it(edgewright, tiny_model, tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    edgewright("bench", tiny_model, "--quiet").assert_refused(3, "not installed", "pip install")


def test_what_is_no_model_is_refused(edgewright, tmp_path):
    (tmp_path / "folder").mkdir()
    edgewright("bench", tmp_path / "none.onnx", "--quiet").assert_refused(2, "there is no file")
    edgewright("bench", tmp_path / "folder", "--quiet").assert_refused(2, "is no artifact")

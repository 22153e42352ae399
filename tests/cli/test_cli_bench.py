"""`edgewright bench`: rows and ratios."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench.contract import FRAME_KEYS, ROW_KEYS
from edgewright.bench import end_to_end, peak
from edgewright.bench import measure as measure_module
from edgewright.data.video import WebmWriter


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measure_module, "BLOCK_MS", 10.0)
    monkeypatch.setattr(end_to_end, "BLOCK_MS", 10.0)
    monkeypatch.setattr(end_to_end, "COLD_STARTS", 1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "belt.webm"
    with WebmWriter(path, 25.0) as writer:
        for grey in range(10):
            writer.write(np.full((48, 64, 3), 20 * grey, np.uint8))
    return path


def test_json_is_all_there_is_on_standard_output(edgewright, tiny_model, quantized_model):
    ran = edgewright("bench", tiny_model, quantized_model, "--threads", 1, "--rounds", 2, "--json", "-")
    assert ran.exit_code == 0
    assert set(ran.json) == {"rows", "ratios"}
    assert [set(row) for row in ran.json["rows"]] == [ROW_KEYS | FRAME_KEYS] * 2
    assert {row[key] for row in ran.json["rows"] for key in (*FRAME_KEYS, "peak_share")} == {None}
    assert all(row["macs_per_s"] > 0 for row in ran.json["rows"])
    [ratio] = ran.json["ratios"]
    assert (ratio["a"], ratio["b"]) == (str(tiny_model), str(quantized_model))
    assert set(ratio["p50"]) == {"estimate", "low", "high"}
    assert ratio["end_to_end"] is None
    assert ran.json["rows"][0]["precision"] == "float32"


def test_several_threads_are_compared(edgewright, tiny_model):
    ran = edgewright("bench", tiny_model, "--threads", 1, "--threads", 2, "--rounds", 2)
    assert ran.exit_code == 0
    assert "(2 threads) runs" in ran.out
    assert "as fast as" in ran.out


def test_whole_frames_are_timed_beside_the_model(edgewright, tiny_model, quantized_model, clip):
    command = ("bench", tiny_model, quantized_model, "--threads", 1, "--rounds", 2)
    ran = edgewright(*command, "--end-to-end", clip, "--json", "-")
    assert ran.exit_code == 0
    assert [set(row) for row in ran.json["rows"]] == [ROW_KEYS | FRAME_KEYS] * 2
    assert all(row[key] > 0 for row in ran.json["rows"] for key in FRAME_KEYS)
    assert ran.json["ratios"][0]["end_to_end"]["estimate"] > 0
    assert "From the file to the boxes" in ran.err
    assert "goes from file to boxes" in ran.err


def test_the_peak_is_measured_and_shares_of_it_are_told(edgewright, tiny_model, monkeypatch):
    monkeypatch.setattr(peak, "SIDES", (64,))
    monkeypatch.setattr(peak, "CONVOLUTIONS", ())
    monkeypatch.setattr(peak, "BLOCK_MS", 5.0)
    ran = edgewright("bench", tiny_model, "--threads", 1, "--rounds", 2, "--peak", "--json", "-")
    [told], [row] = ran.json["peaks"], ran.json["rows"]
    assert (told["threads"], told["graph"]) == (1, "product 64")
    assert row["peak_share"] == pytest.approx(row["macs_per_s"] / told["macs_per_s"], abs=1e-4)
    assert "integer peak, 1 thread" in ran.err


def test_one_picture_is_too_few_to_time(edgewright, tiny_model, tiny_data):
    picture = next(tiny_data.parent.rglob("*.png"), None) or next(tiny_data.parent.rglob("*.jpg"))
    edgewright("bench", tiny_model, "--end-to-end", picture, "--quiet").assert_refused(2, "a video, or a folder of pictures")


def test_a_source_that_is_not_there_is_refused_before_the_work(edgewright, tiny_model):
    edgewright("bench", tiny_model, "--end-to-end", "none.mp4", "--quiet").assert_refused(2, "none.mp4 is not there")


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

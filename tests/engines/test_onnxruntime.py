"""The ONNX Runtime engine behind the seam."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.engines import ENGINES, TensorSpec, open_engine
from edgewright.errors import EngineError, InputError
from tiny_detector import save_tiny_detector


@pytest.fixture
def model(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx")


def test_runs_and_gives_outputs_in_the_model_s_order(tmp_path):
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    x, twice, minus = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "twice", "minus"))
    graph = helper.make_graph(nodes, "two", [x], [twice, minus])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "two.onnx")
    engine = open_engine("onnxruntime", tmp_path / "two.onnx", threads=1)
    outputs = engine.run({"x": np.array([1, 2], np.float32)})
    assert [output.tolist() for output in outputs] == [[2, 4], [-1, -2]]
    engine.close()


def test_describes_itself_and_what_the_model_wants(model, tmp_path):
    engine = open_engine("onnxruntime", model, threads=2)
    description = engine.describe()
    assert (description.name, description.threads) == ("onnxruntime", 2)
    assert description.version
    assert description.inputs == (TensorSpec("images", (1, 3, 64, 64), "float32"),)
    free = open_engine("onnxruntime", save_tiny_detector(tmp_path / "free.onnx", dynamic=True), threads=1)
    assert free.describe().inputs == (TensorSpec("images", (None, 3, None, None), "float32"),)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_asked_for_change_nothing_but_time(model, threads):
    feed = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    [one] = open_engine("onnxruntime", model, threads=1).run(feed)
    [other] = open_engine("onnxruntime", model, threads=threads).run(feed)
    assert other == pytest.approx(one, abs=1e-3)


def test_a_strange_name_of_a_node_that_fails_is_in_the_error_alone(tmp_path, capfd):
    name = "evil\x1b[5;41m"
    table = numpy_helper.from_array(np.zeros(3, np.float32), "table")
    nodes = [helper.make_node("Gather", ["table", "at"], ["y"], name=name)]
    at, y = helper.make_tensor_value_info("at", TensorProto.INT64, [1]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "fails on some inputs", [at], [y], [table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "fails.onnx")
    with pytest.raises(EngineError, match="evil"):
        open_engine("onnxruntime", tmp_path / "fails.onnx", threads=1).run({"at": np.array([7])})
    assert capfd.readouterr().err == ""


def test_a_path_that_is_not_utf_8_is_one_sentence(model):
    path = model.rename(model.with_name("\udcff.onnx"))
    with pytest.raises(InputError, match="rename"):
        open_engine("onnxruntime", path, threads=1)


@pytest.mark.parametrize("content", [b"", b"words", b"\x08\x08" + bytes(50)])
def test_a_file_it_refuses_is_one_sentence(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(EngineError, match=r"ONNX Runtime refuses .*bad\.onnx") as caught:
        open_engine("onnxruntime", tmp_path / "bad.onnx", threads=1)
    assert "\n" not in str(caught.value)
    assert "edgewright inspect" in caught.value.fix


@pytest.mark.parametrize(
    "feed", [{}, {"other": np.zeros(1, np.float32)}, {"images": np.zeros((1, 3, 32, 64), np.float32)}, {"images": np.zeros((1, 3, 64, 64))}]
)
def test_a_wrong_feed_is_an_engine_error(model, feed, capfd):
    engine = open_engine("onnxruntime", model, threads=1)
    with pytest.raises(EngineError, match="ONNX Runtime failed on"):
        engine.run(feed)


def test_an_unknown_engine_lists_the_known_ones(model):
    with pytest.raises(InputError, match="there is no engine 'warp'; expected one of onnxruntime"):
        open_engine("warp", model, threads=1)
    assert "onnxruntime" in ENGINES


def test_an_engine_that_is_not_installed_says_how_to_install_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="is not installed") as caught:
        open_engine("onnxruntime", model, threads=1)
    assert "pip install" in caught.value.fix

"""The OpenVINO engine behind the seam: it says what ONNX Runtime says, in the precision that was asked for."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from cut_detector import TINY, as_floats, cut_tiny, drawn, letterboxed, outputs_of
from edgewright.compress.placement import place_pairs
from edgewright.compress.schemes import OPENVINO
from edgewright.engines import TensorSpec, open_engine
from edgewright.engines import openvino as openvino_engine
from edgewright.engines.conversion import convert
from edgewright.errors import EngineError
from edgewright.graph.head import recognise
from tiny_detector import build_tiny_detector, save_tiny_detector

pytest.importorskip("openvino")
FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")
IMAGE = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}


@pytest.fixture
def model(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx")


def two_outputs(path):
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    x, twice, minus = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "twice", "minus"))
    graph = helper.make_graph(nodes, "two", [x], [twice, minus])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("family", FAMILIES)
def test_says_what_onnx_runtime_says(tmp_path, family):
    path = save_tiny_detector(tmp_path / "tiny.onnx", family=family)
    spec = recognise(onnx.load(path)).input
    feed = {spec.name: as_floats(letterboxed(drawn((64, 64)), spec), spec)}
    [expected], [found] = (open_engine(name, path, threads=1).run(feed) for name in ("onnxruntime", "openvino"))
    if family == "end2end":  # rows by score: those of nothing are as good as tied
        expected, found = (rows[rows[..., 4] > 0.1] for rows in (expected, found))
        assert len(expected) >= 3
    assert found == pytest.approx(expected, abs=1e-3, rel=1e-4)


@pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())
def test_says_it_of_cut_heads_too_each_output_in_its_place(tmp_path, options):
    cut = cut_tiny(tmp_path, **options)
    feed = cut.feed(drawn(cut.input.size_wh))
    found = open_engine("openvino", tmp_path / "cut.onnx", threads=1).run(feed)
    for expected, each in zip(outputs_of(cut.model, feed), found, strict=True):
        assert np.abs(expected - each).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_outputs_come_in_the_model_s_order_and_are_the_caller_s_to_keep(tmp_path):
    engine = open_engine("openvino", two_outputs(tmp_path / "two.onnx"), threads=1)
    first = engine.run({"x": np.array([1, 2], np.float32)})
    assert [output.tolist() for output in first] == [[2, 4], [-1, -2]]
    engine.run({"x": np.array([9, 9], np.float32)})
    assert [output.tolist() for output in first] == [[2, 4], [-1, -2]]
    engine.close()


def test_a_feed_may_change_from_run_to_run_and_is_left_alone(tmp_path):
    engine = open_engine("openvino", two_outputs(tmp_path / "two.onnx"), threads=1)
    feed = {"x": np.array([1, 2], np.float32)}
    engine.run(feed)
    assert feed["x"].tolist() == [1, 2]
    feed["x"][:] = [3, 4]
    assert engine.run(feed)[0].tolist() == [6, 8]
    # A view that does not lie in one piece is read as what it shows.
    assert engine.run({"x": np.array([5, 0, 7, 0], np.float32)[::2]})[0].tolist() == [10, 14]


def test_describes_itself_and_what_the_model_wants(model, tmp_path):
    description = open_engine("openvino", model, threads=2).describe()
    assert (description.name, description.threads, description.precision) == ("openvino", 2, "float32")
    assert description.version
    assert description.inputs == (TensorSpec("images", (1, 3, 64, 64), "float32"),)
    free = open_engine("openvino", save_tiny_detector(tmp_path / "free.onnx", dynamic=True), threads=1)
    assert free.describe().inputs == (TensorSpec("images", (None, 3, None, None), "float32"),)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_asked_for_change_nothing_but_time(model, threads):
    [one] = open_engine("openvino", model, threads=1).run(IMAGE)
    [other] = open_engine("openvino", model, threads=threads).run(IMAGE)
    assert other == pytest.approx(one, abs=1e-3)


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_it_computes_in_the_precision_it_is_asked_for_and_says_so(model, precision):
    if precision not in openvino_engine.float_precisions():
        with pytest.raises(EngineError, match=f"does not compute in {precision} on this processor") as caught:
            open_engine("openvino", model, threads=1, precision=precision)
        assert caught.value.fix == "use float32"
        return
    engine = open_engine("openvino", model, threads=1, precision=precision)
    assert engine.describe().precision == precision
    [expected], [found] = outputs_of(build_tiny_detector(), IMAGE), engine.run(IMAGE)
    assert np.abs(found[:, 4:] - expected[:, 4:]).max() <= {"float32": 1e-4, "float16": 0.01, "bfloat16": 0.1}[precision]


def test_float32_is_always_there_and_first():
    assert openvino_engine.float_precisions()[0] == "float32"


def test_a_precision_the_processor_lacks_is_refused(model, monkeypatch):
    class Plain:
        def get_property(self, *_):
            return ["FP32"]

    monkeypatch.setattr(openvino_engine, "_core", Plain)
    assert openvino_engine.float_precisions() == ("float32",)
    for precision in ("float16", "bfloat16", "int8 (QDQ)"):
        with pytest.raises(EngineError, match="on this processor; use float32"):
            open_engine("openvino", model, threads=1, precision=precision)


def test_an_integer_graph_says_that_it_computes_in_integers(tmp_path):
    if "INT8" not in openvino_engine._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO has no integer convolutions on this processor")
    cut = cut_tiny(tmp_path)
    onnx.save(place_pairs(cut.model, cut.ranges, (), OPENVINO), tmp_path / "placed.onnx")
    assert open_engine("openvino", tmp_path / "placed.onnx", threads=1, precision="int8").describe().precision == "int8"


def test_a_graph_that_is_nothing_but_additions_is_float(tmp_path):
    assert open_engine("openvino", two_outputs(tmp_path / "two.onnx"), threads=1).describe().precision == "float32"


@pytest.mark.parametrize(("name", "content"), [("bad.onnx", b""), ("bad.onnx", b"words"), ("bad.xml", b"<net"), ("bad.xml", b"words")])
def test_a_file_it_refuses_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match=r"OpenVINO refuses .*bad") as caught:
        open_engine("openvino", tmp_path / name, threads=1)
    assert "\n" not in str(caught.value)
    assert caught.value.fix == "try another engine"


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(EngineError, match=r"OpenVINO refuses .*gone\.xml") as caught:
        open_engine("openvino", tmp_path / "gone.xml", threads=1)
    assert "\n" not in str(caught.value)


def test_weights_that_are_gone_are_one_sentence(model, tmp_path):
    xml, weights = convert("openvino", model, tmp_path, precision="float32")
    weights.unlink()
    with pytest.raises(EngineError, match=r"OpenVINO refuses .*model\.xml"):
        open_engine("openvino", xml, threads=1)


def test_a_path_that_is_not_utf_8_is_a_file_too(model):
    [expected] = open_engine("openvino", model, threads=1).run(IMAGE)
    [found] = open_engine("openvino", model.rename(model.with_name("\udcff.onnx")), threads=1).run(IMAGE)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("feed", [{}, {"other": np.zeros(1, np.float32)}, {"images": np.zeros((1, 3, 32, 64), np.float32)}])
def test_a_wrong_feed_is_an_engine_error(model, feed, capfd):
    engine = open_engine("openvino", model, threads=1)
    with pytest.raises(EngineError, match="OpenVINO failed on"):
        engine.run(feed)
    assert capfd.readouterr() == ("", "")


def test_an_engine_that_is_not_installed_says_how_to_install_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match="OpenVINO is not installed") as caught:
        open_engine("openvino", model, threads=1)
    assert "pip install 'edgewright[openvino]'" in caught.value.fix
    with pytest.raises(EngineError, match="OpenVINO is not installed"):
        openvino_engine.float_precisions()


def test_what_reports_to_its_maker_is_not_loaded(model):
    code = (
        "import sys; from pathlib import Path; from edgewright.engines import open_engine; "
        f"open_engine('openvino', Path({str(model)!r}), threads=1).close(); "
        "print(sorted(name for name in sys.modules if name.startswith('openvino_telemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"

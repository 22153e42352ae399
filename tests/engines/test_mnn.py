"""The MNN engine behind the seam."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.engines import TensorSpec, open_engine
from edgewright.engines.conversion import convert
from edgewright.errors import EngineError

pytest.importorskip("MNN")  # a board has one engine; test_conformance says that none is left out elsewhere
pytest.importorskip("ncnn")


def save(path, nodes, inputs, outputs, held=()):
    ports = [[helper.make_tensor_value_info(*port) for port in each] for each in (inputs, outputs)]
    graph = helper.make_graph(nodes, "made", *ports, list(held))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def convolution(tmp_path):
    """Two outputs, in an order that is not that of the nodes, with names that no format likes; [1, 8, 6, 6] from [1, 3, 6, 6]."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.normal(size=(8, 3, 3, 3)).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", ["the x", "w"], ["b b"], pads=[1] * 4), helper.make_node("Sigmoid", ["b b"], ["a/a:0"])]
    shape = [1, 8, 6, 6]
    outputs = [("a/a:0", TensorProto.FLOAT, shape), ("b b", TensorProto.FLOAT, shape)]
    return save(tmp_path / "conv.onnx", nodes, [("the x", TensorProto.FLOAT, [1, 3, 6, 6])], outputs, [weight])


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    return made


@pytest.mark.parametrize("engine", ["mnn", "ncnn"])
def test_names_order_and_shapes_are_those_of_the_onnx_model(engine, convolution, folder):
    feed = {"the x": np.random.default_rng(1).random((1, 3, 6, 6), np.float32)}
    wanted = open_engine("onnxruntime", convolution, threads=1).run(feed)
    opened = open_engine(engine, convert(engine, convolution, folder, precision="float32")[0], threads=1)
    assert opened.describe().inputs == (TensorSpec("the x", (1, 3, 6, 6), "float32"),)
    found = opened.run(feed)
    assert [each.shape for each in found] == [each.shape for each in wanted]
    assert all(one == pytest.approx(other, abs=1e-3) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("engine", ["mnn", "ncnn"])
def test_outputs_are_the_caller_s_to_keep(engine, convolution, folder):
    opened = open_engine(engine, convert(engine, convolution, folder, precision="float32")[0], threads=1)
    ones = np.ones((1, 3, 6, 6), np.float32)
    first = opened.run({"the x": ones})
    before = [each.copy() for each in first]
    opened.run({"the x": -ones})
    opened.close()
    assert all(np.array_equal(one, other) for one, other in zip(first, before, strict=True))
    first[0][:] = 0  # and writable


@pytest.mark.parametrize("engine", ["mnn", "ncnn"])
@pytest.mark.parametrize("feed", [{}, {"the x": np.zeros((1, 3, 5, 6), np.float32)}, {"the x": np.zeros((1, 3, 6, 6))}])
def test_a_wrong_feed_is_an_engine_error_and_prints_nothing(engine, feed, convolution, folder, capfd):
    opened = open_engine(engine, convert(engine, convolution, folder, precision="float32")[0], threads=1)
    with pytest.raises(EngineError, match=f"(?i){engine} failed on"):
        opened.run(feed)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ["mnn", "ncnn"])
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_half_that_the_processor_does_not_multiply_in_is_refused(engine, precision, convolution, folder):
    from edgewright.engines.base import engine_module

    if precision in engine_module(engine).float_precisions():
        pytest.skip("this one multiplies in it")
    file = convert(engine, convolution, folder, precision="float32")[0]
    with pytest.raises(EngineError, match="does not compute in"):
        open_engine(engine, file, threads=1, precision=precision)


@pytest.mark.parametrize("engine", ["mnn", "ncnn"])
@pytest.mark.parametrize("content", [None, "", "[]", '{"precision": "float32", "inputs": [{"name": 3}], "outputs": []}', "[" * 100_000])
def test_without_the_names_beside_it_a_model_is_not_opened(engine, content, convolution, folder):
    file = convert(engine, convolution, folder, precision="float32")[0]
    names = file.with_suffix(".ports.json")
    names.unlink()
    if content is not None:
        names.write_text(content, "ascii")
    with pytest.raises(EngineError, match="convert the ONNX model again"):
        open_engine(engine, file, threads=1)


def test_a_picture_of_bytes_is_taken_as_it_lies(tmp_path, folder):
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["y"]),
    ]
    inputs, outputs = [("x", TensorProto.UINT8, [1, 6, 6, 3])], [("y", TensorProto.FLOAT, [1, 4, 6, 6])]
    model = save(tmp_path / "bytes.onnx", nodes, inputs, outputs, [weight])
    feed = {"x": np.random.default_rng(1).integers(0, 256, (1, 6, 6, 3), np.uint8)}
    [wanted] = open_engine("onnxruntime", model, threads=1).run(feed)
    [found] = open_engine("mnn", convert("mnn", model, folder, precision="float32")[0], threads=1).run(feed)
    assert found == pytest.approx(wanted, abs=0.05)
    with pytest.raises(EngineError, match="ncnn takes pictures as float32"):
        convert("ncnn", model, folder, precision="float32")


def test_int8_rounds_weights_and_activations_and_says_so(tmp_path, folder):
    """Beside a channel of 1000, which its weights do not look at, the small channels vanish: what is read is in 8 bits."""
    weight = np.random.default_rng(0).normal(size=(16, 16, 1, 1)).astype(np.float32)
    weight[:, 0] = 0
    ports = [("x", TensorProto.FLOAT, [1, 16, 8, 8])], [("y", TensorProto.FLOAT, [1, 16, 8, 8])]
    model = save(tmp_path / "one.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], *ports, [numpy_helper.from_array(weight, "w")])
    x = np.random.default_rng(1).normal(0, 1, (1, 16, 8, 8)).astype(np.float32)
    [wanted] = open_engine("onnxruntime", model, threads=1).run({"x": x})
    file = convert("mnn", model, folder, precision="int8")[0]
    opened = open_engine("mnn", file, threads=1, precision="int8")
    assert opened.describe().precision == "int8"
    assert open_engine("mnn", file, threads=1).describe().precision == "int8"
    assert opened.run({"x": x})[0] == pytest.approx(wanted, abs=0.03 * float(np.ptp(wanted)))
    x[0, 0] = 1000
    assert opened.run({"x": x})[0] != pytest.approx(wanted, abs=0.2 * float(np.ptp(wanted)))


def test_a_model_that_is_quantized_already_is_refused_with_the_way_out(tmp_path, folder):
    held = [numpy_helper.from_array(np.array(0.1, np.float32), "s"), numpy_helper.from_array(np.array(0, np.uint8), "z")]
    nodes = [helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    model = save(tmp_path / "qdq.onnx", nodes, [("x", TensorProto.FLOAT, [1, 4])], [("y", TensorProto.FLOAT, [1, 4])], held)
    for precision in ("int8", "float32"):
        with pytest.raises(EngineError, match="MNN makes its own integers") as caught:
            convert("mnn", model, folder, precision=precision)
        assert "float model" in caught.value.fix


def test_opening_a_model_says_nothing_on_standard_output(convolution, folder):
    """Where an answer in JSON may be due: MNN tells about the processor when it is imported, C keeps that for when the process ends."""
    file = convert("mnn", convolution, folder, precision="float32")[0]
    code = (
        "import sys; from pathlib import Path; from edgewright.engines import open_engine; open_engine('mnn', Path(sys.argv[1]), threads=1)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, check=True, timeout=120)
    assert done.stdout == b""


def test_standard_output_is_still_there_after_threads_opened_models(convolution, folder, capfd):
    file = convert("mnn", convolution, folder, precision="float32")[0]
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(lambda _: open_engine("mnn", file, threads=1), range(12)))
    print("heard")
    assert len(engines) == 12
    assert capfd.readouterr().out == "heard\n"


def test_conversion_does_not_load_the_logger_that_reports_to_its_maker(convolution, tmp_path):
    code = """
import json, sys
from pathlib import Path
from edgewright.engines.mnn import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), "float32")
sys.stdout.write("\\n" + json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code, str(convolution), str(tmp_path)], capture_output=True, check=True, timeout=120)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "_tools" in loaded
    assert not {name for name in loaded if name.startswith(("MNN.tools", "aliyun"))}


@pytest.mark.parametrize(("engine", "package"), [("mnn", "MNN"), ("ncnn", "ncnn")])
def test_an_engine_that_is_not_installed_says_how_to_install_it(engine, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EngineError, match="is not installed") as caught:
        open_engine(engine, tmp_path / "model", threads=1)
    assert f"edgewright[{engine}]" in caught.value.fix

"""Every engine answers as the reference evaluator does, or says why it cannot."""

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgewright
from edgewright.compress.candidates import prepare_float_forms
from edgewright.engines import engine_module, installed_engines
from edgewright.graph.describe import describe_detector
from edgewright.testing.engines import Conformance, check_engine, reference_answer
from tiny_detector import save_tiny_detector

ENGINE_PRECISIONS = [(name, precision) for name in installed_engines() for precision in engine_module(name).float_precisions()]
IN_CI = ("pcb320_yolov10n_end2end", "yolox_nano")  # attention; depthwise convolutions, space to depth and an input of 0..255
FLOAT_MODELS = ("pcb320_yolo11n", "pcb320_yolo26n_end2end", "pcb_yolov8n", "yolov5n", "yolov8n", "yolov8n_unfused_bn")


@pytest.fixture(scope="session")
def cut_models(tmp_path_factory):
    """Each model's cut form with the reference's answer to a picture of noise, which is worked out once."""
    known = {}

    def get(model):
        if model not in known:
            folder = tmp_path_factory.mktemp("forms")
            described = describe_detector(model)
            form = prepare_float_forms(described, folder).cut
            noise = np.random.default_rng(0).random(described.input.shape, np.float32) * np.float32(255 * described.input.scale)
            known[model] = (form, reference_answer(form, {described.input.name: noise}))
        return known[model]

    return get


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return {kind: save_tiny_detector(folder / f"{kind}.onnx", activation=kind) for kind in ("relu", "silu")}


def assert_agrees(report):
    assert report.verdict == "agrees", report
    assert report.computes_in == report.precision
    assert report.largest_share <= report.tolerance


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a board has one engine")
def test_none_is_left_out():
    assert {name for name, _ in ENGINE_PRECISIONS} == {"onnxruntime", "openvino", "mnn", "ncnn"}


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize(("engine", "precision"), ENGINE_PRECISIONS)
def test_agrees_on_the_tiny_detector(engine, precision, activation, tiny, cut_models):
    form, expected = cut_models(tiny[activation])
    assert_agrees(check_engine(engine, form, precision=precision, expected=expected))


@pytest.mark.parametrize("name", IN_CI)
@pytest.mark.parametrize(("engine", "precision"), ENGINE_PRECISIONS)
def test_agrees_on_a_real_detector(engine, precision, name, test_data, cut_models):
    form, expected = cut_models(test_data / "models" / f"{name}.onnx")
    assert_agrees(check_engine(engine, form, precision=precision, expected=expected))


@pytest.mark.soak
@pytest.mark.parametrize("name", FLOAT_MODELS)
@pytest.mark.parametrize(("engine", "precision"), ENGINE_PRECISIONS)
def test_agrees_on_every_float_model(engine, precision, name, test_data, cut_models):
    form, expected = cut_models(test_data / "models" / f"{name}.onnx")
    report = check_engine(engine, form, precision=precision, expected=expected)
    print(f"{name} {engine} {report.computes_in}: off by {report.largest:.2g}, {report.largest_share:.2g} of the spread")
    assert_agrees(report)


def test_two_threads_answer_the_same(tiny, cut_models):
    pytest.importorskip("MNN")
    form, expected = cut_models(tiny["silu"])
    assert_agrees(check_engine("mnn", form, expected=expected, threads=2))


def test_what_differs_is_said_with_how_much(tiny, cut_models):
    form, (fed, wanted) = cut_models(tiny["relu"])
    report = check_engine("onnxruntime", form, expected=(fed, [wanted[0] + np.ptp(wanted[0]), *wanted[1:]]))
    assert report.verdict == "differs"
    assert report.largest_share == pytest.approx(1, rel=1e-3)
    assert "of an output's spread, allowed is 0.002" in report.reason


def test_outputs_in_another_order_differ(tiny, cut_models):
    form, (fed, wanted) = cut_models(tiny["relu"])
    report = check_engine("onnxruntime", form, expected=(fed, wanted[::-1]))
    assert (report.verdict, report.largest) == ("differs", None)
    assert "outputs of shapes" in report.reason


def test_an_operator_that_an_engine_lacks_makes_it_not_usable_by_name(tmp_path):
    report = check_engine("ncnn", one_node(tmp_path / "erf.onnx", "Erf"))
    assert report == Conformance("ncnn", "float32", None, None, None, 2e-3, "not usable", report.reason)
    assert "it has the operator Erf" in report.reason


def test_an_engine_that_dies_is_a_reason_and_not_our_death(tmp_path, monkeypatch):
    folder = tmp_path / "in the child"
    folder.mkdir()
    lines = ["import os, sys, types", "fake = types.ModuleType('edgewright.engines.mnn')", "fake.SUFFIX = '.onnx'"]
    lines += ["fake.open_model = lambda *told: os.kill(os.getpid(), 11)", "sys.modules[fake.__name__] = fake"]
    (folder / "sitecustomize.py").write_text("\n".join(lines), "utf-8")
    model = one_node(tmp_path / "relu.onnx", "Relu")
    expected = reference_answer(model)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(edgewright.__file__).parents[1]}")
    report = check_engine("mnn", model, expected=expected)
    assert report.verdict == "not usable"
    assert "died" in report.reason


def test_a_report_is_plain_data(tmp_path):
    model = one_node(tmp_path / "relu.onnx", "Relu")
    assert check_engine("onnxruntime", model).to_json()["verdict"] == "agrees"


def one_node(path, kind):
    shape = [1, 4, 4, 4]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], kind, ports[:1], ports[1:], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path

"""SiLU becomes ReLU or hard-swish where it is SiLU and nothing else, and the graph still runs."""

import numpy as np
import onnx
import pytest
from onnx import helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.learn.swap import swap_activations  # noqa: E402
from learn.nets import DEMO, answers, model_in, picture_of, small_net  # noqa: E402
from tiny_detector import build_tiny_detector  # noqa: E402


def kinds(model):
    return [node.op_type for node in model.graph.node]


def silu_net(*extra, outputs=("out",), opset=17):
    """conv, x * sigmoid(x), conv; and what else reads them."""
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"]),
        helper.make_node("Sigmoid", ["x"], ["gate"]),
        helper.make_node("Mul", ["gate", "x"], ["y"]),  # either way round
        helper.make_node("Conv", ["y", "b"], ["out"]),
        *extra,
    ]
    return small_net(nodes, outputs, {"a": (4, 3, 1, 1), "b": (2, 4, 1, 1)}, opset=opset)


def by_hand(model, picture, activation):
    """The answer with the activation computed in numpy."""
    (x,) = answers(model, picture, ["x"])
    y = {"relu": np.maximum(x, 0), "hardswish": x * np.clip(x / 6 + 0.5, 0, 1)}[activation]
    weight = onnx.numpy_helper.to_array(next(each for each in model.graph.initializer if each.name == "b"))
    return np.einsum("oi,nihw->nohw", weight[:, :, 0, 0], y)


@pytest.mark.parametrize(
    ("activation", "opset", "made"),
    [
        ("relu", 17, ["Conv", "Relu", "Conv"]),
        ("relu", 11, ["Conv", "Relu", "Conv"]),
        ("hardswish", 14, ["Conv", "HardSwish", "Conv"]),
        ("hardswish", 13, ["Conv", "HardSigmoid", "Mul", "Conv"]),
        ("hardswish", 11, ["Conv", "HardSigmoid", "Mul", "Conv"]),
    ],
)
def test_silu_becomes_the_activation(activation, opset, made):
    model = silu_net(opset=opset)
    given, picture = model.SerializeToString(), picture_of(model)
    swapped = swap_activations(model, activation)
    assert model.SerializeToString() == given, "the given model is left alone"
    assert kinds(swapped.model) == made
    assert swapped.tensors == {"y"}
    onnx.checker.check_model(swapped.model, full_check=True)
    assert answers(swapped.model, picture)[0] == pytest.approx(by_hand(model, picture, activation), abs=1e-5)


@pytest.mark.parametrize(
    ("extra", "outputs"),
    [
        ([helper.make_node("Relu", ["gate"], ["other"])], ("out", "other")),
        ([], ("out", "gate")),
    ],
    ids=["another node", "the caller"],
)
def test_a_gate_that_somebody_else_reads_is_left_alone(extra, outputs):
    model = silu_net(*extra, outputs=outputs)
    swapped = swap_activations(model, "relu")
    assert kinds(swapped.model) == kinds(model)
    assert swapped.tensors == frozenset()


@pytest.mark.parametrize("product", [["gate", "z"], ["gate", "gate"], ["x", "x"]], ids=str)
def test_another_product_is_no_silu(product):
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"]),
        helper.make_node("Conv", ["image", "b"], ["z"]),
        helper.make_node("Sigmoid", ["x"], ["gate"]),
        helper.make_node("Mul", product, ["y"]),
        helper.make_node("Sum", ["y", "z", "gate"], ["out"]),
    ]
    model = small_net(nodes, ["out"], {"a": (4, 3, 1, 1), "b": (4, 3, 1, 1)})
    assert swap_activations(model, "relu").tensors == frozenset()
    assert kinds(swap_activations(model, "relu").model) == kinds(model)


def test_a_detector_without_silu_stays_as_it_is():
    model = onnx.load(DEMO)
    swapped = swap_activations(model, "hardswish")
    assert swapped.tensors == frozenset()
    assert list(swapped.model.graph.node) == list(model.graph.node)
    assert {each.name for each in swapped.model.graph.initializer} == {each.name for each in model.graph.initializer}


@pytest.mark.parametrize("activation", ["relu", "hardswish"])
@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "end2end"])
def test_a_tiny_detector_runs_with_its_new_activation(family, activation):
    model = build_tiny_detector(family=family)
    swapped = swap_activations(model, activation)
    onnx.checker.check_model(swapped.model, full_check=True)
    assert len(swapped.tensors) == 5, "one on each stride"
    assert kinds(swapped.model).count("Mul") == kinds(model).count("Mul") - 5
    picture = picture_of(model)
    before, after = answers(model, picture)[0], answers(swapped.model, picture)[0]
    assert after.shape == before.shape
    assert np.isfinite(after).all()
    assert not np.allclose(after, before)


@pytest.mark.parametrize(("name", "count"), [("yolov8n", 57), ("yolox_nano", 104)])
@pytest.mark.parametrize("activation", ["relu", "hardswish"])
def test_every_silu_of_a_real_detector_is_found(test_data, name, count, activation):
    model = onnx.load(model_in(test_data, name))
    swapped = swap_activations(model, activation)
    onnx.checker.check_model(swapped.model, full_check=True)
    assert len(swapped.tensors) == count
    picture = picture_of(model)
    assert np.isfinite(answers(swapped.model, picture)[0]).all()

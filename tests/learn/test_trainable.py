"""A detector as a PyTorch module answers as it did, learns only what is learned, and comes back as the graph it was."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.errors import ModelError  # noqa: E402
from edgewright.graph.head import recognise  # noqa: E402
from edgewright.learn.swap import swap_activations  # noqa: E402
from edgewright.learn.trainable import Trainable  # noqa: E402
from graph.small_models import model_of, tensor, value  # noqa: E402
from learn.nets import DEMO, MODELS, answers, model_in, picture_of, real_picture, small_net  # noqa: E402
from tiny_detector import build_tiny_detector  # noqa: E402

TINY = {
    "yolov8": {},
    "yolov8, relu, wide": {"activation": "relu", "size": (96, 64)},
    "yolov8, plain distances": {"reg_max": 1},
    "yolov8, transposed": {"transposed": True},
    "yolov5": {"family": "yolov5"},
    "yolox": {"family": "yolox"},
    "yolox decoded": {"family": "yolox decoded"},
    "end2end": {"family": "end2end"},
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def run(module, picture):
    with torch.no_grad():
        return [each.numpy() for each in module(torch.from_numpy(picture))]


def assert_same_cells(found, wanted, *, classes, stride=1):
    """Boxes within a hundredth of a pixel, scores within 1e-4; boxes are the first four values, whichever axis they lie on."""
    assert found.shape == wanted.shape
    if wanted.shape[-1] not in (4 + classes, 5 + classes):
        found, wanted = found.swapaxes(1, 2), wanted.swapaxes(1, 2)
    assert wanted[..., 4:].max() > 0.05, "something is seen"
    assert np.abs(found[..., :4] - wanted[..., :4]).max() < 0.01 / stride
    assert np.abs(found[..., 4:] - wanted[..., 4:]).max() < 1e-4


def assert_same_rows(found, wanted):
    """Each row has its like at its place, or at that of one whose score is as good; the last rows may have made way for others."""
    assert found.shape == wanted.shape
    assert found[0, :, 4] == pytest.approx(wanted[0, :, 4], abs=1e-4)
    clear = wanted[0, wanted[0, :, 4] > wanted[0, -1, 4] + 2e-4]
    assert len(clear) > 2
    for row in clear:
        near = found[0, np.abs(found[0, :, 4] - row[4]) < 1e-4]
        like = near[(near[:, 5] == row[5]) & (np.abs(near[:, :4] - row[:4]).max(axis=1) < 0.01)]
        assert len(like), row


def assert_answers_agree(model, picture, head):
    wanted, found = answers(model, picture), run(Trainable(model), picture)
    assert len(found) == len(wanted) == 1
    if head.family == "end2end":
        assert_same_rows(found[0], wanted[0])
    else:
        undecoded = head.decoded.outputs[0].role == "undecoded"
        assert_same_cells(found[0], wanted[0], classes=head.classes, stride=32 if undecoded else 1)


def interface(model):
    return [each.SerializeToString() for each in (*model.graph.input, *model.graph.output, *model.metadata_props, *model.opset_import)]


@pytest.mark.parametrize("name", MODELS)
def test_a_real_detector_answers_as_it_did(test_data, name):
    path = model_in(test_data, name)
    model = onnx.load(path)
    head = recognise(model)
    assert_answers_agree(model, real_picture(test_data, name, head.input), head)


@pytest.mark.parametrize("name", MODELS)
def test_a_real_detector_comes_back_as_it_was(test_data, name):
    model = onnx.load(model_in(test_data, name))
    back = Trainable(model).to_onnx()
    assert interface(back) == interface(model)
    assert [(node.op_type, node.name, list(node.input), list(node.output)) for node in back.graph.node] == [
        (node.op_type, node.name, list(node.input), list(node.output)) for node in model.graph.node
    ]
    assert weights_of(back) == weights_of(model)


def weights_of(model):
    return {each.name: numpy_helper.to_array(each).tobytes() for each in model.graph.initializer}


@pytest.mark.parametrize("options", TINY.values(), ids=TINY)
def test_a_tiny_detector_answers_as_it_did_and_comes_back_as_it_was(options):
    model = build_tiny_detector(**options)
    given = model.SerializeToString()
    picture = picture_of(model) * (255 if options.get("family", "").startswith("yolox") else 1)
    assert_answers_agree(model, picture, recognise(model))
    back = Trainable(model).to_onnx()
    assert model.SerializeToString() == given, "the given model is left alone"
    assert interface(back) == interface(model)
    assert np.array_equal(answers(back, picture)[0], answers(model, picture)[0])


def test_the_demo_detector_answers_as_it_did_and_comes_back_as_it_was():
    model = onnx.load(DEMO)
    picture = np.random.default_rng(0).random((1, 3, 640, 640), np.float32)
    wanted, found = answers(model, picture)[0], run(Trainable(model), picture)[0]
    assert np.abs(found[:, :4] - wanted[:, :4]).max() < 0.01
    assert np.abs(found[:, 4:] - wanted[:, 4:]).max() < 1e-4
    back = Trainable(model).to_onnx()
    assert interface(back) == interface(model)
    assert weights_of(back) == weights_of(model)


def test_several_pictures_answer_as_each_alone():
    model = build_tiny_detector()
    head = Trainable(model, outputs=[node.output[0] for node in model.graph.node if node.op_type == "Conv"][:5])
    pictures = [picture_of(model, seed) for seed in (1, 2)]
    together = run(head, np.concatenate(pictures))
    for at, picture in enumerate(pictures):
        for mine, alone in zip(together, run(head, picture), strict=True):
            assert mine[at] == pytest.approx(alone[0], abs=1e-5)


# --- learning -----------------------------------------------------------------------------------------------------------------------------


def learn(module, picture, steps=2, rate=1e-2):
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        sum((each**2).mean() for each in module(torch.from_numpy(picture))).backward()
        optimizer.step()


@pytest.mark.parametrize("family", ["yolov8", "yolov5"])
def test_what_was_learned_is_in_the_graph_that_comes_back(family):
    model = build_tiny_detector(family=family)
    picture = picture_of(model)
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    module = Trainable(model, convs[-3:])
    before = {name: each.detach().clone() for name, each in module.learned.items()}
    learn(module, picture)
    changed = {name for name, each in module.learned.items() if not torch.equal(each, before[name])}
    back = module.to_onnx()
    assert changed == {name for name in weights_of(model) if weights_of(back)[name] != weights_of(model)[name]} != set()
    for mine, theirs in zip(run(module, picture), answers(back, picture, convs[-3:]), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-4)
    assert not np.array_equal(answers(back, picture)[0], answers(model, picture)[0])


def test_a_copy_learns_by_itself():
    model = build_tiny_detector()
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"][:2]
    module = Trainable(model, convs)
    other = copy.deepcopy(module)
    learn(other, picture_of(model))
    assert weights_of(module.to_onnx()) == weights_of(model)
    assert weights_of(other.to_onnx()) != weights_of(model)


def test_counting_weights_and_anchors_are_not_learned():
    model = build_tiny_detector(reg_max=4)
    learned = Trainable(model).learned
    held = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    with_bias = [node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    (counting,) = (node for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 2)
    assert held[counting.input[1]].reshape(-1).tolist() == [0, 1, 2, 3]
    assert set(learned) == {name for node in with_bias for name in node.input[1:]}
    assert all(each.requires_grad for each in learned.values())


def normalised(*, opset=17):
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "bias", "mean", "variance"], ["n"]),
        helper.make_node("Relu", ["n"], ["out"]),
    ]
    weights = {"w": (4, 3, 3, 3), "scale": (4,), "bias": (4,), "mean": (4,), "variance": tensor("variance", [0.5, 1, 2, 3])}
    return small_net(nodes, ["out"], weights, opset=opset)


def test_a_normalisation_learns_its_scale_and_bias_and_keeps_its_statistics():
    model, rng = normalised(), np.random.default_rng(0)
    picture = rng.random((1, 3, 8, 8), np.float32)
    module = Trainable(model)
    module.train()
    assert set(module.learned) == {"w", "scale", "bias"}
    assert run(module, picture)[0] == pytest.approx(answers(model, picture)[0], abs=1e-5)
    learn(module, picture)
    before, after = weights_of(model), weights_of(module.to_onnx())
    assert {name for name in before if before[name] != after[name]} == {"w", "scale", "bias"}
    assert run(module, picture)[0] == pytest.approx(answers(module.to_onnx(), picture)[0], abs=1e-5)


@pytest.mark.parametrize("held", ["value", "value_floats"])
def test_a_weight_in_a_constant_node_comes_back_as_well(held):
    bias = {"value": tensor("", [0.1, 0.2])} if held == "value" else {"value_floats": [0.1, 0.2]}
    nodes = [
        helper.make_node("Constant", [], ["b"], **bias),
        helper.make_node("Conv", ["image", "w", "b"], ["out"]),
    ]
    module = Trainable(small_net(nodes, ["out"], {"w": (2, 3, 1, 1)}))
    picture = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    learn(module, picture)
    assert run(module, picture)[0] == pytest.approx(answers(module.to_onnx(), picture)[0], abs=1e-5)


def test_a_weight_that_two_convolutions_share_is_learned_once():
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["out"]),
    ]
    module = Trainable(small_net(nodes, ["out"], {"w": (3, 3, 1, 1)}))
    assert len(list(module.parameters())) == 1
    picture = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    learn(module, picture)
    assert run(module, picture)[0] == pytest.approx(answers(module.to_onnx(), picture)[0], abs=1e-5)


# --- parts --------------------------------------------------------------------------------------------------------------------------------


def test_inner_tensors_are_given_in_the_order_asked_for_and_the_rest_is_not_run():
    model = build_tiny_detector(family="nms")  # its tail cannot be trained
    with pytest.raises(ModelError, match="NonMaxSuppression"):
        Trainable(model)
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    wanted = [convs[4], convs[0], model.graph.node[1].output[0]]  # the last is a sigmoid, which else vanishes into its SiLU
    picture = picture_of(model)
    found = run(Trainable(model, wanted), picture)
    for mine, theirs in zip(found, answers(model, picture, wanted), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)


def test_a_tensor_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="no tensor of that name; got nobody"):
        Trainable(build_tiny_detector(), ["nobody"])


def test_what_rounds_sees_every_weight_and_every_feature_map():
    model = build_tiny_detector()
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"][:2]
    module = Trainable(model, convs)
    before = run(module, picture_of(model))
    seen = []

    def rounded(name, value):
        seen.append(name)
        return value + (1.0 if name == convs[0] else 0.0)

    module.round = rounded
    after = run(module, picture_of(model))
    product = next(node for node in model.graph.node if node.op_type == "Mul")
    assert {*module.learned, "images", *convs, product.output[0]} == set(seen)
    assert product.input[1] not in seen, "the gate of a SiLU is no feature map of its own"
    assert after[0] == pytest.approx(before[0] + 1, abs=1e-6)
    assert not np.allclose(after[1], before[1])


@pytest.mark.parametrize(("activation", "opset"), [("relu", 17), ("hardswish", 17), ("hardswish", 13)])
def test_softness_fades_from_the_old_activation_to_the_new_one(activation, opset):
    model = build_tiny_detector(opset=opset)
    swapped = swap_activations(model, activation)
    picture = picture_of(model)
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv" and len(node.input) == 3]
    module = Trainable(swapped.model, convs)
    module.softened = swapped.tensors
    soft, hard = answers(model, picture, convs), answers(swapped.model, picture, convs)
    assert np.abs(soft[-1] - hard[-1]).max() > 1e-3
    for softness, wanted in ((1.0, soft), (0.0, hard)):
        module.softness = softness
        for mine, theirs in zip(run(module, picture), wanted, strict=True):
            assert mine == pytest.approx(theirs, abs=1e-4)
    module.softness = 0.25
    found = run(Trainable(model, [convs[0]]), picture)[0]
    first = next(node for node in swapped.model.graph.node if node.output[0] in swapped.tensors).output[0]
    half = module.values(torch.from_numpy(picture), [first])[first].detach().numpy()
    silu = found / (1 + np.exp(-found))
    new = np.maximum(found, 0) if activation == "relu" else found * np.clip(found / 6 + 0.5, 0, 1)
    assert half == pytest.approx(0.25 * silu + 0.75 * new, abs=1e-5)


# --- what cannot be trained ---------------------------------------------------------------------------------------------------------------


def with_if():
    def branch(name, kind):
        node = helper.make_node(kind, ["image"], [f"{name}_out"])
        return helper.make_graph([node], name, [], [value(f"{name}_out", [1, 3, 8, 8])])

    nodes = [helper.make_node("If", ["yes"], ["out"], name="choice", then_branch=branch("a", "Relu"), else_branch=branch("b", "Abs"))]
    return model_of(nodes, [value("image", [1, 3, 8, 8])], [value("out", [1, 3, 8, 8])], [tensor("yes", True, bool)])


def with_two_inputs():
    values = [value("image", [1, 3, 8, 8]), value("size", [1, 3, 8, 8])]
    return model_of([helper.make_node("Add", ["image", "size"], ["out"])], values, [value("out", [1, 3, 8, 8])])


def with_unknown_operator():
    nodes = [helper.make_node("Einsum", ["image"], ["out"], name="sum", equation="abcd->abdc")]
    return model_of(nodes, [value("image", [1, 3, 8, 8])], [value("out", [1, 3, 8, 8])])


def quantized():
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "s", "z"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["out"], name="dequantize"),
    ]
    held = [tensor("s", 0.1), tensor("z", 0, np.uint8)]
    return model_of(nodes, [value("image", [1, 3, 8, 8])], [value("out", [1, 3, 8, 8], TensorProto.FLOAT)], held)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (with_if, r"a graph inside a node \(If\)"),
        (with_two_inputs, "2 inputs"),
        (with_unknown_operator, "the operator Einsum of Einsum sum"),
        (quantized, "the operator QuantizeLinear of QuantizeLinear quantize"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_message(build, why):
    model = build()
    onnx.checker.check_model(model)
    with pytest.raises(ModelError, match=why) as refused:
        Trainable(model)
    assert "cannot be trained" in str(refused.value)


def test_a_quantized_detector_is_refused(test_data):
    with pytest.raises(ModelError, match="the operator DynamicQuantizeLinear"):
        Trainable(onnx.load(model_in(test_data, "yolov8n_int8_lamri")))

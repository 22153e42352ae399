"""A student rounds where the runtime will round, by as much, and learns by how much it does."""

import json
import math
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from cut_detector import cut_file, cut_tiny, drawn  # noqa: E402
from edgewright.board.profile import Board  # noqa: E402
from edgewright.compress.quantize import quantize_static  # noqa: E402
from edgewright.compress.recipes import INT8  # noqa: E402
from edgewright.compress.schemes import OPENVINO, OPENVINO_ZERO_POINTS, X86_SATURATING, X86_VNNI, scheme_for  # noqa: E402
from edgewright.graph.metadata import RANGES_KEY  # noqa: E402
from edgewright.learn.rounding import Encoding, Encodings, Rounding, encodings_of  # noqa: E402
from edgewright.learn.swap import swap_activations  # noqa: E402
from edgewright.learn.trainable import Trainable  # noqa: E402
from learn.nets import model_in  # noqa: E402

SCHEMES = {"uint8": X86_VNNI, "7-bit weights": X86_SATURATING, "symmetric": OPENVINO, "behind activations": OPENVINO_ZERO_POINTS}
MOST_OFF_BY_ONE = 1e-3  # the share of integers that may be a step apart: sums are added up in another order, halves rounded


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return cut_tiny(tmp_path_factory.mktemp("relu"), activation="relu")


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A detector whose feature maps go below zero."""
    return cut_tiny(tmp_path_factory.mktemp("silu"), activation="silu")


def quantized(detector, scheme, folder, container="qdq", model=None):
    """The integer form, and what the quantizer's rules for ranges are given."""
    source = onnx.ModelProto()
    source.CopyFrom(model or detector.model)
    path = folder / f"{container}.onnx"
    quantize_static(source, detector.head, detector.statistics, replace(INT8, container=container), scheme, path)
    return onnx.load(path)


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return SCHEMES[request.param]


@pytest.fixture
def encodings(detector, scheme, tmp_path):
    return encodings_of(quantized(detector, scheme, tmp_path), detector.model)


def rounding_of(scale=0.1, zero_point=10, low=0, high=255):
    return Rounding(Encodings({"x": Encoding(scale, zero_point, low, high)}, {}, {}))


# --- what is read back -------------------------------------------------------------------------------------------------------------------


def test_every_weight_and_bias_of_the_network_is_an_integer_one(detector, scheme, encodings):
    convs = [node for node in detector.model.graph.node if node.op_type == "Conv"]
    uses = Counter(conv.input[2] for conv in convs)

    assert encodings.weights == {conv.input[1]: (64 if scheme.reduce_range else 127, True) for conv in convs}
    if scheme.placement == "every operator":
        assert encodings.biases.keys() == uses.keys()
        assert all(encodings.biases[conv.input[2]] == tuple(conv.input[:2]) for conv in convs if uses[conv.input[2]] == 1)
    else:
        assert encodings.biases == {}, "behind activations biases stay float"


def test_every_feature_map_that_the_integer_form_rounds_is_rounded(detector, scheme, encodings):
    relus = {node.output[0] for node in detector.model.graph.node if node.op_type == "Relu"}
    heads = {output.name for output in detector.head.outputs}

    assert encodings.activations.keys() == {detector.input.name, *relus} | (heads if scheme.placement == "every operator" else set())
    assert {encodings.activations[name].zero_point for name in relus} == {0}, "nothing is below zero behind a ReLU"


@pytest.mark.parametrize("name", SCHEMES)
def test_what_goes_below_zero_has_a_sign_or_a_zero_point(signed, name, tmp_path):
    scheme = SCHEMES[name]
    found = encodings_of(quantized(signed, scheme, tmp_path), signed.model).activations
    silus = [node.output[0] for node in signed.model.graph.node if node.op_type == "Mul"]

    assert all(each.scale > 0 and each.low <= each.zero_point <= each.high for each in found.values())
    if scheme.symmetric:
        assert {(found[each].low, found[each].zero_point) for each in silus} == {(-128, 0)}
        assert (found[signed.input.name].low, found[signed.input.name].zero_point) == (0, 0)
    else:
        assert {found[each].low for each in silus} == {0}
        assert all(found[each].zero_point > 0 for each in silus)


def test_tensors_that_share_an_encoding_learn_one_scale():
    shared, other = Encoding(0.5, 3, 0, 255), Encoding(0.5, 4, 0, 255)
    rounding = Rounding(Encodings({"a": shared, "carried": shared, "b": other}, {}, {}))

    assert len(rounding.growth) == 2
    with torch.no_grad():
        rounding.growth += torch.tensor([math.log(2), 0.0])
    assert rounding.ranges()["a"] == rounding.ranges()["carried"] == pytest.approx((-3.0, 252.0))
    assert rounding.ranges()["b"] == pytest.approx((-2.0, 125.5))


def test_what_is_neither_is_left_as_it_is(encodings):
    value = torch.randn(3, 4)
    assert Rounding(encodings)("somebody else's", value) is value


@pytest.mark.parametrize("name", SCHEMES)
def test_ranges_are_what_the_quantizer_writes_the_same_scales_from(signed, name, tmp_path):
    encodings = encodings_of(quantized(signed, SCHEMES[name], tmp_path), signed.model)
    rounding = Rounding(encodings)
    with torch.no_grad():
        rounding.growth += torch.linspace(-0.3, 0.3, len(rounding.growth))
    learned = {each: rounding._scale(each).item() for each in encodings.activations}
    model = onnx.ModelProto()
    model.CopyFrom(signed.model)
    entry = model.metadata_props.add()
    entry.key, entry.value = RANGES_KEY, json.dumps({each: list(found) for each, found in rounding.ranges().items()})
    again = encodings_of(quantized(signed, SCHEMES[name], tmp_path, model=model), signed.model).activations

    assert {each: (found.zero_point, found.low, found.high) for each, found in again.items()} == {
        each: (found.zero_point, found.low, found.high) for each, found in encodings.activations.items()
    }
    assert {each: found.scale for each, found in again.items()} == pytest.approx(learned, rel=1e-6)


# --- how it rounds -----------------------------------------------------------------------------------------------------------------------


def test_values_are_rounded_to_the_nearest_step_and_cut_off_at_the_ends():
    found = rounding_of()("x", torch.tensor([[-2.0, -1.0, -0.04, 0.0, 0.06, 24.5, 30.0]]))
    torch.testing.assert_close(found, torch.tensor([[-1.0, -1.0, 0.0, 0.0, 0.1, 24.5, 24.5]]))


def test_halves_go_to_the_even_integer_as_in_the_runtime():
    found = rounding_of(scale=1.0, zero_point=0)("x", torch.tensor([[0.5, 1.5, 2.5]]))
    assert found.tolist() == [[0.0, 2.0, 2.0]]


@pytest.mark.parametrize(("most", "per_channel"), [(127, True), (64, True), (127, False)])
def test_a_weight_channel_is_rounded_to_as_many_steps_as_its_largest_weight_allows(most, per_channel):
    rounding = Rounding(Encodings({}, {"w": (most, per_channel)}, {}))
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1, 5, 0]).reshape(4, 1, 1, 1)
    found = rounding("w", weight)
    reach = weight.abs().amax((1, 2, 3), keepdim=True) if per_channel else weight.abs().max()
    steps = found / (reach / most).clamp(min=1e-12)

    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert float(steps.abs().max()) == pytest.approx(most)
    assert float((found - weight).abs().max()) <= float(weight.abs().max()) / most / 2 * 1.001
    assert found[3].abs().max() == 0, "a channel of zeros stays one"


def test_a_bias_is_rounded_to_the_step_of_the_sums_it_is_added_to():
    rounding = Rounding(Encodings({"x": Encoding(0.25, 0, 0, 255)}, {"w": (127, True)}, {"b": ("x", "w")}))
    bias, weight = torch.tensor([0.0137, -0.41]), torch.tensor([127.0, 12.7]).reshape(2, 1, 1, 1)
    assert rounding("b", bias) is bias, "until the weight has been rounded nobody knows its step"
    rounding("w", weight)

    torch.testing.assert_close(rounding("b", bias), torch.tensor([0.0, -0.4]))


def test_gradients_pass_straight_through_inside_and_stop_outside():
    value = torch.tensor([[-5.0, -0.97, 0.03, 3.14, 24.6, 99.0]], requires_grad=True)
    pulled = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    rounding_of()("x", value).backward(pulled)

    assert value.grad.tolist() == [[0.0, 2.0, 3.0, 4.0, 0.0, 0.0]]


def test_the_gradient_of_a_scale_is_lsq_s():
    """Equation 3 of arXiv 1902.08153: round(v/s) - v/s inside, the end of the range outside; times the factor of its section 2.2."""
    scale, zero_point = 0.1, 10
    rounding, value = rounding_of(scale, zero_point), torch.tensor([[-5.0, -0.97, 0.03, 3.14, 24.6, 99.0]])
    pulled = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    rounding("x", value).backward(pulled)
    steps = value.double() / scale
    inside = (steps >= -zero_point) & (steps <= 255 - zero_point)
    slopes = torch.where(inside, steps.round() - steps, steps.clamp(-zero_point, 255 - zero_point))
    factor = 1 / math.sqrt(value.numel() * 255)

    # What is learned is the logarithm of its growth, whose derivative is the scale's times the scale.
    assert rounding.growth.grad.item() == pytest.approx(float((slopes * pulled).sum()) * factor * scale, rel=1e-4)


def test_the_gradient_of_a_scale_is_the_slope_of_what_is_cut_off():
    """Outside of the range nothing is rounded, so a difference quotient says what the derivative is."""
    value, by = torch.tensor([[40.0, 60.0, -3.0]]), 1e-3
    rounding = rounding_of()
    rounding("x", value).sum().backward()

    def total(log_scale):
        other = rounding_of()
        with torch.no_grad():
            other.growth.fill_(log_scale - math.log(0.1))
            return float(other("x", value).double().sum())

    quotient = (total(math.log(0.1) + by) - total(math.log(0.1) - by)) / (2 * by)
    assert rounding.growth.grad.item() * math.sqrt(value.numel() * 255) == pytest.approx(quotient, rel=1e-3)


def test_a_lower_precision_goes_through_and_comes_out_as_it_was():
    value = torch.tensor([[0.5, 7.0]], dtype=torch.bfloat16, requires_grad=True)
    found = rounding_of()("x", value)
    found.sum().backward()

    assert found.dtype == value.grad.dtype == torch.bfloat16


# --- as the runtime rounds ---------------------------------------------------------------------------------------------------------------


class Beside:
    """A `round` that holds every feature map against the runtime's integers of it, and hands on the runtime's."""

    def __init__(self, encodings, integers):
        self.encodings, self.integers, self.rounding = encodings, integers, Rounding(encodings)
        self.apart, self.seen = {}, {}

    def __call__(self, name, value):
        found = self.encodings.activations.get(name)
        if found is None or name not in self.integers:
            return self.rounding(name, value)
        ours = self.rounding(name, value) / np.float32(found.scale) + found.zero_point
        theirs = torch.from_numpy(self.integers[name].astype(np.float32))
        steps = (ours.round() - theirs).abs()
        self.apart[name] = (int(steps.max()), float((steps > 0).double().mean()))
        self.seen[name] = steps.numel()
        return (theirs - found.zero_point) * np.float32(found.scale)

    def ranges(self):
        return {}


def integers_of(model, source, encodings, feed):
    """What the runtime's integer operators make of a picture, by the names of the float graph."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    there = {name for node in made.graph.node for name in node.output} | {value.name for value in made.graph.input}
    relu_of = {node.output[0]: node.input[0] for node in source.graph.node if node.op_type == "Relu"}

    def integer(name):
        candidates = (f"{name}_quantized", f"{name}quantized", f"{relu_of.get(name)}_quantized")
        return next((each for each in candidates if each in there), None)

    names = {name: integer(name) for name in encodings.activations if integer(name)}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names.values()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = dict(zip([each.name for each in session.get_outputs()], session.run(None, feed), strict=True))
    return {name: found[each] for name, each in names.items()}


def held_beside(detector, folder, pictures):
    """Every layer, from the same integers: how many steps the student is from the runtime, and how often."""
    scheme = scheme_for(Board.detect().isa)
    pairs = quantized(detector, scheme, folder)
    operators = quantized(detector, scheme, folder, "qoperator")
    encodings = encodings_of(pairs, detector.model)
    student = Trainable(detector.model, [output.name for output in detector.head.outputs])
    worst, off, seen = 0, 0.0, 0
    for picture in pictures:
        feed = detector.feed(picture)
        integers = integers_of(operators, detector.model, encodings, feed)
        beside = Beside(encodings, integers)
        student.round = beside
        with torch.no_grad():
            student(torch.from_numpy(feed[detector.input.name]))
        assert beside.apart.keys() == encodings.activations.keys(), "every layer is looked at"
        worst = max(worst, *(steps for steps, _ in beside.apart.values()))
        off += sum(share * beside.seen[name] for name, (_, share) in beside.apart.items())
        seen += sum(beside.seen.values())
    return worst, off / seen


def test_a_tiny_student_rounds_as_the_runtime_does(detector, tmp_path):
    worst, off = held_beside(detector, tmp_path, [drawn(detector.input.size_wh, seed=seed) for seed in range(4)])

    assert worst <= 1
    assert off <= MOST_OFF_BY_ONE


def test_a_real_student_rounds_as_the_runtime_does(test_data, tmp_path):
    given = onnx.load(model_in(test_data, "pcb_yolov8n"))
    onnx.save(swap_activations(given).model, tmp_path / "swapped.onnx")
    path = sorted((test_data / "deeppcb/images/val").iterdir())[1]
    picture = cv2.imread(str(path))[..., ::-1].copy()
    detector = cut_file(tmp_path / "swapped.onnx", tmp_path, [picture])
    worst, off = held_beside(detector, tmp_path, [picture])

    assert worst <= 1
    assert off <= MOST_OFF_BY_ONE


def test_the_quantizer_s_own_scales_are_read_to_the_last_bit(detector, tmp_path):
    pairs = quantized(detector, X86_VNNI, tmp_path)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in pairs.graph.initializer}
    first = next(node for node in pairs.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == detector.input.name)
    found = encodings_of(pairs, detector.model).activations[detector.input.name]

    assert np.float32(found.scale) == held[first.input[1]]
    assert found.zero_point == held[first.input[2]]

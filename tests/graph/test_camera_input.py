"""Networks that take camera frames as bytes: the same answers as to floats, whether float or integer, whatever the input wants."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from cut_detector import TINY, as_floats, cut_tiny, drawn, letterboxed, outputs_of, precisions_in_openvino
from edgewright.artifact import InputSpec
from edgewright.compress.placement import place_pairs
from edgewright.compress.quantize import float_nodes, quantize_static
from edgewright.compress.recipes import INT8
from edgewright.compress.schemes import ARM_SIGNED, OPENVINO, OPENVINO_ZERO_POINTS, TENSORRT, X86_VNNI
from edgewright.detector import to_tensor
from edgewright.engines import open_engine
from edgewright.errors import ModelError
from edgewright.graph.camera_input import take_camera_frames
from edgewright.graph.head import recognise
from graph.small_models import model_of, random, value
from tiny_detector import build_tiny_detector

FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")
FORMS = ("as integers", "as rounded floats")
SAME = 1e-4


def quantized(cut, folder, scheme, container="qdq", parts=()):
    quantize_static(cut.model, cut.head, cut.statistics, replace(INT8, container=container, float_parts=parts), scheme, folder / "i8.onnx")
    return onnx.load(folder / "i8.onnx")


def assert_takes_bytes(camera, spec):
    batch, channels, high, wide = spec.shape
    assert camera.input == replace(spec, shape=(batch, high, wide, channels), layout="NHWC", dtype="uint8", scale=1.0)
    [given] = camera.model.graph.input
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [batch, high, wide, channels]


def both(model, camera, spec, seed=9):
    """The float form's outputs and the camera form's, to the same picture."""
    pictures = letterboxed(drawn(spec.size_wh, seed=seed), spec)
    return outputs_of(model, {spec.name: as_floats(pictures, spec)}), outputs_of(camera.model, {spec.name: pictures})


def step_of(outputs, model):
    """One step of each output's encoding; a network that ends in floats may differ by what its coarsest pair makes of a step."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    last = {node.output[0]: node for node in model.graph.node}
    nodes = [last[value.name] for value in model.graph.output]
    return [float(held[node.input[1]]) if node.op_type == "DequantizeLinear" else 0.02 * max(1, np.ptp(found))
            for node, found in zip(nodes, outputs, strict=True)]  # fmt: skip


@pytest.mark.parametrize("size", [64, (128, 96)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_float_detector_answers_frames_as_it_answered_floats(family, size):
    model = build_tiny_detector(family=family, size=size)
    spec, given = recognise(model).input, model.SerializeToString()
    camera = take_camera_frames(model, spec)
    assert model.SerializeToString() == given, "the given model is left alone"
    onnx.checker.check_model(camera.model, full_check=True)
    assert_takes_bytes(camera, spec)
    for before, found in zip(*both(model, camera, spec), strict=True):
        assert np.abs(before - found).max() <= SAME * max(1, np.abs(before).max())


@pytest.mark.parametrize("mean", [(0.0, 0.0, 0.0), (123.675, 116.28, 103.53)], ids=["no mean", "a mean"])
@pytest.mark.parametrize("scale", [1.0, 1 / 255, 1 / 58.0])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_any_normalisation_goes_into_the_network(mean, scale, colour):
    model = build_tiny_detector()
    spec = replace(recognise(model).input, mean=mean, scale=scale, colour=colour)
    camera = take_camera_frames(model, spec)
    assert_takes_bytes(camera, replace(spec, mean=(0.0, 0.0, 0.0)))
    assert camera.input.colour == colour
    for before, found in zip(*both(model, camera, spec), strict=True):
        assert np.abs(before - found).max() <= SAME * max(1, np.abs(before).max())


def test_the_scale_goes_into_the_first_convolution_and_costs_nothing():
    model = build_tiny_detector()
    camera = take_camera_frames(model, recognise(model).input)
    kinds = [node.op_type for node in camera.model.graph.node]
    assert kinds[:3] == ["Transpose", "Cast", "Conv"]
    assert len(kinds) == len(model.graph.node) + 2
    assert len(camera.model.graph.initializer) == len(model.graph.initializer), "the unscaled weight is gone"


def test_a_weight_that_others_read_as_well_stays_as_it_is_for_them():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="first", pads=[1] * 4),
        helper.make_node("Conv", ["y", "w"], ["z"], name="second", pads=[1] * 4),
    ]
    model = model_of(nodes, [value("x", [1, 3, 8, 8])], [value("z", [1, 3, 8, 8])], [random("w", 3, 3, 3, 3)])
    spec = InputSpec("x", (1, 3, 8, 8))
    [[before], [found]] = both(model, take_camera_frames(model, spec), spec)
    assert np.abs(before - found).max() <= SAME * max(1, np.abs(before).max())


@pytest.mark.parametrize("reader", ["Relu", "Concat"])
def test_an_input_that_no_convolution_reads_first_is_scaled_by_itself(reader):
    nodes = [
        helper.make_node(reader, ["x"], ["y"], name="reader", **({"axis": 1} if reader == "Concat" else {})),
        helper.make_node("Conv", ["x", "w"], ["z"], name="conv"),
        helper.make_node("Add", ["y", "z"], ["answers"], name="add"),
    ]
    model = model_of(nodes, [value("x", [1, 3, 8, 8])], [value("answers", [1, 3, 8, 8])], [random("w", 3, 3, 1, 1)])
    spec = InputSpec("x", (1, 3, 8, 8))
    camera = take_camera_frames(model, spec)
    assert "Mul" in {node.op_type for node in camera.model.graph.node}
    [[before], [found]] = both(model, camera, spec)
    assert found == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("integers", FORMS)
@pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())
@pytest.mark.parametrize("scheme", [X86_VNNI, ARM_SIGNED, OPENVINO, TENSORRT], ids=["x86", "arm", "openvino", "tensorrt"])
def test_an_integer_detector_answers_frames_as_it_answered_floats(tmp_path, options, scheme, integers):
    cut = cut_tiny(tmp_path, **options)
    model = quantized(cut, tmp_path, scheme)
    camera = take_camera_frames(model, cut.input, integers=integers)
    onnx.checker.check_model(camera.model, full_check=True)
    assert_takes_bytes(camera, cut.input)
    before, found = both(model, camera, cut.input)
    # The calibrated range of the input may end before 255 does, so its encoding moves by less than a step.
    for was, new, step in zip(before, found, step_of(before, model), strict=True):
        assert np.quantile(np.abs(was - new), 0.99) <= 1.01 * step
        assert np.abs(was - new).max() <= 4.01 * step


def with_a_first_bias(cut):
    """Tiny detectors have none there; integer ones are worth what the input's scale makes them worth."""
    first = next(node for node in cut.model.graph.node if node.op_type == "Conv")
    bias = next(held for held in cut.model.graph.initializer if held.name == first.input[2])
    values = np.random.default_rng(0).normal(0, 0.5, bias.dims).astype(np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return cut


@pytest.mark.parametrize("container", ["qdq", "qoperator"])
def test_onnx_runtime_computes_the_first_convolution_in_integers(tmp_path, container):
    cut = with_a_first_bias(cut_tiny(tmp_path))
    assert cut.ranges[cut.input.name][1] < 0.95, "the input's scale has to change for this to show anything"
    camera = take_camera_frames(quantized(cut, tmp_path, X86_VNNI, container), cut.input)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(camera.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert "QLinearConv" in kinds
    assert "Conv" not in kinds


@pytest.mark.parametrize("integers", FORMS)
@pytest.mark.parametrize("container", ["qdq", "qoperator"])
def test_an_integer_bias_keeps_its_worth(tmp_path, container, integers):
    cut = with_a_first_bias(cut_tiny(tmp_path))
    exact = next(numpy_helper.to_array(held) for held in cut.model.graph.initializer if held.name == cut.model.graph.node[0].input[2])
    graph = take_camera_frames(quantized(cut, tmp_path, X86_VNNI, container), cut.input, integers=integers).model.graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    conv = next(node for node in graph.node if node.op_type in {"Conv", "QLinearConv"})
    if container == "qdq":
        weight_scale = held[producer[conv.input[1]].input[1]]
        integers, scale = (held[name] for name in producer[conv.input[2]].input[:2])
        assert scale == pytest.approx(weight_scale / 255, rel=1e-5)
    else:
        integers, scale = held[conv.input[8]], held[conv.input[1]] * held[conv.input[4]]
        assert held[conv.input[1]] == pytest.approx(1 / 255)
    assert integers.dtype == np.int32
    assert (np.abs(integers * scale - exact) <= 1.6 * scale).all()


@pytest.mark.parametrize("integers", FORMS)
@pytest.mark.parametrize("scheme", [X86_VNNI, ARM_SIGNED], ids=["x86", "arm"])
def test_integer_operators_take_frames(tmp_path, scheme, integers):
    cut = cut_tiny(tmp_path)
    model = quantized(cut, tmp_path, scheme, container="qoperator")
    camera = take_camera_frames(model, cut.input, integers=integers)
    onnx.checker.check_model(camera.model)
    assert_takes_bytes(camera, cut.input)
    before, found = both(model, camera, cut.input)
    for was, new, step in zip(before, found, step_of(before, model), strict=True):
        assert np.abs(was - new).max() <= 4.01 * step


def test_bytes_are_the_rounded_input_of_an_integer_network(tmp_path):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO)
    bare = take_camera_frames(placed, cut.input).model.graph.node
    assert [node.op_type for node in bare[:2]] == ["Transpose", "DequantizeLinear"]
    rounded = take_camera_frames(placed, cut.input, integers="as rounded floats").model.graph.node
    assert [node.op_type for node in rounded[:5]] == ["Transpose", "Cast", "Mul", "QuantizeLinear", "DequantizeLinear"]


def test_both_ways_to_take_bytes_say_the_same_to_the_last_bit(tmp_path):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO_ZERO_POINTS)
    feed = {cut.input.name: letterboxed(drawn((64, 64), seed=3), cut.input)}
    bare, rounded = (outputs_of(take_camera_frames(placed, cut.input, integers=form).model, feed, optimised=False) for form in FORMS)
    assert all(np.array_equal(a, b) for a, b in zip(bare, rounded, strict=True))


@pytest.mark.parametrize("integers", FORMS)
def test_where_the_input_is_rounded_to_255ths_nothing_changes_at_all(tmp_path, integers):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges | {cut.input.name: (0.0, 1.0)}, (), OPENVINO)
    camera = take_camera_frames(placed, cut.input, integers=integers)
    for before, found in zip(*both(placed, camera, cut.input), strict=True):
        assert np.array_equal(before, found)


def test_a_float_stem_in_an_integer_network_takes_frames_as_floats(tmp_path):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, float_nodes(cut.model.graph, ("stem",)), OPENVINO)
    camera = take_camera_frames(placed, cut.input)
    assert [node.op_type for node in camera.model.graph.node[:3]] == ["Transpose", "Cast", "Conv"]
    for before, found in zip(*both(placed, camera, cut.input), strict=True):
        assert np.abs(before - found).max() <= 0.02 * max(1, np.abs(before).max())


def test_an_integer_network_with_a_mean_normalises_before_it_rounds(tmp_path):
    cut = cut_tiny(tmp_path)
    spec = replace(cut.input, mean=(10.0, 20.0, 30.0))
    ranges = cut.ranges | {spec.name: (-30 / 255, 1.0)}
    placed = place_pairs(cut.model, ranges, (), OPENVINO_ZERO_POINTS)
    camera = take_camera_frames(placed, spec)
    for before, found in zip(*both(placed, camera, spec), strict=True):
        assert np.abs(before - found).max() <= 0.02 * max(1, np.abs(before).max())


def test_two_pairs_on_the_input_are_both_replaced():
    """A scheme with dedicated pairs rounds what two convolutions read twice."""
    nodes, held = [], [random("w", 3, 3, 1, 1)]
    for at in "ab":
        held += [numpy_helper.from_array(np.array(1 / 255, np.float32), f"s{at}"), numpy_helper.from_array(np.uint8(0), f"z{at}")]
        nodes += [
            helper.make_node("QuantizeLinear", ["x", f"s{at}", f"z{at}"], [f"q{at}"], name=f"quantize_{at}"),
            helper.make_node("DequantizeLinear", [f"q{at}", f"s{at}", f"z{at}"], [f"d{at}"], name=f"dequantize_{at}"),
            helper.make_node("Conv", [f"d{at}", "w"], [f"y{at}"], name=f"conv_{at}"),
        ]
    nodes.append(helper.make_node("Add", ["ya", "yb"], ["answers"], name="add"))
    model = model_of(nodes, [value("x", [1, 3, 8, 8])], [value("answers", [1, 3, 8, 8])], held)
    spec = InputSpec("x", (1, 3, 8, 8))
    for form in FORMS:
        camera = take_camera_frames(model, spec, integers=form)
        onnx.checker.check_model(camera.model, full_check=True)
        [[before], [found]] = both(model, camera, spec)
        assert found == pytest.approx(before, abs=1e-5)


@pytest.mark.parametrize("name", ["yolov8", "yolov5", "yolox"])
def test_openvino_takes_rounded_floats_in_integers(tmp_path, name):
    pytest.importorskip("openvino")
    cut = cut_tiny(tmp_path, **TINY[name])
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO)
    onnx.save(placed, tmp_path / "floats.onnx")
    form = take_camera_frames(placed, cut.input, integers="as rounded floats").model
    precisions = {precision for _, precision in precisions_in_openvino(form, tmp_path / "bytes.onnx")}
    assert precisions <= {"i8", "u8"}, "the first convolution too"
    engine, camera = (open_engine("openvino", tmp_path / path, threads=1) for path in ("floats.onnx", "bytes.onnx"))
    pictures = letterboxed(drawn(cut.input.size_wh, seed=9), cut.input)
    before, found = engine.run({cut.input.name: as_floats(pictures, cut.input)}), camera.run({cut.input.name: pictures})
    for was, new in zip(before, found, strict=True):
        assert np.abs(was - new).max() <= 0.02 * max(1, np.abs(was).max())
    assert camera.describe().precision == engine.describe().precision
    assert camera.describe().inputs[0].dtype == "uint8"


def test_a_detector_feeds_it_as_its_input_says(tmp_path):
    """What `to_tensor` makes of a frame by either input is what either network takes."""
    cut = cut_tiny(tmp_path)
    camera = take_camera_frames(cut.model, cut.input)
    frame = drawn((90, 50))
    artifacts = [type("Fitted", (), {"input": spec}) for spec in (cut.input, camera.input)]
    floats, pixels = (to_tensor(frame, artifact) for artifact in artifacts)
    assert (pixels.dtype, pixels.shape) == (np.uint8, camera.input.shape)
    for a, b in zip(outputs_of(cut.model, {"images": floats}), outputs_of(camera.model, {"images": pixels}), strict=True):
        assert np.abs(a - b).max() <= SAME * max(1, np.abs(a).max())


@pytest.mark.parametrize(
    ("changed", "got"),
    [
        ({"name": "elsewhere"}, "input elsewhere"),
        ({"layout": "NHWC", "shape": (1, 64, 64, 3)}, "float32 NHWC"),
        ({"dtype": "uint8"}, "uint8 NCHW"),
    ],
)
def test_what_is_no_float_input_with_channels_first_is_refused(changed, got):
    model = build_tiny_detector()
    with pytest.raises(ModelError, match="only a float input with its channels first can be made a camera's") as caught:
        take_camera_frames(model, replace(recognise(model).input, **changed))
    assert got in caught.value.got


def test_what_takes_frames_already_is_refused():
    model = build_tiny_detector()
    camera = take_camera_frames(model, recognise(model).input)
    with pytest.raises(ModelError, match="only a float input") as caught:
        take_camera_frames(camera.model, camera.input)
    assert "uint8 NHWC" in caught.value.got


def test_a_real_detector_takes_frames(test_data):
    model = onnx.load(test_data / "models/yolov8n.onnx")
    spec = recognise(model).input
    camera = take_camera_frames(model, spec)
    [[before], [found]] = both(model, camera, spec)
    assert np.abs(before[:, 4:] - found[:, 4:]).max() <= SAME
    assert np.abs(before[:, :4] - found[:, :4]).max() <= 0.05, "pixels"

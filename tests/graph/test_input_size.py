"""Networks for pictures of another size: the one exported for that size and the one made for it say the same."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from cut_detector import cut_file, cut_tiny, drawn, outputs_of
from edgewright.compress.placement import place_pairs
from edgewright.compress.schemes import OPENVINO
from edgewright.data.images import read_image
from edgewright.data.video import read_frames
from edgewright.detections import Detections
from edgewright.errors import InputError, ModelError
from edgewright.graph.camera_input import take_camera_frames
from edgewright.graph.input_size import LARGEST_SIDE, camera_size, set_input_size
from edgewright.vision.heads import decode
from edgewright.vision.letterbox import Letterbox
from edgewright.vision.nms import suppress
from graph.small_models import model_of, random, tensor, value
from tiny_detector import build_tiny_detector

FRAME = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
STRIDE = st.sampled_from([8, 16, 32, 64])
FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end")


# --- which size ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame_wh", "expected"),
    [
        ((1920, 1080), (640, 384)),
        ((1280, 720), (640, 384)),
        ((1080, 1920), (384, 640)),
        ((640, 480), (640, 480)),
        ((640, 640), (640, 640)),
        ((100, 100), (640, 640)),
        ((768, 432), (640, 384)),
        ((2560, 1080), (640, 288)),
        ((640, 352), (640, 352)),
        ((1920, 1056), (640, 352)),
        ((5000, 1), (640, 32)),  # a sliver has one pixel
        ((1920, 1057), (640, 384)),  # a third of a row more than eleven strides
    ],
)
def test_the_shapes_of_cameras(frame_wh, expected):
    assert camera_size(frame_wh, (640, 640), 32) == expected


@given(FRAME, STRIDE, st.integers(1, 40))
@settings(deadline=None)
def test_a_camera_s_size_is_whole_strides_within_the_square_and_shows_the_frame_as_large(frame_wh, stride, cells):
    square = (stride * cells, stride * cells)
    size = camera_size(frame_wh, square, stride)
    assert all(0 < side <= most and side % stride == 0 for side, most in zip(size, square, strict=True))
    fitted, whole = Letterbox.fit(frame_wh, size), Letterbox.fit(frame_wh, square)
    assert fitted.scale == pytest.approx(whole.scale, rel=1e-9)
    assert [round(side * fitted.scale) for side in frame_wh] == [round(side * whole.scale) for side in frame_wh]
    # No more is padded than whole strides ask for.
    assert all(side - length * whole.scale < stride for side, length in zip(size, frame_wh, strict=True))


# --- the same answers ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(128, 96), (64, 96), (32, 32), (256, 128)], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_detector_made_for_a_size_is_the_one_exported_for_it(tmp_path, family, size):
    cut = cut_tiny(tmp_path, family=family)
    before = cut.model.SerializeToString()
    made = set_input_size(cut.model, cut.input.name, size, 32)
    assert cut.model.SerializeToString() == before, "the given model is left alone"
    assert made.rewritten == (), "convolutions do not care"
    onnx.checker.check_model(made.model, full_check=True)
    exported = cut_tiny(tmp_path, family=family, size=size)
    feed = exported.feed(drawn(size))
    found, expected = outputs_of(made.model, feed), outputs_of(exported.model, feed)
    for value_info, a, b in zip(made.model.graph.output, found, expected, strict=True):
        assert [dim.dim_value for dim in value_info.type.tensor_type.shape.dim] == list(a.shape)
        assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox"])
def test_a_network_with_pairs_takes_another_size_as_its_float_one_does(tmp_path, family):
    cut = cut_tiny(tmp_path, family=family)
    first, then = (
        set_input_size(place_pairs(cut.model, cut.ranges, (), OPENVINO), cut.input.name, (128, 96), 32).model,
        place_pairs(set_input_size(cut.model, cut.input.name, (128, 96), 32).model, cut.ranges, (), OPENVINO),
    )
    feed = {cut.input.name: np.random.default_rng(0).random((1, 3, 96, 128), np.float32)}
    for a, b in zip(outputs_of(first, feed), outputs_of(then, feed), strict=True):
        assert np.array_equal(a, b)


def attention(high, wide, *, channels=8, heads=2, resize="sizes") -> onnx.ModelProto:
    """A network with all that exporters bind to a size: cells in Reshape, a size in Resize; stride 4, then back to 2."""
    grid, each = (high // 4, wide // 4), channels // heads
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="half", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Conv", ["a", "w2"], ["b"], name="quarter", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Reshape", ["b", "by_head"], ["q"], name="flatten"),
        helper.make_node("Transpose", ["q"], ["k"], name="turn", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["k", "q"], ["m"], name="match"),
        helper.make_node("Softmax", ["m"], ["p"], name="shares", axis=-1),
        helper.make_node("MatMul", ["q", "p"], ["v"], name="mix"),
        helper.make_node("Reshape", ["v", "as_grid"], ["c"], name="unflatten"),
        helper.make_node("Resize", ["c", "", "", "large"] if resize == "sizes" else ["c", "", "double"], ["d"], name="resize"),
        helper.make_node("Concat", ["d", "a"], ["e"], name="concat", axis=1),
        helper.make_node("Conv", ["e", "w3"], ["fine"], name="fine_head"),
        helper.make_node("Conv", ["c", "w4"], ["coarse"], name="coarse_head"),
    ]
    held = [
        *(random(name, *shape, seed=at) for at, (name, shape) in enumerate(
            {"w1": (6, 3, 3, 3), "w2": (channels, 6, 3, 3), "w3": (5, channels + 6, 1, 1), "w4": (5, channels, 1, 1)}.items()
        )),
        tensor("by_head", [1, heads, each, grid[0] * grid[1]], np.int64),
        tensor("as_grid", [1, channels, *grid], np.int64),
        tensor("large", [1, channels, high // 2, wide // 2], np.int64),
        tensor("double", [1, 1, 2, 2]),
    ]  # fmt: skip
    outputs = [value("fine", [1, 5, high // 2, wide // 2]), value("coarse", [1, 5, *grid])]
    return model_of(nodes, [value("x", [1, 3, high, wide])], outputs, held)


@pytest.mark.parametrize("resize", ["sizes", "scales"])
@pytest.mark.parametrize("size", [(48, 24), (24, 48), (16, 40), (64, 64)], ids=str)
def test_what_is_bound_to_a_size_is_rewritten(size, resize):
    model = attention(40, 40, resize=resize)
    made = set_input_size(model, "x", size, 4)
    assert made.rewritten == ("flatten", "unflatten", *(("resize",) if resize == "sizes" else ()))
    onnx.checker.check_model(made.model, full_check=True)
    feed = {"x": np.random.default_rng(0).random((1, 3, size[1], size[0]), np.float32)}
    for a, b in zip(outputs_of(made.model, feed), outputs_of(attention(size[1], size[0], resize=resize), feed), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize("shape", [[1, 2, 4, -1], [0, 2, 4, -1], [-1, 2, 4, 100]], ids=str)
def test_sizes_left_to_inference_are_understood(shape):
    model = attention(40, 40)
    next(held for held in model.graph.initializer if held.name == "by_head").CopyFrom(tensor("by_head", shape, np.int64))
    made = set_input_size(model, "x", (48, 24), 4)
    feed = {"x": np.random.default_rng(0).random((1, 3, 24, 48), np.float32)}
    for a, b in zip(outputs_of(made.model, feed), outputs_of(attention(24, 48), feed), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_a_constant_that_two_read_is_rewritten_for_each():
    """Exporters share equal shapes; a batch of heads may be reshaped twice by one constant."""
    model = attention(40, 40)
    model.graph.node.insert(3, helper.make_node("Reshape", ["q", "by_head"], ["q2"], name="again"))
    model.graph.node[4].input[0] = "q2"
    made = set_input_size(model, "x", (48, 24), 4)
    assert "again" in made.rewritten
    feed = {"x": np.random.default_rng(0).random((1, 3, 24, 48), np.float32)}
    assert outputs_of(made.model, feed)[0].shape == (1, 5, 12, 24)


def test_the_size_it_has_changes_nothing():
    made = set_input_size(attention(40, 40), "x", (40, 40), 4)
    assert made.rewritten == ()


def test_there_and_back_is_the_same_network():
    model = attention(40, 40)
    back = set_input_size(set_input_size(model, "x", (48, 24), 4).model, "x", (40, 40), 4).model
    feed = {"x": np.random.default_rng(0).random((1, 3, 40, 40), np.float32)}
    for a, b in zip(outputs_of(back, feed), outputs_of(model, feed), strict=True):
        assert np.array_equal(a, b)


# --- refusals -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(0, 64), (-32, 64), (64, 65), (48, 64), (LARGEST_SIDE + 32, 64)], ids=str)
def test_no_size_of_whole_strides_is_refused(tmp_path, size):
    cut = cut_tiny(tmp_path)
    with pytest.raises(InputError, match="is no input size for this model; expected width and height as multiples of 32"):
        set_input_size(cut.model, cut.input.name, size, 32)


def test_a_reshape_that_computes_its_size_is_refused():
    model = attention(40, 40)
    shape = [
        helper.make_node("Shape", ["a"], ["s"], name="shape"),
        helper.make_node("Concat", ["front", "s"], ["computed"], name="join", axis=0),
    ]
    at = next(at for at, node in enumerate(model.graph.node) if node.name == "flatten")
    model.graph.node[at].input[1] = "computed"
    for node in reversed(shape):
        model.graph.node.insert(at, node)
    model.graph.initializer.append(tensor("front", [1], np.int64))
    with pytest.raises(ModelError, match="flatten computes a size") as caught:
        set_input_size(model, "x", (48, 24), 4)
    assert caught.value.fix == "export it with that size"


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "end2end"])
def test_a_detector_with_its_decode_is_refused(family):
    """Its anchors are constants for every cell."""
    with pytest.raises(ModelError, match=r"cannot become 320x192|cannot be changed"):
        set_input_size(build_tiny_detector(family=family, size=320), "images", (320, 192), 32)


def test_a_constant_for_every_cell_is_refused():
    model = attention(40, 40)
    model.graph.initializer.append(random("places", 1, 5, 10, 10))
    model.graph.node[-1].output[0] = "bare"
    model.graph.node.append(helper.make_node("Add", ["bare", "places"], ["coarse"], name="add"))
    with pytest.raises(ModelError, match="cannot become 48x24; got output coarse"):
        set_input_size(model, "x", (48, 24), 4)


def test_a_linear_layer_over_all_cells_is_refused():
    model = attention(40, 40)
    model.graph.initializer.append(random("m", 500, 3))
    model.graph.node.append(helper.make_node("Flatten", ["coarse"], ["flat"], name="flat"))
    model.graph.node.append(helper.make_node("Gemm", ["flat", "m"], ["scores"], name="gemm"))
    model.graph.output.append(value("scores", [1, 3]))
    with pytest.raises(ModelError, match="cannot become 48x24"):
        set_input_size(model, "x", (48, 24), 4)


@pytest.mark.parametrize("size", [(16, 24), (24, 16), (32, 8)], ids=str)
def test_as_many_channels_as_cells_are_not_taken_for_cells(size):
    """Where the two cannot be told apart the size is refused: a network that was rewritten wrongly runs, and answers nonsense."""
    model = attention(16, 16, channels=32)  # 16 cells, and 16 channels a head
    with pytest.raises(ModelError, match=r"cannot be changed; got flatten to \(1, 2, 16, 16\), of which nobody says what are pixels"):
        set_input_size(model, "x", size, 4)


def test_a_reshape_that_holds_another_number_of_values_is_refused():
    """Inference believes any Reshape; a fifth of the cells in an axis of its own is none that we know."""
    model = attention(40, 40)
    at = next(at for at, node in enumerate(model.graph.node) if node.name == "flatten")
    model.graph.node[at].input[0] = "apart"
    model.graph.node.insert(at, helper.make_node("Reshape", ["b", "areas"], ["apart"], name="by_area"))
    model.graph.initializer.append(tensor("areas", [1, 8, 5, 20], np.int64))
    with pytest.raises(ModelError, match=r"cannot become 48x24; got by_area from \(1, 8, 6, 12\) to \(1, 8, 5, 20\)"):
        set_input_size(model, "x", (48, 24), 4)


# --- what the frames show -----------------------------------------------------------------------------------------------------------------


def detections(model, cut, spec_size, frame, score=0.3):
    """What a form of the cut network finds in the frame, in its pixels."""
    high, wide = frame.shape[:2]
    box = Letterbox.fit((wide, high), spec_size)
    [given] = model.graph.input
    feed = {given.name: box.apply(frame)[None]}
    boxes, scores, class_ids = decode(cut.head, outputs_of(model, feed), score, size_wh=spec_size)
    keep = suppress(boxes, scores, class_ids, iou=0.7, most=300)
    return Detections(box.to_source(boxes[keep]), scores[keep], class_ids[keep], tuple(map(str, range(80))))


def frames_form(cut, size):
    """The cut network at that size, fed with frames as they are."""
    sized = set_input_size(cut.model, cut.input.name, size, max(cut.head.strides)).model
    spec = type(cut.input)(cut.input.name, (1, 3, size[1], size[0]), colour=cut.input.colour, scale=cut.input.scale)
    return take_camera_frames(sized, spec).model


@pytest.mark.parametrize("frame_wh", [(512, 288), (256, 144), (256, 192), (144, 256)], ids=str)
@pytest.mark.parametrize("family", ["yolov8", "yolov5"])
def test_a_fitted_shape_finds_what_the_square_finds(tmp_path, family, frame_wh):
    cut = cut_tiny(tmp_path, family=family, size=256)
    size = camera_size(frame_wh, (256, 256), 32)
    assert min(size) < 256
    frame = drawn(frame_wh, seed=4, side=24 * max(frame_wh) // 256)
    square, fitted = (detections(frames_form(cut, each), cut, each, frame) for each in ((256, 256), size))
    assert set(square.class_ids) == {0, 1, 2}
    assert sorted(fitted.class_ids) == sorted(square.class_ids)
    scale = max(frame_wh) / 256
    for box, class_id in zip(square.boxes_xyxy, square.class_ids, strict=True):
        same = fitted.boxes_xyxy[fitted.class_ids == class_id]
        assert np.abs(same - box).max(axis=1).min() <= scale, "a pixel of the input"


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def test_a_real_detector_finds_the_same_in_a_fitted_shape(test_data, tmp_path):
    cut = cut_file(test_data / "models/yolov8n.onnx", tmp_path, [drawn((640, 640))])
    for frame in read_frames(test_data / "video/bottle-detection.mp4"):
        if frame.index >= 300:
            break
    pixels = frame.image_rgb
    size = camera_size((pixels.shape[1], pixels.shape[0]), (640, 640), 32)
    assert size == (640, 384)
    square, fitted = (detections(frames_form(cut, each), cut, each, pixels, score=0.25) for each in ((640, 640), size))
    sure = square.scores > 0.3
    assert sure.any()
    for box, score, class_id in zip(square.boxes_xyxy[sure], square.scores[sure], square.class_ids[sure], strict=True):
        best = max(range(len(fitted.scores)), key=lambda at, box=box: overlap(box, fitted.boxes_xyxy[at]))
        assert overlap(box, fitted.boxes_xyxy[best]) > 0.9
        assert fitted.class_ids[best] == class_id
        assert fitted.scores[best] == pytest.approx(score, abs=0.05)
    assert (fitted.scores > 0.3).sum() <= len(square.scores)


def test_a_real_detector_with_attention_takes_another_size(test_data, tmp_path):
    """Interior cells cannot be the square's, for attention sees them all; but convolutions and sizes must fit."""
    picture = read_image(next((test_data / "deeppcb/images/val").iterdir()))
    cut = cut_file(test_data / "models/pcb320_yolo11n.onnx", tmp_path, [picture])
    made = set_input_size(cut.model, cut.input.name, (320, 192), 32)
    assert made.rewritten
    onnx.checker.check_model(made.model, full_check=True)
    back = set_input_size(made.model, cut.input.name, (320, 320), 32).model
    feed = {cut.input.name: np.random.default_rng(0).random((1, 3, 192, 320), np.float32)}
    shapes = [found.shape[2:] for found in outputs_of(made.model, feed)]
    assert shapes == [(192 // stride, 320 // stride) for stride in cut.head.strides for _ in range(2)]
    assert all(a >= b for a, b in pairwise(shapes))
    for a, b in zip(outputs_of(back, cut.feed(picture)), outputs_of(cut.model, cut.feed(picture)), strict=True):
        assert a == pytest.approx(b, abs=1e-3)

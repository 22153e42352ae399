"""A detector is known by its structure: not by names, not by free axes, and what is no such detector is refused by what it is."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewright.compress.candidates import check_head_cut, prepare_float_forms
from edgewright.detector import artifact_of_model
from edgewright.errors import ModelError
from edgewright.graph.head import family_of, recognise
from edgewright.graph.load import load_model
from tiny_detector import build_tiny_detector, rename_everything, save_tiny_detector


def essence(head):
    """All of a head but its names."""
    return (
        head.classes,
        head.reg_max,
        head.strides,
        head.input.shape,
        [conv.channels for conv in head.box_convs],
        [conv.channels for conv in head.class_convs],
    )


@pytest.mark.parametrize(
    ("name", "classes", "side"),
    [
        ("yolov8n", 80, 640),
        ("yolov8n_unfused_bn", 80, 640),
        ("yolov8n_int8_lamri", 80, 640),
        ("pcb_yolov8n", 6, 640),
        ("pcb320_yolo11n", 6, 320),
    ],
)
def test_recognises_real_detectors(test_data, name, classes, side):
    model = load_model(test_data / f"models/{name}.onnx")
    head = recognise(model)
    assert essence(head) == (classes, 16, (8, 16, 32), (1, 3, side, side), [64] * 3, [classes] * 3)
    made = {output for node in model.graph.node for output in node.output}
    assert {output.name for output in head.raw.outputs} <= made


@pytest.mark.parametrize("name", ["yolov8n", "pcb320_yolo11n"])
def test_names_of_real_detectors_do_not_matter(test_data, name):
    model = load_model(test_data / f"models/{name}.onnx")
    assert essence(recognise(rename_everything(model))) == essence(recognise(model))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("yolov5n", "an objectness head (YOLOv5 type)"),
        ("yolox_nano", "a decoupled objectness head (YOLOX type)"),
        ("pcb320_yolov10n_end2end", "an end-to-end head"),
        ("pcb320_yolo26n_end2end", "an end-to-end head"),
    ],
)
def test_refuses_other_families_by_what_they_are(test_data, name, said):
    model = load_model(test_data / f"models/{name}.onnx")
    with pytest.raises(ModelError, match="not a detector we can decode") as caught:
        recognise(model)
    assert caught.value.got.startswith(said)
    assert family_of(model) is None


OPTIONS = [
    {},
    {"activation": "relu"},
    {"classes": ("only",)},
    {"classes": ("a", "b"), "reg_max": 16},
    {"size": 96},
    {"reg_max": 1, "classes": tuple("abcdefgh")},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_recognises_a_detector_made_on_the_spot(options):
    head = recognise(build_tiny_detector(**options))
    classes, reg_max, size = len(options.get("classes", "rgb")), options.get("reg_max", 4), options.get("size", 64)
    assert essence(head) == (classes, reg_max, (8, 16, 32), (1, 3, size, size), [4 * reg_max] * 3, [classes] * 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("options", OPTIONS)
def test_names_do_not_matter(options, seed):
    model = build_tiny_detector(**options)
    assert essence(recognise(rename_everything(model, seed))) == essence(recognise(model))


def test_free_axes_take_the_size_the_exporter_wrote_down():
    free = build_tiny_detector(dynamic=True)
    assert essence(recognise(free)) == essence(recognise(build_tiny_detector()))


def test_free_outputs_too():
    model = build_tiny_detector(dynamic=True)
    for dim, name in zip(model.graph.output[0].type.tensor_type.shape.dim, ("batch", "rows", "anchors"), strict=True):
        dim.dim_param = name
    assert essence(recognise(model)) == essence(recognise(build_tiny_detector()))


@pytest.mark.parametrize("class_first", [False, True])
@pytest.mark.parametrize("names", ["plain", "random"])
def test_equal_widths_of_both_branches_come_out_right_or_are_refused(tmp_path, class_first, names):
    model = build_tiny_detector(classes=tuple("abcdefghijklmnop"), reg_max=4, class_first=class_first)
    path = tmp_path / "equal.onnx"
    onnx.save(rename_everything(model) if names == "random" else model, path)
    forms = prepare_float_forms(artifact_of_model(path), tmp_path)
    feed = {forms.head.input.name: np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    if class_first:  # the guess, box before class, is wrong
        with pytest.raises(ModelError, match="was not understood"):
            check_head_cut(forms, feed, threads=1)
    else:
        check_head_cut(forms, feed, threads=1)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_cut_head_says_what_the_whole_network_says(tmp_path, options):
    path = save_tiny_detector(tmp_path / "tiny.onnx", **options)
    forms = prepare_float_forms(artifact_of_model(path), tmp_path)
    check_head_cut(forms, {"images": np.random.default_rng(0).random(forms.head.input.shape, np.float32)}, threads=1)
    cut = onnx.load(forms.cut)
    assert [output.name for output in cut.graph.output] == [output.name for output in forms.head.raw.outputs]
    assert not {"Softmax", "Split"} & {node.op_type for node in cut.graph.node}


def test_finds_wrong_strides_or_bins_when_the_cut_is_checked(tmp_path):
    """A graph of the right shape whose decode is not the family's must not be fitted."""
    model = build_tiny_detector()
    last_mul = next(node for node in reversed(model.graph.node) if node.op_type == "Mul")
    strides = next(held for held in model.graph.initializer if held.name == last_mul.input[1])
    strides.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(strides) * np.float32(1.1), strides.name))
    onnx.save(model, tmp_path / "odd.onnx")
    forms = prepare_float_forms(artifact_of_model(tmp_path / "odd.onnx"), tmp_path)
    with pytest.raises(ModelError, match="was not understood"):
        check_head_cut(forms, {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}, threads=1)


def test_a_grid_with_a_third_branch_is_refused():
    """As a segmentation or pose head has."""
    model = build_tiny_detector()
    nodes = model.graph.node
    at, concat = next((at, node) for at, node in enumerate(nodes) if node.op_type == "Concat")
    cls = next(node for node in nodes if concat.input[1] in node.output)
    third, summed = onnx.NodeProto(), helper.make_node("Add", [concat.input[1], "third"], ["summed"])
    third.CopyFrom(cls)
    third.output[0] = "third"
    concat.input[1] = "summed"
    nodes.insert(at, summed)
    nodes.insert(at, third)
    with pytest.raises(ModelError, match="3 head convolutions at stride 8"):
        recognise(model)


def with_input(shape, elem_type=TensorProto.FLOAT, *, more=0):
    model = build_tiny_detector()
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("images", elem_type, shape))
    model.graph.input.extend(helper.make_tensor_value_info(f"more{at}", TensorProto.FLOAT, [1]) for at in range(more))
    return model


def with_two_outputs():
    model = build_tiny_detector()
    model.graph.output.append(helper.make_tensor_value_info(model.graph.node[0].output[0], TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (with_input([1, 1, 64, 64]), "an input of shape [1, 1, 64, 64]"),
        (with_input([4, 3, 64, 64]), "an input of shape [4, 3, 64, 64]"),
        (with_input([1, 3, 64]), "an input of shape [1, 3, 64]"),
        (with_input([1, 3, 64, 64], TensorProto.UINT8), "an input of type uint8"),
        (with_input([1, 3, 64, 64], more=1), "2 inputs"),
        (with_two_outputs(), "2 outputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refuses_what_it_cannot_feed_or_read(model, said):
    with pytest.raises(ModelError) as caught:
        recognise(model)
    assert caught.value.got == said
    assert "YOLOv8-type" in caught.value.expected

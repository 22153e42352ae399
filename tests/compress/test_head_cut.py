"""A head is cut only where our decode says what the graph's own tail says; whatever the family, the exporter and the order of things."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from edgewright.artifact import RAW_ROLES
from edgewright.compress import head_cut
from edgewright.compress.head_cut import cut_head, fold, raw_head, upgrade
from edgewright.compress.quantize import float_nodes, name_nodes
from edgewright.errors import ModelError
from edgewright.graph.head import recognise
from edgewright.graph.load import load_model
from edgewright.vision.heads import decode
from tiny_detector import COLOURS, build_tiny_detector, rename_everything

FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")
SIXTEEN = tuple("abcdefghijklmnop")
OPTIONS = [
    {},
    {"activation": "relu", "classes": ("red", "green")},
    {"classes": SIXTEEN},  # as wide as a box branch
    {"classes": SIXTEEN, "class_first": True},
    {"classes": tuple("abcd"), "reg_max": 1},
    {"size": (96, 64), "strides": (4, 8, 16, 32)},
    {"size": (128, 192), "strides": (8, 16, 32, 64)},
    {"dynamic": True},
]


def folded(model: onnx.ModelProto, folder: Path):
    """The model as `fold` writes it, and its head."""
    onnx.save(model, folder / "model.onnx")
    head = recognise(model)
    fold(folder / "model.onnx", folder / "folded.onnx", head)
    return onnx.load(folder / "folded.onnx"), head


def outputs_of(model: onnx.ModelProto, feed):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feed)


def picture(head):
    """A green rectangle on noise, as the network eats it; green is the same in RGB and BGR."""
    pixels = np.random.default_rng(0).uniform(90, 130, head.input.shape)
    pixels[0, :, 20:44, 12:36] = np.array(COLOURS["green"]).reshape(3, 1, 1)
    return {head.input.name: (pixels * head.input.scale).astype(np.float32)}


def assert_same(whole, cut):
    """At every cell the same score; the same box and class where anything is to be seen. In an end-to-end output order is by score."""
    most = len(whole[1])  # fewer than 300 on grids this small
    whole, cut = ([column[np.argsort(-found[1], kind="stable")[:most]] for column in found] for found in (whole, cut))
    assert cut[1] == pytest.approx(whole[1], abs=1e-5)
    seen = whole[1] > 0.1
    assert seen.any()
    assert cut[0][seen] == pytest.approx(whole[0][seen], abs=1e-2, rel=1e-5)
    assert cut[2][seen].tolist() == whole[2][seen].tolist()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_network_says_what_the_whole_one_says(tmp_path, family, options):
    whole, head = folded(build_tiny_detector(family=family, **options), tmp_path)
    raw = raw_head(whole, head)
    cut = cut_head(whole, raw)
    assert [output.name for output in cut.graph.output] == [output.name for output in raw.outputs]
    assert [output.role for output in raw.outputs] == list(RAW_ROLES[raw.family]) * len(head.strides)
    assert not {"Softmax", "Split", "Exp", "Pow", "TopK", "NonMaxSuppression"} & {node.op_type for node in cut.graph.node}
    if family == "nms":
        return  # which boxes its suppression leaves is its own affair; what they are is asked by `raw_head`
    feed, size_wh = picture(head), head.input.size_wh
    expected = decode(head.decoded, outputs_of(whole, feed), -1.0, size_wh=size_wh)
    assert_same(expected, decode(raw, outputs_of(cut, feed), -1.0, size_wh=size_wh))


@pytest.mark.parametrize(
    ("family", "expected", "suppress"),
    [("yolov8", "yolov8", True), ("yolox decoded", "yolox", True), ("end2end", "end2end", False), ("nms", "yolov8", True)],
)
def test_who_suppresses_follows_from_what_was_cut_off(tmp_path, family, expected, suppress):
    whole, head = folded(build_tiny_detector(family=family), tmp_path)
    raw = raw_head(whole, head)
    assert (raw.family, raw.needs_nms) == (expected, suppress)


@pytest.mark.parametrize(
    ("name", "family", "bins"),
    [
        ("yolov8n", "yolov8", 16),
        ("yolov8n_unfused_bn", "yolov8", 16),
        ("pcb320_yolo11n", "yolov8", 16),
        ("yolov5n", "yolov5", None),
        ("yolox_nano", "yolox", None),
        ("pcb320_yolov10n_end2end", "end2end", 16),
        ("pcb320_yolo26n_end2end", "end2end", 1),
    ],
)
def test_the_heads_of_real_detectors_are_understood(test_data, tmp_path, name, family, bins):
    path = test_data / f"models/{name}.onnx"
    head = recognise(load_model(path))
    fold(path, tmp_path / "folded.onnx", head)
    raw = raw_head(onnx.load(tmp_path / "folded.onnx"), head)
    assert (raw.family, raw.reg_max, raw.strides) == (family, bins, (8, 16, 32))
    if family == "yolov5":  # as its authors publish them (models/yolov5n.yaml)
        assert raw.anchors == (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("class_first", [False, True])
def test_equal_widths_and_meaningless_names_are_told_apart(tmp_path, family, class_first):
    """Sixteen classes and four sides of four bins; for YOLOX four classes and four sides."""
    options = {"classes": SIXTEEN[:4] if family.startswith("yolox") else SIXTEEN, "class_first": class_first}
    whole, head = folded(rename_everything(build_tiny_detector(family=family, **options)), tmp_path)
    assert raw_head(whole, head).strides == (8, 16, 32)


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox decoded", "end2end"])
def test_grids_may_come_coarse_first(tmp_path, family):
    whole, head = folded(build_tiny_detector(family=family, strides=(32, 16, 8)), tmp_path)
    assert raw_head(whole, head).strides == (8, 16, 32)


@pytest.mark.parametrize("operator", ["Mul", "Add"])
def test_arithmetic_right_behind_a_convolution_is_folded_into_it(tmp_path, operator):
    """YOLOv7 learns a factor and an offset for each channel of its head."""
    model = build_tiny_detector(family="yolov5")
    conv = recognise(model).convs[0][0]
    at, node = next((at, node) for at, node in enumerate(model.graph.node) if conv.tensor in node.output)
    node.output[0] = "before"
    values = np.random.default_rng(0).uniform(0.5, 1.5, (1, conv.channels, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "implicit"))
    model.graph.node.insert(at + 1, helper.make_node(operator, ["before", "implicit"], [conv.tensor]))
    whole, head = folded(model, tmp_path)
    raw = raw_head(whole, head)
    feed = picture(head)
    expected = decode(head.decoded, outputs_of(whole, feed), -1.0, size_wh=(64, 64))
    assert_same(expected, decode(raw, outputs_of(cut_head(whole, raw), feed), -1.0, size_wh=(64, 64)))


def change(model, kind, index, changed):
    """Change a constant of the last node of this kind."""
    node = [node for node in model.graph.node if node.op_type == kind][index]
    held = next(held for held in model.graph.initializer if held.name in node.input)
    held.CopyFrom(numpy_helper.from_array(changed(numpy_helper.to_array(held)).astype(np.float32), held.name))
    return model


@pytest.mark.parametrize(
    ("family", "kind", "index", "changed"),
    [
        ("yolov8", "Mul", -1, lambda strides: strides * 1.1),
        ("yolov8", "Sub", 0, lambda anchors: anchors + 0.5),
        ("yolov8", "Conv", -1, lambda bins: bins[:, ::-1]),
        ("yolov5", "Mul", -1, lambda anchors: anchors[:, ::-1]),
        ("yolov5", "Pow", -1, lambda power: power + 1),
        ("yolov5", "Add", -1, lambda grid: grid + 0.5),
        ("yolox decoded", "Add", -1, lambda grid: grid + 0.5),
        ("yolox decoded", "Mul", -1, lambda strides: strides * 1.1),
        ("end2end", "Mul", -1, lambda strides: strides * 1.1),
        ("nms", "Mul", -1, lambda strides: strides * 1.1),
    ],
)
def test_a_decode_that_is_not_the_family_s_is_never_cut_off(tmp_path, family, kind, index, changed):
    model = build_tiny_detector(family=family)
    last_grid_swapped = family == "yolov5" and kind == "Mul"
    whole, head = folded(change(model, kind, index, changed), tmp_path)
    if last_grid_swapped:  # the order of anchors is the graph's to choose, and is read from it
        assert raw_head(whole, head).anchors[-1] == ((11.375 * 4, 160.0), (96.0, 96.0))
        return
    with pytest.raises(ModelError, match="the head of this model was not understood"):
        raw_head(whole, head)


def test_a_decode_that_reads_the_picture_is_never_cut_off(tmp_path):
    model = build_tiny_detector()
    last = model.graph.node[-1]
    last.output[0] = "boxes"
    model.graph.node.append(helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0))
    model.graph.node.append(helper.make_node("Mul", ["boxes", "mean"], ["output0"]))
    whole, head = folded(model, tmp_path)
    with pytest.raises(ModelError, match="reads more than the head convolutions"):
        raw_head(whole, head)


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "end2end"])
def test_the_nodes_of_the_decode_are_those_that_cutting_removes(tmp_path, family):
    whole, head = folded(build_tiny_detector(family=family), tmp_path)
    name_nodes(whole.graph)
    names = float_nodes(whole.graph, ("decode",))
    kept = {node.name for node in cut_head(whole, raw_head(whole, head)).graph.node}
    assert names
    assert kept.isdisjoint(names)
    assert kept | set(names) == {node.name for node in whole.graph.node}


# --- old opsets ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["yolox", "yolox decoded", "yolov5"])
@pytest.mark.parametrize("opset", [11, 12, 13])
def test_an_old_opset_is_brought_up_to_date_and_answers_the_same(tmp_path, family, opset):
    model = build_tiny_detector(family=family, opset=opset)
    whole, head = folded(model, tmp_path)
    assert max(each.version for each in whole.opset_import if not each.domain) >= 13
    for before, after in zip(outputs_of(model, picture(head)), outputs_of(whole, picture(head)), strict=True):
        assert after == pytest.approx(before, abs=1e-3, rel=1e-4)
    raw_head(whole, head)


def test_a_model_that_is_new_enough_is_left_alone():
    model = build_tiny_detector()
    assert upgrade(model, recognise(model)) is model


def test_an_upgrade_that_changes_answers_is_refused(monkeypatch):
    model = build_tiny_detector(family="yolox", opset=11)
    other = build_tiny_detector(family="yolox", seed=1)
    monkeypatch.setattr(head_cut.onnx.version_converter, "convert_version", lambda *_: other)
    with pytest.raises(ModelError, match="answers differently once its opset 11 is brought to 13") as caught:
        upgrade(model, recognise(model))
    assert "export it again with opset 13 or newer" in caught.value.fix


def test_an_upgrade_that_fails_is_one_sentence(monkeypatch):
    def fail(*_):
        raise RuntimeError("no adapter for Upsample\nat line 3")

    model = build_tiny_detector(family="yolox", opset=11)
    monkeypatch.setattr(head_cut.onnx.version_converter, "convert_version", fail)
    with pytest.raises(ModelError, match="opset 11 cannot be brought to 13") as caught:
        upgrade(model, recognise(model))
    assert caught.value.got == "no adapter for Upsample"

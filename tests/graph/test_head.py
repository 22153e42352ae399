"""A detector is known by its structure: not by names, not by free axes, and what is no such detector is refused by what it is."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_models import model_of, random, sound_model, tensor, value

from edgewright.errors import ModelError
from edgewright.graph.head import family_of, recognise
from edgewright.graph.load import load_model
from edgewright.graph.shapes import shapes_of
from tiny_detector import build_tiny_detector, rename_everything

FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")
SIXTEEN = tuple("abcdefghijklmnop")
# What may differ between two detectors of one family.
OPTIONS = [
    {},
    {"activation": "relu"},
    {"classes": ("only",)},
    {"classes": ("a", "b"), "reg_max": 16},
    {"classes": SIXTEEN},  # as many as a box has channels, 4 * reg_max
    {"classes": SIXTEEN, "class_first": True},
    {"classes": tuple("abcd"), "reg_max": 1},
    {"classes": SIXTEEN, "reg_max": 1},
    {"size": 96},
    {"size": (96, 64)},
    {"size": (64, 160)},
    {"strides": (4, 8, 16, 32)},
    {"strides": (8, 16, 32, 64), "size": (128, 192)},
    {"strides": (16, 32)},
]


def essence(head):
    """All of a head but its names."""
    return (
        head.family,
        head.decoded.outputs[0].role,
        head.classes,
        head.reg_max,
        head.strides,
        head.input.shape,
        (head.input.colour, head.input.scale),
        [sorted(conv.channels for conv in grid) for grid in head.convs],
    )


@pytest.mark.parametrize(
    ("name", "family", "classes", "reg_max", "side", "widths"),
    [
        ("yolov8n", "yolov8", 80, 16, 640, [64, 80]),
        ("yolov8n_unfused_bn", "yolov8", 80, 16, 640, [64, 80]),
        ("yolov8n_int8_lamri", "yolov8", 80, 16, 640, [64, 80]),
        ("pcb_yolov8n", "yolov8", 6, 16, 640, [6, 64]),
        ("pcb320_yolo11n", "yolov8", 6, 16, 320, [6, 64]),
        ("yolov5n", "yolov5", 80, None, 640, [255]),
        ("yolox_nano", "yolox", 80, None, 416, [1, 4, 80]),
        ("pcb320_yolov10n_end2end", "end2end", 6, 16, 320, [6, 64]),
        ("pcb320_yolo26n_end2end", "end2end", 6, 1, 320, [4, 6]),
    ],
)
def test_recognises_real_detectors_whatever_their_names(test_data, name, family, classes, reg_max, side, widths):
    model = load_model(test_data / f"models/{name}.onnx")
    head = recognise(model)
    eats = ("BGR", 1.0) if family == "yolox" else ("RGB", 1 / 255)
    role = "undecoded" if family == "yolox" else "decoded"
    assert essence(head) == (family, role, classes, reg_max, (8, 16, 32), (1, 3, side, side), eats, [widths] * 3)
    assert essence(recognise(rename_everything(model))) == essence(head)
    assert family_of(model) == family


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_recognises_a_detector_made_on_the_spot_whatever_its_names(family, options):
    model = build_tiny_detector(family=family, **options)
    classes, bins, strides = len(options.get("classes", "rgb")), options.get("reg_max", 4), options.get("strides", (8, 16, 32))
    size = options.get("size", 64)
    wide, high = size if isinstance(size, tuple) else (size, size)
    named, reg_max, widths = {
        "yolov5": ("yolov5", None, [2 * (5 + classes)]),
        "yolox": ("yolox", None, sorted([4, 1, classes])),
        "yolox decoded": ("yolox", None, sorted([4, 1, classes])),
        "yolov8": ("yolov8", bins, sorted([4 * bins, classes])),
    }.get(family, ("end2end", bins, sorted([4 * bins, classes])))
    eats = ("BGR", 1.0) if named == "yolox" else ("RGB", 1 / 255)
    role = "undecoded" if family == "yolox" else "decoded"
    expected = (named, role, classes, reg_max, strides, (1, 3, high, wide), eats, [widths] * len(strides))
    assert essence(recognise(model)) == expected
    assert essence(recognise(rename_everything(model, seed=len(strides)))) == expected


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "yolox decoded"])
def test_the_axes_of_an_output_may_be_swapped(family):
    assert essence(recognise(build_tiny_detector(family=family, transposed=True))) == essence(recognise(build_tiny_detector(family=family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_free_axes_take_the_size_the_exporter_wrote_down(family):
    model = build_tiny_detector(family=family, dynamic=True)
    fixed = recognise(build_tiny_detector(family=family))
    assert essence(recognise(model)) == essence(fixed)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert essence(recognise(model)) == essence(fixed)


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        ("[96, 160]", (1, 3, 96, 160)),
        ("128", (1, 3, 128, 128)),
        ("", (1, 3, 640, 640)),
        ("[0, 0]", (1, 3, 640, 640)),
        ("333", (1, 3, 384, 384)),
    ],
)
def test_a_size_in_the_metadata_is_a_hint_for_free_axes(said, shape):
    model = build_tiny_detector(family="yolox", dynamic=True)
    helper.set_model_props(model, {"imgsz": said})
    assert recognise(model).input.shape == shape
    fixed = build_tiny_detector(family="yolox")
    helper.set_model_props(fixed, {"imgsz": said})
    assert recognise(fixed).input.shape == (1, 3, 64, 64)


@pytest.mark.parametrize(("named", "reg_max", "classes"), [(64, 16, 64), (80, 16, 80), (None, 16, 80)])
def test_metadata_settles_what_the_structure_of_an_end_to_end_head_leaves_open(named, reg_max, classes):
    """Two branches of 64 and 80 channels could be 16 bins and 80 classes or 20 bins and 64 classes."""
    real, bins = (classes, reg_max) if classes != 64 else (64, 20)
    model = build_tiny_detector(family="end2end", classes=tuple(map(str, range(real))), reg_max=bins)
    helper.set_model_props(model, {} if named is None else {"names": repr([str(n) for n in range(named)])})
    assert (recognise(model).classes, recognise(model).reg_max) == (real, bins)


def test_an_old_export_that_gives_its_maps_as_well_is_read_by_its_boxes():
    model = build_tiny_detector(family="yolov5")
    apart = [node.output[0] for node in model.graph.node if node.op_type == "Transpose"]
    model.graph.output.extend(value(name, shapes_of(model)[name]) for name in apart)
    assert [output.name for output in recognise(model).decoded.outputs] == ["output0"]


def test_a_suppression_inside_an_if_is_found():
    """Exporters put it there, to leave it out where nothing is found."""
    model = build_tiny_detector(family="nms")
    nodes = model.graph.node
    at, chosen = next((at, node) for at, node in enumerate(nodes) if node.op_type == "NonMaxSuppression")
    branches = []
    for name in ("then_branch", "else_branch"):
        inner = onnx.NodeProto()
        inner.CopyFrom(chosen)
        inner.output[0] = f"{name} chosen"
        branches.append(helper.make_graph([inner], name, [], [value(inner.output[0], None, TensorProto.INT64)]))
    model.graph.initializer.append(tensor("always", True, bool))
    branched = helper.make_node("If", ["always"], list(chosen.output), then_branch=branches[0], else_branch=branches[1])
    nodes.remove(chosen)
    nodes.insert(at, branched)
    assert essence(recognise(model)) == essence(recognise(build_tiny_detector(family="nms")))


# --- what it is not -----------------------------------------------------------------------------------------------------------------------


def with_input(shape, elem_type=TensorProto.FLOAT, *, more=0):
    model = build_tiny_detector()
    del model.graph.input[:]
    model.graph.input.append(value("images", shape, elem_type))
    model.graph.input.extend(value(f"more{at}", [1]) for at in range(more))
    return model


def giving(*shapes):
    """A network with outputs of these shapes, and nothing of a detector in it."""
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["mean"])]
    weights = []
    for at, shape in enumerate(shapes):
        weights += [
            tensor(f"one{at}", [1] * len(shape), np.int64),
            tensor(f"shape{at}", shape, np.int64),
            tensor(f"axes{at}", [0, 1, 2, 3], np.int64),
        ]
        nodes += [
            helper.make_node("ReduceMean", ["mean"], [f"scalar{at}"], keepdims=0),
            helper.make_node("Reshape", [f"scalar{at}", f"one{at}"], [f"small{at}"]),
            helper.make_node("Expand", [f"small{at}", f"shape{at}"], [f"out{at}"]),
        ]
    return model_of(nodes, [value("image", [1, 3, 64, 64])], [value(f"out{at}", shape) for at, shape in enumerate(shapes)], weights)


def with_third_branch(channels, *between, family="yolov8"):
    """A YOLO head with another convolution on each grid, as for keypoints or an angle; `between`: operators behind it."""
    model = build_tiny_detector(family=family)
    nodes, shapes = model.graph.node, shapes_of(model)
    flat = []
    for grid in recognise(model).convs:
        source = next(node for node in nodes if grid[0].tensor in node.output)
        name = f"third{grid[0].stride}"
        cells = int(np.prod(shapes[grid[0].tensor][2:]))
        inputs = shapes[source.input[0]][1]
        model.graph.initializer.extend([random(f"{name}w", channels, inputs, 1, 1), tensor(f"{name}s", [1, channels, cells], np.int64)])
        nodes.append(helper.make_node("Conv", [source.input[0], f"{name}w"], [name]))
        nodes.append(helper.make_node("Reshape", [name, f"{name}s"], [f"{name}flat"]))
        flat.append(f"{name}flat")
    nodes.append(helper.make_node("Concat", flat, ["third"], axis=2))
    for kind in between:
        nodes.append(helper.make_node(kind, [nodes[-1].output[0]], [kind]))
    nodes.append(helper.make_node("Concat", ["output0", nodes[-1].output[0]], ["whole"], axis=1))
    values, cells = shapes["output0"][1:]
    del model.graph.output[:]
    model.graph.output.append(value("whole", [1, values + channels, cells]))
    return model


def with_a_decoder():
    """Two learned projections between the convolutions and the output, as a transformer has."""
    model = build_tiny_detector(family="end2end")
    model.graph.initializer.extend([random("wide", 6, 40), random("deep", 40, 40), random("narrow", 40, 6)])
    for source, weight, target in (("output0", "wide", "a"), ("a", "deep", "b"), ("b", "narrow", "c")):
        model.graph.node.append(helper.make_node("MatMul", [source, weight], [target]))
    model.graph.initializer.append(random("deeper", 40, 40))
    model.graph.node[-1].input[0] = "b2"
    model.graph.node.insert(len(model.graph.node) - 1, helper.make_node("MatMul", ["b", "deeper"], ["b2"]))
    model.graph.output[0].name = "c"
    return model


def undecoded_yolov8():
    """Ends where the branches of all grids are joined."""
    model = build_tiny_detector()
    joined = next(node for node in model.graph.node if node.op_type == "Concat" and len(node.input) == 3).output[0]
    model.graph.node.append(helper.make_node("Sigmoid", [joined], ["ends"]))
    del model.graph.output[:]
    model.graph.output.append(value("ends", [1, 19, 84]))
    return model


def end2end_with(values):
    model = build_tiny_detector(family="end2end")
    model.graph.node.append(helper.make_node("Concat", ["output0"] * 2, ["wider"], axis=2))
    model.graph.output[0].name = "wider"
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = values
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (with_input([1, 1, 64, 64]), "an input of shape [1, 1, 64, 64]"),
        (with_input([4, 3, 64, 64]), "an input of shape [4, 3, 64, 64]"),
        (with_input([1, 3, 64]), "an input of shape [1, 3, 64]"),
        (with_input([1, 64, 64, 3]), "an input of shape [1, 64, 64, 3], channels last"),
        (with_input([1, 128], TensorProto.INT64), "an input of shape [1, 128]"),
        (with_input([1, 3, 64, 64], TensorProto.UINT8), "an input of type uint8"),
        (with_input([1, 3, 64, 64], TensorProto.FLOAT16), "an input of type float16"),
        (with_input([1, 3, 64, 64], more=1), "2 inputs"),
        (sound_model(), "a classifier: one output [1, 10]"),
        (giving([1, 21, 64, 64]), "a network that gives maps (segmentation, depth, heat maps): one output [1, 21, 64, 64]"),
        (giving([100, 7]), "suppression exported into the graph, output [100, 7]"),
        (giving([1, 116, 84], [1, 32, 16, 16]), "a YOLO segmentation head, boxes with mask coefficients and 32 mask prototypes: 2 outputs"),
        (giving([1, 300, 80], [1, 300, 4]), "a DETR type head, queries in outputs of their own: 2 outputs"),
        (
            giving([1, 8400, 4], [1, 8400, 80]),
            "a foreign head (SSD, RetinaNet, YOLO-NAS, PP-YOLOE), boxes and scores in outputs of their own",
        ),
        (giving([1, 3, 8, 8, 85], [1, 3, 4, 4, 85], [1, 3, 2, 2, 85]), "an undecoded YOLOv5 type head, a map for each grid: 3 outputs"),
        (giving([1, 144, 8, 8], [1, 144, 4, 4], [1, 144, 2, 2]), "an undecoded head, maps for each grid: 3 outputs"),
        (giving([1, 1], [1, 100, 4], [1, 100], [1, 100]), "boxes, scores and classes in outputs of their own"),
        (giving([1, 5], [1, 2]), "a foreign head: 2 outputs"),
        (giving([1, 84, 84]), "no convolution on a grid of the image"),
        (giving([1]), "one output of shape [1]"),
        (with_third_branch(51), "a YOLO head with a third branch (keypoints or mask coefficients): output [1, 58, 84]"),
        (with_third_branch(1, "Sigmoid", "Sin"), "a YOLO oriented-box (OBB) head"),
        (with_a_decoder(), "a transformer decoder (DETR, RT-DETR)"),
        (undecoded_yolov8(), "an undecoded head: output [1, 19, 84]"),
        (end2end_with(12), "an end-to-end head with 12 values a box"),
    ],
    ids=lambda said: said[:50] if isinstance(said, str) else "",
)
def test_refuses_by_what_it_is(model, said):
    with pytest.raises(ModelError, match="not a detector we can decode") as caught:
        recognise(model)
    assert caught.value.got.startswith(said)
    assert "a YOLO detector" in caught.value.expected
    assert "\n" not in str(caught.value)
    assert family_of(model) is None


def test_keypoints_are_not_taken_for_yolox():
    """With plain distances a pose head of one class has the widths 4, 1, 51: those of a YOLOX of 51 classes."""
    model = with_third_branch(51, family="yolov8")
    plain = build_tiny_detector(classes=("person",), reg_max=1)
    assert [sorted(conv.channels for conv in grid) for grid in recognise(plain).convs] == [[1, 4]] * 3
    assert family_of(model) is None


def test_a_grid_with_a_branch_more_is_refused():
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
    with pytest.raises(ModelError, match="head convolutions that differ from grid to grid"):
        recognise(model)


def test_no_sound_model_makes_the_family_raise(test_data):
    """Of the hostile files, those that can be read."""
    answers = {}
    for path in sorted((test_data / "bad/onnx").glob("*.onnx")):
        try:
            model = load_model(path)
        except ModelError:
            continue
        answers[path.stem] = family_of(model)
    assert answers["hostile_names"] in (None, "yolov8")
    assert len(answers) > 5

"""Pairs behind activations: where they stand, what shares a scale, and that the answers stay the float network's."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from cut_detector import TINY, CutDetector, cut_file, cut_tiny, drawn, outputs_of, precisions_in_openvino
from edgewright.compress.placement import NARROW, WIDE, Encoding, place_pairs
from edgewright.compress.quantize import float_nodes, quantize_static
from edgewright.compress.recipes import INT8
from edgewright.compress.schemes import OPENVINO, OPENVINO_ZERO_POINTS
from edgewright.data.images import read_image
from edgewright.engines import open_engine
from edgewright.errors import InputError
from graph.small_models import model_of, random, tensor, value

SCHEMES = {"symmetric": OPENVINO, "zero points": OPENVINO_ZERO_POINTS}
# Below these nothing is a detection (`recipes.INT8`).
FLOORS = {"box": -6.0, "class": -8.0, "objectness": -8.0, "combined": -8.0}
PAIR = {"QuantizeLinear", "DequantizeLinear"}


class Graph:
    """A placed graph, asked where its pairs are."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def of_type(self, *kinds):
        return [node for node in self.nodes if node.op_type in kinds]

    def named(self, name):
        return next(node for node in self.nodes if node.name == name)

    def encoding_behind(self, name):
        """Scale and zero point of the values that `name` holds, carried from the pair that rounded them; None of raw floats."""
        node = self.producer.get(name)
        if node is None:
            return None
        if node.op_type == "DequantizeLinear":
            return tuple((self.held[each].dtype.name, self.held[each].item()) for each in node.input[1:])
        if node.op_type in {"MaxPool", "Resize", "Split", "Concat"}:
            found = {self.encoding_behind(each) for each in (node.input if node.op_type == "Concat" else node.input[:1])}
            assert len(found) == 1, f"{node.name} carries values of several scales"
            return found.pop()
        return None

    def weight_of(self, conv):
        """Integers and scales of its weight; None of a float one."""
        node = self.producer.get(conv.input[1])
        return None if node is None else (self.held[node.input[0]], self.held[node.input[1]])


def neck() -> onnx.ModelProto:
    """What a detector's neck is made of: a split, a residual addition, pooling, concatenations, a resize; SiLU throughout."""
    nodes, weights, rng = [], [], np.random.default_rng(0)

    def conv(source, output, channels, kernel=1, stride=1):
        weight = rng.normal(0, 2 / np.sqrt(channels[0] * kernel**2), (channels[1], channels[0], kernel, kernel))
        weights.extend([tensor(f"{output}_w", weight), tensor(f"{output}_b", rng.normal(size=channels[1]))])
        pads = [kernel // 2] * 4
        inputs = [source, f"{output}_w", f"{output}_b"]
        nodes.append(helper.make_node("Conv", inputs, [f"{output}_x"], name=f"{output}_conv", pads=pads, strides=[stride] * 2))
        nodes.append(helper.make_node("Sigmoid", [f"{output}_x"], [f"{output}_g"], name=f"{output}_sigmoid"))
        nodes.append(helper.make_node("Mul", [f"{output}_x", f"{output}_g"], [output], name=f"{output}_mul"))

    conv("image", "stem", (3, 8), kernel=3, stride=2)
    nodes.append(helper.make_node("Split", ["stem", "halves"], ["left", "right"], name="split", axis=1))
    conv("right", "inner", (4, 4), kernel=3)
    nodes.append(helper.make_node("Add", ["right", "inner"], ["residual"], name="add"))
    nodes.append(helper.make_node("Concat", ["left", "right", "residual"], ["c2f"], name="concat", axis=1))
    conv("c2f", "deep", (12, 8), kernel=3, stride=2)
    pool = {"kernel_shape": [5, 5], "pads": [2] * 4}
    nodes.append(helper.make_node("MaxPool", ["deep"], ["pooled"], name="pool", **pool))
    nodes.append(helper.make_node("MaxPool", ["pooled"], ["pooled_twice"], name="pool_again", **pool))
    nodes.append(helper.make_node("Concat", ["deep", "pooled", "pooled_twice"], ["sppf"], name="concat_sppf", axis=1))
    conv("sppf", "mixed", (24, 8))
    nodes.append(helper.make_node("Resize", ["mixed", "", "double"], ["larger"], name="resize", mode="nearest"))
    nodes.append(helper.make_node("Concat", ["larger", "c2f"], ["joined"], name="concat_joined", axis=1))
    conv("joined", "last", (20, 8), kernel=3)
    weights += [random("head_w", 6, 8, 1, 1), random("head_b", 6)]
    nodes.append(helper.make_node("Conv", ["last", "head_w", "head_b"], ["answers"], name="head_conv"))
    held = [*weights, tensor("halves", [4, 4], np.int64), tensor("double", [1, 1, 2, 2])]
    return model_of(nodes, [value("image", [1, 3, 32, 32])], [value("answers", [1, 6, 16, 16])], held)


def ranges_of(model, feed):
    """Everything that was seen, zero included."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    names = [name for node in model.graph.node for name in node.output]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = dict(zip(names, outputs_of(watched, feed), strict=True)) | feed
    return {name: (min(0.0, float(held.min())), max(0.0, float(held.max()))) for name, held in found.items()}


@pytest.fixture(scope="module")
def noise():
    return {"image": np.random.default_rng(1).random((1, 3, 32, 32), np.float32)}


@pytest.fixture(scope="module", params=SCHEMES.values(), ids=SCHEMES)
def scheme(request):
    return request.param


@pytest.fixture(scope="module")
def placed(noise, scheme):
    model = neck()
    return Graph(place_pairs(model, ranges_of(model, noise), (), scheme))


def assert_near(exact, rounded, head, share=0.06):
    for a, b, output in zip(exact, rounded, head.outputs, strict=True):
        a, b = (np.maximum(x, FLOORS[output.role]) if head.family != "yolox" or output.role != "box" else x for x in (a, b))
        assert np.abs(a - b).max() <= share * max(1.0, np.abs(a).max())


# --- answers ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())
def test_a_placed_network_answers_as_the_float_one(tmp_path, options, scheme):
    cut = cut_tiny(tmp_path, **options)
    given = cut.model.SerializeToString()
    placed = place_pairs(cut.model, cut.ranges, (), scheme)
    assert cut.model.SerializeToString() == given, "the given model is left alone"
    onnx.checker.check_model(placed, full_check=True)
    feed = cut.feed(drawn(cut.input.size_wh, seed=9))
    assert_near(outputs_of(cut.model, feed), outputs_of(placed, feed), cut.head)


@pytest.mark.parametrize("name", ["yolov8", "yolov5", "yolox", "end2end"])
def test_openvino_says_what_the_pairs_say(tmp_path, name, scheme):
    pytest.importorskip("openvino")
    cut = cut_tiny(tmp_path, **TINY[name])
    placed = place_pairs(cut.model, cut.ranges, (), scheme)
    onnx.save(placed, tmp_path / "placed.onnx")
    feed = cut.feed(drawn(cut.input.size_wh, seed=9))
    found = open_engine("openvino", tmp_path / "placed.onnx", threads=1).run(feed)
    assert_near(outputs_of(placed, feed, optimised=False), found, cut.head, share=0.03)


def test_a_neck_answers_as_in_float(noise, scheme):
    model = neck()
    placed = place_pairs(model, ranges_of(model, noise), (), scheme)
    onnx.checker.check_model(placed, full_check=True)
    [exact], [rounded] = outputs_of(model, noise), outputs_of(placed, noise)
    assert np.abs(exact - rounded).mean() <= 0.02 * np.abs(exact).max()


@pytest.mark.parametrize("name", ["yolov8n", "pcb320_yolo11n"])
def test_real_detectors_answer_as_in_float(test_data, tmp_path, name):
    folder = test_data / ("coco/images/val" if name == "yolov8n" else "deeppcb/images/val")
    pictures = [read_image(path) for path in sorted(folder.iterdir())[:6]]
    cut = cut_file(test_data / f"models/{name}.onnx", tmp_path, pictures[:4])
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO_ZERO_POINTS)
    graph = Graph(placed)
    assert all(graph.weight_of(conv) is not None for conv in graph.of_type("Conv"))
    feed = cut.feed(pictures[5])
    for a, b, output in zip(outputs_of(cut.model, feed), outputs_of(placed, feed), cut.head.outputs, strict=True):
        a, b = (np.maximum(x, FLOORS[output.role]) for x in (a, b))
        assert np.abs(a - b).mean() <= 0.15 * max(1.0, a.std()), output


# --- where pairs stand --------------------------------------------------------------------------------------------------------------------


def test_no_pair_stands_between_a_convolution_its_sigmoid_and_their_product(placed):
    sigmoids = placed.of_type("Sigmoid")
    assert len(sigmoids) == 5
    for sigmoid in sigmoids:
        [product] = [node for node in placed.nodes if sigmoid.output[0] in node.input]
        assert product.op_type == "Mul"
        assert placed.producer[sigmoid.input[0]].op_type == "Conv"
        assert sigmoid.input[0] in product.input


def test_every_convolution_reads_rounded_features_and_weights_and_a_float_bias(placed):
    convs = placed.of_type("Conv")
    assert len(convs) == 6
    for conv in convs:
        assert placed.encoding_behind(conv.input[0]) is not None
        assert placed.weight_of(conv) is not None
        assert placed.held[conv.input[2]].dtype == np.float32


def test_pairs_stand_on_the_input_behind_products_and_additions_and_nowhere_else(placed):
    rounded = [node.input[0] for node in placed.of_type("QuantizeLinear")]
    assert sorted(rounded) == sorted(["image", "stem", "inner", "residual", "deep", "mixed", "last"])


def test_what_is_carried_keeps_its_scale(placed):
    carried = {
        name: placed.encoding_behind(name) for name in ("left", "right", "c2f", "pooled", "pooled_twice", "sppf", "larger", "joined")
    }
    assert None not in carried.values()
    # One chain: the split's half is concatenated with the sum, and that again with what was resized.
    assert len({carried[name] for name in ("left", "right", "c2f", "larger", "joined")}) == 1
    assert len({carried[name] for name in ("pooled", "pooled_twice", "sppf")}) == 1
    assert carried["c2f"] != carried["sppf"]


def test_a_shared_scale_covers_all_that_share_it(noise):
    model = neck()
    ranges = ranges_of(model, noise)
    placed = Graph(place_pairs(model, ranges, (), OPENVINO_ZERO_POINTS))
    scale, zero = (found[1] for found in placed.encoding_behind("joined"))
    together = [ranges[name] for name in ("stem", "residual", "mixed")]
    assert -zero * scale <= min(low for low, _ in together) + scale
    assert (255 - zero) * scale >= max(high for _, high in together) - scale


def test_each_pair_is_one_encoding(placed):
    for node in placed.of_type("DequantizeLinear"):
        source = placed.producer.get(node.input[0])
        if source is not None:
            assert list(source.input[1:]) == list(node.input[1:])


def test_what_stays_float_reads_and_weighs_raw_floats(tmp_path, scheme):
    cut = cut_tiny(tmp_path)
    kept = float_nodes(cut.model.graph, ("head", "stem"))
    graph = Graph(place_pairs(cut.model, cut.ranges, kept, scheme))
    before = {node.name: node for node in cut.model.graph.node}
    convs = graph.of_type("Conv")
    assert {conv.name for conv in convs if graph.weight_of(conv) is None} == {name for name in kept if before[name].op_type == "Conv"}
    for conv in convs:
        if conv.name in kept:
            assert list(conv.input) == list(before[conv.name].input)
        else:
            assert graph.encoding_behind(conv.input[0]) is not None


def test_with_everything_kept_float_nothing_is_changed(tmp_path):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, [node.name for node in cut.model.graph.node], OPENVINO)
    assert [node.op_type for node in placed.graph.node] == [node.op_type for node in cut.model.graph.node]
    feed = cut.feed(drawn((64, 64)))
    for a, b in zip(outputs_of(cut.model, feed), outputs_of(placed, feed), strict=True):
        assert np.array_equal(a, b)


def test_a_carrier_that_is_kept_float_hands_on_what_is_rounded_behind_it(noise):
    model = neck()
    placed = Graph(place_pairs(model, ranges_of(model, noise), ["concat_joined"], OPENVINO))
    assert set(placed.named("concat_joined").input) == {"larger", "c2f"}
    assert placed.producer[placed.named("last_conv").input[0]].op_type == "DequantizeLinear"


# --- encodings ----------------------------------------------------------------------------------------------------------------------------


def test_what_is_never_negative_needs_no_sign(noise):
    model = neck()
    placed = Graph(place_pairs(model, ranges_of(model, noise), (), OPENVINO))
    kinds = {node.input[0]: placed.held[node.input[2]] for node in placed.of_type("QuantizeLinear")}
    assert kinds["image"].dtype == np.uint8
    assert all(zero.dtype == np.int8 for name, zero in kinds.items() if name != "image"), "SiLU goes below zero"
    assert not any(zero.any() for zero in kinds.values())


@pytest.mark.parametrize(("reduce_range", "most"), [(False, WIDE), (True, NARROW)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_fill_their_range_channel_by_channel_or_together(noise, reduce_range, most, per_channel):
    model = neck()
    scheme = replace(OPENVINO, reduce_range=reduce_range, per_channel=per_channel)
    graph = Graph(place_pairs(model, ranges_of(model, noise), (), scheme))
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    before = {node.name: node for node in model.graph.node}
    for conv in graph.of_type("Conv"):
        integers, scales = graph.weight_of(conv)
        reached = np.abs(integers.astype(int)).reshape(len(integers), -1).max(axis=1)
        assert reached.max() == most
        assert not per_channel or set(reached) == {most}
        assert per_channel or len(set(scales)) == 1
        exact, step = floats[before[conv.name].input[1]], scales.reshape(-1, 1, 1, 1)
        assert (np.abs(integers * step - exact) <= step * 0.501).all()


def test_a_channel_of_zeros_stays_one(noise):
    model = neck()
    head = next(held for held in model.graph.initializer if held.name == "head_w")
    weight = numpy_helper.to_array(head).copy()
    weight[2] = 0
    head.CopyFrom(numpy_helper.from_array(weight, "head_w"))
    placed = place_pairs(model, ranges_of(model, noise), (), OPENVINO)
    [exact], [rounded] = outputs_of(model, noise), outputs_of(placed, noise)
    assert rounded[:, 2] == pytest.approx(exact[:, 2], abs=1e-5)


@pytest.mark.parametrize("kept", [(), ("first",)], ids=["both in integers", "one in float"])
def test_two_convolutions_may_share_a_weight(kept):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], name="first"),
        helper.make_node("Relu", ["y"], ["z"], name="relu"),
        helper.make_node("Conv", ["z", "w"], ["answers"], name="second"),
    ]
    model = model_of(nodes, [value("x", [1, 4, 6, 6])], [value("answers", [1, 4, 6, 6])], [random("w", 4, 4, 1, 1)])
    feed = {"x": np.random.default_rng(0).random((1, 4, 6, 6), np.float32)}
    placed = place_pairs(model, ranges_of(model, feed), kept, OPENVINO)
    onnx.checker.check_model(placed, full_check=True)
    graph = Graph(placed)
    assert [graph.weight_of(conv) is None for conv in graph.of_type("Conv")] == [bool(kept), False]
    [exact], [rounded] = outputs_of(model, feed), outputs_of(placed, feed)
    assert np.abs(exact - rounded).max() <= 0.03 * np.abs(exact).max()


def test_float_weights_that_nobody_reads_any_more_are_gone(tmp_path):
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO)
    read = Counter(name for node in placed.graph.node for name in node.input)
    assert all(read[held.name] for held in placed.graph.initializer)
    assert not any(held.data_type == onnx.TensorProto.FLOAT and len(held.dims) == 4 for held in placed.graph.initializer)


RANGE = st.tuples(st.floats(-1e4, 0), st.floats(0, 1e4))


@given(RANGE, st.sampled_from([OPENVINO, OPENVINO_ZERO_POINTS]))
def test_an_encoding_holds_zero_exactly_and_its_range_to_half_a_step(found, scheme):
    encoding = Encoding.of(found, scheme)
    scale, zero = float(encoding.scale), int(encoding.zero_point)
    limits = np.iinfo(encoding.zero_point.dtype)
    assert limits.min <= zero <= limits.max
    assert scale > 0
    lowest, highest = (limits.min - zero) * scale, (limits.max - zero) * scale
    within = 0.5 * scale * (1 + 1e-4)
    assert lowest <= found[0] + within
    assert highest >= found[1] - within
    assert not scheme.symmetric or zero == 0


@given(RANGE)
def test_the_sign_of_an_encoding_follows_its_range(found):
    assert Encoding.of(found, OPENVINO).zero_point.dtype == (np.uint8 if found[0] >= 0 else np.int8)
    assert Encoding.of(found, OPENVINO_ZERO_POINTS).zero_point.dtype == np.uint8


# --- in the runtime -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(), ("head",)], ids=["all in integers", "head in float"])
@pytest.mark.parametrize("name", ["yolov8", "yolov8, relu", "yolov5", "yolox"])
def test_openvino_computes_in_integers_what_is_not_kept_float(tmp_path, name, parts, scheme):
    cut = cut_tiny(tmp_path, **TINY[name])
    kept = float_nodes(cut.model.graph, parts)
    found = precisions_in_openvino(place_pairs(cut.model, cut.ranges, kept, scheme), tmp_path / "placed.onnx")
    assert len(found) == sum(node.op_type == "Conv" for node in cut.model.graph.node)
    for names, precision in found:
        assert (precision in {"i8", "u8"}) != bool(names & set(kept)), names


def test_openvino_computes_a_whole_neck_in_integers(tmp_path, noise, scheme):
    model = neck()
    found = precisions_in_openvino(place_pairs(model, ranges_of(model, noise), (), scheme), tmp_path / "placed.onnx")
    assert len(found) == 6
    assert {precision for _, precision in found} <= {"i8", "u8"}


def test_the_scheme_leads_here_and_integer_operators_are_refused(tmp_path):
    cut: CutDetector = cut_tiny(tmp_path)
    quantize_static(cut.model, cut.head, cut.statistics, INT8, OPENVINO, tmp_path / "int8.onnx")
    assert onnx.load(tmp_path / "int8.onnx") == place_pairs(cut.model, cut.ranges, (), OPENVINO)
    with pytest.raises(InputError, match="use the container qdq"):
        quantize_static(cut.model, cut.head, cut.statistics, replace(INT8, container="qoperator"), OPENVINO, tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()

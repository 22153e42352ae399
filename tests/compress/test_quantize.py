"""The integer graph: what is quantized, what stays float, and what range each tensor gets."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgewright.artifact import HeadOutput, HeadSpec
from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.head_cut import cut_head, raw_head
from edgewright.compress.quantize import choose_ranges, float_nodes, name_nodes, nodes_kept_float, quantize_dynamic, quantize_static
from edgewright.compress.recipes import PLAIN, RECIPES, TUTORIAL_RECIPE, Recipe
from edgewright.compress.schemes import ARM, ARM_SIGNED, SCHEMES, TENSORRT, TUTORIAL, X86_SATURATING, X86_VNNI, scheme_for, scheme_named
from edgewright.engines import open_engine
from edgewright.errors import InputError
from edgewright.graph.head import recognise
from tiny_detector import build_tiny_detector

QDQ = Recipe("pairs", "int8", "static")
QOPERATOR = replace(QDQ, name="integer operators", container="qoperator")
HEAD_AND_STEM = Recipe("both", "int8", "static", float_parts=("head", "stem"))


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A tiny detector without its decode, its head, and statistics over noise."""
    folder = tmp_path_factory.mktemp("cut")
    whole = build_tiny_detector()
    name_nodes(whole.graph)
    head = raw_head(whole, recognise(whole))
    model = cut_head(whole, head)
    path = folder / "cut.onnx"
    onnx.save(model, path)
    rng = np.random.default_rng(0)
    feeds = [{"images": rng.random((1, 3, 64, 64), np.float32)} for _ in range(4)]
    return model, head, observe(path, feeds, lambda p: open_engine("onnxruntime", p, threads=1), folder / "scratch.onnx")


@pytest.mark.parametrize(
    ("isa", "expected"),
    [
        ({"avx2", "avx512f", "vnni"}, X86_VNNI),
        ({"avx2"}, X86_SATURATING),
        ({"neon", "dotprod"}, ARM),
        ({"neon"}, ARM),
        (set(), X86_SATURATING),
    ],
)
def test_the_scheme_follows_the_instruction_set(isa, expected):
    assert scheme_for(isa) == expected


def test_schemes_are_called_what_the_field_calls_them():
    assert (X86_VNNI.name, ARM.name, ARM_SIGNED.name, TUTORIAL.name) == ("u8s8", "u8s8", "s8s8", "s8s8")


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.mode == "static"], ids=lambda r: r.name)
def test_an_integer_model_runs_and_stays_near_the_float_one(cut, recipe, tmp_path):
    model, head, statistics = cut
    target = tmp_path / "int8.onnx"
    quantize_static(_copy(model), head, statistics, recipe, X86_VNNI, target)
    image = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    onnx.save(model, tmp_path / "float.onnx")
    exact = open_engine("onnxruntime", tmp_path / "float.onnx", threads=1).run(image)
    rounded = open_engine("onnxruntime", target, threads=1).run(image)
    for a, b, output in zip(exact, rounded, head.outputs, strict=True):
        # What lies below a floor is all the same nothing.
        floor = recipe.class_logit_floor if output.role == "class" else recipe.box_logit_floor
        a, b = (x if floor is None else np.maximum(x, floor) for x in (a, b))
        assert np.abs(a - b).max() <= 0.05 * max(1.0, np.abs(a).max())


def _outputs(model, folder, feed):
    path = folder / "model.onnx"
    if isinstance(model, onnx.ModelProto):
        onnx.save(model, path)
    return open_engine("onnxruntime", path if isinstance(model, onnx.ModelProto) else model, threads=1).run(feed)


def _is_near(a, b, floor):
    a, b = np.maximum(a, floor), np.maximum(b, floor)
    return np.abs(a - b).max() <= 0.06 * max(1.0, np.abs(a).max())


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_every_scheme_runs_here_and_stays_near_the_float_model(cut, scheme, tmp_path):
    model, head, statistics = cut
    quantize_static(_copy(model), head, statistics, QDQ, scheme, tmp_path / "int8.onnx")
    feed = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    exact, rounded = _outputs(model, tmp_path, feed), _outputs(tmp_path / "int8.onnx", tmp_path, feed)
    assert all(_is_near(a, b, -6.0) for a, b in zip(exact, rounded, strict=True))


def test_integer_operators_say_what_pairs_say(cut, tmp_path):
    model, head, statistics = cut
    quantize_static(_copy(model), head, statistics, QDQ, X86_VNNI, tmp_path / "pairs.onnx")
    quantize_static(_copy(model), head, statistics, QOPERATOR, X86_VNNI, tmp_path / "operators.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "operators.onnx").graph.node]
    convs = sum(node.op_type == "Conv" for node in model.graph.node)
    assert kinds.count("QLinearConv") == convs
    assert "Conv" not in kinds
    feed = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    a, b = (_outputs(tmp_path / name, tmp_path, feed) for name in ("pairs.onnx", "operators.onnx"))
    assert all(_is_near(x, y, -8.0) for x, y in zip(a, b, strict=True))


def test_integer_operators_keep_float_what_the_recipe_keeps_float(cut, tmp_path):
    model, head, statistics = cut
    recipe = replace(QOPERATOR, float_parts=("head",))
    quantize_static(_copy(model), head, statistics, recipe, X86_VNNI, tmp_path / "int8.onnx")
    made = [node.name for node in onnx.load(tmp_path / "int8.onnx").graph.node if node.op_type == "Conv"]
    assert made == float_nodes(model.graph, ("head",))


def test_tensorrt_gets_symmetric_pairs_in_front_of_convolutions_and_float_biases(cut, tmp_path):
    model, head, statistics = cut
    quantize_static(_copy(model), head, statistics, QDQ, TENSORRT, tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producer = {name: node for node in graph.node for name in node.output}
    readers = [node for node in graph.node if any(producer[name].op_type == "DequantizeLinear" for name in node.input if name in producer)]
    pairs = [node for node in graph.node if node.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert pairs
    for node in pairs:
        assert held[node.input[2]].dtype == np.int8
        assert not held[node.input[2]].any()
    assert {node.op_type for node in readers} == {"Conv"}
    for conv in (node for node in graph.node if node.op_type == "Conv"):
        activation, weight = (producer[name] for name in conv.input[:2])
        assert held[activation.input[1]].size == 1
        assert held[weight.input[1]].size == held[producer[weight.input[0]].input[0]].shape[0]
        assert held[conv.input[2]].dtype == np.float32


def test_integer_operators_cannot_hold_what_tensorrt_wants(cut, tmp_path):
    model, head, statistics = cut
    with pytest.raises(InputError, match="use the container qdq"):
        quantize_static(_copy(model), head, statistics, QOPERATOR, TENSORRT, tmp_path / "int8.onnx")


def test_single_layers_stay_float_and_a_wrong_name_is_said(cut, tmp_path):
    model, head, statistics = cut
    second = [node.name for node in model.graph.node if node.op_type == "Conv"][1]
    recipe = replace(QDQ, float_parts=("head",), float_layers=(second, float_nodes(model.graph, ("head",))[0]))
    assert nodes_kept_float(model.graph, recipe) == [*float_nodes(model.graph, ("head",)), second]
    quantize_static(_copy(model), head, statistics, recipe, X86_VNNI, tmp_path / "int8.onnx")
    made = onnx.load(tmp_path / "int8.onnx").graph
    floats = {tensor.name for tensor in made.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert next(node for node in made.node if node.name == second).input[1] in floats
    with pytest.raises(InputError, match="no layer 'nowhere'"):
        nodes_kept_float(model.graph, replace(QDQ, float_layers=("nowhere",)))


def test_the_decode_is_what_lies_between_the_head_convolutions_and_the_outputs():
    whole = build_tiny_detector()
    name_nodes(whole.graph)
    head = recognise(whole)
    raw = raw_head(whole, head)
    by_name = {node.name: node for node in whole.graph.node}
    convs = {name for each in float_nodes(whole.graph, ("head",)) for name in by_name[each].output}
    assert convs == {output.name for output in raw.outputs}
    decode = float_nodes(whole.graph, ("decode",))
    # Cut there, nothing is left of it, and nothing else is gone.
    assert {node.name for node in cut_head(whole, raw).graph.node} == set(by_name) - set(decode)


def test_a_scheme_that_is_not_there_is_said_with_those_that_are():
    assert scheme_named("tensorrt") is TENSORRT
    with pytest.raises(InputError, match="one of x86-vnni, x86, arm64"):
        scheme_named("riscv")


def test_floors_fit_what_an_output_holds(cut):
    model, _, statistics = cut
    roles = {"class": -8.0, "objectness": -8.0, "combined": -8.0, "decoded": -40.0}
    for role, expected in roles.items():
        head = HeadSpec("yolov8", (8,), None, (HeadOutput("images", role, 8),))
        assert choose_ranges(model, head, {**statistics, "images": _stats(-40, 9)}, QDQ)["images"] == (expected, 9.0), role
    for reg_max, expected in {16: -6.0, 1: -40.0, None: -40.0}.items():
        head = HeadSpec("yolov8", (8,), reg_max, (HeadOutput("images", "box", 8),))
        assert choose_ranges(model, head, {**statistics, "images": _stats(-40, 9)}, QDQ)["images"] == (expected, 9.0), reg_max


def test_float_parts_hold_no_integer_weights(cut, tmp_path):
    model, head, statistics = cut
    quantize_static(_copy(model), head, statistics, HEAD_AND_STEM, X86_VNNI, tmp_path / "int8.onnx")
    made = onnx.load(tmp_path / "int8.onnx")
    kept = set(float_nodes(model.graph, ("head", "stem")))
    floats = {t.name for t in made.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    for node in made.graph.node:
        if node.op_type == "Conv":
            assert (node.input[1] in floats) == (node.name in kept)


def test_the_head_is_the_convolutions_that_make_the_outputs(cut):
    model, head, _ = cut
    by_name = {node.name: node for node in model.graph.node}
    made = {name for each in float_nodes(model.graph, ("head",)) for name in by_name[each].output}
    assert made == {output.name for output in head.outputs}


def test_the_stem_is_three_convolutions_and_what_hangs_on_them(cut):
    model, _, _ = cut
    by_name = {node.name: node for node in model.graph.node}
    kinds = [by_name[name].op_type for name in float_nodes(model.graph, ("stem",))]
    assert kinds.count("Conv") == 3


def _stats(low, high):
    found = TensorStatistics()
    found.add(np.linspace(low, high, 1001, dtype=np.float32))
    return found


def test_what_only_feeds_a_silu_is_clipped_where_silu_is_flat(cut):
    model, head, statistics = cut
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    wide = {**statistics, sigmoid.input[0]: _stats(-40, 9)}
    ranges = choose_ranges(model, head, wide, QDQ)
    assert ranges[sigmoid.input[0]][0] == pytest.approx(-6.0)
    assert choose_ranges(model, head, wide, PLAIN)[sigmoid.input[0]][0] == -40


def test_logits_keep_their_upper_end_and_lose_what_no_threshold_sees(cut):
    model, head, statistics = cut
    box, cls = head.outputs[:2]
    wide = {**statistics, box.name: _stats(-20, 30), cls.name: _stats(-50, 3)}
    ranges = choose_ranges(model, head, wide, QDQ)
    assert ranges[cls.name] == pytest.approx((-8.0, 3.0))
    assert ranges[box.name] == pytest.approx((-6.0, 30.0))


def test_zero_is_always_inside_a_range(cut):
    model, head, statistics = cut
    ranges = choose_ranges(model, head, {**statistics, "images": _stats(0.4, 0.9)}, PLAIN)
    assert all(low <= 0 <= high for low, high in ranges.values())


def test_nameless_nodes_and_twins_get_names_of_their_own():
    model = build_tiny_detector()
    for at, node in enumerate(model.graph.node):
        node.name = "" if at % 3 else "twin"
    name_nodes(model.graph)
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names


def test_dynamic_quantization_runs_without_calibration(tmp_path, caplog):
    onnx.save(build_tiny_detector(), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    open_engine("onnxruntime", tmp_path / "dynamic.onnx", threads=1).close()
    assert not caplog.records


def test_recipe_names_are_unique_and_the_tutorial_is_not_tried():
    names = [recipe.name for recipe in RECIPES]
    assert len(set(names)) == len(names)
    assert TUTORIAL_RECIPE not in RECIPES


def _copy(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def test_convolutions_that_share_a_bias_each_have_it_in_their_own_step(cut, tmp_path):
    model, head, statistics = cut
    shared = _copy(model)
    ends = {output.name for output in head.outputs}
    first, second = [node for node in shared.graph.node if node.op_type == "Conv" and node.output[0] in ends][1::2][:2]
    second.input[2] = first.input[2]
    quantize_static(_copy(shared), head, statistics, QOPERATOR, X86_VNNI, tmp_path / "int8.onnx")
    written = onnx.load(tmp_path / "int8.onnx")
    convolutions = [node for node in written.graph.node if node.op_type == "QLinearConv"]
    biases = [node.input[8] for node in convolutions if node.name.startswith((first.name, second.name))]

    assert len(set(biases)) == 2

"""One scale over ranges far apart: found by what flows where, in words and with the nodes that must stay float."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.candidates import prepare_float_forms
from edgewright.compress.quantize import quantize_static
from edgewright.compress.recipes import Recipe
from edgewright.compress.scale_lint import nodes_to_keep_float, scale_findings
from edgewright.compress.schemes import X86_VNNI
from edgewright.data.images import read_image
from edgewright.detector import to_tensor
from edgewright.engines import open_engine
from edgewright.graph.describe import describe_detector


def seen(low, high, channels=None):
    stats = TensorStatistics()
    stats.add(np.array([low, high], np.float32))
    if channels is not None:
        stats.channel_low, stats.channel_high = (np.array(column, np.float32) for column in zip(*channels, strict=True))
    return stats


def graph(*nodes, output, weights=()):
    names = [node[1] for node in nodes]
    made = [helper.make_node(kind, inputs.split(), [name], name=f"node {name}") for kind, name, inputs in nodes]
    held = [helper.make_tensor(name, TensorProto.FLOAT, [2], [-1.0, float(high)]) for name, high in weights]
    assert len(set(names)) == len(names)
    return helper.make_graph(made, "g", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], held)


PIXELS_BESIDE_PROBABILITIES = {"boxes": seen(2, 640), "scores": seen(0, 0.9), "all": seen(0, 640)}


def test_pixels_beside_probabilities_are_an_error_with_a_way_out():
    (found,) = scale_findings(graph(("Concat", "all", "boxes scores"), output="all"), PIXELS_BESIDE_PROBABILITIES)
    assert (found.code, found.severity, found.node, found.keep_float) == ("joined-scale", "error", "node all", ("node all",))
    assert found.ratio == pytest.approx(640 / 0.9)
    assert "711 times apart" in found.to_finding().what
    assert found.to_finding().fix == "keep node all in float, or cut the head"
    assert json.loads(json.dumps(found.to_json()))["keep_float"] == ["node all"]


def test_what_moves_or_reads_the_joined_values_stays_float_with_them():
    made = graph(
        ("Concat", "all", "boxes scores"),
        ("Transpose", "turned", "all"),
        ("Slice", "some", "turned begin end"),
        ("Mul", "scaled", "some two"),
        output="scaled",
    )
    (found,) = scale_findings(made, PIXELS_BESIDE_PROBABILITIES)
    assert nodes_to_keep_float([found]) == ["node all", "node turned", "node some"]


@pytest.mark.parametrize(("high", "expected"), [(16, []), (16.1, ["warning"])])
def test_joined_before_a_convolution_is_a_warning_from_sixteen_on(high, expected):
    made = graph(("Concat", "all", "a b"), ("Conv", "out", "all weight"), output="out")
    found = scale_findings(made, {"a": seen(-1, 0.5), "b": seen(0, high)})
    assert [each.severity for each in found] == expected


def test_constants_count_and_what_is_nothing_or_unknown_does_not():
    made = graph(("Where", "out", "mask a far"), ("Concat", "other", "a zero unknown"), output="out", weights=[("far", 1e9)])
    (found,) = scale_findings(made, {"a": seen(-1, 1), "zero": seen(0, 0)})
    assert found.node == "node out"
    assert found.ratio == pytest.approx(1e9)


def test_channels_far_apart_are_information_inside_and_an_error_at_an_output():
    channels = [(-1, 100), (0, 0), (-0.5, 2), (0, 50), (0, 3)]
    inside = graph(("Relu", "a", "x"), ("Conv", "out", "a weight"), output="out")
    (found,) = scale_findings(inside, {"a": seen(-1, 100, channels)})
    assert (found.code, found.severity, found.count, found.ratio) == ("channel-scale", "info", 2, 50)
    assert [name for name, _ in found.ranges] == ["channel 2", "channel 0"]
    assert nodes_to_keep_float([found]) == []
    (found,) = scale_findings(graph(("Conv", "a", "x weight"), output="a"), {"a": seen(-1, 100, channels)})
    assert (found.severity, found.keep_float) == ("error", ("node a",))


def test_the_worst_comes_first_and_hostile_names_are_escaped():
    made = graph(("Concat", "c1", "a b"), ("Concat", "c\x1b2", "a d"), ("Conv", "out", "c1 w"), output="c\x1b2")
    found = scale_findings(made, {"a": seen(0, 1), "b": seen(0, 1000), "d": seen(0, 20)})
    assert [each.severity for each in found] == ["error", "warning"]
    assert "\x1b" not in json.dumps([each.to_json() for each in found], ensure_ascii=False)


def test_the_last_join_of_a_real_detector_is_found_without_names_and_fixed(test_data, tmp_path):
    baseline = describe_detector(test_data / "models" / "yolov8n.onnx")
    forms = prepare_float_forms(baseline, tmp_path)
    pictures = [read_image(path) for path in sorted((test_data / "coco" / "images").rglob("*.jpg"))[:2]]
    feeds = [{baseline.input.name: to_tensor(each, baseline)} for each in pictures]
    statistics = observe(forms.folded, feeds, lambda path: open_engine("onnxruntime", path, threads=2), tmp_path / "scratch.onnx")
    whole = onnx.load(forms.folded)
    kept = nodes_to_keep_float(scale_findings(whole.graph, statistics))
    assert [node.op_type for node in whole.graph.node if node.name in kept] == ["Concat"]
    cut = onnx.load(forms.cut)
    assert nodes_to_keep_float(scale_findings(cut.graph, statistics)) == []

    recipe = Recipe("whole", "int8", "static", head_cut=False)
    best = {}
    for each in (recipe, replace(recipe, name="fixed", float_layers=tuple(kept))):
        quantize_static(onnx.load(forms.folded), forms.head.decoded, statistics, each, X86_VNNI, tmp_path / f"{each.name}.onnx")
        (output,) = open_engine("onnxruntime", tmp_path / f"{each.name}.onnx", threads=2).run(feeds[0])
        best[each.name] = output[0, 4:].max()
    exact = open_engine("onnxruntime", forms.folded, threads=2).run(feeds[0])[0][0, 4:].max()
    assert best["whole"] == 0
    assert exact > 0.5
    assert best["fixed"] == pytest.approx(exact, abs=0.05)

"""Which layers hurt: a network in which the answer is known, and the claim that reverting is the same as quantizing without."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgewright.compress.calibrate import observe
from edgewright.compress.candidates import feed_of, prepare_float_forms
from edgewright.compress.disagreement import Reference
from edgewright.compress.quantize import quantize_static
from edgewright.compress.recipes import INT8
from edgewright.compress.schemes import X86_VNNI
from edgewright.compress.sensitivity import (
    SMALLEST_GAIN,
    LayerSensitivity,
    Sensitivity,
    best_start,
    by_gain_for_charge,
    layers_of,
    measure_sensitivity,
    regions_of,
    revert,
)
from edgewright.data.images import read_image
from edgewright.engines import open_engine
from edgewright.graph.describe import describe_detector
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector


def opened(path: Path):
    return open_engine("onnxruntime", path, threads=1)


@pytest.fixture(scope="module", params=["silu", "relu"])
def tiny(request, tmp_path_factory):
    """The forms of a tiny detector, feeds for it, and its Q/DQ model; ONNX Runtime's quantizer leaves a ReLU to the rounding."""
    folder = tmp_path_factory.mktemp("tiny")
    baseline = describe_detector(save_tiny_detector(folder / "tiny.onnx", activation=request.param))
    forms = prepare_float_forms(baseline, folder)
    pictures = sorted(write_tiny_dataset(folder / "data").parent.glob("images/train/*.png"))[:4]
    feeds = [feed_of(baseline, read_image(picture)) for picture in pictures]
    statistics = observe(forms.cut, feeds, opened, folder / "scratch.onnx")
    return forms, feeds, statistics, folder


def quantized(tiny, **changes) -> onnx.ModelProto:
    forms, _, statistics, folder = tiny
    path = folder / "quantized.onnx"
    quantize_static(onnx.load(forms.cut), forms.head_of(INT8), statistics, replace(INT8, **changes), X86_VNNI, path)
    return onnx.load(path)


def test_layers_are_convolutions_with_their_activation(tiny):
    layers = layers_of(onnx.load(tiny[0].cut).graph)
    convs = [node.name for node in onnx.load(tiny[0].cut).graph.node if node.op_type == "Conv"]
    assert [layer.name for layer in layers] == convs
    kinds = [kind.partition("_")[0] for kind in layers[0].nodes]
    assert kinds in (["conv", "sigmoid", "mul"], ["conv", "relu"])  # SiLU, as two nodes; or ReLU
    assert len(layers[-1].nodes) == 1  # a head convolution ends the network
    assert len({node for layer in layers for node in layer.nodes}) == sum(len(layer.nodes) for layer in layers)


@pytest.mark.parametrize("which", [[0], [0, 1], [2], [1, 3], [5, 6], [3, 9, 10], list(range(11))], ids=str)
def test_reverting_layers_is_the_same_as_quantizing_without_them(tiny, which, tmp_path):
    forms, feeds, _, _ = tiny
    source = onnx.load(forms.cut).graph
    nodes = [node for at in which for node in layers_of(source)[at].nodes]
    onnx.save(revert(quantized(tiny), source, set(nodes)), tmp_path / "reverted.onnx")
    onnx.save(quantized(tiny, float_layers=tuple(nodes)), tmp_path / "anew.onnx")
    answers = [opened(tmp_path / name).run(feeds[0]) for name in ("reverted.onnx", "anew.onnx")]
    for reverted, anew in zip(*answers, strict=True):
        np.testing.assert_allclose(reverted, anew, atol=1e-4)


def test_everything_reverted_is_the_float_network(tiny, tmp_path):
    forms, feeds, _, _ = tiny
    source = onnx.load(forms.cut).graph
    everything = revert(quantized(tiny), source, {node.name for node in source.node})
    onnx.save(everything, tmp_path / "reverted.onnx")
    assert "QuantizeLinear" not in {node.op_type for node in everything.graph.node}
    for reverted, original in zip(opened(tmp_path / "reverted.onnx").run(feeds[0]), opened(forms.cut).run(feeds[0]), strict=True):
        np.testing.assert_allclose(reverted, original, atol=1e-5)


def spoiled(model: onnx.ModelProto, conv: str) -> onnx.ModelProto:
    """The integer network with a convolution that has lost all its weights."""
    weight = next(node.input[1] for node in model.graph.node if node.name == conv)
    stored = next(node.input[0] for node in model.graph.node if weight in node.output)
    for tensor in model.graph.initializer:
        if tensor.name == stored:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(numpy_helper.to_array(tensor)), stored))
    return model


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_layer_that_was_spoiled_is_the_most_sensitive(tiny, at, tmp_path):
    forms, feeds, _, _ = tiny
    source = onnx.load(forms.cut).graph
    victim = layers_of(source)[at].name
    reference = Reference.of(forms.head_of(INT8), forms.baseline.input.size_wh, feeds, opened(forms.cut).run)
    found = measure_sensitivity(spoiled(quantized(tiny), victim), source, reference, opened, tmp_path / "question.onnx")
    parts = (*found.regions, *found.layers)
    worst = max(parts, key=lambda part: part.gain)
    assert victim in worst.nodes
    assert sum(layer.gain for layer in found.layers) == pytest.approx(1)
    assert sorted(layer.layer for layer in found.layers) == sorted(layer.name for layer in layers_of(source))
    assert found.error > 0
    assert not (tmp_path / "question.onnx").exists()
    assert Sensitivity.from_json(found.to_json()) == found


def test_charges_are_ratios_of_alternating_runs(tiny, tmp_path):
    forms, feeds, _, _ = tiny
    source = onnx.load(forms.cut).graph
    reference = Reference.of(forms.head_of(INT8), forms.baseline.input.size_wh, feeds, opened(forms.cut).run)
    ticks = itertools.count()
    found = measure_sensitivity(quantized(tiny), source, reference, opened, tmp_path / "q.onnx", clock=lambda: float(next(ticks)))
    parts = (*found.regions, *found.layers)
    assert {part.charge for part in parts if part.gain > SMALLEST_GAIN} == {0.0}  # every run takes one tick
    assert {part.charge for part in parts if part.gain <= SMALLEST_GAIN} == {None}  # and what gains nothing is not run
    assert len(found.layers) == len(layers_of(source))


def part(name: str, gain: float, charge: float, layers: int = 1) -> LayerSensitivity:
    return LayerSensitivity(name, (name, f"{name}/act"), gain, charge, layers)


@pytest.mark.parametrize(
    ("regions", "start"),
    [
        ([part("two", 0.1, -0.04, 2), part("three", 0.5, 0.01, 3), part("four", 0.6, 0.1, 4)], "three"),  # 0.18, 0.48, 0.4
        ([part("three", 0.42, -0.056, 3), part("five", 0.46, -0.012, 5)], "three"),  # what it saves buys more elsewhere
        ([part("two", 0.0, -0.04, 2)], None),  # faster, but gains nothing
        ([part("two", 0.9, 0.5, 2)], None),  # gains, but at too high a price
        ([], None),
    ],
)
def test_starts_from_the_region_that_is_worth_most(regions, start):
    found = best_start(regions)
    assert (found.layer if found else None) == start


def test_what_is_in_the_starting_region_is_not_taken_again():
    region = LayerSensitivity("the first 2 layers", ("stem", "stem/act", "dear", "dear/act"), 0.5, -0.01, 2)
    found = Sensitivity(0.1, (region,), region.layer, (part("stem", 0.3, -0.01), part("dear", 0.2, 0.1), part("other", 0.1, 0.1)))
    assert [each.layer for each in by_gain_for_charge(found)] == ["other"]


def test_orders_layers_by_gain_for_charge_and_never_takes_a_harmful_one():
    layers = (part("dear", 0.2, 0.1), part("lucky", 0.05, -0.2), part("cheap", 0.1, 0.001), part("harm", -0.1, -0.05))
    # 0.1 for 0.01, what timing can tell from nothing; 0.05 for the same; 0.2 for 0.1
    assert [each.layer for each in by_gain_for_charge(Sensitivity(0.1, (), None, layers))] == ["cheap", "lucky", "dear"]


def test_regions_are_beginnings_and_the_end(tiny):
    source = onnx.load(tiny[0].cut).graph
    layers, regions = layers_of(source), regions_of(source)
    assert [region.name for region in regions[:-1]] == [f"the first {n} layers" for n in range(2, 2 + len(regions) - 1)]
    assert regions[0].nodes == (*layers[0].nodes, *layers[1].nodes)
    assert len(regions[-1].nodes) == len(source.output)


def test_an_activation_that_reads_two_layers_belongs_to_neither():
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="a"),
        helper.make_node("Conv", ["x", "w"], ["b"], name="b"),
        helper.make_node("Mul", ["a", "b"], ["c"], name="gate"),
        helper.make_node("Relu", ["c"], ["d"], name="relu"),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    assert [layer.nodes for layer in layers_of(graph)] == [("a",), ("b",)]

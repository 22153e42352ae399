"""What quantization adds to each convolution on average, and that it is gone once the bias has paid for it."""

import numpy as np
import onnx
import pytest

from edgewright.compress.calibrate import observe
from edgewright.compress.correct import bias_shifts, encoding, with_corrected_biases
from edgewright.compress.head_cut import cut_head, raw_head
from edgewright.compress.quantize import choose_ranges, float_nodes, name_nodes, nodes_kept_float, quantize_static
from edgewright.compress.recipes import Recipe
from edgewright.compress.schemes import SCHEMES, TENSORRT, X86_VNNI
from edgewright.engines import open_engine
from edgewright.graph.head import recognise
from tiny_detector import build_tiny_detector

RECIPE = Recipe("int8", "int8", "static", ranges="least_squares")
PICTURES = [{"images": np.random.default_rng(seed).random((1, 3, 64, 64), np.float32)} for seed in range(4)]


def opened(path):
    return open_engine("onnxruntime", path, threads=1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A tiny detector without its decode, its head, and statistics over noise."""
    folder = tmp_path_factory.mktemp("network")
    whole = build_tiny_detector()
    name_nodes(whole.graph)
    head = raw_head(whole, recognise(whole))
    model = cut_head(whole, head)
    onnx.save(model, folder / "cut.onnx")
    return model, head, observe(folder / "cut.onnx", PICTURES, opened, folder / "scratch.onnx")


def shifts_of(network, scheme, folder, recipe=RECIPE):
    model, head, statistics = network
    ranges = choose_ranges(model, head, statistics, recipe)
    return bias_shifts(model, PICTURES, ranges, scheme, nodes_kept_float(model.graph, recipe), opened, folder / "twin.onnx")


def values_of(model, names, folder):
    """These tensors over all pictures, [pictures, ...]."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnx.save(exposed, folder / "exposed.onnx")
    runs = [opened(folder / "exposed.onnx").run(feed) for feed in PICTURES]
    return {name: np.concatenate([run[at] for run in runs]) for at, name in enumerate(names)}


def alone(graph, conv, opset):
    """The convolution `conv` of a Q/DQ graph with its pairs, as a model from its float input to its output."""
    producer = {name: node for node in graph.node for name in node.output}
    nodes, pending = [], [conv]
    while pending:
        node = pending.pop()
        nodes.insert(0, node)
        stop = node.op_type == "QuantizeLinear"
        pending += [] if stop else [producer[name] for name in node.input if name in producer]
    names = {name for node in nodes for name in node.input}
    held = [tensor for tensor in graph.initializer if tensor.name in names]
    x = next(n.input[0] for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] not in {t.name for t in held})
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in (x, conv.output[0])]
    made = onnx.helper.make_model(onnx.helper.make_graph(nodes, "one", ends[:1], ends[1:], held), opset_imports=opset)
    made.ir_version = 8
    return made, x


@pytest.mark.parametrize("scheme", [X86_VNNI, TENSORRT], ids=["every operator", "inputs only"])
def test_a_corrected_convolution_has_no_mean_error(network, scheme, tmp_path):
    model, head, statistics = network
    shifts = shifts_of(network, scheme, tmp_path)
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    assert set(shifts) == {node.name for node in convs}
    exact = values_of(model, [name for node in convs for name in (node.input[0], node.output[0])], tmp_path)
    worst = {}
    for key, source in (("plain", model), ("corrected", with_corrected_biases(model, shifts))):
        copy = onnx.ModelProto()
        copy.CopyFrom(source)
        quantize_static(copy, head, statistics, RECIPE, scheme, tmp_path / "int8.onnx")
        made = onnx.load(tmp_path / "int8.onnx")
        for conv in convs:
            twin = next(node for node in made.graph.node if node.name == conv.name)
            single, x = alone(made.graph, twin, made.opset_import)
            onnx.save(single, tmp_path / "single.onnx")
            y = np.concatenate([opened(tmp_path / "single.onnx").run({x: exact[conv.input[0]][at : at + 1]})[0] for at in range(4)])
            error = (y - exact[conv.output[0]]).mean(axis=(0, 2, 3))
            worst[key] = max(worst.get(key, 0.0), float(np.abs(error).max()))
    assert worst["corrected"] < worst["plain"] / 20


def test_what_stays_float_is_left_alone(network, tmp_path):
    model, _, _ = network
    recipe = Recipe("head", "int8", "static", float_parts=("head",))
    shifts = shifts_of(network, X86_VNNI, tmp_path, recipe)
    assert shifts
    assert not set(shifts) & set(float_nodes(model.graph, ("head",)))
    assert not (tmp_path / "twin.onnx").exists()


def test_a_convolution_without_a_bias_gets_one_and_the_model_given_is_unchanged(network):
    model, _, _ = network
    first, second = [node for node in model.graph.node if node.op_type == "Conv"][:2]
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del next(node for node in bare.graph.node if node.name == first.name).input[2:]
    before = bare.SerializeToString(deterministic=True)
    channels = [next(t for t in model.graph.initializer if t.name == node.input[1]).dims[0] for node in (first, second)]
    shifts = {node.name: np.full(count, 0.5, np.float32) for node, count in zip((first, second), channels, strict=True)}
    corrected = with_corrected_biases(bare, shifts)
    assert bare.SerializeToString(deterministic=True) == before
    onnx.checker.check_model(corrected)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in corrected.graph.initializer}
    by_name = {node.name: node for node in corrected.graph.node}
    assert np.array_equal(held[by_name[first.name].input[2]], np.full(channels[0], -0.5))
    old = onnx.numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == second.input[2]))
    assert np.allclose(held[by_name[second.name].input[2]], old - 0.5)
    assert second.input[2] not in held


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_encodings_are_those_the_quantizer_writes(network, scheme, tmp_path):
    model, head, statistics = network
    ranges = choose_ranges(model, head, statistics, RECIPE)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    quantize_static(copy, head, statistics, RECIPE, scheme, tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "images")
    scale, zero = encoding(ranges["images"], scheme)
    assert (held[first.input[1]].dtype, held[first.input[2]].dtype) == (np.float32, zero.dtype)
    assert (held[first.input[1]].item(), held[first.input[2]].item()) == (scale, zero)


def test_nothing_quantized_nothing_to_correct(network, tmp_path):
    model, _, _ = network
    every = [node.name for node in model.graph.node]
    assert bias_shifts(model, PICTURES, {"images": (0.0, 1.0)}, X86_VNNI, every, opened, tmp_path / "twin.onnx") == {}

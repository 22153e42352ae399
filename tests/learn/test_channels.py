"""Channels that go together: a network without them answers as the whole one whose next convolutions do not listen to them."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.compress.head_cut import cut_head  # noqa: E402
from edgewright.graph.cost import mac_count  # noqa: E402
from edgewright.learn.channels import map_channels, without_channels  # noqa: E402
from graph.small_models import tensor  # noqa: E402
from learn.nets import DEMO, MODELS, answers, deaf, folded_with_head, model_in, picture_of, small_net  # noqa: E402
from tiny_detector import save_tiny_detector  # noqa: E402


def some_kept(channels, seed, share=0.6):
    """A random choice that leaves each width at least one channel."""
    rng = np.random.default_rng(seed)
    kept = channels.everything()
    for width in channels.widths:
        keep = rng.random(len(width.numbers)) < share
        keep[rng.integers(len(keep))] = True
        kept[width.numbers[~keep]] = False
    return kept


def assert_goes_together(model, outputs, kept, channels=None):
    """Answers, shapes and multiply-adds of the network without the channels; returns it."""
    channels = channels or map_channels(model, outputs)
    given = model.SerializeToString()
    pruned = without_channels(model, channels, kept)
    assert model.SerializeToString() == given, "the given model is left alone"
    onnx.checker.check_model(pruned, full_check=True)
    picture = picture_of(model)
    wanted = answers(deaf(model, channels, kept), picture, outputs)
    for mine, theirs in zip(answers(pruned, picture, outputs), wanted, strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() < 1e-3 * max(1, np.abs(theirs).max() / 10)
    gone = channels.macs(channels.everything()) - channels.macs(kept)
    assert gone == mac_count(model) - mac_count(pruned)
    return pruned


# --- whole detectors ----------------------------------------------------------------------------------------------------------------------


def assert_detector_shrinks(path, folder, *, least_gone):
    model, head = folded_with_head(path, folder)
    outputs = [output.name for output in head.outputs]
    cut = cut_head(model, head)
    channels = map_channels(cut, outputs)
    assert len(channels.widths) >= 2
    assert channels.pinned[np.concatenate([channels.of_tensor[name] for name in outputs])].all()
    kept = some_kept(channels, seed=1)
    pruned = assert_goes_together(cut, outputs, kept, channels)
    assert channels.macs(kept) < (1 - least_gone) * channels.macs(channels.everything())
    # With its decode it has the same channels, and the answers have the same shape.
    whole = map_channels(model, outputs)
    assert [conv.name for conv in whole.convs] == [conv.name for conv in channels.convs]
    shrunk = without_channels(model, whole, some_kept(whole, seed=1))
    assert shapes(shrunk) == shapes(model)
    picture = picture_of(model)
    for mine, theirs in zip(answers(shrunk, picture, outputs), answers(pruned, picture, outputs), strict=True):
        assert np.abs(mine - theirs).max() < 1e-3


def shapes(model):
    return [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.output]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "yolov8n_unfused_bn"])
def test_a_real_detector_loses_channels_that_nobody_listens_to(test_data, tmp_path, name):
    assert_detector_shrinks(model_in(test_data, name), tmp_path, least_gone=0.3)


def test_the_demo_detector_loses_channels_that_nobody_listens_to(tmp_path):
    assert_detector_shrinks(DEMO, tmp_path, least_gone=0.3)


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox", "yolox decoded", "end2end"])
def test_a_tiny_detector_loses_channels_that_nobody_listens_to(tmp_path, family):
    assert_detector_shrinks(save_tiny_detector(tmp_path / "tiny.onnx", family=family), tmp_path, least_gone=0.3)


# --- small graphs -------------------------------------------------------------------------------------------------------------------------


def conv(source, weight, target, **attributes):
    return helper.make_node("Conv", [source, weight], [target], name=f"conv_{target}", **attributes)


def op(kind, inputs, *targets, **attributes):
    return helper.make_node(kind, inputs.split(), list(targets), name=f"{kind}_{targets[0]}", **attributes)


def numbers(name, *values):
    return tensor(name, values, np.int64)


def residual():
    """Added: b to a, d to both: one set of four numbers."""
    nodes = [
        conv("image", "wa", "a"),
        conv("a", "wb", "b", pads=[1, 1, 1, 1]),
        op("Add", "a b", "c"),
        conv("c", "wd", "d"),
        op("Add", "d c", "e"),
        conv("e", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wa": (4, 3, 1, 1), "wb": (4, 4, 3, 3), "wd": (4, 4, 1, 1), "wo": (2, 4, 1, 1)})


def concatenated():
    """[a, b] split unevenly, across the seam; the pieces are read apart."""
    nodes = [
        conv("image", "wa", "a"),
        conv("image", "wb", "b"),
        op("Concat", "a b", "ab", axis=1),
        op("Relu", "ab", "r"),
        op("Split", "r sizes", "p", "q", "s", axis=1),
        conv("p", "wp", "pp"),
        conv("q", "wq", "qq"),
        conv("s", "ws", "ss"),
        op("Add", "pp qq", "pq"),
        op("Add", "pq ss", "sum"),
        conv("sum", "wo", "out"),
    ]
    weights = {"wa": (4, 3, 1, 1), "wb": (6, 3, 1, 1), "sizes": numbers("sizes", 3, 5, 2)}
    weights |= {"wp": (4, 3, 1, 1), "wq": (4, 5, 1, 1), "ws": (4, 2, 1, 1), "wo": (2, 4, 1, 1)}
    return small_net(nodes, ["out"], weights)


def split_equally(*, opset):
    """A split without sizes, whose halves become uneven: C2f's, where one half is kept and the other added to."""
    extra = {"num_outputs": 2} if opset >= 18 else {}
    nodes = [
        conv("image", "wa", "a"),
        op("Split", "a", "p", "q", axis=1, **extra),
        conv("q", "wq", "r"),
        op("Concat", "p q r", "all", axis=1),
        conv("all", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wa": (8, 3, 1, 1), "wq": (3, 4, 1, 1), "wo": (2, 11, 1, 1)}, opset=opset)


def split_by_attribute():
    nodes = [
        conv("image", "wa", "a"),
        op("Split", "a", "p", "q", axis=1, split=[3, 5]),
        op("Concat", "q p", "all", axis=1),
        conv("all", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wa": (8, 3, 1, 1), "wo": (2, 8, 1, 1)}, opset=11)


def depthwise():
    nodes = [
        conv("image", "wa", "a"),
        helper.make_node("Conv", ["a", "wd", "bd"], ["d"], name="conv_d", group=6, pads=[1, 1, 1, 1]),
        op("HardSwish", "d", "h"),
        conv("h", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wa": (6, 3, 1, 1), "wd": (6, 1, 3, 3), "bd": (6,), "wo": (2, 6, 1, 1)})


def grouped():
    """A grouped convolution in the middle pins what it reads and makes; b before it is free."""
    nodes = [
        conv("image", "wb", "b"),
        conv("b", "wa", "a"),
        conv("a", "wg", "g", group=2),
        conv("g", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wb": (5, 3, 1, 1), "wa": (6, 5, 1, 1), "wg": (4, 3, 1, 1), "wo": (2, 4, 1, 1)})


def widening():
    """A depthwise convolution that makes two channels of each."""
    nodes = [conv("image", "wb", "b"), conv("b", "wa", "a"), conv("a", "wg", "g", group=3), conv("g", "wo", "out")]
    return small_net(nodes, ["out"], {"wb": (5, 3, 1, 1), "wa": (3, 5, 1, 1), "wg": (6, 1, 1, 1), "wo": (2, 6, 1, 1)})


def shared():
    nodes = [
        conv("image", "wb", "b"),
        conv("b", "wa", "a"),
        conv("a", "ws", "s"),
        conv("s", "ws", "t"),
        conv("t", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wb": (5, 3, 1, 1), "wa": (4, 5, 1, 1), "ws": (4, 4, 1, 1), "wo": (2, 4, 1, 1)})


def sliced():
    """Two overlapping windows of channels, one of them counted from the end, and a cut of rows."""
    nodes = [
        conv("image", "wa", "a"),
        op("Slice", "a rows_from rows_to rows_axis", "low"),
        op("Slice", "low start end axis", "p"),
        op("Slice", "low back most axis one", "q"),
        op("Concat", "p q", "pq", axis=1),
        conv("pq", "wo", "out"),
    ]
    held = [
        ("rows_from", 2),
        ("rows_to", -1),
        ("rows_axis", 2),
        ("start", 1),
        ("end", 5),
        ("axis", 1),
        ("back", -5),
        ("most", 2**62),
        ("one", 1),
    ]
    weights = {"wa": (8, 3, 1, 1), "wo": (2, 9, 1, 1)} | {name: numbers(name, each) for name, each in held}
    return small_net(nodes, ["out"], weights)


def sliced_from_the_back_axis():
    """The axis of channels by its negative number."""
    nodes = [
        conv("image", "wb", "b"),
        conv("b", "wa", "a"),
        op("Slice", "a start end axis", "p"),
        conv("p", "wo", "out"),
    ]
    weights = {"wb": (5, 3, 1, 1), "wa": (8, 5, 1, 1), "wo": (2, 4, 1, 1)}
    return small_net(nodes, ["out"], weights | {"start": numbers("start", 1), "end": numbers("end", 5), "axis": numbers("axis", -3)})


def attention():
    """A reshape that mixes channels: what it reads and makes has to stay."""
    nodes = [
        conv("image", "wb", "b"),
        conv("b", "wa", "a"),
        op("Reshape", "a flat", "f"),
        op("Transpose", "f", "t", perm=[0, 2, 1]),
        op("MatMul", "f t", "m"),
        op("Softmax", "m", "s", axis=-1),
        op("MatMul", "s f", "v"),
        op("Reshape", "v map", "r"),
        op("Add", "r a", "u"),
        conv("u", "wo", "out"),
    ]
    weights = {"wb": (5, 3, 1, 1), "wa": (4, 5, 1, 1), "wo": (2, 4, 1, 1)}
    return small_net(nodes, ["out"], weights | {"flat": numbers("flat", 1, 4, 64), "map": numbers("map", 1, 4, 8, 8)})


def pooled_and_resized():
    """SPPF and an upsampling, by factors and by sizes."""
    pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        conv("image", "wa", "a", strides=[2, 2]),
        op("MaxPool", "a", "m", **pool),
        op("AveragePool", "m", "n", **pool),
        op("Concat", "a m n", "spp", axis=1),
        helper.make_node("Resize", ["spp", "", "scales"], ["big"], name="by_factors"),
        helper.make_node("Resize", ["a", "", "", "sizes"], ["wide"], name="by_sizes"),
        op("Concat", "big wide", "all", axis=1),
        op("Mul", "all half", "scaled"),
        conv("scaled", "wo", "out"),
    ]
    weights = {"wa": (5, 3, 1, 1), "wo": (2, 20, 1, 1), "scales": tensor("scales", [1, 1, 2, 2]), "sizes": numbers("sizes", 1, 5, 8, 8)}
    return small_net(nodes, ["out"], weights | {"half": tensor("half", 0.5)})


def gated():
    """Squeeze and excite: the gate's channels are the features'."""
    nodes = [
        conv("image", "wa", "a"),
        op("GlobalAveragePool", "a", "g"),
        conv("g", "ws", "s"),
        op("Relu", "s", "r"),
        conv("r", "we", "e"),
        op("Sigmoid", "e", "gate"),
        op("Mul", "a gate", "x"),
        conv("x", "wo", "out"),
    ]
    return small_net(nodes, ["out"], {"wa": (6, 3, 1, 1), "ws": (4, 6, 1, 1), "we": (6, 4, 1, 1), "wo": (2, 6, 1, 1)})


def scaled_by_channel():
    """A constant for each channel is not cut; what it multiplies has to stay."""
    nodes = [conv("image", "wb", "b"), conv("b", "wa", "a"), op("Mul", "a each", "x"), conv("x", "wo", "out")]
    return small_net(nodes, ["out"], {"wb": (5, 3, 1, 1), "wa": (4, 5, 1, 1), "each": (1, 4, 1, 1), "wo": (2, 4, 1, 1)})


def read_twice():
    """Another branch, which does not lead to the outputs asked for, reads a, and its last map is an output of the graph."""
    nodes = [conv("image", "wb", "b"), conv("b", "wa", "a"), conv("a", "wo", "out"), conv("a", "wx", "other")]
    return small_net(nodes, ["out", "other"], {"wb": (5, 3, 1, 1), "wa": (4, 5, 1, 1), "wo": (2, 4, 1, 1), "wx": (3, 4, 1, 1)})


def split_behind():
    """The decode behind the output splits it."""
    nodes = [conv("image", "wa", "a"), conv("a", "wo", "out"), op("Split", "out", "p", "q", axis=1), op("Add", "p q", "sum")]
    return small_net(nodes, ["sum"], {"wa": (6, 3, 1, 1), "wo": (2, 6, 1, 1)})


# Graph, and which of its tensors' channels have to stay; all its other ones may go.
GRAPHS = {
    "residual": (residual, ["out"]),
    "concatenated and split across the seam": (concatenated, ["out"]),
    "split in halves, opset 13": (lambda: split_equally(opset=13), ["out"]),
    "split in halves, opset 18": (lambda: split_equally(opset=18), ["out"]),
    "split by attribute": (split_by_attribute, ["out"]),
    "depthwise": (depthwise, ["out"]),
    "grouped": (grouped, ["a", "g", "out"]),
    "a depthwise convolution that widens": (widening, ["a", "g", "out"]),
    "a shared weight": (shared, ["a", "s", "t", "out"]),
    "sliced": (sliced, ["out"]),
    "sliced by a negative axis": (sliced_from_the_back_axis, ["a", "p", "out"]),
    "attention": (attention, ["a", "r", "u", "out"]),
    "pooled and resized": (pooled_and_resized, ["out"]),
    "gated": (gated, ["out"]),
    "scaled by channel": (scaled_by_channel, ["a", "x", "out"]),
    "read by another branch": (read_twice, ["a", "out"]),
    "split behind its output": (split_behind, ["out"]),
}


@pytest.mark.parametrize(("build", "stays"), GRAPHS.values(), ids=GRAPHS)
def test_only_what_is_not_understood_has_to_stay(build, stays):
    channels = map_channels(build(), ["out"])
    for name, own in channels.of_tensor.items():
        pinned = channels.pinned[own]
        assert pinned.all() if name in ("image", *stays) else not pinned.any(), name
    may_go = {number for width in channels.widths for number in width.numbers.tolist()}
    assert may_go == set(np.flatnonzero(~channels.pinned).tolist())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("build", [build for build, _ in GRAPHS.values()], ids=GRAPHS)
def test_a_small_graph_loses_channels_that_nobody_listens_to(build, seed):
    model = build()
    channels = map_channels(model, ["out"])
    kept = some_kept(channels, seed)
    pruned = assert_goes_together(model, ["out"], kept, channels)
    assert answers(pruned, picture_of(model))[0].shape == answers(model, picture_of(model))[0].shape


def in_a_row(outputs):
    """Three convolutions one after the other."""
    nodes = [conv("image", "wa", "a"), conv("a", "wb", "b"), conv("b", "wo", "out")]
    return small_net(nodes, outputs, {"wa": (5, 3, 1, 1), "wb": (4, 5, 1, 1), "wo": (2, 4, 1, 1)})


@pytest.mark.parametrize(
    ("of_graph", "asked"),
    [(["out"], ["b", "out"]), (["out", "b"], ["out"]), (["out"], ["out", "b"])],
    ids=["asked for", "an output of the graph", "in any order"],
)
def test_an_inner_tensor_that_somebody_wants_stays_whole(of_graph, asked):
    model = in_a_row(of_graph)
    channels = map_channels(model, asked)
    assert channels.pinned[channels.of_tensor["b"]].all()
    assert not channels.pinned[channels.of_tensor["a"]].any()
    kept = some_kept(channels, seed=0)
    assert kept.sum() < len(kept)
    assert_goes_together(model, ["b", "out"], kept, channels)


def test_channels_that_are_added_are_one():
    of_tensor = map_channels(residual(), ["out"]).of_tensor
    assert all(of_tensor[name].tolist() == of_tensor["a"].tolist() for name in "bcde")
    assert len(map_channels(residual(), ["out"]).widths) == 1


def test_the_two_halves_of_a_split_are_widths_of_their_own():
    channels = map_channels(concatenated(), ["out"])
    of_tensor = channels.of_tensor
    assert of_tensor["ab"].tolist() == [*of_tensor["a"], *of_tensor["b"]]
    assert [*of_tensor["p"], *of_tensor["q"], *of_tensor["s"]] == of_tensor["ab"].tolist()
    # a is read by p's convolution and in part by q's; b by q's and by s's; the sum of all three is a fourth.
    assert sorted(len(width.numbers) for width in channels.widths) == [1, 2, 3, 4, 4]


def test_everything_kept_is_the_same_network():
    model = concatenated()
    channels = map_channels(model, ["out"])
    made = without_channels(model, channels, channels.everything())
    picture = picture_of(model)
    assert np.array_equal(answers(made, picture)[0], answers(model, picture)[0])
    assert channels.macs(channels.everything()) == mac_count(model) == mac_count(made)


@pytest.mark.parametrize("build", [build for name, (build, _) in GRAPHS.items() if name not in ("attention", "read by another branch")])
def test_multiply_adds_are_those_of_the_graph(build):
    model = build()
    channels = map_channels(model, ["out"])
    assert channels.macs(channels.everything()) == mac_count(model)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_choice_goes_together(data):
    build = data.draw(st.sampled_from([concatenated, depthwise, sliced, pooled_and_resized, gated]))
    model = build()
    channels = map_channels(model, ["out"])
    kept = channels.everything()
    for width in channels.widths:
        kept[width.numbers] = data.draw(st.lists(st.booleans(), min_size=len(width.numbers), max_size=len(width.numbers)).filter(any))
    assert_goes_together(model, ["out"], kept, channels)

"""Heads that give integers: the same answers to one step, in fewer bytes, in whatever form the integer graph is written."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from cut_detector import TINY, as_values, cut_file, cut_tiny, drawn, letterboxed, outputs_of
from edgewright.compress.integer_outputs import give_integers
from edgewright.compress.placement import place_pairs
from edgewright.compress.quantize import float_nodes, quantize_static
from edgewright.compress.recipes import INT8
from edgewright.compress.schemes import ARM_SIGNED, OPENVINO, OPENVINO_ZERO_POINTS, TENSORRT, X86_SATURATING, X86_VNNI
from edgewright.data.images import read_image
from edgewright.engines import open_engine
from edgewright.graph.camera_input import take_camera_frames
from edgewright.vision.heads import decode

ONNX_TYPES = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8, np.dtype(np.float32): TensorProto.FLOAT}


def quantized(cut, folder, scheme, container="qdq", parts=()):
    """The integer model, and what it keeps in float."""
    recipe = replace(INT8, container=container, float_parts=parts)
    quantize_static(cut.model, cut.head, cut.statistics, recipe, scheme, folder / "int8.onnx")
    return onnx.load(folder / "int8.onnx"), float_nodes(cut.model.graph, parts)


def clipped(values, output, ranges):
    return np.clip(values, *ranges[output.name])


def assert_same_to_a_step(cut, before, form, found):
    """Integers of the form's type and shape, worth what the graph gave before to one step; what lay outside the range is at its end."""
    given = {value.name: value.type.tensor_type for value in form.model.graph.output}
    for was, output, old, new in zip(before, form.head.outputs, cut.head.outputs, found, strict=True):
        assert (new.shape, ONNX_TYPES[new.dtype]) == (was.shape, given[output.name].elem_type)
        assert [dim.dim_value for dim in given[output.name].shape.dim] == list(was.shape)
        assert (output.role, output.stride) == (old.role, old.stride)
        if output.scale is None:
            assert np.array_equal(new, was)
            continue
        [value] = as_values([new], replace(form.head, outputs=(output,)))
        assert np.abs(value - clipped(was, old, cut.ranges)).max() <= output.scale * 1.01


@pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())
@pytest.mark.parametrize("scheme", [X86_VNNI, ARM_SIGNED, OPENVINO, OPENVINO_ZERO_POINTS], ids=["x86", "arm", "openvino", "zero points"])
def test_the_integers_are_worth_what_the_floats_said(tmp_path, options, scheme):
    cut = cut_tiny(tmp_path, **options)
    model, kept = quantized(cut, tmp_path, scheme)
    given = model.SerializeToString()
    form = give_integers(model, cut.head, cut.ranges, kept, scheme)
    assert model.SerializeToString() == given, "the given model is left alone"
    onnx.checker.check_model(form.model, full_check=True)
    assert all(output.scale is not None for output in form.head.outputs)
    feed = cut.feed(drawn(cut.input.size_wh, seed=9))
    assert_same_to_a_step(cut, outputs_of(model, feed), form, outputs_of(form.model, feed))


@pytest.mark.parametrize("scheme", [X86_VNNI, X86_SATURATING, ARM_SIGNED], ids=["x86", "seven bits", "arm"])
def test_integer_operators_lose_their_last_step_alone(tmp_path, scheme):
    cut = cut_tiny(tmp_path)
    model, kept = quantized(cut, tmp_path, scheme, container="qoperator")
    form = give_integers(model, cut.head, cut.ranges, kept, scheme)
    onnx.checker.check_model(form.model)
    feed = cut.feed(drawn((64, 64), seed=9))
    before, found = outputs_of(model, feed), outputs_of(form.model, feed)
    assert all(np.array_equal(a, b) for a, b in zip(as_values(found, form.head), before, strict=True))
    assert {held.dtype.name for held in found} == {scheme.activation}
    assert "DequantizeLinear" not in {node.op_type for node in form.model.graph.node if {*node.output} & {*cut.head.outputs}}


@pytest.mark.parametrize("scheme", [X86_VNNI, ARM_SIGNED], ids=["x86", "arm"])
def test_pairs_lose_their_second_half_and_nothing_is_rounded_again(tmp_path, scheme):
    cut = cut_tiny(tmp_path)
    model, kept = quantized(cut, tmp_path, scheme)
    form = give_integers(model, cut.head, cut.ranges, kept, scheme)
    assert len(model.graph.node) - len(form.model.graph.node) == len(cut.head.outputs)
    feed = cut.feed(drawn((64, 64), seed=9))
    before, found = outputs_of(model, feed), outputs_of(form.model, feed)
    for a, b in zip(as_values(found, form.head), before, strict=True):
        assert a == pytest.approx(b, abs=1e-5)


@pytest.mark.parametrize("name", ["yolov8", "yolov5", "yolox"])
@pytest.mark.parametrize("scheme", [OPENVINO, OPENVINO_ZERO_POINTS], ids=["symmetric", "zero points"])
def test_openvino_gives_the_same_integers(tmp_path, name, scheme):
    pytest.importorskip("openvino")
    cut = cut_tiny(tmp_path, **TINY[name])
    placed = place_pairs(cut.model, cut.ranges, (), scheme)
    form = give_integers(placed, cut.head, cut.ranges, (), scheme)
    for model, path in ((placed, "placed.onnx"), (form.model, "integers.onnx")):
        onnx.save(model, tmp_path / path)
    feed = cut.feed(drawn(cut.input.size_wh, seed=9))
    before, found = (open_engine("openvino", tmp_path / path, threads=1).run(feed) for path in ("placed.onnx", "integers.onnx"))
    assert_same_to_a_step(cut, before, form, found)


def test_a_float_head_stays_float_and_is_given_as_it_is(tmp_path):
    for scheme in (X86_VNNI, OPENVINO):
        cut = cut_tiny(tmp_path)
        model, kept = quantized(cut, tmp_path, scheme, parts=("head",))
        form = give_integers(model, cut.head, cut.ranges, kept, scheme)
        assert form.head == cut.head
        feed = cut.feed(drawn((64, 64), seed=9))
        assert_same_to_a_step(cut, outputs_of(model, feed), form, outputs_of(form.model, feed))


def test_a_head_may_be_half_float(tmp_path):
    cut = cut_tiny(tmp_path)
    boxes = {output.name for output in cut.head.outputs if output.role == "box"}
    kept = [node.name for node in cut.model.graph.node if boxes & {*node.output}]
    form = give_integers(place_pairs(cut.model, cut.ranges, kept, OPENVINO), cut.head, cut.ranges, kept, OPENVINO)
    assert {output.role for output in form.head.outputs if output.scale is None} == {"box"}
    assert {output.role for output in form.head.outputs if output.scale is not None} == {"class"}


def test_what_a_scheme_leaves_float_behind_its_convolutions_is_not_rounded(tmp_path):
    """TensorRT's outputs are float by its scheme; nobody rounds them behind its back."""
    cut = cut_tiny(tmp_path)
    model, kept = quantized(cut, tmp_path, TENSORRT)
    assert give_integers(model, cut.head, cut.ranges, kept, TENSORRT).head == cut.head


def test_an_output_of_unknown_range_stays_float(tmp_path):
    cut = cut_tiny(tmp_path)
    first = cut.head.outputs[0].name
    ranges = {name: found for name, found in cut.ranges.items() if name != first}
    form = give_integers(place_pairs(cut.model, ranges, (), OPENVINO), cut.head, ranges, (), OPENVINO)
    assert [output.scale is None for output in form.head.outputs] == [output.name == first for output in cut.head.outputs]


def test_a_pair_that_the_network_itself_reads_is_left_to_it(tmp_path):
    """The head's raw scores may gate something inside: taking the second half away must not leave that without its input."""
    cut = cut_tiny(tmp_path)
    model, kept = quantized(cut, tmp_path, X86_VNNI)
    first, second = cut.head.outputs[:2]
    model.graph.node.append(onnx.helper.make_node("Neg", [first.name], ["reader"], name="reader"))
    model.graph.output.append(onnx.helper.make_tensor_value_info("reader", TensorProto.FLOAT, None))
    form = give_integers(model, cut.head, cut.ranges, kept, X86_VNNI)
    form.model.graph.output.append(onnx.helper.make_tensor_value_info("reader", TensorProto.FLOAT, None))
    *found, negated = outputs_of(form.model, cut.feed(drawn((64, 64), seed=9)))
    assert as_values(found, form.head)[0] == pytest.approx(-negated, abs=1e-5)
    assert (form.head.outputs[0].scale, form.head.outputs[1].name) != (None, second.name)


def test_rectangles_are_found_in_bytes_from_camera_to_head(tmp_path):
    """All forms together: bytes in, bytes out, and the float network's boxes."""
    cut = cut_tiny(tmp_path, size=128)
    form = give_integers(place_pairs(cut.model, cut.ranges, (), OPENVINO_ZERO_POINTS), cut.head, cut.ranges, (), OPENVINO_ZERO_POINTS)
    camera = take_camera_frames(form.model, cut.input)
    frame = drawn((128, 128), seed=9)
    found = outputs_of(camera.model, {cut.input.name: letterboxed(frame, cut.input)})
    assert {held.dtype.name for held in found} == {"uint8"}
    exact = decode(cut.head, outputs_of(cut.model, cut.feed(frame)), 0.3, size_wh=(128, 128))
    rounded = decode(cut.head, as_values(found, form.head), 0.3, size_wh=(128, 128))
    assert set(exact[2]) == set(rounded[2]) == {0, 1, 2}
    for box, _, class_id in zip(*exact, strict=True):
        same = rounded[0][rounded[2] == class_id]
        assert np.abs(same - box).max(axis=1).min() <= 1.0


@pytest.mark.parametrize(("name", "folder"), [("yolov8n", "coco/images/val"), ("pcb320_yolo11n", "deeppcb/images/val")])
@pytest.mark.parametrize("scheme", [X86_VNNI, OPENVINO], ids=["x86", "openvino"])
def test_real_heads_give_integers(test_data, tmp_path, name, folder, scheme):
    pictures = [read_image(path) for path in sorted((test_data / folder).iterdir())[:3]]
    cut = cut_file(test_data / f"models/{name}.onnx", tmp_path, pictures[:2])
    model, kept = quantized(cut, tmp_path, scheme)
    form = give_integers(model, cut.head, cut.ranges, kept, scheme)
    feed = cut.feed(pictures[2])
    before, found = outputs_of(model, feed), outputs_of(form.model, feed)
    assert_same_to_a_step(cut, before, form, found)
    assert sum(held.nbytes for held in before) == 4 * sum(held.nbytes for held in found)

"""The operators of an ONNX file, from its bytes alone: the same that onnx reads, and none where the bytes are something else."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from cut_detector import cut_tiny
from edgewright.compress.quantize import quantize_dynamic, quantize_static
from edgewright.compress.recipes import RECIPES
from edgewright.compress.schemes import X86_VNNI
from edgewright.engines.operator_types import INTEGER_OPERATORS, operator_types
from graph.small_models import model_of, sound_model, tensor, value
from tiny_detector import build_tiny_detector

FAMILIES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")


@pytest.mark.parametrize("family", FAMILIES)
def test_finds_what_onnx_finds(tmp_path, family):
    model = build_tiny_detector(family=family)
    onnx.save(model, tmp_path / "tiny.onnx")
    found = set(operator_types(tmp_path / "tiny.onnx"))
    assert found == {node.op_type for node in model.graph.node}
    assert not found & INTEGER_OPERATORS


def test_graphs_inside_the_graph_are_not_looked_into(tmp_path):
    inner = helper.make_graph([helper.make_node("QuantizeLinear", ["x"], ["inner"])], "branch", [], [value("inner", None)])
    branching = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    onnx.save(model_of([branching], [value("x", [1])], [value("y", None)], [tensor("c", True, bool)]), tmp_path / "if.onnx")
    assert set(operator_types(tmp_path / "if.onnx")) == {"If"}


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe.precision == "int8"], ids=lambda recipe: recipe.name)
def test_whatever_is_in_integers_shows(tmp_path, recipe):
    cut = cut_tiny(tmp_path)
    if recipe.mode == "dynamic":
        quantize_dynamic(tmp_path / "cut.onnx", tmp_path / "int8.onnx")
    else:
        quantize_static(cut.model, cut.head, cut.statistics, recipe, X86_VNNI, tmp_path / "int8.onnx")
    assert set(operator_types(tmp_path / "int8.onnx")) & INTEGER_OPERATORS


@pytest.mark.parametrize("content", [b"", b"words", b"\xff" * 40, b"<?xml version='1.0'?><net/>", bytes(100)])
def test_what_is_no_onnx_has_none(tmp_path, content):
    (tmp_path / "other").write_bytes(content)
    assert set(operator_types(tmp_path / "other")) == set()


@given(st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_come_to_an_end(tmp_path, content):
    (tmp_path / "any").write_bytes(content)
    assert isinstance(set(operator_types(tmp_path / "any")), set)


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_model_that_was_cut_or_changed_comes_to_an_end_and_what_was_cut_shows_no_more(tmp_path, data):
    whole = sound_model().SerializeToString()
    known = {node.op_type for node in sound_model().graph.node}
    (tmp_path / "cut").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert set(operator_types(tmp_path / "cut")) <= known
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=5)):
        changed[at] = data.draw(st.integers(0, 255))
    (tmp_path / "changed").write_bytes(bytes(changed))
    assert isinstance(set(operator_types(tmp_path / "changed")), set)


def test_weights_are_stepped_over(tmp_path):
    """Bytes of weights that would read as nodes are no nodes."""
    decoy = onnx.GraphProto(node=[helper.make_node("QuantizeLinear", ["a"], ["b"])]).SerializeToString()
    model = sound_model()
    model.graph.initializer.append(tensor("decoy", np.frombuffer(decoy * 50, np.uint8), np.uint8))
    onnx.save(model, tmp_path / "decoy.onnx")
    assert set(operator_types(tmp_path / "decoy.onnx")) == {node.op_type for node in model.graph.node}

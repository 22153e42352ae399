"""Small numbers computed inside a graph: as ONNX's own reference computes them, or not at all."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from edgewright.graph.shape_values import (
    BATCH,
    LARGEST,
    MIXED,
    MOST_ELEMENTS,
    computed_numbers,
    constant_numbers,
    depends_on_batch,
    settled_dims,
    shape_numbers,
)
from graph.small_models import model_of, tensor, value


def numbers(*values):
    return np.array(values, object)


@pytest.mark.parametrize(
    ("kind", "operands", "attributes"),
    [
        ("Gather", [[1, 3, 20, 30], [2, 3]], {}),
        ("Gather", [[1, 3, 20, 30], 0], {"axis": 0}),
        ("Slice", [[1, 3, 20, 30], [0], [2]], {}),
        ("Slice", [[1, 3, 20, 30], [-1], [-5], [0], [-2]], {}),
        ("Concat", [[1, 3], [20]], {"axis": 0}),
        ("Unsqueeze", [7, [0]], {}),
        ("Squeeze", [[7], [0]], {}),
        ("Add", [[1, 2], 3], {}),
        ("Sub", [[1, 2], [3, 4]], {}),
        ("Mul", [[1, 2], [3, 4]], {}),
        ("Div", [[7, -7], [2, 2]], {}),
        ("Identity", [[7, 8]], {}),
    ],
)
def test_whole_numbers_as_the_reference_computes_them(kind, operands, attributes):
    names = [f"n{at}" for at in range(len(operands))]
    node = helper.make_node(kind, names, ["y"], **attributes)
    inputs = [value(name, np.shape(operand), TensorProto.INT64) for name, operand in zip(names, operands, strict=True)]
    reference = ReferenceEvaluator(model_of([node], inputs, [value("y", None, TensorProto.INT64)]))
    [expected] = reference.run(None, {name: np.array(operand, np.int64) for name, operand in zip(names, operands, strict=True)})
    made = computed_numbers(node, {name: np.array(operand, object) for name, operand in zip(names, operands, strict=True)})
    assert made is not None
    assert made.shape == expected.shape
    assert made.tolist() == expected.tolist()


def test_the_number_of_pictures_is_moved_about_and_marks_what_is_computed_from_it():
    shape = shape_numbers(helper.make_node("Shape", ["x"], ["s"]), [BATCH, 3, "height", 20])
    assert shape.tolist() == [BATCH, 3, None, 20]
    known = {"s": shape, "two": numbers(2)}
    assert computed_numbers(helper.make_node("Slice", ["s", "two", "four"], ["y"]), {**known, "four": numbers(4)}).tolist() == [None, 20]
    assert computed_numbers(helper.make_node("Mul", ["s", "two"], ["y"]), known).tolist() == [MIXED, 6, None, 40]
    assert depends_on_batch([1, BATCH])
    assert depends_on_batch([MIXED])
    assert not depends_on_batch([1, None, 2.5])


@pytest.mark.parametrize(
    ("start", "end", "expected"), [(None, None, [BATCH, 3, 8, 9]), (1, None, [3, 8, 9]), (-2, None, [8, 9]), (0, 1, [BATCH])]
)
def test_shape_between_start_and_end(start, end, expected):
    attributes = {name: at for name, at in (("start", start), ("end", end)) if at is not None}
    assert shape_numbers(helper.make_node("Shape", ["x"], ["s"], **attributes), [BATCH, 3, 8, 9]).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "operands", "attributes"),
    [
        ("Gather", [numbers(1, 2), numbers(9)], {}),  # beyond the end
        ("Gather", [numbers(1, 2), numbers(None)], {}),
        ("Slice", [numbers(1, 2), numbers(0), numbers(None)], {}),
        ("Div", [numbers(1), numbers(0)], {}),
        ("Add", [numbers(1, 2), numbers(1, 2, 3)], {}),
        ("Add", [np.ones((MOST_ELEMENTS, 1), object), np.ones((1, MOST_ELEMENTS), object)], {}),
        ("Cast", [numbers(float("inf"))], {"to": TensorProto.INT64}),
        ("Concat", [numbers(1), np.array([[1]], object)], {"axis": 0}),
        ("Squeeze", [numbers(1, 2), numbers(0)], {}),
        ("Conv", [numbers(1)], {}),
        ("Identity", [None], {}),
    ],
)
def test_what_makes_no_sense_has_no_numbers(kind, operands, attributes):
    names = [f"n{at}" for at in range(len(operands))]
    known = {name: operand for name, operand in zip(names, operands, strict=True) if operand is not None}
    assert computed_numbers(helper.make_node(kind, names, ["y"], **attributes), known) is None


def test_numbers_do_not_grow_without_bound():
    assert computed_numbers(helper.make_node("Mul", ["a", "a"], ["y"]), {"a": numbers(LARGEST - 1)}).tolist() == [None]


def test_constants_of_every_form():
    nodes = [
        helper.make_node("Constant", [], ["a"], value=tensor("", [1, 2], np.int64)),
        helper.make_node("Constant", [], ["b"], value_ints=[3, 4]),
        helper.make_node("Constant", [], ["c"], value_float=0.5),
        helper.make_node("Constant", [], ["d"], value_string="no number"),
    ]
    held = [tensor("e", [5], np.int64), tensor("large", np.zeros(MOST_ELEMENTS + 1))]
    found = constant_numbers(model_of(nodes, [], [], held).graph)
    assert {name: each.tolist() for name, each in found.items()} == {"a": [1, 2], "b": [3, 4], "c": 0.5, "e": [5]}


def test_shapes_behind_computed_shapes_are_settled():
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["u"]),
        helper.make_node("Transpose", ["u"], ["v"], perm=[0, 2, 1]),
        helper.make_node("Shape", ["v"], ["s2"]),
        helper.make_node("Slice", ["s2", "zero", "two"], ["n2"]),
        helper.make_node("Reshape", ["v", "n2"], ["y"]),
    ]
    held = [tensor("zero", [0], np.int64), tensor("two", [2], np.int64), tensor("rest", [-1], np.int64)]
    model = model_of(nodes, [value("x", [1, 5, 1, 1])], [value("y", None)], held)
    given = model.SerializeToString()
    dims = settled_dims(model)
    assert dims["v"] == (1, 1, 5)
    assert dims["y"] == (1, 1)
    assert model.SerializeToString() == given

"""What nobody reads is dropped, and what the graph itself hands out stays."""

from onnx import helper

from edgewright.graph.unread import drop_unread
from graph.small_models import model_of, random, tensor, value


def test_only_constants_that_are_read_or_handed_out_stay():
    held = [random("read", 3), random("handed_out", 2), random("left_over", 4), tensor("again", [1.0])]
    nodes = [helper.make_node("Add", ["x", "read"], ["y"]), helper.make_node("Clip", ["y", "", "again"], ["z"])]
    model = model_of(nodes, [value("x", [3])], [value("z", [3]), value("handed_out", [2])], held)
    model.graph.value_info.append(value("gone", [7]))
    drop_unread(model.graph)
    assert [tensor.name for tensor in model.graph.initializer] == ["read", "handed_out", "again"]
    assert not model.graph.value_info
    assert len(model.graph.node) == 2

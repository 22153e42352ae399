"""SiLU becomes an activation that costs nothing in integers.

x * sigmoid(x) is two passes over every feature map in an integer network, and a quarter of its time; ReLU is the lower bound of the
convolution's own rounding, hard-swish (arXiv 1905.02244) a table or a clamp. The rewriting alone ruins the answers: a student learns them
back (`recover`), while the old activation is faded out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import onnx
from onnx import helper

from edgewright.graph.unread import drop_unread
from edgewright.graph.walk import opset_of
from edgewright.learn.trainable import silu_pairs

Activation: TypeAlias = Literal["relu", "hardswish"]
OPERATORS: Mapping[Activation, str] = {"relu": "Relu", "hardswish": "HardSwish"}
HARD_SWISH_SINCE = 14  # the opset that brought it


@dataclass(frozen=True, slots=True)
class Swapped:
    """The graph with its new activations, and the names of the tensors that they make."""

    model: onnx.ModelProto
    tensors: frozenset[str]


def swap_activations(model: onnx.ModelProto, activation: Activation = "relu") -> Swapped:
    """A copy of `model` in which each x * sigmoid(x) is the activation; where there is none, nothing changes."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    pairs = silu_pairs(made.graph.node, {value.name for value in made.graph.output})
    nodes = []
    for node in made.graph.node:
        if node.output[0] in pairs.products:
            nodes += _activation(node.name, activation, pairs.products[node.output[0]], node.output[0], opset_of(made) or 1)
        elif node.output[0] not in pairs.gates:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    drop_unread(made.graph)
    return Swapped(made, frozenset(pairs.products))


def _activation(name: str, activation: Activation, source: str, target: str, opset: int) -> list[onnx.NodeProto]:
    if activation == "hardswish" and opset < HARD_SWISH_SINCE:
        gate = f"{target}_gate"
        return [
            helper.make_node("HardSigmoid", [source], [gate], f"{name}_gate", alpha=1 / 6, beta=0.5),
            helper.make_node("Mul", [source, gate], [target], name),
        ]
    return [helper.make_node(OPERATORS[activation], [source], [target], name)]

"""Let the head convolutions give their integers: 8,400 cells of 80 classes are 0.7 MB of bytes and 2.7 MB of floats.

A score is compared with the threshold as an integer, and only the dozen cells that survive are worth a multiplication (`vision.heads`). The
answers stay what they were where the graph rounds its outputs already, as ONNX Runtime's integer graphs do.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewright.artifact import HeadOutput, HeadSpec
from edgewright.compress.calibrate import Ranges
from edgewright.compress.placement import Encoding
from edgewright.compress.schemes import Scheme
from edgewright.graph.shapes import shapes_of
from edgewright.graph.unread import drop_unread

TYPES = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8}


@dataclass(frozen=True, slots=True)
class IntegerForm:
    """The rewritten model, and how its outputs are read."""

    model: onnx.ModelProto
    head: HeadSpec


def give_integers(model: onnx.ModelProto, head: HeadSpec, ranges: Ranges, kept_float: Iterable[str], scheme: Scheme) -> IntegerForm:
    """A copy of the integer `model` whose raw outputs are the integers that they round to.

    Outputs that come from a pair lose its second half. Others are rounded, over `ranges` and with a zero point, where the scheme places
    pairs behind activations only; those of convolutions that `kept_float` names stay as they are.
    """
    form = onnx.ModelProto()
    form.CopyFrom(model)
    graph, kept = form.graph, set(kept_float)
    producers = {name: node for node in graph.node for name in node.output}
    held = {tensor.name: tensor for tensor in graph.initializer}
    read = {name for node in graph.node for name in node.input}
    shapes, given = shapes_of(form), []
    kinds: dict[str, int] = {}  # of integers; pairs and integer operators have zero points of the type that they give
    for output in head.outputs:
        last = producers.get(output.name)
        if last is not None and last.op_type == "DequantizeLinear":
            scale, zero = (numpy_helper.to_array(held[name]) for name in last.input[1:3])
            given.append(replace(output, name=last.input[0], scale=float(scale), zero_point=int(zero)))
            kinds[last.input[0]] = TYPES[zero.dtype]
            if output.name not in read:
                graph.node.remove(last)
        elif scheme.placement == "behind activations" and last is not None and last.name not in kept and output.name in ranges:
            given.append(_rounded(graph, output, Encoding.of(ranges[output.name], replace(scheme, symmetric=False))))
            kinds[given[-1].name] = TensorProto.UINT8
        else:
            given.append(output)
    values = [
        helper.make_tensor_value_info(new.name, kinds.get(new.name, TensorProto.FLOAT), shapes[old.name])
        for old, new in zip(head.outputs, given, strict=True)
    ]
    del graph.output[:]
    graph.output.extend(values)
    drop_unread(graph)
    return IntegerForm(form, replace(head, outputs=tuple(given)))


def outputs_of(model: onnx.ModelProto, head: HeadSpec) -> HeadSpec:
    """`head` with the names and encodings that the outputs of `model`, which stand in its order, really have."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    rounding = _rounding(model.graph)
    outputs = []
    for output, value in zip(head.outputs, model.graph.output, strict=False):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            outputs.append(replace(output, name=value.name))
            continue
        scale, zero = (numpy_helper.to_array(held[name]) for name in rounding[value.name])
        outputs.append(replace(output, name=value.name, scale=float(scale), zero_point=int(zero)))
    return replace(head, outputs=tuple(outputs))


def _rounding(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """What is rounded, with the names of its scale and zero point."""
    places = {"QuantizeLinear": slice(1, 3), "QLinearConv": slice(6, 8)}
    return {node.output[0]: list(node.input[places[node.op_type]]) for node in graph.node if node.op_type in places}


def _rounded(graph: onnx.GraphProto, output: HeadOutput, encoding: Encoding) -> HeadOutput:
    name = f"{output.name}_integers"
    for part, values in (("scale", np.array(encoding.scale)), ("zero_point", encoding.zero_point)):
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_{part}"))
    graph.node.append(
        helper.make_node("QuantizeLinear", [output.name, f"{name}_scale", f"{name}_zero_point"], [name], name=f"{name}_QuantizeLinear")
    )
    return replace(output, name=name, scale=float(encoding.scale), zero_point=int(encoding.zero_point))

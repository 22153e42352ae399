"""Which channels of a network can only go together.

A channel that one convolution makes may be added to another's, concatenated, split off, pooled and resized before convolutions read it.
Each channel of each feature map gets a number; an addition makes two numbers one; what nobody understands (attention, a grouped
convolution, the head's outputs) pins them. So it is channels that are tied, not layers: half of a convolution's channels may be tied to a
residual and the other half to nothing. The idea that structures must be found from the graph is DepGraph's (arXiv 2301.12900).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewright.graph.compatibility import attribute_int
from edgewright.graph.shapes import shapes_of
from edgewright.graph.unread import drop_unread
from edgewright.graph.walk import opset_of

Numbers = NDArray[np.int64]  # the number of each channel of a feature map, [C]

# Operators that treat every channel of their first input by itself, or all of its channels alike.
CARRY = frozenset(
    {"Abs", "AveragePool", "Cast", "Clip", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Neg"}
    | {"Relu", "Resize", "Sigmoid", "Tanh"}
)
SPLIT_READS_SIZES_SINCE = 13  # the opset from which they are an input and no attribute
COMBINE = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min"})


@dataclass(frozen=True, slots=True)
class ConvChannels:
    """A convolution: the numbers of the channels it reads and makes, and its multiply-accumulates for one pair of them.

    `group`: that of the graph as it is given; what a grouped convolution that is not depthwise reads and makes has to stay.
    """

    name: str
    weight: str
    bias: str | None
    reads: Numbers
    makes: Numbers
    macs_a_pair: int
    depthwise: bool
    group: int = 1

    def macs(self, kept: NDArray[np.bool_]) -> int:
        """Multiply-accumulates when only channels whose number is `kept` are left."""
        made = int(kept[self.makes].sum())
        return self.macs_a_pair * made * (1 if self.depthwise else int(kept[self.reads].sum()) // self.group)


@dataclass(frozen=True, slots=True)
class Width:
    """Channels that stand in the same place of the network, so that they are chosen among each other: their numbers."""

    numbers: Numbers


@dataclass(frozen=True, slots=True)
class ChannelMap:
    """Every channel of the part of a network that leads to `outputs`, by number.

    `pinned` [numbers]: whether it has to stay. Widths hold the numbers that may go.
    """

    convs: tuple[ConvChannels, ...]
    widths: tuple[Width, ...]
    pinned: NDArray[np.bool_]
    of_tensor: Mapping[str, Numbers]

    def macs(self, kept: NDArray[np.bool_]) -> int:
        """Multiply-accumulates of all convolutions when only channels whose number is `kept` are left."""
        return sum(conv.macs(kept) for conv in self.convs)

    def everything(self) -> NDArray[np.bool_]:
        """All channels kept."""
        return np.ones(len(self.pinned), bool)


def map_channels(model: onnx.ModelProto, outputs: Sequence[str]) -> ChannelMap:
    """The channels of a float graph whose batch normalisation is folded, and whose raw outputs are `outputs`."""
    return _Mapping(model, outputs).finish()


def without_channels(model: onnx.ModelProto, channels: ChannelMap, kept: NDArray[np.bool_]) -> onnx.ModelProto:
    """A copy of `model` in which only channels whose number is `kept` are left."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    held = {tensor.name: tensor for tensor in made.graph.initializer}
    nodes = {node.name: node for node in made.graph.node}
    for conv in channels.convs:
        makes, reads = kept[conv.makes], kept[conv.reads]
        weight = numpy_helper.to_array(held[conv.weight])[makes]
        _replace(held[conv.weight], weight if conv.group > 1 else weight[:, reads])
        if conv.bias is not None:
            _replace(held[conv.bias], numpy_helper.to_array(held[conv.bias])[makes])
        if conv.depthwise:
            _set_group(nodes[conv.name], int(makes.sum()))
    for node in made.graph.node:
        if node.op_type == "Split" and _axis(node) == 1 and all(name in channels.of_tensor for name in (node.input[0], *node.output)):
            sizes = [int(kept[channels.of_tensor[name]].sum()) for name in node.output]
            _write_sizes(made, node, sizes)
        elif node.op_type == "Slice" and node.input[0] in channels.of_tensor:
            _write_bounds(made, node, held, channels, kept)
        elif node.op_type == "Resize" and node.input[0] in channels.of_tensor and (sizes_name := _sizes(node)) in held:
            left = numpy_helper.to_array(held[sizes_name]).copy()
            left[1] = int(kept[channels.of_tensor[node.input[0]]].sum())
            node.input[3] = f"{node.name}_sizes"
            made.graph.initializer.append(numpy_helper.from_array(left, node.input[3]))
    drop_unread(made.graph)
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(made)


class _Mapping:
    """The walk through the graph, in its own order."""

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str]) -> None:
        self.graph = model.graph
        self.shapes = shapes_of(model)
        self.held = {tensor.name: tensor for tensor in self.graph.initializer}
        self.used = _uses(self.graph.node)
        self.parents: list[int] = []
        self.pins: set[int] = set()
        self.found: dict[str, list[int]] = {}
        self.convs: list[tuple[onnx.NodeProto, list[int], list[int], bool]] = []
        self.outputs = outputs
        needed = _leading_to(self.graph, outputs)
        for value in self.graph.input:
            if value.name not in self.held:
                self.found[value.name] = self._fresh(3, pinned=True)
        for node in self.graph.node:
            if node.name in needed:
                self._visit(node)
            else:
                self._pin_all(node.input)  # another branch reads it
        self._pin_all((*outputs, *(value.name for value in self.graph.output)))

    def finish(self) -> ChannelMap:
        """Numbers without gaps, and the widths they stand in."""
        roots = sorted({self._root(number) for number in range(len(self.parents))})
        order = {root: at for at, root in enumerate(roots)}

        def numbered(numbers: Iterable[int]) -> Numbers:
            return np.array([order[self._root(number)] for number in numbers], np.int64)

        pinned = np.zeros(len(roots), bool)
        pinned[numbered(self.pins)] = True
        convs = tuple(self._conv(node, numbered(reads), numbered(makes), deep) for node, reads, makes, deep in self.convs)
        return ChannelMap(convs, _widths(convs, pinned), pinned, {name: numbered(numbers) for name, numbers in self.found.items()})

    def _conv(self, node: onnx.NodeProto, reads: Numbers, makes: Numbers, depthwise: bool) -> ConvChannels:  # noqa: FBT001 - a fact of the row
        made, weight = self.shapes.get(node.output[0], (1, 1, 1, 1)), self.held[node.input[1]].dims
        pixels = int(np.prod(made[2:])) if all(made[2:]) else 1
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        group = attribute_int(node, "group", 1)
        return ConvChannels(node.name, node.input[1], bias, reads, makes, pixels * int(np.prod(weight[2:])), depthwise, group)

    def _visit(self, node: onnx.NodeProto) -> None:
        first = self.found.get(node.input[0]) if node.input else None
        if node.op_type == "Conv" and node.input[1] in self.held:
            self._convolution(node, first)
        elif node.op_type in CARRY and first is not None and (not _sizes(node) or _sizes(node) in self.held):
            self.found[node.output[0]] = first
        elif node.op_type in COMBINE:
            self._combination(node)
        elif node.op_type == "Concat" and all(name in self.found for name in node.input):
            self._concatenation(node)
        elif node.op_type == "Split" and first is not None and _axis(node) == 1 and all(self.shapes.get(name) for name in node.output):
            at = 0
            for name in node.output:
                size = self.shapes[name][1]
                self.found[name] = first[at : at + size]
                at += size
        elif node.op_type == "Slice" and first is not None and (window := _window(node, self.held, len(first))) is not None:
            self.found[node.output[0]] = first[window]
        else:
            self._unknown(node)

    def _convolution(self, node: onnx.NodeProto, reads: list[int] | None) -> None:
        weight, group = self.held[node.input[1]].dims, attribute_int(node, "group", 1)
        if reads is None or len(reads) != weight[1] * group:
            reads = self._fresh(weight[1] * group, pinned=True)
        depthwise = group == len(reads) == weight[0] > 1
        makes = reads if depthwise else self._fresh(weight[0], pinned=group > 1)
        if group > 1 and not depthwise:
            self._pin(reads)
        # A weight that two convolutions share can be cut for neither.
        if any(self.used.get(name, 0) > 1 for name in node.input[1:] if name):
            self._pin([*reads, *makes])
        self.found[node.output[0]] = makes
        self.convs.append((node, reads, makes, depthwise))

    def _combination(self, node: onnx.NodeProto) -> None:
        known = [self.found[name] for name in node.input if name in self.found]
        constant = all(name in self.found or (name in self.held and int(np.prod(self.held[name].dims)) == 1) for name in node.input)
        if not known or not constant or len({len(each) for each in known}) != 1:
            self._unknown(node)
            return
        for other in known[1:]:
            for a, b in zip(known[0], other, strict=True):
                self.parents[self._root(b)] = self._root(a)
        self.found[node.output[0]] = known[0]

    def _concatenation(self, node: onnx.NodeProto) -> None:
        if _axis(node) == 1:
            self.found[node.output[0]] = [number for name in node.input for number in self.found[name]]
        else:
            self._unknown(node)

    def _unknown(self, node: onnx.NodeProto) -> None:
        """What it reads has to stay, and what it makes is new and has to stay too."""
        self._pin_all(node.input)
        for name in node.output:
            shape = self.shapes.get(name)
            if shape and len(shape) == 4:
                self.found[name] = self._fresh(shape[1], pinned=True)

    def _fresh(self, count: int, *, pinned: bool) -> list[int]:
        numbers = list(range(len(self.parents), len(self.parents) + count))
        self.parents += numbers
        if pinned:
            self._pin(numbers)
        return numbers

    def _pin(self, numbers: Iterable[int]) -> None:
        self.pins.update(numbers)

    def _pin_all(self, names: Iterable[str]) -> None:
        for name in names:
            self._pin(self.found.get(name, ()))

    def _root(self, number: int) -> int:
        while self.parents[number] != number:
            self.parents[number] = self.parents[self.parents[number]]
            number = self.parents[number]
        return number


def _widths(convs: Sequence[ConvChannels], pinned: NDArray[np.bool_]) -> tuple[Width, ...]:
    """Numbers that the same convolutions make and the same ones read, in the order in which they are first made."""
    touched: list[set[tuple[str, bool]]] = [set() for _ in pinned]
    for conv in convs:
        for number in conv.reads:
            touched[number].add((conv.name, False))
        for number in conv.makes:
            touched[number].add((conv.name, True))
    groups: dict[frozenset[tuple[str, bool]], list[int]] = {}
    for number, names in enumerate(touched):
        if not pinned[number] and any(makes for _, makes in names):
            groups.setdefault(frozenset(names), []).append(number)
    return tuple(Width(np.array(numbers, np.int64)) for numbers in groups.values())


def _leading_to(graph: onnx.GraphProto, outputs: Sequence[str]) -> set[str]:
    wanted, names = set(outputs), set()
    for node in reversed(graph.node):
        if not wanted.isdisjoint(node.output):
            names.add(node.name)
            wanted.update(node.input)
    return names


def _uses(nodes: Iterable[onnx.NodeProto]) -> dict[str, int]:
    used: dict[str, int] = {}
    for node in nodes:
        for name in node.input:
            used[name] = used.get(name, 0) + 1
    return used


def _sizes(node: onnx.NodeProto) -> str:
    """Where a resize finds the size of every axis; empty where it goes by factors, and for all other operators."""
    return node.input[3] if node.op_type == "Resize" and len(node.input) > 3 else ""


def _axis(node: onnx.NodeProto) -> int:
    return attribute_int(node, "axis", 0)


def _window(node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto], channels: int) -> slice | None:
    """Which channels a slice takes: all where it cuts rows or columns; None where that cannot be told."""
    if any(name not in held for name in node.input[1:] if name) or len(node.input) < 4:
        return None
    starts, ends, axes = (numpy_helper.to_array(held[name]).reshape(-1).tolist() for name in node.input[1:4])
    if min(axes) < 0:
        return None
    if 1 not in axes:
        return slice(None)
    at = axes.index(1)
    step = 1 if len(node.input) < 5 else numpy_helper.to_array(held[node.input[4]]).reshape(-1).tolist()[at]
    return slice(*slice(starts[at], ends[at]).indices(channels)[:2]) if step == 1 else None


def _write_sizes(model: onnx.ModelProto, node: onnx.NodeProto, sizes: Sequence[int]) -> None:
    for at, attribute in enumerate(node.attribute):
        if attribute.name in ("num_outputs", "split"):
            del node.attribute[at]
            break
    del node.input[1:]
    if (opset_of(model) or 1) < SPLIT_READS_SIZES_SINCE:
        node.attribute.append(helper.make_attribute("split", sizes))
        return
    name = f"{node.name}_sizes"
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))
    node.input.append(name)


def _write_bounds(
    model: onnx.ModelProto, node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto], channels: ChannelMap, kept: NDArray[np.bool_]
) -> None:
    """A slice of channels that starts and ends where its channels now are."""
    before = channels.of_tensor[node.input[0]]
    window = _window(node, held, len(before))
    if window is None or window == slice(None):
        return
    axes = numpy_helper.to_array(held[node.input[3]]).reshape(-1).tolist()
    first, last = int(kept[before[: window.start]].sum()), int(kept[before[: window.stop]].sum())
    for at, bound in ((1, first), (2, last)):
        values = numpy_helper.to_array(held[node.input[at]]).copy().reshape(-1)
        values[axes.index(1)] = bound
        name = f"{node.name}_bound_{at}"
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        node.input[at] = name


def _set_group(node: onnx.NodeProto, group: int) -> None:
    for attribute in node.attribute:
        if attribute.name == "group":
            attribute.CopyFrom(helper.make_attribute("group", group))


def _replace(tensor: onnx.TensorProto, values: NDArray[np.generic]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))

"""An ONNX detector as a PyTorch module: the same weights, the same answers, and back.

The graph stays what it was: the module holds it, runs its nodes one after the other (`operators`), and only keeps the weights where an
optimizer finds them. `to_onnx` therefore returns the graph that was given, node by node, with the weights as they are now. A change of
architecture is a rewriting of the graph, done before (`swap`, `prune`); nothing has to be traced or exported.

Weights are the float constants that a convolution, a normalisation or a matrix product learns (`graph.weights` knows which); all other
constants, anchors and shapes among them, stay as they are. The running statistics of a normalisation are no weights either: they are
kept, since a small batch on site would spoil them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from edgewright.errors import ModelError
from edgewright.graph.walk import opset_of, real_inputs, subgraphs
from edgewright.graph.weights import LEARNED, WEIGHTS, own_constants, scopes
from edgewright.learn.operators import Function, build


class Round(Protocol):
    """What quantization would do to a weight or a feature map."""

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """The tensor of that name as it is rounded there."""

    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """The range that each tensor is now rounded within."""


class Trainable(nn.Module):
    """A float detector that learns. Call it with pictures [N, 3, H, W] in the network's own scale; it gives the outputs asked for.

    Args:
        model: the graph; it is copied.
        outputs: names of the tensors to compute, in this order; by default the graph's own outputs. What they do not need is not run.

    Raises:
        ModelError: an operator that we do not train, a graph inside a node, or more than one input.
    """

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str] | None = None) -> None:
        super().__init__()
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        _hold_as_tensors(self.model.graph)
        inputs = real_inputs(self.model.graph)
        if len(inputs) != 1:
            raise ModelError("this model cannot be trained", got=f"{len(inputs)} inputs", expected="one, the picture")
        self.input = inputs[0].name
        self.outputs = tuple(outputs or (value.name for value in self.model.graph.output))
        self.learned: dict[str, nn.Parameter] = {}  # by the constant's name in the graph
        self.softness = 0.0  # of the activations in `softened`: 1 is the SiLU that was there, 0 what the graph says
        self.softened: frozenset[str] = frozenset()
        self.round: Round | None = None  # what quantization would do to a weight or a feature map, while it is being trained for
        constants = {name: numpy_helper.to_array(tensor) for name, tensor in _constants(self.model).items()}
        trained = _learned_names(self.model)
        for at, (name, values) in enumerate(constants.items()):
            tensor = torch.from_numpy(np.array(values))  # np.array: a copy that may be written to, scalars included
            if name in trained:
                self.learned[name] = nn.Parameter(tensor)
                self.register_parameter(f"weight{at}", self.learned[name])
            else:
                self.register_buffer(f"constant{at}", tensor)
        # The step that a bias is rounded to is its weight's.
        self._weights_first = sorted(self.learned, key=lambda name: -self.learned[name].ndim)
        self._constant_keys = {name: f"constant{at}" for at, name in enumerate(constants) if name not in trained}
        self._steps = _plan(self.model, self.outputs, set(constants))

    def forward(self, images: Tensor) -> list[Tensor]:
        found = self.values(images, self.outputs)
        return [found[name] for name in self.outputs]

    def values(self, images: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        """The tensors of these names, computed from pictures."""
        held: dict[str, Tensor] = {name: self._seen(name, self.learned[name]) for name in self._weights_first}
        held |= {name: getattr(self, key) for name, key in self._constant_keys.items()}
        held[self.input] = self._seen(self.input, images)
        kept = {*wanted, *self.outputs}
        for step in self._steps:
            step.run(held, self)
            for name in step.last_read:
                if name not in kept:
                    del held[name]
        return {name: held[name] for name in wanted}

    def _seen(self, name: str, value: Tensor) -> Tensor:
        return value if self.round is None else self.round(name, value)

    def to_onnx(self) -> onnx.ModelProto:
        """The graph with its weights as they are now."""
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        for tensor in _constants(made).values():
            if tensor.name in self.learned:
                values = self.learned[tensor.name].detach().to("cpu", torch.float32).contiguous().numpy()
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return made


class _Step:
    """A node, what it computes, and which tensors nobody reads after it."""

    def __init__(self, node: onnx.NodeProto, function: Function, reads: Sequence[str]) -> None:
        self.node, self._function, self._reads = node, function, reads
        self.last_read: tuple[str, ...] = ()

    def run(self, held: dict[str, Tensor], model: Trainable) -> None:
        found = self._function(*(held[name] if name else None for name in self._reads))
        if self.node.output[0] in model.softened and model.softness and isinstance(found, Tensor):
            found = torch.lerp(found, functional.silu(held[self._reads[0]]), model.softness)
        each = [found] if isinstance(found, Tensor) else found
        for name, value in zip(self.node.output, each, strict=False):
            if name:
                held[name] = value if model.round is None else model.round(name, value)


def _plan(model: onnx.ModelProto, outputs: Sequence[str], constants: set[str]) -> list[_Step]:
    """The steps that lead to the outputs, in the graph's order."""
    opset = opset_of(model) or 1
    wanted, needed = set(outputs), []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output) and node.op_type != "Constant":
            needed.append(node)
            wanted.update(node.input)
    for node in needed:
        if any(True for _ in subgraphs(node)):
            raise ModelError("this model cannot be trained", got=f"a graph inside a node ({node.op_type})", fix="export it without NMS")
    fused = silu_pairs(needed, set(outputs))
    steps = []
    for node in reversed(needed):
        if node.output[0] in fused.gates:
            continue
        source = fused.products.get(node.output[0])
        function = build(node, opset) if source is None else functional.silu
        steps.append(_Step(node, function, list(node.input) if source is None else [source]))
    available = constants | {real_inputs(model.graph)[0].name} | {name for step in steps for name in step.node.output}
    missing = [name for name in outputs if name not in available]
    if missing:
        raise ModelError("this model has no tensor of that name", got=missing[0])
    seen: set[str] = set()
    for step in reversed(steps):
        step.last_read = tuple(name for name in dict.fromkeys(step._reads) if name and name not in seen and name not in constants)  # noqa: SLF001
        seen.update(step._reads)  # noqa: SLF001 - both are of this module
    return steps


class SiluPairs:
    """`gates`: outputs of sigmoids that only gate their own input; `products`: output of the gated product -> that input."""

    def __init__(self) -> None:
        self.gates: set[str] = set()
        self.products: dict[str, str] = {}


def silu_pairs(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> SiluPairs:
    """Where x * sigmoid(x) stands in two nodes, as exporters write SiLU."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = SiluPairs()
    for node in nodes:
        if node.op_type != "Sigmoid" or node.output[0] in outputs:
            continue
        after = readers.get(node.output[0], [])
        if len(after) == 1 and after[0].op_type == "Mul" and set(after[0].input) == {node.input[0], node.output[0]}:
            found.gates.add(node.output[0])
            found.products[after[0].output[0]] = node.input[0]
    return found


def _constants(model: onnx.ModelProto) -> Mapping[str, onnx.TensorProto]:
    """Every constant of the graph by name; what a Constant node holds is given that node's output as its name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, tensor in own_constants(next(iter(scopes(model))).block).items():
        if name not in found:
            tensor.name = name
            found[name] = tensor
    return found


def _hold_as_tensors(graph: onnx.GraphProto) -> None:
    """Constant nodes that hold a list of numbers hold a tensor, so that what is learned can be written there."""
    for node in graph.node:
        if node.op_type == "Constant" and any(each.name in ("value_float", "value_floats") for each in node.attribute):
            values = np.array(onnx.helper.get_attribute_value(node.attribute[0]), np.float32)
            node.attribute[0].CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(values)))


def _learned_names(model: onnx.ModelProto) -> set[str]:
    """The constants that are trained: float ones at the learned operands of a node, read directly, and not the counting weights of DFL."""
    names = set()
    for operand in next(iter(scopes(model))).operands(WEIGHTS, LEARNED):
        direct = operand.node.input[operand.index] == operand.name
        if direct and operand.tensor.data_type == onnx.TensorProto.FLOAT and not _counts(operand.tensor):
            names.add(operand.name)
    return names


def _counts(tensor: onnx.TensorProto) -> bool:
    """Whether it holds 0, 1, 2, ...: the weights with which DFL takes a mean over bins (arXiv 2006.04388) are arithmetic."""
    if len(tensor.dims) != 4 or tensor.dims[0] != 1:
        return False
    values = numpy_helper.to_array(tensor).reshape(-1)
    return values.size > 1 and bool(np.array_equal(values, np.arange(values.size)))

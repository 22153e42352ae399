"""Rewrite a detector that takes one picture into one that takes N at once, or any number.

Exporters pin the batch in two places: the declared shapes, and constants inside (targets of Reshape, sizes of Resize, anchors that are
concatenated). The walk below starts at the input and follows which tensors hold one row a picture along axis 0. Every operator on the
way must be known to treat pictures apart (`batch_rules`); constants that say 1 are rewritten, and whatever would mix pictures, or is
not known, is refused by name. That answers stay equal is then measured (`compress.batch_check`).
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgewright.errors import InputError, ModelError
from edgewright.graph.batch_rules import OUR_DOMAINS, RULES, TAKES_SIZES, UNTOLD
from edgewright.graph.lint import refuse_unsound
from edgewright.graph.shape_values import (
    ARITHMETIC,
    BATCH,
    Numbers,
    computed_numbers,
    constant_numbers,
    depends_on_batch,
    settled_dims,
    shape_numbers,
)
from edgewright.graph.tensors import show_dims
from edgewright.graph.values import Dim, infer, value_of
from edgewright.graph.walk import node_label, normal_domain, opset_of, real_inputs, subgraphs
from edgewright.printable import printable

MOST_PICTURES = 4096


@dataclass(frozen=True, slots=True)
class Batched:
    """The rewritten model, whether it differs from the given one, and the nodes whose constants were rewritten."""

    model: onnx.ModelProto
    modified: bool
    rewritten: tuple[str, ...]


def set_batch(model: onnx.ModelProto, batch: int | str) -> Batched:
    """A copy of `model` that takes `batch` pictures at once; a name (`"batch"`) stands for any number of them.

    Requires a sound model with one input, whose first axis is 1 or free. Ensures that input and outputs have
    `batch` as their first axis and that inner shapes are inferred anew.

    Raises:
        InputError: `batch` is neither a number of pictures nor a name.
        ModelError: the model is unsound, or cannot be rewritten; the message names the node.
    """
    _require(batch)
    refuse_unsound(model)
    if batch == 1 and _first_of(model) == 1:
        return Batched(model, modified=False, rewritten=())
    rewrite = _Rewrite.begin(model, batch)
    for node in list(rewrite.graph.node):
        rewrite.follow(node)
    rewrite.finish()
    _ensure(rewrite.model, model, batch)
    return Batched(rewrite.model, rewrite.model.SerializeToString() != model.SerializeToString(), tuple(rewrite.rewritten))


def _require(batch: int | str) -> None:
    sound = batch.isidentifier() and batch.isascii() if isinstance(batch, str) else 1 <= batch <= MOST_PICTURES
    if not sound:
        raise InputError(
            "this is no batch", got=printable(repr(batch)), expected=f"a number of pictures, 1 to {MOST_PICTURES}, or a name such as batch"
        )


def _ensure(model: onnx.ModelProto, original: onnx.ModelProto, batch: int | str) -> None:
    inferred = infer(model)
    complaint = inferred.complaint
    if complaint is not None and infer(original).complaint is None:
        raise ModelError(
            "the batch of this model cannot be changed", got=printable(" ".join(complaint.split()), 200), fix="export it with that batch"
        )
    for output in model.graph.output:
        dims = inferred.values[output.name].dims
        if dims is not None and (not dims or dims[0] not in (batch, None)):
            raise _refusal(f"output {printable(output.name)} comes out as {show_dims(dims or ())}")


def _refusal(what: str) -> ModelError:
    return ModelError("the batch of this model cannot be changed", got=what, fix="export it with the batch you want, or run one by one")


@dataclass(slots=True)
class _Rewrite:
    """The copy that is being rewritten, and what is known so far about its tensors."""

    model: onnx.ModelProto
    batch: int | str
    picture_input: str
    dims: dict[str, tuple[Dim, ...] | None]  # at batch 1
    numbers: dict[str, Numbers]
    declared: dict[str, tuple[Dim, ...] | None]  # what the given model said of its outputs
    taken: set[str]  # names that are in use
    carried: set[str]  # hold one row a picture along axis 0
    sized: set[str] = field(default_factory=set)  # numbers that depend on how many pictures there are
    rewritten: list[str] = field(default_factory=list)
    before: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)  # first output of a node -> what to insert ahead of it

    @classmethod
    def begin(cls, model: onnx.ModelProto, batch: int | str) -> "_Rewrite":
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        inputs = real_inputs(copy.graph)
        if len(inputs) != 1:
            raise _refusal(f"{len(inputs)} inputs, of which nobody says which hold pictures")
        shape = inputs[0].type.tensor_type.shape
        if len(shape.dim) < 2 or (shape.dim[0].HasField("dim_value") and shape.dim[0].dim_value not in (1, -1)):
            held = tuple(dim.dim_value or dim.dim_param or None for dim in shape.dim)
            raise _refusal(f"input {printable(inputs[0].name)} of shape {show_dims(held)}, whose first axis is not one picture")
        _set_first(inputs[0], 1)
        declared = {output.name: value_of(output).dims for output in copy.graph.output}
        for output in copy.graph.output:
            output.type.tensor_type.ClearField("shape")
        del copy.graph.value_info[:]
        name = inputs[0].name
        return cls(copy, batch, name, settled_dims(copy), constant_numbers(copy.graph), declared, _names(copy.graph), {name})

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    def follow(self, node: onnx.NodeProto) -> None:
        """What the node makes of one row a picture; its constants rewritten where they hold the batch."""
        if not node.output:
            return
        carried = [at for at, name in enumerate(node.input) if name in self.carried]
        if any(self.carried & _names(graph) for graph in subgraphs(node)):
            raise _refusal(f"{node_label(node)}, whose branches look at all pictures together")
        if node.op_type in ("Shape", "Size") and carried:
            self._shape(node)
        elif carried:
            self._carry(node, carried)
        else:
            self._share(node)

    def finish(self) -> None:
        """Inserted nodes in their places, leftovers out, shapes as they are now."""
        lonely = [printable(output.name) for output in self.graph.output if output.name not in self.carried]
        if lonely:
            raise _refusal(f"output {lonely[0]}, which does not depend on the picture")
        nodes = [each for node in self.graph.node for each in (*self.before.get(next(iter(node.output), ""), ()), node)]
        held = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(held)
        _prune(self.graph)
        _set_first(real_inputs(self.graph)[0], self.batch)
        for output in self.graph.output:
            dims = self.dims.get(output.name) or self.declared.get(output.name)
            if dims:
                _declare(output, (self.batch, *dims[1:]))
        _note_batch(self.model, self.batch)
        self.graph.value_info.extend(_inner_shapes(self.model))

    def _shape(self, node: onnx.NodeProto) -> None:
        dims = self.dims.get(node.input[0])
        if node.op_type == "Shape" and dims is not None:
            self.numbers[node.output[0]] = shape_numbers(node, [BATCH, *dims[1:]])
        self.sized.add(node.output[0])

    def _share(self, node: onnx.NodeProto) -> None:
        """Nothing of the pictures goes in, but perhaps their number."""
        if node.op_type == "Shape" and (dims := self.dims.get(node.input[0])) is not None:
            self.numbers[node.output[0]] = shape_numbers(node, dims)
            return
        made = computed_numbers(node, self.numbers)
        if made is not None:
            self.numbers[node.output[0]] = made
        if not any(name in self.sized for name in node.input):
            return
        if made is not None:
            if not all(isinstance(value, int | float) for value in made.ravel()):
                self.sized.add(node.output[0])
        elif node.op_type in ("ConstantOfShape", "Expand") and _starts_with_batch(self.numbers.get(node.input[-1])):
            self.carried.update(node.output)
        else:
            raise _refusal(f"{node_label(node)}, which computes with the number of pictures")

    def _carry(self, node: onnx.NodeProto, carried: list[int]) -> None:
        if any(name in self.sized for name in node.input) and node.op_type not in TAKES_SIZES:
            raise _refusal(f"{node_label(node)}, which computes with the number of pictures")
        kind = node.op_type if normal_domain(node.domain) in OUR_DOMAINS else ""
        rule = RULES.get(kind)
        if rule is None:
            raise _refusal(f"{node_label(node)}, of which we do not know that it treats pictures apart")
        try:
            complaint = rule(self, node, carried)
        except (IndexError, TypeError, ValueError):  # attributes of the wrong type, operands that are missing
            complaint = UNTOLD
        if complaint is not None:
            raise _refusal(f"{node_label(node)}, which {complaint}")
        for name in node.output:
            dims = self.dims.get(name)
            if dims is not None and (not dims or dims[0] != 1):
                raise _refusal(f"{node_label(node)}, whose output {show_dims(dims)} does not begin with one row a picture")
        self.carried.update(name for name in node.output if name)

    # What `batch_rules.Pictures` promises.

    def rank(self, name: str) -> int | None:
        dims = self.dims.get(name)
        return None if dims is None else len(dims)

    def length(self, name: str) -> int | None:
        dims = self.dims.get(name)
        sizes = [dim for dim in dims if isinstance(dim, int)] if dims is not None else None
        return None if sizes is None or dims is None or len(sizes) != len(dims) else math.prod(sizes)

    def opset(self) -> int:
        return opset_of(self.model) or 0

    def list_of(self, node: onnx.NodeProto, at: int) -> list[Any] | None:
        numbers = self.numbers.get(node.input[at]) if at < len(node.input) and node.input[at] else None
        return None if numbers is None else numbers.ravel().tolist()

    def replace(self, node: onnx.NodeProto, at: int, values: list[int]) -> None:
        self._rewire(node, at, self._constant(values))

    def size_with_batch(self, node: onnx.NodeProto, at: int, rest: list[int]) -> None:
        self._rewire(node, at, self._with_batch(node, rest))

    def _rewire(self, node: onnx.NodeProto, at: int, name: str) -> None:
        node.input[at] = name
        self.rewritten.append(node_label(node))

    def _with_batch(self, node: onnx.NodeProto, rest: list[int]) -> str:
        """The name of the vector [batch, *rest] ahead of a node."""
        if isinstance(self.batch, int):
            return self._constant([self.batch, *rest])
        made = [self._fresh("shape"), self._fresh("count"), self._fresh("target")]
        steps = [
            helper.make_node("Shape", [self.picture_input], [made[0]], name=made[0]),
            helper.make_node("Slice", [made[0], self._constant([0]), self._constant([1])], [made[1]], name=made[1]),
            helper.make_node("Concat", [made[1], self._constant(rest)], [made[2]], name=made[2], axis=0),
        ]
        self.before.setdefault(node.output[0], []).extend(steps)
        return made[2]

    def spread(self, node: onnx.NodeProto, at: int) -> str | None:
        dims = self.dims.get(node.input[at])
        if not dims or dims[0] != 1:
            return "joins the pictures with something that does not begin with an axis of one"
        target = self._with_batch(node, [1] * (len(dims) - 1))
        made = self._fresh("spread")
        self.before.setdefault(node.output[0], []).append(helper.make_node("Expand", [node.input[at], target], [made], name=made))
        self._rewire(node, at, made)
        return None

    def _constant(self, values: list[int]) -> str:
        name = self._fresh("const")
        self.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _fresh(self, stem: str) -> str:
        at = 0
        while (name := f"batch_{stem}_{at}") in self.taken:
            at += 1
        self.taken.add(name)
        return name


def _first_of(model: onnx.ModelProto) -> int | None:
    """The first axis of the only input, where it is a number."""
    inputs = real_inputs(model.graph)
    dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else ()
    return dims[0].dim_value if dims and dims[0].HasField("dim_value") else None


def _starts_with_batch(numbers: Numbers | None) -> bool:
    return numbers is not None and numbers.ndim == 1 and numbers.size > 0 and numbers[0] is BATCH and not depends_on_batch(numbers[1:])


def _names(graph: onnx.GraphProto) -> set[str]:
    """The names that a graph mentions, those of the graphs inside it among them."""
    names = {name for node in graph.node for name in (*node.input, *node.output)} | {value.name for value in (*graph.input, *graph.output)}
    names |= {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for inner in subgraphs(node):
            names |= _names(inner)
    return names


def _set_first(value: onnx.ValueInfoProto, batch: int | str) -> None:
    first = value.type.tensor_type.shape.dim[0]
    first.Clear()
    if isinstance(batch, int):
        first.dim_value = batch
    else:
        first.dim_param = batch


def _declare(value: onnx.ValueInfoProto, dims: tuple[Dim, ...]) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, dims))


def _prune(graph: onnx.GraphProto) -> None:
    """Drop shape arithmetic and constants that nobody asks for any more."""
    outputs = {output.name for output in graph.output}
    while True:
        used = outputs | {name for node in graph.node for name in node.input}
        used |= {name for node in graph.node for inner in subgraphs(node) for name in _names(inner)}
        idle = [node for node in graph.node if node.op_type in (*ARITHMETIC, "Shape", "Constant") and not used.intersection(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    kept = used | {value.name for value in graph.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in kept]:
        graph.initializer.remove(tensor)


def _note_batch(model: onnx.ModelProto, batch: int | str) -> None:
    """Exporters write the batch beside the graph as well."""
    for entry in model.metadata_props:
        if entry.key == "batch" and isinstance(batch, int):
            entry.value = str(batch)


def _inner_shapes(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    outer = {value.name for value in (*model.graph.input, *model.graph.output)} | {tensor.name for tensor in model.graph.initializer}
    return [
        helper.make_tensor_value_info(name, value.elem_type, value.dims)
        for name, value in infer(model).values.items()
        if name not in outer and value.elem_type and value.dims is not None
    ]

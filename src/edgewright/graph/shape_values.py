"""The small numbers inside a graph that decide shapes: constants, and what exporters compute from them and from `Shape`.

Only operators that move numbers about, and plain arithmetic, are followed. A number can also be `BATCH`, how many pictures there are,
`MIXED`, something computed from that, or None where it cannot be told.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.graph.tensors import element_count
from edgewright.graph.values import Dim, infer

MOST_ELEMENTS = 1024  # shapes, axes, pads and scales are far smaller
LARGEST = 2**62  # a chain of multiplications in a stranger's graph must end somewhere
MOST_ROUNDS = 8  # of settling: a shape computed from a shape that was computed from a shape
SHAPED_BY_NUMBERS = frozenset({"Reshape", "Expand", "Resize", "Tile", "Slice", "ConstantOfShape", "Range"})
SETTLED = "settled "  # before the name of what was computed


class _Symbol:
    """A number that has a meaning instead of a value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


BATCH: Final = _Symbol("BATCH")
MIXED: Final = _Symbol("MIXED")
Numbers: TypeAlias = NDArray[np.object_]  # of int, float, BATCH, MIXED or None


def depends_on_batch(numbers: Iterable[object]) -> bool:
    """Whether one of the numbers changes with how many pictures there are."""
    return any(number is BATCH or number is MIXED for number in numbers)


def constant_numbers(graph: onnx.GraphProto) -> dict[str, Numbers]:
    """The small numeric constants by name: initializers and Constant nodes."""
    held = [(tensor.name, tensor) for tensor in graph.initializer]
    found = {name: numbers for name, tensor in held if (numbers := _of_tensor(tensor)) is not None}
    for node in graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.output:
            numbers = _of_attribute(node.attribute[0])
            if numbers is not None:
                found[node.output[0]] = numbers
    return found


def _of_tensor(tensor: onnx.TensorProto) -> Numbers | None:
    kinds = (onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.FLOAT)
    if tensor.data_type not in kinds or element_count(tensor) > MOST_ELEMENTS:
        return None
    return np.asarray(onnx.numpy_helper.to_array(tensor)).astype(object)


def _of_attribute(attribute: onnx.AttributeProto) -> Numbers | None:
    if attribute.name == "value":
        return _of_tensor(attribute.t)
    values = {"value_int": attribute.i, "value_float": attribute.f, "value_ints": attribute.ints, "value_floats": attribute.floats}
    if attribute.name not in values or len(attribute.ints) + len(attribute.floats) > MOST_ELEMENTS:
        return None
    value = values[attribute.name]
    return np.array(value if isinstance(value, int | float) else list(value), object)


def settled_dims(model: onnx.ModelProto) -> dict[str, tuple[Dim, ...] | None]:
    """The dims of every tensor, where `onnx`'s inference alone gives up on shapes that the graph computes from shapes.

    What could be computed is made a constant (in a copy), and inference goes on behind it.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    settled: set[str] = set()
    for _ in range(MOST_ROUNDS):
        dims = {name: value.dims for name, value in infer(probe).values.items()}
        fresh = {name: numbers for name, numbers in _numbers_of_shapes(probe.graph, dims).items() if name not in settled}
        for node in probe.graph.node:
            if node.op_type in SHAPED_BY_NUMBERS:
                node.input[:] = [f"{SETTLED}{name}" if name in fresh else name for name in node.input]
        tensors = ((name, np.array(numbers.tolist(), np.int64)) for name, numbers in fresh.items())
        probe.graph.initializer.extend(onnx.numpy_helper.from_array(values, f"{SETTLED}{name}") for name, values in tensors)
        settled |= fresh.keys()
        if not fresh:
            break
    return dims


def _numbers_of_shapes(graph: onnx.GraphProto, dims: Mapping[str, tuple[Dim, ...] | None]) -> dict[str, Numbers]:
    """The whole numbers that nodes compute from shapes and constants, by name."""
    known = constant_numbers(graph)
    constants = set(known)
    for node in graph.node:
        of = dims.get(node.input[0]) if node.op_type == "Shape" and node.input else None
        made = computed_numbers(node, known) if of is None else shape_numbers(node, list(of))
        if made is not None and node.output:
            known[node.output[0]] = made
    computed = {name: numbers for name, numbers in known.items() if name not in constants}
    return {name: numbers for name, numbers in computed.items() if all(isinstance(number, int) for number in numbers.ravel())}


def shape_numbers(node: onnx.NodeProto, sizes: Sequence[object]) -> Numbers:
    """What a Shape node says of these sizes: numbers and BATCH as they are, None for the others."""
    start, end = (value if isinstance(value, int) else None for value in (_attribute(node, "start"), _attribute(node, "end")))
    return np.array([size if isinstance(size, int) or size is BATCH else None for size in sizes], object)[start:end]


def computed_numbers(node: onnx.NodeProto, known: Mapping[str, Numbers]) -> Numbers | None:
    """What `node` makes of known numbers; None where it is no such operator or lacks an operand."""
    rule = ARITHMETIC.get(node.op_type)
    operands = [known.get(name) for name in node.input if name]
    if rule is None or node.domain not in ("", "ai.onnx") or not operands:
        return None
    present = [each for each in operands if each is not None]
    if len(present) < len(operands):
        return None
    try:
        made = np.asarray(rule(node, present), object)
    except (ArithmeticError, IndexError, TypeError, ValueError):  # a stranger's axes and indices fit nothing
        return None
    return made if made.size <= MOST_ELEMENTS else None


def _attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    held = next((each for each in node.attribute if each.name == name), None)
    return default if held is None else onnx.helper.get_attribute_value(held)


def _gather(node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    return np.asarray(np.take(operands[0], operands[1].astype(np.int64), axis=_attribute(node, "axis", 0)), object)


def _slice(_node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    data, starts, ends, *rest = operands
    axes, steps = rest[0] if rest else [0], rest[1] if len(rest) > 1 else [1]
    if data.ndim != 1 or list(axes) not in ([0], [-1]):
        raise ValueError("not a vector")
    return np.asarray(data[int(starts[0]) : int(ends[0]) : int(steps[0])], object)


def _concat(node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    return np.concatenate(operands, axis=_attribute(node, "axis", 0))


def _axes(node: onnx.NodeProto, operands: list[Numbers]) -> list[int]:
    axes = operands[1].ravel().tolist() if len(operands) > 1 else _attribute(node, "axes", [0])
    return [int(axis) for axis in axes]


def _unsqueeze(node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    return np.expand_dims(operands[0], tuple(_axes(node, operands)))


def _squeeze(node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    return np.squeeze(operands[0], tuple(_axes(node, operands)))


def _cast(node: onnx.NodeProto, operands: list[Numbers]) -> Numbers:
    whole = _attribute(node, "to") in (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    return _each(lambda value: int(value) if whole else float(value), operands[0])


def _each(compute: Callable[..., Any], *operands: Numbers) -> Numbers:
    """`compute` number by number."""
    if math.prod(np.broadcast_shapes(*(each.shape for each in operands))) > MOST_ELEMENTS:
        raise ValueError("too many numbers")

    def one(*values: Any) -> Any:
        if depends_on_batch(values):
            return MIXED
        made = compute(*values) if all(isinstance(value, int | float) for value in values) else None
        return made if made is not None and abs(made) < LARGEST else None

    return np.asarray(np.frompyfunc(one, len(operands), 1)(*operands), object)


def _quotient(a: float, b: float) -> float:
    if isinstance(a, int) and isinstance(b, int):
        return int(a / b)  # ONNX truncates integers
    return a / b


ARITHMETIC: dict[str, Callable[[onnx.NodeProto, list[Numbers]], Numbers]] = {
    "Identity": lambda _, operands: operands[0],
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Floor": lambda _, operands: _each(np.floor, *operands),
    "Ceil": lambda _, operands: _each(np.ceil, *operands),
    "Add": lambda _, operands: _each(lambda a, b: a + b, *operands),
    "Sub": lambda _, operands: _each(lambda a, b: a - b, *operands),
    "Mul": lambda _, operands: _each(lambda a, b: a * b, *operands),
    "Div": lambda _, operands: _each(_quotient, *operands),
}

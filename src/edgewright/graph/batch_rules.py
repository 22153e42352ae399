"""Which operators treat pictures apart when axis 0 holds one row a picture, and which constants must change with their number.

Each rule gets a node that at least one such tensor goes into. It returns a complaint (the end of a sentence about the node), or None where
the first axis of every output holds one row a picture again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import onnx
from onnx import helper

from edgewright.graph.shape_values import BATCH, depends_on_batch

NO_END = 2**31 - 1  # exporters write this or the largest int64 for "to the end"
OUR_DOMAINS = frozenset({"", "com.microsoft"})
TAKES_SIZES = frozenset({"Reshape", "Expand", "Resize"})  # may be told how many pictures there are
MIXES = "works along the axis of the pictures"
UNTOLD = "has operands that cannot be told beforehand"


class Pictures(Protocol):
    """What a rule may ask about the graph, and change in it."""

    def rank(self, name: str) -> int | None:
        """How many axes a tensor has; None where that cannot be told."""
        ...

    def length(self, name: str) -> int | None:
        """How many elements a vector or scalar has."""
        ...

    def opset(self) -> int:
        """The version of the standard operators."""
        ...

    def list_of(self, node: onnx.NodeProto, at: int) -> list[Any] | None:
        """The numbers of an operand; None where it is absent or cannot be told."""
        ...

    def replace(self, node: onnx.NodeProto, at: int, values: list[int]) -> None:
        """Give the node a constant of its own as operand `at`."""
        ...

    def size_with_batch(self, node: onnx.NodeProto, at: int, rest: list[int]) -> None:
        """Give the node the vector [batch, *rest] as operand `at`."""
        ...

    def spread(self, node: onnx.NodeProto, at: int) -> str | None:
        """Repeat an operand that is the same for all pictures, once for each; a complaint where it cannot be done."""
        ...


Rule: TypeAlias = Callable[[Pictures, onnx.NodeProto, list[int]], str | None]  # the list: at which operands the pictures come in


def _first_only(_: Pictures, __: onnx.NodeProto, carried: list[int]) -> str | None:
    return None if carried == [0] else "takes its weights from the pictures"


def _batch_normalization(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    in_training = attribute_of(node, "training_mode", 0) != 0
    return "takes its statistics from all pictures together" if in_training else _first_only(pictures, node, carried)


def _broadcast(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    rank = pictures.rank(node.output[0])
    operands = [name for name in node.input[:: 3 if node.op_type.startswith("QLinear") else 1] if name]
    if rank is None or any(pictures.rank(name) is None for name in operands):
        return UNTOLD
    if any(pictures.rank(node.input[at]) != rank for at in carried):
        return "sets pictures against tensors of more axes"
    return None


def _reduction(pictures: Pictures, node: onnx.NodeProto, _: list[int]) -> str | None:
    axes = attribute_of(node, "axes") or pictures.list_of(node, 1)
    if not axes:
        told = len(node.input) < 2 or not node.input[1]
        return None if told and attribute_of(node, "noop_with_empty_axes", 0) else MIXES if told else UNTOLD
    return _apart(pictures, node, axes)


def _apart(pictures: Pictures, node: onnx.NodeProto, axes: Sequence[Any], of: str | None = None) -> str | None:
    """A complaint where one of the axes, counted in the tensor `of` (the first operand), is that of the pictures."""
    rank = pictures.rank(of or node.input[0])
    if not rank or not all(isinstance(axis, int) for axis in axes):
        return UNTOLD
    return MIXES if any(axis % rank == 0 for axis in axes) else None


def _along(default: int) -> Rule:
    def rule(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
        return _first_only(pictures, node, carried) or _apart(pictures, node, [attribute_of(node, "axis", default)])

    return rule


def _softmax(pictures: Pictures, node: onnx.NodeProto, _: list[int]) -> str | None:
    return _apart(pictures, node, [attribute_of(node, "axis", -1 if pictures.opset() >= 13 else 1)])


def _reshape(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    target = pictures.list_of(node, 1)
    if carried != [0] or not target:
        return UNTOLD
    first, *rest = target
    if first is BATCH or first == -1 or (first == 0 and not attribute_of(node, "allowzero", 0)):
        return (
            None if not depends_on_batch(rest) else "moves the pictures to another axis"
        )  # a -1 that is not the batch shows in the output's shape
    if first != 1:
        return "folds the pictures into another axis"
    if not all(isinstance(size, int) for size in rest):
        return "reshapes to a size that cannot be told beforehand"
    if attribute_of(node, "allowzero", 0):
        if 0 in rest:
            return "reshapes to nothing"
        held = [each for each in node.attribute if each.name != "allowzero"]
        del node.attribute[:]
        node.attribute.extend(held)
    pictures.replace(node, 1, [0, *rest])  # 0: as many as come in
    return None


def _expand(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    target = pictures.list_of(node, 1)
    if carried != [0] or not target or len(target) > (pictures.rank(node.input[0]) or 0):
        return UNTOLD
    whole = len(target) == pictures.rank(node.input[0])
    if depends_on_batch(target[1:] if whole else target):
        return "moves the pictures to another axis"
    return None if not whole or target[0] is BATCH or target[0] == 1 else "repeats the pictures"


def _tile(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    repeats = pictures.list_of(node, 1)
    if carried != [0] or not repeats:
        return UNTOLD
    return None if repeats[0] == 1 else "repeats the pictures"


def _transpose(_: Pictures, node: onnx.NodeProto, __: list[int]) -> str | None:
    perm = attribute_of(node, "perm")
    return None if perm and perm[0] == 0 else "moves the pictures to another axis"


def _flatten(_: Pictures, node: onnx.NodeProto, __: list[int]) -> str | None:
    return None if attribute_of(node, "axis", 1) == 1 else "folds the pictures into another axis"


def _squeeze(pictures: Pictures, node: onnx.NodeProto, _: list[int]) -> str | None:
    axes = attribute_of(node, "axes") or pictures.list_of(node, 1)
    return "takes the axis of the pictures away" if not axes or _apart(pictures, node, axes) else None


def _unsqueeze(pictures: Pictures, node: onnx.NodeProto, _: list[int]) -> str | None:
    axes = attribute_of(node, "axes") or pictures.list_of(node, 1)
    return UNTOLD if not axes else _apart(pictures, node, axes, node.output[0]) and "puts an axis before the pictures"


def _slice(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    starts, ends = pictures.list_of(node, 1), pictures.list_of(node, 2)
    if carried != [0] or starts is None or ends is None:
        return UNTOLD
    axes = pictures.list_of(node, 3) if len(node.input) > 3 and node.input[3] else list(range(len(starts)))
    steps = pictures.list_of(node, 4) if len(node.input) > 4 else [1] * len(starts)
    if axes is None or steps is None:
        return UNTOLD
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=False):
        if _apart(pictures, node, [axis]) and (start, step) != (0, 1):
            return MIXES
        if _apart(pictures, node, [axis]) and not (isinstance(end, int) and end >= NO_END):
            return "takes some of the pictures"
    return None


def _gather(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    along_pictures = _apart(pictures, node, [attribute_of(node, "axis", 0)])
    if carried == [0] and along_pictures is None:
        return None
    return None if carried == [1] and along_pictures == MIXES else "picks from all pictures at once"


def _elements(operands: int) -> Rule:
    def rule(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
        mixed = _apart(pictures, node, [attribute_of(node, "axis", 0)])
        return mixed or _spread_others(pictures, node, carried, range(operands))

    return rule


def _spread_others(pictures: Pictures, node: onnx.NodeProto, carried: list[int], operands: Iterable[int]) -> str | None:
    for at in operands:
        complaint = pictures.spread(node, at) if at not in carried else None
        if complaint is not None:
            return complaint
    return None


def _gather_nd(_: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    return None if carried == [0, 1] and attribute_of(node, "batch_dims", 0) > 0 else "picks from all pictures at once"


def _concat(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    quantized = node.op_type == "QLinearConcat"
    operands = range(2, len(node.input), 3) if quantized else range(len(node.input))
    mixed = _apart(pictures, node, [attribute_of(node, "axis", 0)], node.input[carried[0]])
    return mixed or _spread_others(pictures, node, carried, operands)


def _pad(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    pads = pictures.list_of(node, 1) if len(node.input) > 1 else attribute_of(node, "pads")
    axes = pictures.list_of(node, 3) if len(node.input) > 3 and node.input[3] else None
    if carried != [0] or not pads or (axes is None and len(node.input) > 3 and node.input[3]):
        return UNTOLD
    if axes is not None:
        return _apart(pictures, node, axes)
    return None if pads[0] == pads[len(pads) // 2] == 0 else MIXES


def _resize(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    axes = attribute_of(node, "axes")
    if carried != [0]:
        return UNTOLD
    if axes:
        return _apart(pictures, node, axes)
    sizes = pictures.list_of(node, 3)
    if not sizes:
        scales = pictures.list_of(node, 2 if len(node.input) > 2 else 1)
        return UNTOLD if not scales else None if scales[0] == 1 else MIXES
    if sizes[0] is BATCH:
        return None if not depends_on_batch(sizes[1:]) else "moves the pictures to another axis"
    if sizes[0] != 1 or not all(isinstance(size, int) for size in sizes):
        return UNTOLD
    pictures.size_with_batch(node, 3, sizes[1:])
    return None


def _matmul(right: int) -> Rule:
    def rule(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
        ranks = {at: pictures.rank(node.input[at]) for at in (0, right)}
        left_rank, right_rank = ranks[0], ranks[right]
        if left_rank is None or right_rank is None or not set(carried) <= set(ranks):
            return UNTOLD
        if max(left_rank, right_rank) != max(ranks[at] or 0 for at in carried) or len({ranks[at] for at in carried}) > 1:
            return "sets pictures against tensors of more axes"
        return "multiplies pictures with one another" if right in carried and right_rank < 3 else None

    return rule


def _gemm(_: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    return None if carried == [0] and not attribute_of(node, "transA", 0) else "multiplies pictures with one another"


def _linear(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    if carried != [0]:
        return "takes its scale from the pictures"
    return None if pictures.length(node.input[1]) == 1 else _apart(pictures, node, [attribute_of(node, "axis", 1)])


def _cumsum(pictures: Pictures, node: onnx.NodeProto, carried: list[int]) -> str | None:
    axes = pictures.list_of(node, 1)
    return UNTOLD if carried != [0] or not axes else _apart(pictures, node, axes)


def _always(complaint: str) -> Rule:
    return lambda *_: complaint


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or `default` where the node has none of that name."""
    held = next((each for each in node.attribute if each.name == name), None)
    return default if held is None else helper.get_attribute_value(held)


TABLE: tuple[tuple[Rule, str], ...] = (
    # Number by number.
    (_first_only, "Abs Acos Asin Atan Cast Ceil Celu Clip Cos Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN"),
    (_first_only, "LeakyRelu Log Mish Neg Not QLinearLeakyRelu QLinearSigmoid QuickGelu Reciprocal Relu Round Selu Sigmoid Sign Sin"),
    (_first_only, "Softplus Softsign Sqrt Tan Tanh ThresholdedRelu"),
    (_broadcast, "Add And BitShift Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or Pow PRelu Sub Sum Where Xor"),
    (_broadcast, "QLinearAdd QLinearMul"),
    (_linear, "QuantizeLinear DequantizeLinear"),
    # Over the channels and pixels of one picture.
    (_first_only, "Conv ConvInteger ConvTranspose FusedConv QLinearConv DepthToSpace SpaceToDepth LRN"),
    (_first_only, "AveragePool GlobalAveragePool GlobalMaxPool LpPool MaxPool QLinearAveragePool QLinearGlobalAveragePool"),
    (_first_only, "GroupNormalization InstanceNormalization"),
    (_batch_normalization, "BatchNormalization"),
    (_matmul(1), "MatMul MatMulInteger"),
    (_matmul(3), "QLinearMatMul"),
    (_gemm, "Gemm"),
    # Along an axis, which must not be that of the pictures.
    (_along(-1), "TopK LayerNormalization QLinearSoftmax"),
    (_along(0), "ArgMax ArgMin Split"),
    (_softmax, "Softmax LogSoftmax Hardmax"),
    (_reduction, "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare"),
    (_cumsum, "CumSum"),
    (_concat, "Concat QLinearConcat"),
    # Shapes and places.
    (_reshape, "Reshape"),
    (_expand, "Expand"),
    (_tile, "Tile"),
    (_transpose, "Transpose"),
    (_flatten, "Flatten"),
    (_squeeze, "Squeeze"),
    (_unsqueeze, "Unsqueeze"),
    (_slice, "Slice"),
    (_pad, "Pad"),
    (_resize, "Resize Upsample"),
    (_gather, "Gather"),
    (_elements(2), "GatherElements"),
    (_elements(3), "ScatterElements"),
    (_gather_nd, "GatherND"),
    # Those that exporters do emit and that cannot treat pictures apart.
    (_always("takes its scale from all pictures together, so that each answer would depend on the others"), "DynamicQuantizeLinear"),
    (_always("lists the boxes of all pictures together"), "NonMaxSuppression"),
    (_always("lists the finds of all pictures together"), "NonZero"),
)
RULES: dict[str, Rule] = {name: rule for rule, names in TABLE for name in names.split()}

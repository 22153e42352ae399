"""What each ONNX operator of a detector computes, said in PyTorch; those that detectors use, and no others.

A builder reads a node's attributes once and returns the function of its inputs. An input that was left out is None. Written from the
operators' specifications (github.com/onnx/onnx, docs/Operators.md); where PyTorch's own function pads or rounds otherwise than ONNX says,
the difference is made up for here. Numbers that are shapes stay integers, so shape arithmetic that an exporter left in a graph works as
it does in a runtime.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from edgewright.errors import ModelError
from edgewright.graph.walk import node_label

Value: TypeAlias = Tensor | None
Function: TypeAlias = Callable[..., Tensor | Sequence[Tensor]]
Builder: TypeAlias = Callable[["Attributes"], Function]

TORCH_TYPES: Mapping[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.INT8: torch.int8,
}


LAST = 2**31  # an end past every axis


class Attributes:
    """A node's attributes by name, as Python values."""

    def __init__(self, node: onnx.NodeProto, opset: int) -> None:
        self.node, self.opset = node, opset
        self._held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}

    def integer(self, name: str, default: int) -> int:
        return int(self._held.get(name, default))

    def number(self, name: str, default: float) -> float:
        return float(self._held.get(name, default))

    def integers(self, name: str) -> list[int] | None:
        return None if name not in self._held else [int(each) for each in self._held[name]]

    def text(self, name: str, default: str) -> str:
        found = self._held.get(name, default)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)

    def has(self, name: str) -> bool:
        return name in self._held

    def value(self, name: str) -> Any:
        return self._held[name]

    def refuse(self, what: str) -> ModelError:
        """The error that says which node cannot be trained, and why."""
        return ModelError(f"{node_label(self.node)} cannot be trained", got=what, fix="export the model again, simplified")


def build(node: onnx.NodeProto, opset: int) -> Function:
    """The function of a node's inputs.

    Raises:
        ModelError: the operator is not one of `OPERATORS`, or is used in a way that we do not compute.
    """
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        raise ModelError(
            f"this model cannot be trained: the operator {node.op_type} of {node_label(node)} is not one we know how to train",
            expected=f"the operators of YOLO detectors ({', '.join(sorted(OPERATORS))})",
        )
    return OPERATORS[node.op_type](Attributes(node, opset))


def numbers_in(value: Tensor) -> list[int]:
    """A tensor of sizes, axes or pads as a list."""
    return [int(each) for each in value.reshape(-1).tolist()]


# --- windows ------------------------------------------------------------------------------------------------------------------------------


def padding_of(attributes: Attributes, axes: int, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Pads at the beginnings and at the ends, as ONNX lists them.

    SAME_* padding depends on the input's size unless the stride is 1; exporters of detectors write pads.
    """
    automatic = attributes.text("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID"):
        return (attributes.integers("pads") if automatic == "NOTSET" else None) or [0] * 2 * axes
    if any(each != 1 for each in stride):
        raise attributes.refuse(f"auto_pad {automatic} with a stride")
    total = [(size - 1) * step for size, step in zip(kernel, dilation, strict=True)]
    first = [each // 2 if automatic == "SAME_UPPER" else each - each // 2 for each in total]
    return first + [each - begin for each, begin in zip(total, first, strict=True)]


def _is_even(pads: Sequence[int]) -> bool:
    half = len(pads) // 2
    return list(pads[:half]) == list(pads[half:])


def _around(x: Tensor, pads: Sequence[int], value: float) -> Tensor:
    """The map with rows and columns of `value` round it; PyTorch lists pads from the last axis on, ONNX the beginnings first."""
    half = len(pads) // 2
    listed = [each for at in reversed(range(half)) for each in (pads[at], pads[at + half])]
    return functional.pad(x, listed, value=value)


def _conv(attributes: Attributes) -> Function:
    stride, dilation = attributes.integers("strides"), attributes.integers("dilations")
    group = attributes.integer("group", 1)

    def run(x: Tensor, weight: Tensor, bias: Value = None) -> Tensor:
        axes = weight.ndim - 2
        if axes != 2:
            raise attributes.refuse(f"a convolution over {axes} axes")
        steps, spread = stride or [1] * axes, dilation or [1] * axes
        pads = padding_of(attributes, axes, weight.shape[2:], steps, spread)
        if _is_even(pads):
            return functional.conv2d(x, weight, bias, steps, pads[:axes], spread, group)
        return functional.conv2d(_around(x, pads, 0.0), weight, bias, steps, 0, spread, group)

    return run


def _max_pool(attributes: Attributes) -> Function:
    kernel = attributes.integers("kernel_shape") or []
    stride, dilation = attributes.integers("strides") or [1] * len(kernel), attributes.integers("dilations") or [1] * len(kernel)
    if len(kernel) != 2:
        raise attributes.refuse(f"a pooling over {len(kernel)} axes")
    if any(attributes.node.output[1:]):
        raise attributes.refuse("the places of the greatest values")
    pads, rounds_up = padding_of(attributes, 2, kernel, stride, dilation), bool(attributes.integer("ceil_mode", 0))

    def run(x: Tensor) -> Tensor:
        if _is_even(pads) and all(2 * pad <= size for pad, size in zip(pads, kernel, strict=False)):
            return functional.max_pool2d(x, kernel, stride, pads[:2], dilation, ceil_mode=rounds_up)
        found = functional.max_pool2d(_around(x, pads, float("-inf")), kernel, stride, 0, dilation, ceil_mode=rounds_up)
        if rounds_up:  # no window begins in the padding behind the map
            rows, columns = (-(-(size + pad) // step) for size, pad, step in zip(x.shape[2:], pads, stride, strict=False))
            found = found[:, :, :rows, :columns]
        return found

    return run


def _average_pool(attributes: Attributes) -> Function:
    kernel = attributes.integers("kernel_shape") or []
    stride, pads = attributes.integers("strides") or [1] * len(kernel), attributes.integers("pads") or [0] * 2 * len(kernel)
    if len(kernel) != 2 or not _is_even(pads) or attributes.text("auto_pad", "NOTSET") != "NOTSET":
        raise attributes.refuse("an average over windows of uneven padding")
    if any(each != 1 for each in attributes.integers("dilations") or ()) or any(
        2 * pad > size for pad, size in zip(pads, kernel, strict=False)
    ):
        raise attributes.refuse("an average over dilated windows, or over padding alone")
    counts, rounds_up = bool(attributes.integer("count_include_pad", 0)), bool(attributes.integer("ceil_mode", 0))
    return lambda x: functional.avg_pool2d(x, kernel, stride, pads[:2], rounds_up, counts)


def _batch_normalization(attributes: Attributes) -> Function:
    epsilon = attributes.number("epsilon", 1e-5)
    if attributes.integer("training_mode", 0):
        raise attributes.refuse("a normalisation in training mode")

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)

    return run


def _resize(attributes: Attributes) -> Function:
    mode, grid = attributes.text("mode", "nearest"), attributes.text("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear"):
        raise attributes.refuse(f"a resize by {mode} interpolation")
    if attributes.has("axes") or attributes.integer("antialias", 0) or attributes.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise attributes.refuse("a resize with axes, antialias or a keep_aspect_ratio_policy")
    if mode == "linear" and grid not in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        raise attributes.refuse(f"a resize on the grid {grid}")
    rounding = attributes.text("nearest_mode", "round_prefer_floor")

    def run(x: Tensor, _roi: Value = None, scales: Value = None, sizes: Value = None) -> Tensor:
        wanted, factors = _wanted(x, scales, sizes, attributes)
        if mode == "linear":
            if grid == "pytorch_half_pixel" and 1 in wanted:
                raise attributes.refuse(f"a resize to one pixel on the grid {grid}")
            if factors is None or grid == "align_corners":
                return functional.interpolate(x, wanted, mode="bilinear", align_corners=grid == "align_corners")
            # The factor that is written counts, also where size * factor was no whole number.
            return functional.interpolate(x, scale_factor=factors, mode="bilinear", recompute_scale_factor=False)
        times = [new // old for new, old in zip(wanted, x.shape[2:], strict=True)]
        if [each * old for each, old in zip(times, x.shape[2:], strict=True)] != wanted:
            raise attributes.refuse("a resize by a factor that is no whole number")
        if not _repeats(grid, rounding, max(times)):
            raise attributes.refuse(f"a resize to the nearest pixel by {grid} and {rounding}")
        return functional.interpolate(x, wanted, mode="nearest")

    return run


def _repeats(grid: str, rounding: str, times: int) -> bool:
    """Whether the nearest pixel by these rules is each pixel so many times, as it is by all that exporters write."""
    if grid == "asymmetric":
        return rounding == "floor" or (rounding == "round_prefer_floor" and times <= 2) or times == 1
    return grid in ("half_pixel", "pytorch_half_pixel") and rounding in ("round_prefer_floor", "round_prefer_ceil")


def _wanted(x: Tensor, scales: Value, sizes: Value, attributes: Attributes) -> tuple[list[int], list[float] | None]:
    """Rows and columns to come, and the factors where those are what the graph holds."""
    given = sizes if sizes is not None and sizes.numel() else scales
    if given is None or given.numel() != x.ndim or x.ndim != 4:
        raise attributes.refuse("a resize without factors for all axes")
    kept = x.shape[:2] if given is sizes else (1, 1)
    if given.reshape(-1).tolist()[:2] != list(kept):
        raise attributes.refuse("a resize of other axes than rows and columns")
    if given is sizes:
        return numbers_in(given)[2:], None
    factors = given.reshape(-1)[2:].cpu()
    return numbers_in((torch.tensor(x.shape[2:], dtype=factors.dtype) * factors).floor()), factors.tolist()


# --- arithmetic ---------------------------------------------------------------------------------------------------------------------------


def _plain(function: Callable[..., Tensor]) -> Builder:
    return lambda _: function


def _divide(_: Attributes) -> Function:
    def run(a: Tensor, b: Tensor) -> Tensor:
        if a.is_floating_point() or b.is_floating_point():
            return a / b
        return torch.div(a, b, rounding_mode="trunc")

    return run


def _modulo(attributes: Attributes) -> Function:
    return torch.fmod if attributes.integer("fmod", 0) else torch.remainder


def _power(_: Attributes) -> Function:
    def run(base: Tensor, exponent: Tensor) -> Tensor:
        # A constant square is what YOLOv5 decodes with; its gradient is plain.
        if exponent.numel() == 1 and exponent.ndim <= base.ndim and float(exponent) == 2:
            return base * base
        return torch.pow(base, exponent).to(base.dtype)

    return run


def _hard_sigmoid(attributes: Attributes) -> Function:
    alpha, beta = attributes.number("alpha", 0.2), attributes.number("beta", 0.5)
    return lambda x: (x * alpha + beta).clamp(0, 1)


def _clip(attributes: Attributes) -> Function:
    held = {name: attributes.number(name, 0.0) for name in ("min", "max") if attributes.has(name)}  # of opset 6

    def run(x: Tensor, low: Value = None, high: Value = None) -> Tensor:
        least = held.get("min") if low is None else low.item()
        most = held.get("max") if high is None else high.item()
        return x if least is None and most is None else x.clamp(least, most)

    return run


def _leaky(attributes: Attributes) -> Function:
    slope = attributes.number("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, slope)


def _prelu(_: Attributes) -> Function:
    return lambda x, slope: torch.where(x < 0, x * slope, x)


def _softmax(attributes: Attributes) -> Function:
    # Before opset 13 everything from the axis on was one axis.
    if attributes.opset < 13:
        raise attributes.refuse("a softmax of an opset before 13")
    axis = attributes.integer("axis", -1)
    return lambda x: x.softmax(axis)


def _gemm(attributes: Attributes) -> Function:
    alpha, beta = attributes.number("alpha", 1.0), attributes.number("beta", 1.0)
    turns_a, turns_b = attributes.integer("transA", 0), attributes.integer("transB", 0)

    def run(a: Tensor, b: Tensor, c: Value = None) -> Tensor:
        product = alpha * ((a.T if turns_a else a) @ (b.T if turns_b else b))
        return product if c is None else product + beta * c

    return run


def _reduced(function: Callable[[Tensor, list[int], bool], Tensor]) -> Builder:
    def builder(attributes: Attributes) -> Function:
        keeps, written = bool(attributes.integer("keepdims", 1)), attributes.integers("axes")
        leaves = bool(attributes.integer("noop_with_empty_axes", 0))

        def run(x: Tensor, axes: Value = None) -> Tensor:
            over = written if axes is None else numbers_in(axes)
            if leaves and not over:
                return x
            return function(x, over or list(range(x.ndim)), keeps)

        return run

    return builder


# --- what moves values about --------------------------------------------------------------------------------------------------------------


def _concat(attributes: Attributes) -> Function:
    axis = attributes.integer("axis", 0)
    return lambda *parts: torch.cat(parts, axis)


def _split(attributes: Attributes) -> Function:
    axis, written, count = attributes.integer("axis", 0), attributes.integers("split"), len(attributes.node.output)

    def run(x: Tensor, sizes: Value = None) -> Sequence[Tensor]:
        # Without sizes the parts are equal, but for the last, which may be smaller.
        wanted: list[int] | int = -(-x.shape[axis] // count)
        if sizes is not None:
            wanted = numbers_in(sizes)
        elif written is not None:
            wanted = written
        return list(x.split(wanted, axis))

    return run


def _slice(attributes: Attributes) -> Function:
    held = [attributes.integers(name) for name in ("starts", "ends", "axes")]  # of opset 1

    def run(x: Tensor, starts: Value = None, ends: Value = None, axes: Value = None, steps: Value = None) -> Tensor:
        pairs = zip((starts, ends, axes), held, strict=True)
        begin, end, over = (written if given is None else numbers_in(given) for given, written in pairs)
        if begin is None or end is None:
            raise attributes.refuse("a slice without bounds")
        strides = [1] * len(begin) if steps is None else numbers_in(steps)
        if any(step < 1 for step in strides):
            raise attributes.refuse("a slice backwards")
        for axis, first, last, step in zip(over or range(len(begin)), begin, end, strides, strict=True):
            at = [slice(None)] * x.ndim
            at[axis] = slice(first, None if last >= x.shape[axis] else last, step)
            x = x[tuple(at)]
        return x

    return run


def _reshape(attributes: Attributes) -> Function:
    allows_zero = attributes.integer("allowzero", 0)

    def run(x: Tensor, shape: Tensor) -> Tensor:
        wanted = numbers_in(shape)
        return x.reshape([x.shape[at] if size == 0 and not allows_zero else size for at, size in enumerate(wanted)])

    return run


def _transpose(attributes: Attributes) -> Function:
    order = attributes.integers("perm")
    return lambda x: x.permute(order or list(reversed(range(x.ndim))))


def _space_to_depth(attributes: Attributes) -> Function:
    block = attributes.integer("blocksize", 0)

    def run(x: Tensor) -> Tensor:
        n, channels, high, wide = x.shape
        blocks = x.reshape(n, channels, high // block, block, wide // block, block).permute(0, 3, 5, 1, 2, 4)
        return blocks.reshape(n, channels * block * block, high // block, wide // block)

    return run


def _flatten(attributes: Attributes) -> Function:
    axis = attributes.integer("axis", 1)

    def run(x: Tensor) -> Tensor:
        rows = 1
        for size in x.shape[: axis if axis >= 0 else x.ndim + axis]:
            rows *= size
        return x.reshape(rows, -1)

    return run


def _unsqueeze(attributes: Attributes) -> Function:
    written = attributes.integers("axes")

    def run(x: Tensor, axes: Value = None) -> Tensor:
        wanted = written if axes is None else numbers_in(axes)
        rank = x.ndim + len(wanted or ())
        for axis in sorted(each % rank for each in wanted or ()):
            x = x.unsqueeze(axis)
        return x

    return run


def _squeeze(attributes: Attributes) -> Function:
    written = attributes.integers("axes")

    def run(x: Tensor, axes: Value = None) -> Tensor:
        wanted = written if axes is None else numbers_in(axes)
        over = [at for at, size in enumerate(x.shape) if size == 1] if wanted is None else [each % x.ndim for each in wanted]
        for axis in sorted(over, reverse=True):
            x = x.squeeze(axis)
        return x

    return run


def _expand(_: Attributes) -> Function:
    return lambda x, shape: x.expand(torch.broadcast_shapes(tuple(x.shape), tuple(numbers_in(shape))))


def _tile(_: Attributes) -> Function:
    return lambda x, repeats: x.repeat(numbers_in(repeats))


def _gather(attributes: Attributes) -> Function:
    axis = attributes.integer("axis", 0)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        along = axis % x.ndim
        flat = indices.reshape(-1).long()
        found = x.index_select(along, torch.where(flat < 0, flat + x.shape[along], flat))
        return found.reshape([*x.shape[:along], *indices.shape, *x.shape[along + 1 :]])

    return run


def _gather_elements(attributes: Attributes) -> Function:
    axis = attributes.integer("axis", 0)
    return lambda x, indices: x.gather(axis, torch.where(indices < 0, indices + x.shape[axis], indices).long())


def _top_k(attributes: Attributes) -> Function:
    axis, largest, ordered = attributes.integer("axis", -1), attributes.integer("largest", 1), attributes.integer("sorted", 1)

    def run(x: Tensor, count: Tensor) -> Sequence[Tensor]:
        found = x.topk(int(count.reshape(-1)[0]), axis, bool(largest), bool(ordered))
        return found.values, found.indices

    return run


def _cast(attributes: Attributes) -> Function:
    kind = TORCH_TYPES.get(attributes.integer("to", 0))
    if kind is None:
        raise attributes.refuse(f"a cast to element type {attributes.integer('to', 0)}")
    return lambda x: x.to(kind)


def _shape(attributes: Attributes) -> Function:
    first, last = attributes.integer("start", 0), attributes.integer("end", LAST)
    return lambda x: torch.tensor(x.shape[first:last], dtype=torch.int64)


def _range(_: Attributes) -> Function:
    return lambda start, limit, step: torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)


def _constant_of_shape(attributes: Attributes) -> Function:
    value = torch.zeros(1)
    if attributes.has("value"):
        value = torch.from_numpy(numpy_helper.to_array(attributes.value("value")).copy())
    return lambda shape: torch.full(numbers_in(shape), value.item(), dtype=value.dtype)


OPERATORS: Mapping[str, Builder] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Div": _divide,
    "Equal": _plain(torch.eq),
    "Exp": _plain(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": _plain(torch.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky,
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mod": _modulo,
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "PRelu": _prelu,
    "Pow": _power,
    "Range": _range,
    "ReduceMax": _reduced(lambda x, axes, keeps: x.amax(axes, keeps)),
    "ReduceMean": _reduced(lambda x, axes, keeps: x.mean(axes, keeps)),
    "ReduceSum": _reduced(lambda x, axes, keeps: x.sum(axes, keeps)),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _softmax,
    "SpaceToDepth": _space_to_depth,  # what a runtime makes of YOLOX's first slices
    "Split": _split,
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Tanh": _plain(torch.tanh),
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}

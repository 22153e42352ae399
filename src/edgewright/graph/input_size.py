"""Let a network without its decode take pictures of another size: 640 x 384 for a camera of 16:9, or fewer pixels for less time.

Convolutions do not care. Attention does: exporters write the number of cells into Reshape, and a size into Resize. Those constants are
rewritten where they are the sizes of a grid of the old input; that the result is right is seen from the shapes that come out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, prod

import numpy as np
import onnx
from onnx import numpy_helper

from edgewright.errors import InputError, ModelError
from edgewright.graph.shapes import fix_input_shape, shapes_of
from edgewright.graph.unread import drop_unread
from edgewright.printable import printable

SIZED = {"Reshape": 1, "Resize": 3}  # which input of a node holds sizes
LARGEST_SIDE = 8192


@dataclass(frozen=True, slots=True)
class Sized:
    """The rewritten model, and the nodes whose constants were rewritten."""

    model: onnx.ModelProto
    rewritten: tuple[str, ...]


def camera_size(frame_wh: tuple[int, int], input_wh: tuple[int, int], stride: int) -> tuple[int, int]:
    """The input that shows a frame of that shape at the scale of a square letterbox, and pads no more than whole strides ask for."""
    # In exact numbers: a side rounded down would ask for a smaller scale than the square's.
    scale = min(Fraction(input_wh[0], frame_wh[0]), Fraction(input_wh[1], frame_wh[1]))
    wide, high = (min(ceil(side * scale / stride) * stride, most) for side, most in zip(frame_wh, input_wh, strict=True))
    return wide, high


def set_input_size(model: onnx.ModelProto, name: str, size_wh: tuple[int, int], stride: int) -> Sized:
    """A copy of `model`, which ends in feature maps, whose input `name` [N, 3, H, W] has that width and height.

    `stride`: the largest of the network's grids; both sides must be multiples of it.

    Raises:
        InputError: the size is none that the network's grids divide.
        ModelError: something in the graph is bound to the old size.
    """
    wide, high = size_wh
    if not all(0 < side <= LARGEST_SIDE and side % stride == 0 for side in size_wh):
        raise InputError(f"{wide}x{high} is no input size for this model", expected=f"width and height as multiples of {stride}")
    before = shapes_of(model)
    batch, channels, old_high, old_wide = before[name]
    sized = fix_input_shape(model, name, (batch, channels, high, wide))
    grids = _grids((old_wide, old_high), size_wh, stride)
    rewritten = tuple(node.name for node in sized.graph.node if _rewrite(sized.graph, node, before, grids))
    drop_unread(sized.graph)
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    after = shapes_of(sized)
    stray = next(_stray(sized.graph, before, after, grids), None)
    if stray is not None:
        raise ModelError(f"the input of this model cannot become {wide}x{high}", got=stray, fix="export it with that size")
    return Sized(onnx.shape_inference.infer_shapes(sized), rewritten)


def _stray(
    graph: onnx.GraphProto,
    before: Mapping[str, tuple[int, ...]],
    after: Mapping[str, tuple[int, ...]],
    grids: Mapping[tuple[int, ...], tuple[int, int]],
) -> Iterator[str]:
    """What did not come out as grids of the new input; inference believes whatever a Reshape says, so those are counted."""
    for value in graph.output:
        found, was = after.get(value.name, ()), before.get(value.name, ())
        if not found or found[2:] != grids.get(was[2:]) or found[:2] != was[:2]:
            yield f"output {printable(value.name)} of shape {found or 'unknown'}"
    for node in graph.node:
        if node.op_type == "Reshape" and prod(after.get(node.input[0], ())) != prod(after.get(node.output[0], ())):
            yield f"{printable(node.name)} from {after.get(node.input[0])} to {after.get(node.output[0])}"


def _grids(old_wh: tuple[int, int], new_wh: tuple[int, int], most: int) -> dict[tuple[int, ...], tuple[int, int]]:
    """Height and width of each grid of the old input -> of the new one, down to that of stride `most`; strides are powers of two."""
    strides = [2**power for power in range(most.bit_length())]
    return {(old_wh[1] // each, old_wh[0] // each): (new_wh[1] // each, new_wh[0] // each) for each in strides}


def _rewrite(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    before: Mapping[str, tuple[int, ...]],
    grids: Mapping[tuple[int, ...], tuple[int, int]],
) -> bool:
    place = SIZED.get(node.op_type)
    if place is None or len(node.input) <= place or not node.input[place]:
        return False
    held = {tensor.name: tensor for tensor in graph.initializer}
    if node.input[place] not in held:
        raise ModelError(
            f"the input size of this model cannot be changed: {printable(node.name)} computes a size", fix="export it with that size"
        )
    sizes = numpy_helper.to_array(held[node.input[place]])
    # A zero or -1 in a Reshape stands for what it is inferred to be.
    dims = before.get(node.output[0], tuple(sizes.tolist()))
    readings = _other_dims(dims, grids, may_be_cells=node.op_type == "Reshape") or {dims}
    if len(readings) > 1:
        got = f"{printable(node.name)} to {dims}, of which nobody says what are pixels"
        raise ModelError("the input size of this model cannot be changed", got=got, fix="export it with that size")
    changed = readings.pop()
    if changed == dims:
        return False
    name = f"{node.name}_{node.output[0]}_sizes"
    graph.initializer.append(numpy_helper.from_array(np.array(changed, sizes.dtype), name))
    node.input[place] = name
    return True


def _other_dims(dims: tuple[int, ...], grids: Mapping[tuple[int, ...], tuple[int, int]], *, may_be_cells: bool) -> set[tuple[int, ...]]:
    """The dims with a grid's height and width, last, or its number of cells, anywhere, exchanged; each way to read them."""
    pair = grids.get(dims[-2:]) if len(dims) > 2 else None
    readings = {(*dims[:-2], *pair)} if pair else set()
    if may_be_cells:
        cells = {high * wide: new[0] * new[1] for (high, wide), new in grids.items() if high * wide > 1}
        first = len(dims) - 2 if pair else 1  # before a grid stand channels, however many
        readings |= {(*dims[:at], cells[dims[at]], *dims[at + 1 :]) for at in range(first, len(dims)) if dims[at] in cells}
    return readings

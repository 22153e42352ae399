"""What quantization will do to a network, done to it while it learns.

The places and the encodings are not ours to choose a second time: the network is quantized as it will be deployed (`compress.quantize`),
and what that wrote into its graph is read back: which tensors have a pair of Q/DQ, with which zero point and scale, and which
convolutions have integer weights. So the student rounds where the runtime will round. Scales of activations are then learned (LSQ,
arXiv 1902.08153), zero points stay; the scale of a weight channel follows its largest weight, as the quantizer's rule does. A bias has
32 bits, and is rounded to the step of the sums that it is added to, where the quantizer does so. Gradients pass the rounding as if it
were not there (straight-through, arXiv 1308.3432).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

Range = tuple[float, float]

SIGNED_MOST = 127  # of 8 bits, the lowest of which is left out where zero is in the middle


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a tensor becomes 8-bit integers from `low` to `high`: value = (integer - zero_point) * scale."""

    scale: float
    zero_point: int
    low: int
    high: int

    def span(self, scale: float) -> Range:
        """The values that it can hold with that scale; symmetric where zero is in the middle of signed integers."""
        low = -SIGNED_MOST if self.low < 0 and self.zero_point == 0 else self.low
        return (low - self.zero_point) * scale, (self.high - self.zero_point) * scale


@dataclass(frozen=True, slots=True)
class Encodings:
    """Of activations, by tensor; of weights, by name: the largest integer, one scale a channel or one for all; of biases, by name: the
    activation and the weight whose product's step they have.
    """

    activations: Mapping[str, Encoding]
    weights: Mapping[str, tuple[int, bool]]
    biases: Mapping[str, tuple[str, str]]


def encodings_of(quantized: onnx.ModelProto, source: onnx.ModelProto) -> Encodings:
    """What a quantizer wrote into `quantized`, the Q/DQ form of the float graph `source`, told in the names of `source`."""
    held = {tensor.name: tensor for tensor in quantized.graph.initializer}
    known = {value.name for value in source.graph.input} | {name for node in source.graph.node for name in node.output}
    # The graph's outputs keep their names behind the pair; what goes into it is then called otherwise.
    behind = {node.input[0]: node.output[0] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}
    activations: dict[str, Encoding] = {}
    for node in quantized.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        name = node.input[0] if node.input[0] in known else behind.get(node.output[0], "")
        if name in known:
            scale, zero = (numpy_helper.to_array(held[each]) for each in node.input[1:3])
            limits = np.iinfo(zero.dtype)
            activations[name] = Encoding(float(scale), int(zero), int(limits.min), int(limits.max))
    return Encodings(activations, *_weights(quantized, source, held))


def _weights(
    quantized: onnx.ModelProto, source: onnx.ModelProto, held: Mapping[str, onnx.TensorProto]
) -> tuple[dict[str, tuple[int, bool]], dict[str, tuple[str, str]]]:
    """The weights and biases that are integers: those that reach a node of the same name through a DequantizeLinear of a constant."""
    made_by = {name: node for node in quantized.graph.node for name in node.output if node.op_type == "DequantizeLinear"}
    floats = {node.name: node for node in source.graph.node}
    found: dict[str, tuple[int, bool]] = {}
    biases = {}
    for node in quantized.graph.node:
        same = floats.get(node.name)
        if same is None or same.op_type != node.op_type or len(node.input) < 2 or node.input[1] not in made_by:
            continue
        dequantized = made_by[node.input[1]]
        if dequantized.input[0] in held:
            integers, scales = numpy_helper.to_array(held[dequantized.input[0]]), held[dequantized.input[1]].dims
            # 7-bit weights, where sums of products would saturate, reach 64; all others 127.
            most = SIGNED_MOST if int(np.abs(integers.astype(np.int32)).max()) > 64 else 64
            found[same.input[1]] = (most, math.prod(scales) > 1)
            if len(node.input) > 2 and node.input[2] in made_by:
                biases[same.input[2]] = (same.input[0], same.input[1])
    return found, biases


class Rounding(nn.Module):
    """The `round` of a `Trainable`: weights and activations as the deployed network will hold them, its scales learned."""

    def __init__(self, encodings: Encodings) -> None:
        super().__init__()
        self.encodings = encodings
        # Tensors that share a scale, as what merely carries values about must, were given the very same one.
        shared: dict[tuple[float, int, int], int] = {}
        self._key = {
            name: shared.setdefault((each.scale, each.zero_point, each.low), len(shared)) for name, each in encodings.activations.items()
        }
        self._weight_scales: dict[str, Tensor] = {}  # as they were when the weights were last rounded
        # As factors of what was calibrated, in logarithms: positive whatever is learned, and at first the very scales, bit for bit.
        self.register_buffer("calibrated", torch.tensor([scale for scale, _, _ in shared], dtype=torch.float32))
        self.growth = nn.Parameter(torch.zeros(len(shared)))

    def forward(self, name: str, value: Tensor) -> Tensor:
        found = self.encodings.activations.get(name)
        if found is not None:
            return _rounded(value, self._scale(name), found)
        if name in self.encodings.weights:
            scale, most = _weight_scale(value, *self.encodings.weights[name])
            self._weight_scales[name] = scale
            return _Straight.apply(value, (value / scale).round().clamp(-most, most) * scale)  # type: ignore[no-any-return]
        if name in self.encodings.biases:
            return self._rounded_bias(value, *self.encodings.biases[name])
        return value

    def _rounded_bias(self, bias: Tensor, read: str, weight: str) -> Tensor:
        if read not in self._key or weight not in self._weight_scales:
            return bias
        with torch.no_grad():
            step = self._scale(read) * self._weight_scales[weight].reshape(-1)
        return _Straight.apply(bias, (bias / step).round() * step)  # type: ignore[no-any-return]

    def _scale(self, name: str) -> Tensor:
        at = self._key[name]
        return cast("Tensor", self.calibrated)[at] * self.growth[at].exp()

    def ranges(self) -> dict[str, Range]:
        """The range that each activation is now encoded in."""
        scales = (cast("Tensor", self.calibrated).double() * self.growth.detach().double().exp()).tolist()
        return {name: each.span(scales[self._key[name]]) for name, each in self.encodings.activations.items()}


def _rounded(value: Tensor, scale: Tensor, encoding: Encoding) -> Tensor:
    low, high = encoding.low - encoding.zero_point, encoding.high - encoding.zero_point
    # LSQ's factor keeps the step of a scale in proportion to the steps of weights, however many values share it.
    factor = 1 / math.sqrt(value[0].numel() * (encoding.high - encoding.low))
    return _Round.apply(value, scale, low, high, factor)  # type: ignore[no-any-return]


@torch.no_grad()
def _weight_scale(weight: Tensor, most: int, per_channel: bool) -> tuple[Tensor, int]:  # noqa: FBT001 - a fact of the encoding
    reach = weight.abs().flatten(1).amax(1) if per_channel else weight.abs().max()
    scale = (reach / most).clamp(min=1e-12)
    return scale.reshape(-1, *[1] * (weight.ndim - 1)) if per_channel else scale, most


class _Straight(torch.autograd.Function):
    """The rounded value to the last bit, with the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rounded: Tensor) -> Tensor:  # noqa: ARG004 - the first is there for its gradient
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004 - nothing was kept
        return gradients[0], None


class _Round(torch.autograd.Function):
    """round(clamp(value / scale, low, high)) * scale; the gradient of the scale is LSQ's equation 3."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: Tensor, low: int, high: int, factor: float) -> Tensor:
        steps = value.float() / scale
        rounded = steps.round().clamp_(low, high)
        ctx.save_for_backward(steps, rounded)
        ctx.low, ctx.high, ctx.factor, ctx.kind = low, high, factor, value.dtype
        return (rounded * scale).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        steps, rounded = ctx.saved_tensors
        inside = (steps >= ctx.low) & (steps <= ctx.high)
        moved = gradient.float()
        of_scale = (moved * (rounded - torch.where(inside, steps, torch.zeros((), dtype=steps.dtype)))).sum() * ctx.factor
        return (moved * inside).to(ctx.kind), of_scale, None, None, None

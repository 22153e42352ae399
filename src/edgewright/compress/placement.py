"""Q/DQ pairs where a runtime that fuses activations wants them: behind each activation, never inside one.

OpenVINO turns a convolution, the Swish behind it and the rounding of its result into one integer primitive, if no pair stands between
convolution, Sigmoid and Mul. Pairs around every operator, which ONNX Runtime wants, leave 51 passes of their own in YOLOv8n. So here a
pair stands on each feature map that convolutions, additions and concatenations read, and biases stay float. What merely carries values
about (Concat, Split, MaxPool, Resize, ...) shares one scale with what it carries, so that it runs on bytes as they are.

The positions are those that NNCF arrives at (github.com/openvinotoolkit/nncf, its propagation solver); the ranges are our own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewright.compress.calibrate import Range, Ranges
from edgewright.compress.schemes import Scheme
from edgewright.graph.unread import drop_unread

# Operators whose outputs are values of their first input (Concat: of all inputs), moved but not changed; nearest is how detectors resize.
CARRIERS = frozenset({"Concat", "MaxPool", "Resize", "Split", "Slice", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"})
LEAST_SCALE = 1e-9  # of a channel whose weights are all zero
NARROW = 64  # of 7-bit weights, where sums of two products would saturate
WIDE = 127


def place_pairs(model: onnx.ModelProto, ranges: Ranges, kept_float: Iterable[str], scheme: Scheme) -> onnx.ModelProto:
    """A copy of the float `model` with Q/DQ pairs behind activations and 8-bit weights; `kept_float` names convolutions left alone."""
    placed = onnx.ModelProto()
    placed.CopyFrom(model)
    del placed.graph.value_info[:]
    _Placement.begin(placed.graph, frozenset(kept_float)).write(ranges, scheme)
    return placed


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a tensor becomes 8-bit integers: value = (integer - zero_point) * scale."""

    scale: np.float32
    zero_point: NDArray[np.int8] | NDArray[np.uint8]

    @classmethod
    def of(cls, found: Range, scheme: Scheme) -> "Encoding":
        """The encoding of a range that holds zero; what is never negative needs no sign."""
        low, high = found
        if low >= 0 or not scheme.symmetric:
            scale = max(high - low, LEAST_SCALE) / 255
            return cls(np.float32(scale), np.array(round(-low / scale), np.uint8))
        return cls(np.float32(max(-low, high, LEAST_SCALE) / WIDE), np.array(0, np.int8))


@dataclass(slots=True)
class _Placement:
    """A float graph and what is known of its tensors."""

    graph: onnx.GraphProto
    kept: frozenset[str]
    held: Mapping[str, onnx.TensorProto]
    producers: Mapping[str, onnx.NodeProto]
    leads: set[str] = field(default_factory=set)  # tensors that reach an integer convolution through carriers and additions
    leaders: dict[str, str] = field(default_factory=dict)  # tensors that share a scale, as a forest

    @classmethod
    def begin(cls, graph: onnx.GraphProto, kept: frozenset[str]) -> "_Placement":
        held = {tensor.name: tensor for tensor in graph.initializer}
        found = cls(graph, kept, held, {name: node for node in graph.node for name in node.output})
        for node in reversed(graph.node):
            if found._takes_integers(node):
                found.leads.update(found._features(node))
            if node.op_type in CARRIERS:
                for name in (*found._features(node), *node.output):
                    found.leaders[found._leader(name)] = found._leader(node.output[0])
        return found

    def write(self, ranges: Ranges, scheme: Scheme) -> None:
        wanted = [name for name in self._tensors() if name in ranges and self._wants_pair(name)]
        shared: dict[str, Range] = {}
        for name in wanted:
            leader, (low, high) = self._leader(name), ranges[name]
            held = shared.get(leader, (0.0, 0.0))
            shared[leader] = (min(held[0], low), max(held[1], high))
        encodings = {name: Encoding.of(shared[self._leader(name)], scheme) for name in wanted}
        nodes = [made for value in self.graph.input for made in self._pair(value.name, encodings)]
        for node in list(self.graph.node):
            if self._takes_integers(node):
                node.input[:] = [_dequantized(name) if name in encodings else name for name in node.input]
                if node.op_type == "Conv":
                    nodes.append(self._quantize_weight(node, scheme))
            nodes.append(node)
            nodes += [made for name in node.output for made in self._pair(name, encodings)]
        self._replace_nodes(nodes)

    def _tensors(self) -> list[str]:
        return [value.name for value in self.graph.input] + [name for node in self.graph.node for name in node.output]

    def _takes_integers(self, node: onnx.NodeProto) -> bool:
        """Whether it reads rounded features: an integer convolution, or what carries or adds them for one."""
        if node.name in self.kept:
            return False
        if node.op_type == "Conv":
            return node.input[1] in self.held
        return (node.op_type in CARRIERS or node.op_type == "Add") and any(name in self.leads for name in node.output)

    def _features(self, node: onnx.NodeProto) -> list[str]:
        first = node.input if node.op_type in {"Concat", "Add"} else node.input[:1]
        return [name for name in first if name and name not in self.held]

    def _wants_pair(self, name: str) -> bool:
        """Whether it is rounded here: activations lead to no convolution themselves, so what stands before one never is."""
        producer = self.producers.get(name)
        is_carried = producer is not None and producer.op_type in CARRIERS and self._takes_integers(producer)
        return name in self.leads and not is_carried

    def _leader(self, name: str) -> str:
        while (above := self.leaders.get(name, name)) != name:
            name = above
        return name

    def _pair(self, name: str, encodings: Mapping[str, Encoding]) -> list[onnx.NodeProto]:
        if name not in encodings:
            return []
        encoding, scale, zero = encodings[name], f"{name}_scale", f"{name}_zero_point"
        self._hold(scale, np.array(encoding.scale))
        self._hold(zero, encoding.zero_point)
        rounded = f"{name}_quantized"
        return [
            helper.make_node("QuantizeLinear", [name, scale, zero], [rounded], name=f"{name}_QuantizeLinear"),
            helper.make_node("DequantizeLinear", [rounded, scale, zero], [_dequantized(name)], name=f"{name}_DequantizeLinear"),
        ]

    def _quantize_weight(self, conv: onnx.NodeProto, scheme: Scheme) -> onnx.NodeProto:
        name = conv.input[1]
        weight = numpy_helper.to_array(self.held[name]).astype(np.float32)
        most = NARROW if scheme.reduce_range else WIDE
        reach = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scales = np.maximum((reach if scheme.per_channel else np.full_like(reach, reach.max())) / most, LEAST_SCALE).astype(np.float32)
        integers = np.clip(np.rint(weight / scales.reshape(-1, *[1] * (weight.ndim - 1))), -most, most).astype(np.int8)
        # Its name is the convolution's: two of them may share a weight.
        parts = [f"{conv.name}_weight_{part}" for part in ("quantized", "scale", "zero_point", "dequantized")]
        for part, values in zip(parts, (integers, scales, np.zeros(len(scales), np.int8)), strict=False):
            self._hold(part, values)
        conv.input[1] = parts[-1]
        return helper.make_node("DequantizeLinear", parts[:3], parts[3:], name=f"{conv.name}_weight_DequantizeLinear", axis=0)

    def _hold(self, name: str, values: NDArray[np.generic]) -> None:
        self.graph.initializer.append(numpy_helper.from_array(values, name))

    def _replace_nodes(self, nodes: list[onnx.NodeProto]) -> None:
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        drop_unread(self.graph)


def _dequantized(name: str) -> str:
    return f"{name}_dequantized"

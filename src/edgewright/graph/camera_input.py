"""Let a detector take camera frames as they are: bytes, channels last, as every camera, codec and image library hands them over.

A frame of 640 x 640 is 1.2 MB of bytes and 4.9 MB of floats; bytes with scale 1/255 and zero point 0 *are* the quantized tensor that an
integer network rounds its float input to. So the normalisation goes into the network: into the first pair of an integer graph, into the
weights of the first convolution of a float one.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewright.artifact import InputSpec
from edgewright.errors import ModelError
from edgewright.graph.unread import drop_unread
from edgewright.printable import printable

# How an integer graph takes the bytes: as the pair's integers, which ONNX Runtime fuses; or cast, scaled and rounded again, which OpenVINO
# recognises as one step of its first convolution, while bare integers make it compute that convolution in float.
Bytes: TypeAlias = Literal["as integers", "as rounded floats"]
CHANNELS_FIRST = (0, 3, 1, 2)
READERS = {"DequantizeLinear", "QLinearConv"}  # of integers; their first three inputs are those, scale and zero point
CONV_INPUTS, QLINEAR_CONV_INPUTS = 3, 9  # with a bias, which is the last
PREFIX = "camera"  # of what is added


@dataclass(frozen=True, slots=True)
class CameraForm:
    """The rewritten model, and how it is fed."""

    model: onnx.ModelProto
    input: InputSpec


def take_camera_frames(model: onnx.ModelProto, spec: InputSpec, *, integers: Bytes = "as integers") -> CameraForm:
    """A copy of `model` whose input is uint8 [N, H, W, 3], and which answers as the given one does to the same picture normalised.

    Requires an input float32 [N, 3, H, W], described by `spec`. Colours stay in the order that `spec` names.

    Raises:
        ModelError: the model has no such input, or takes frames already.
    """
    graph = model.graph
    given = next((value for value in graph.input if value.name == spec.name), None)
    if given is None or spec.layout != "NCHW" or spec.dtype != "float32":
        got = f"input {printable(spec.name)}: {spec.dtype} {spec.layout}"
        raise ModelError("only a float input with its channels first can be made a camera's", got=got)
    form = onnx.ModelProto()
    form.CopyFrom(model)
    batch, channels, high, wide = spec.shape
    nodes = _Entrance(form.graph, spec, integers).nodes()
    del form.graph.node[:]
    form.graph.node.extend(nodes)
    value = next(value for value in form.graph.input if value.name == spec.name)
    value.CopyFrom(helper.make_tensor_value_info(spec.name, TensorProto.UINT8, (batch, high, wide, channels)))
    drop_unread(form.graph)
    return CameraForm(form, camera_spec(spec))


def camera_spec(spec: InputSpec) -> InputSpec:
    """How a network that was fed as `spec` says is fed once it takes camera frames."""
    batch, channels, high, wide = spec.shape
    return replace(spec, shape=(batch, high, wide, channels), layout="NHWC", dtype="uint8", scale=1.0, mean=(0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class _Entrance:
    """What stands between the bytes and the network."""

    graph: onnx.GraphProto
    spec: InputSpec
    integers: Bytes

    def nodes(self) -> list[onnx.NodeProto]:
        """The graph's nodes, entrance first."""
        old = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self.graph.node]
        readers = [node for node in old if self.spec.name in node.input]
        rounding = [node for node in readers if node.op_type == "QuantizeLinear"]
        rounded = {name for node in rounding for name in node.output}
        kinds = {node.op_type for node in old if rounded & {*node.input}}
        unsigned = all(self._held(node.input[2]).dtype == np.uint8 for node in rounding)
        if rounding and unsigned and len(rounding) == len(readers) and kinds <= READERS and not any(self.spec.mean):
            self._rescale_biases(rounding, old)
            return [*self._rounded_entrance(rounding[0].output[0], rounded, old), *(node for node in old if node not in rounding)]
        # What is rounded to signed integers stays so: neither ONNX Runtime nor TensorRT mixes signs in a convolution.
        return [*self._float_entrance(readers, old), *old]

    def _rescale_biases(self, rounding: list[onnx.NodeProto], old: list[onnx.NodeProto]) -> None:
        """An integer bias is worth the input's scale times the weight's, and so follows the input's; else ONNX Runtime fuses nothing."""
        producers = {name: node for node in old for name in node.output}
        for rounded in rounding:
            share = self._held(rounded.input[1]) / np.float32(self.spec.scale)
            firsts = [node for node in old if rounded.output[0] in node.input[:1]]
            dequantized = {name for node in firsts if node.op_type == "DequantizeLinear" for name in node.output}
            convs = [node for node in old if node.op_type == "Conv" and node.input[0] in dequantized and len(node.input) == CONV_INPUTS]
            for bias in (producers.get(node.input[2]) for node in convs):
                if bias is not None and bias.op_type == "DequantizeLinear":
                    bias.input[0] = self._rescaled(bias.input[0], share)
                    bias.input[1] = self._hold(f"{bias.input[0]}_scale", (self._held(bias.input[1]) / share).astype(np.float32))
            for node in firsts:
                if node.op_type == "QLinearConv" and len(node.input) == QLINEAR_CONV_INPUTS:
                    node.input[-1] = self._rescaled(node.input[-1], share)

    def _rescaled(self, name: str, share: NDArray[Any]) -> str:
        return self._hold(f"{name}_rescaled", np.rint(self._held(name) * share.astype(np.float64)).astype(np.int32))

    def _rounded_entrance(self, integer: str, rounded: AbstractSet[str], old: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Bytes in the place of the rounded input, whose scale becomes theirs; `integer`: one of the names that it had."""
        scale, zero = self._hold("scale", np.float32(self.spec.scale)), self._hold("zero_point", np.uint8(0))
        yield helper.make_node("Transpose", [self.spec.name], [f"{PREFIX}_first"], name=f"{PREFIX}_Transpose", perm=CHANNELS_FIRST)
        if self.integers == "as integers":
            integer = f"{PREFIX}_first"
        else:
            yield helper.make_node("Cast", [f"{PREFIX}_first"], [f"{PREFIX}_float"], name=f"{PREFIX}_Cast", to=TensorProto.FLOAT)
            # To 0..1 and back, whatever a byte is worth: a step that multiplies by one is dropped, and the convolution behind it is float.
            unit = self._hold("unit", np.float32(1 / 255))
            yield helper.make_node("Mul", [f"{PREFIX}_float", unit], [f"{PREFIX}_scaled"], name=f"{PREFIX}_Mul")
            yield helper.make_node("QuantizeLinear", [f"{PREFIX}_scaled", unit, zero], [integer], name=f"{PREFIX}_QuantizeLinear")
        for node in old:
            if node.input and node.input[0] in rounded:
                node.input[:3] = [integer, scale, zero]

    def _float_entrance(self, readers: list[onnx.NodeProto], old: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Bytes as floats, normalised by the first convolution's weights where that is exact: padding is zero before and after."""
        yield helper.make_node("Transpose", [self.spec.name], [f"{PREFIX}_first"], name=f"{PREFIX}_Transpose", perm=CHANNELS_FIRST)
        last = f"{PREFIX}_float"
        yield helper.make_node("Cast", [f"{PREFIX}_first"], [last], name=f"{PREFIX}_Cast", to=TensorProto.FLOAT)
        if any(self.spec.mean):
            mean = self._hold("mean", np.array(self.spec.mean, np.float32).reshape(1, 3, 1, 1))
            yield helper.make_node("Sub", [last, mean], [f"{PREFIX}_centred"], name=f"{PREFIX}_Sub")
            last = f"{PREFIX}_centred"
        if self.spec.scale != 1 and not self._fold_scale(readers):
            yield helper.make_node(
                "Mul", [last, self._hold("scale", np.float32(self.spec.scale))], [f"{PREFIX}_scaled"], name=f"{PREFIX}_Mul"
            )
            last = f"{PREFIX}_scaled"
        for node in old:
            node.input[:] = [last if name == self.spec.name else name for name in node.input]

    def _fold_scale(self, readers: list[onnx.NodeProto]) -> bool:
        held = {tensor.name for tensor in self.graph.initializer}
        if any(node.op_type != "Conv" or node.input[0] != self.spec.name or node.input[1] not in held for node in readers):
            return False
        for at, node in enumerate(readers):
            weight = self._held(node.input[1])
            node.input[1] = self._hold(f"weight_{at}", (weight * np.float32(self.spec.scale)).astype(weight.dtype))
        return True

    def _held(self, name: str) -> NDArray[Any]:
        return numpy_helper.to_array(next(tensor for tensor in self.graph.initializer if tensor.name == name))

    def _hold(self, part: str, values: NDArray[Any] | np.generic) -> str:
        name = f"{PREFIX}_{part}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name

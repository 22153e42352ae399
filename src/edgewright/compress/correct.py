"""Take the mean error that quantization leaves in each convolution out of its bias.

Rounding weights moves the mean of what a convolution puts out, and so does clipping its input; a network adds such shifts up, while errors
with mean zero average out. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (arXiv 1906.04721,
section 4.2), subtract the expected shift from the bias. Here it is measured rather than derived, on calibration pictures, each
convolution on its own, as in NNCF's fast bias correction: its input comes from the float network, is encoded and decoded, and meets
the encoded weights. The float model is corrected, before it is quantized, so that this goes with every range rule, scheme and container.
Whether it pays is for a measurement to say: docs/decisions/0003 has one where it does not.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgewright.compress.calibrate import Range, Ranges
from edgewright.compress.placement import Encoding
from edgewright.compress.schemes import Scheme
from edgewright.engines import Engine
from edgewright.whole_file import write_whole

# Operators that ONNX Runtime's quantizer gives the encoding of their input: they only pick or move values.
KEEP_ENCODING = {"MaxPool", "Resize", "Split", "Slice", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "AveragePool"}
SUFFIX = "/bias_shift"


def bias_shifts(
    model: onnx.ModelProto,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    ranges: Ranges,
    scheme: Scheme,
    excluded_nodes: Collection[str],
    open_model: Callable[[Path], Engine],
    scratch: Path,
) -> dict[str, NDArray[np.float32]]:
    """Mean error of each output channel, [C], of every convolution that is quantized, by its node's name, over positions and pictures.

    `model` is the float model, its nodes named; `ranges` are `quantize.choose_ranges`'s, `excluded_nodes` stay in float. The errors are
    averaged inside the network that is run, so that a picture leaves only [C] a convolution behind.
    """
    twin, convs = _with_errors(model, ranges, scheme, excluded_nodes)
    if not convs:
        return {}
    write_whole(scratch, twin.SerializeToString(), sync=False)
    try:
        engine = open_model(scratch)
    finally:
        scratch.unlink(missing_ok=True)
    sums: dict[str, NDArray[np.float64]] = {}
    pictures = 0
    try:
        for feed in feeds:
            for name, error in zip(convs, engine.run(feed), strict=True):
                sums[name] = sums.get(name, 0.0) + error.astype(np.float64).reshape(*error.shape[:2]).sum(axis=0)
            pictures += next(iter(feed.values())).shape[0]
    finally:
        engine.close()
    return {name: (total / pictures).astype(np.float32) for name, total in sums.items()}


def with_corrected_biases(model: onnx.ModelProto, shifts: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """A copy of the float model with each shift, [C], taken off its convolution's bias; a convolution without a bias gets one."""
    corrected = onnx.ModelProto()
    corrected.CopyFrom(model)
    graph = corrected.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.name not in shifts:
            continue
        biased = len(node.input) > 2 and bool(node.input[2])
        bias = onnx.numpy_helper.to_array(held[node.input[2]]) if biased else np.float32(0)
        name = _fresh(f"{node.name}/corrected_bias", held)
        held[name] = onnx.numpy_helper.from_array((bias - shifts[node.name]).astype(np.float32), name)
        node.input[2:] = [name]
    read = {name for node in graph.node for name in node.input}
    kept = [type(tensor).FromString(tensor.SerializeToString()) for tensor in held.values() if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return corrected


def _with_errors(model: onnx.ModelProto, ranges: Ranges, scheme: Scheme, excluded: Collection[str]) -> tuple[onnx.ModelProto, list[str]]:
    """The float network, with an encoded twin beside each convolution and the mean difference of the two as output, [N, C, 1, ...]."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    graph = twin.graph
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    producer = {name: node for node in model.graph.node for name in node.output}
    del graph.output[:]
    encoded: dict[str, str] = {}
    convs = []
    for node in model.graph.node:
        if node.op_type != "Conv" or node.name in excluded or node.input[1] not in held:
            continue
        source = _encoding_source(node.input[0], producer, scheme, excluded)
        biased = len(node.input) > 2 and bool(node.input[2])
        if source not in ranges or (biased and node.input[2] not in held):
            continue
        if node.input[0] not in encoded:
            encoded[node.input[0]] = _encode_and_decode(graph, node.input[0], ranges[source], scheme)
        weight = _rounded(onnx.numpy_helper.to_array(held[node.input[1]]), scheme)
        names = {part: f"{node.name}{SUFFIX}/{part}" for part in ("weight", "output", "error", "mean")}
        graph.initializer.append(onnx.numpy_helper.from_array(weight, names["weight"]))
        beside = graph.node.add()
        beside.CopyFrom(node)
        beside.name = names["output"]
        beside.input[0], beside.input[1] = encoded[node.input[0]], names["weight"]
        beside.output[0] = names["output"]
        graph.node.append(onnx.helper.make_node("Sub", [names["output"], node.output[0]], [names["error"]], name=names["error"]))
        graph.node.append(onnx.helper.make_node("GlobalAveragePool", [names["error"]], [names["mean"]], name=names["mean"]))
        graph.output.append(onnx.helper.make_tensor_value_info(names["mean"], onnx.TensorProto.FLOAT, None))
        convs.append(node.name)
    return twin, convs


def _encoding_source(name: str, producer: Mapping[str, onnx.NodeProto], scheme: Scheme, excluded: Collection[str]) -> str:
    """The tensor whose range this one is encoded with."""
    if scheme.placement == "every operator":
        while (node := producer.get(name)) is not None and node.op_type in KEEP_ENCODING and node.name not in excluded:
            name = node.input[0]
    return name


def _encode_and_decode(graph: onnx.GraphProto, name: str, found: Range, scheme: Scheme) -> str:
    scale, zero = encoding(found, scheme)
    names = {part: f"{name}{SUFFIX}/{part}" for part in ("scale", "zero", "encoded", "decoded")}
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(scale), names["scale"]))
    graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(zero), names["zero"]))
    pair = (("QuantizeLinear", name, names["encoded"]), ("DequantizeLinear", names["encoded"], names["decoded"]))
    for kind, before, after in pair:
        graph.node.append(onnx.helper.make_node(kind, [before, names["scale"], names["zero"]], [after], name=after))
    return names["decoded"]


def encoding(found: Range, scheme: Scheme) -> tuple[np.float32, np.generic]:
    """Scale and zero point of an activation with this range, as whoever quantizes by this scheme chooses them: mostly ONNX Runtime."""
    if scheme.placement == "behind activations":
        ours = Encoding.of(found, scheme)
        return ours.scale, ours.zero_point.dtype.type(ours.zero_point)
    dtype = np.uint8 if scheme.activation == "uint8" else np.int8
    lowest, highest = (-127, 127) if scheme.symmetric else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    low, high = np.float32(min(found[0], 0.0)), np.float32(max(found[1], 0.0))
    if scheme.symmetric:
        high = max(-low, high)
        low = -high
    scale = (float(high) - float(low)) / (highest - lowest)
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1), dtype(0)
    return np.float32(scale), dtype(0 if scheme.symmetric else np.round(lowest - float(low) / scale))


def _rounded(weight: NDArray[np.float32], scheme: Scheme) -> NDArray[np.float32]:
    """The weights, [out, in, ...], as their 8 bits say them."""
    steps = 64 if scheme.reduce_range else 127
    axes = tuple(range(1, weight.ndim)) if scheme.per_channel else None
    scale = np.abs(weight).max(axis=axes, keepdims=True) / np.float32(steps)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)
    return (np.round(weight / scale) * scale).astype(np.float32)


def _fresh(name: str, taken: Collection[str]) -> str:
    return next(each for each in (f"{name}{'_' * n}" for n in range(len(taken) + 1)) if each not in taken)

"""Turn a float graph into an integer one with ONNX Runtime's quantizer, giving it ranges that suit a detector."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgewright.artifact import HeadOutput, HeadSpec
from edgewright.compress.calibrate import Range, RangeRule, Ranges, TensorStatistics, entropy, least_squares, min_max, percentile
from edgewright.compress.placement import place_pairs
from edgewright.compress.recipes import Part, Recipe
from edgewright.compress.schemes import Scheme
from edgewright.errors import EngineError, InputError
from edgewright.graph.metadata import trained_ranges
from edgewright.printable import printable
from edgewright.whole_file import write_whole

INSIDE = 0.99999  # of 65,536 sampled values an image, what falls outside is one or two: outliers, not features
RULES: Mapping[str, RangeRule] = {
    "min_max": min_max,
    "percentile": partial(percentile, inside=INSIDE),
    "entropy": entropy,
    "least_squares": least_squares,
}
STEM_CONVS = 3
# Attention's softmax maps to 0..1 with most values near 0, which 256 even steps cannot tell apart.
NEVER_QUANTIZED = {"Softmax"}
WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
FLATTENERS = {"Shape", "Size", "ConstantOfShape"}  # what comes out of them are sizes, no features


def quantize_static(
    model: onnx.ModelProto, head: HeadSpec, statistics: Mapping[str, TensorStatistics], recipe: Recipe, scheme: Scheme, target: Path
) -> None:
    """Write `model` with weights and activations in 8 bits, in the recipe's container.

    As `qdq`, pairs of Q/DQ that ONNX Runtime fuses into integer kernels when it loads the file; as `qoperator`, integer operators at once.
    `model` ends in the outputs that `head` names; its nodes have names (`name_nodes`); `statistics` come from `calibrate.observe`.

    Raises:
        InputError: a float layer that is not there, or a scheme that the container cannot hold.
        EngineError: ONNX Runtime's quantizer cannot take this graph.
    """
    ranges = choose_ranges(model, head, statistics, recipe)
    kept, quantized = nodes_kept_float(model.graph, recipe), io.BytesIO()
    if scheme.placement == "behind activations":
        if recipe.container == "qoperator":
            raise InputError(f"integer operators cannot hold the scheme {scheme.name} {scheme.placement}", fix="use the container qdq")
        write_whole(target, place_pairs(model, ranges, kept, scheme).SerializeToString())
        return
    if recipe.container == "qoperator":
        _give_each_its_own_bias(model.graph)
    try:
        with _quantizing():
            quantizer = _quantizer(model, ranges, kept, recipe, scheme)
            quantizer.quantize_model()
            quantizer.model.save_model_to_file(quantized)
    except InputError:
        raise
    except Exception as error:  # it raises ValueError, KeyError, RuntimeError and AssertionError alike
        raise EngineError("ONNX Runtime's quantizer cannot take this graph", got=f"{type(error).__name__}: {error}"[:300]) from error
    write_whole(target, quantized.getvalue())


def _quantizer(model: onnx.ModelProto, ranges: Ranges, excluded: list[str], recipe: Recipe, scheme: Scheme) -> Any:
    from onnxruntime.quantization import QuantType  # noqa: PLC0415 - heavy
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData  # noqa: PLC0415
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer  # noqa: PLC0415
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # noqa: PLC0415
    from onnxruntime.quantization.quant_utils import QuantizationMode  # noqa: PLC0415
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry  # noqa: PLC0415

    common: dict[str, Any] = {
        "per_channel": scheme.per_channel,
        "reduce_range": scheme.reduce_range,
        "weight_qType": QuantType.QInt8,
        "activation_qType": QuantType.QUInt8 if scheme.activation == "uint8" else QuantType.QInt8,
        "tensors_range": TensorsData(
            CalibrationMethod.MinMax, {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
        ),
        "nodes_to_quantize": [],
        "nodes_to_exclude": excluded,
    }
    symmetric = {"ActivationSymmetric": scheme.symmetric}
    if scheme.placement == "inputs of weighted operators":
        if recipe.container == "qoperator":
            raise InputError(f"integer operators cannot hold the scheme {scheme.name} on {scheme.placement}", fix="use the container qdq")
        # https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/quantized-types-explicit-quantization.html
        placed = {
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "OpTypesToExcludeOutputQuantization": WEIGHTED,
        }
        return QDQQuantizer(model, **common, op_types_to_quantize=WEIGHTED, extra_options={**symmetric, **placed})
    if recipe.container == "qoperator":
        kinds = sorted({*QLinearOpsRegistry} - NEVER_QUANTIZED)
        return ONNXQuantizer(
            model, mode=QuantizationMode.QLinearOps, static=True, **common, op_types_to_quantize=kinds, extra_options=symmetric
        )
    kinds = sorted({*QDQRegistry, *QLinearOpsRegistry} - NEVER_QUANTIZED)
    return QDQQuantizer(model, **common, op_types_to_quantize=kinds, extra_options=symmetric)


def _give_each_its_own_bias(graph: onnx.GraphProto) -> None:
    """Folding merges constants that are alike, and the quantizer writes a bias of two convolutions as integer operators want it once, in
    the step of the first.
    """
    held = {tensor.name: tensor for tensor in graph.initializer}
    taken = set(held) | {name for node in graph.node for name in node.output}
    seen: set[str] = set()
    for node in graph.node:
        if node.op_type not in {"Conv", "Gemm"} or len(node.input) < 3 or node.input[2] not in held:
            continue
        if (name := node.input[2]) in seen:
            own = graph.initializer.add()
            own.CopyFrom(held[name])
            own.name = next(each for each in (f"{name}_{at}" for at in range(len(taken) + 1)) if each not in taken)
            taken.add(own.name)
            node.input[2] = own.name
        seen.add(name)


def quantize_dynamic(source: Path, target: Path) -> None:
    """Write the float model at `source` with 8-bit weights; activations are quantized while it runs, which needs no calibration."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - heavy

    quantized = io.BytesIO()
    with _quantizing():
        # Unsigned weights: the CPU's ConvInteger does not take signed ones (microsoft/onnxruntime#15888).
        quantize_dynamic(onnx.load(source), quantized, weight_type=QuantType.QUInt8)
    write_whole(target, quantized.getvalue())


def choose_ranges(model: onnx.ModelProto, head: HeadSpec, statistics: Mapping[str, TensorStatistics], recipe: Recipe) -> Ranges:
    """The range each tensor is encoded in: what the network was trained for, if it was; else the recipe's rule, and what the graph itself
    says about a tensor.
    """
    graph, rule = model.graph, RULES[recipe.ranges]
    ranges = {name: rule(stats) for name, stats in statistics.items()}
    # Rare large logits are the detections themselves: from the head convolutions on, nothing is cut off but what a floor says.
    behind = {*float_nodes(graph, ("head", "decode"))}
    kept = [name for node in graph.node if node.name in behind for name in node.output]
    ranges |= {name: min_max(statistics[name]) for name in [*kept, *(o.name for o in head.outputs)] if name in statistics}
    floors = dict.fromkeys(_silu_inputs(graph), recipe.silu_floor)
    floors |= {output.name: _floor(output, head, recipe) for output in head.outputs}
    for name, floor in floors.items():
        if floor is not None and name in ranges:
            ranges[name] = (max(ranges[name][0], floor), ranges[name][1])
    ranges |= {name: found for name, found in trained_ranges(model).items() if name in ranges}
    return {name: _with_zero(found) for name, found in ranges.items()}


def float_nodes(graph: onnx.GraphProto, parts: Iterable[Part]) -> list[str]:
    """Names of the nodes of these parts, found by where they stand in the graph; every node must have a name (`name_nodes`)."""
    names: list[str] = []
    for part in parts:
        names += PARTS[part](graph)
    return names


def nodes_kept_float(graph: onnx.GraphProto, recipe: Recipe) -> list[str]:
    """Names of all nodes that the recipe leaves in float, its parts and its single layers, each once.

    Raises:
        InputError: the graph has no layer of that name.
    """
    known = {node.name for node in graph.node}
    for name in recipe.float_layers:
        if name not in known:
            raise InputError(f"the model has no layer {printable(name)!r} to keep in float", fix="see `edgewright inspect` for its layers")
    return list(dict.fromkeys([*float_nodes(graph, recipe.float_parts), *recipe.float_layers]))


def name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own: the quantizer speaks of nodes by name, exporters leave them empty."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for at, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = next(name for name in (f"{node.op_type}_{at}{'_' * n}" for n in range(len(taken) + 1)) if name not in taken)
            taken.add(node.name)
        seen.add(node.name)


@contextmanager
def _quantizing() -> Iterator[None]:
    """ONNX Runtime's quantizer without its files in the system's temporary folder, and without its advice."""
    # It writes the model down to infer shapes, where nobody asked for a file, and where a full disk looks like an unsound graph.
    through_files = "save_and_reload_model_with_shape_infer"
    modules = [import_module(f"onnxruntime.quantization.{name}") for name in ("base_quantizer", "onnx_quantizer", "quantize")]
    held = [(module, getattr(module, through_files)) for module in modules if hasattr(module, through_files)]
    # It advises a pre-processing that `head_cut.fold` has done, on the root logger.
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    for module, _ in held:
        setattr(module, through_files, _with_shapes)
    try:
        yield
    finally:
        for module, function in held:
            setattr(module, through_files, function)
        logger.setLevel(level)


def _with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """What the quantizer's own function of this purpose returns, made in memory."""
    from onnxruntime.quantization.quant_utils import add_infer_metadata  # noqa: PLC0415 - heavy

    inferred = onnx.shape_inference.infer_shapes(model)
    add_infer_metadata(inferred)
    return inferred


def _stem(graph: onnx.GraphProto) -> list[str]:
    """Everything before the fourth convolution, in the graph's (topological) order."""
    convs = 0
    names = []
    for node in graph.node:
        convs += node.op_type == "Conv"
        if convs > STEM_CONVS:
            break
        names.append(node.name)
    return names


def _head(graph: onnx.GraphProto) -> list[str]:
    """The convolutions that a walk back from the outputs meets first."""
    return _behind_outputs(graph)[0]


def _decode(graph: onnx.GraphProto) -> list[str]:
    """Everything between those convolutions and the outputs."""
    return _behind_outputs(graph)[1]


def _behind_outputs(graph: onnx.GraphProto) -> tuple[list[str], list[str]]:
    producer = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    head, decode = set(), set()
    pending = [output.name for output in graph.output]
    seen = set(pending)
    while pending:
        node = producer.get(pending.pop())
        if node is None:
            continue
        if node.op_type == "Conv" and not _is_expectation(node, weights):
            head.add(node.name)
            continue
        decode.add(node.name)
        upstream = [name for name in node.input if name and name not in seen] if node.op_type not in FLATTENERS else []
        seen.update(upstream)
        pending.extend(upstream)
    return [node.name for node in graph.node if node.name in head], [node.name for node in graph.node if node.name in decode]


def _is_expectation(conv: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether it is the sum over bins that ends DFL (Li et al., arXiv 2006.04388): one output, whose weights count 0, 1, 2, ..."""
    weight = weights.get(conv.input[1])
    if weight is None or not weight.dims or weight.dims[0] != 1:
        return False
    values = onnx.numpy_helper.to_array(weight).reshape(-1)
    return values.size > 1 and bool(np.array_equal(values, np.arange(values.size)))


PARTS: Mapping[Part, Callable[[onnx.GraphProto], list[str]]] = {"stem": _stem, "head": _head, "decode": _decode}


def _floor(output: HeadOutput, head: HeadSpec, recipe: Recipe) -> float | None:
    """Below which value this output means the same nothing, or None.

    A score is a product of probabilities where there is an objectness, so a logit of either below the class floor is below any threshold.
    In YOLOv5's combined tensor the same floor touches no box: its decode is a sigmoid, and at a logit of -8 a side has
    (2 * 0.0003)^2 = 4e-7 of its anchor. A box output is of bins, which a floor may clip, only under DFL; elsewhere it holds
    distances or offsets.
    """
    if output.role == "box":
        return recipe.box_logit_floor if (head.reg_max or 1) > 1 else None
    return recipe.class_logit_floor if output.role in {"class", "objectness", "combined"} else None


def _silu_inputs(graph: onnx.GraphProto) -> set[str]:
    """Tensors that nothing reads but x * sigmoid(x)."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = set()
    for node in graph.node:
        if node.op_type != "Sigmoid":
            continue
        x, gate = node.input[0], node.output[0]
        others = [reader for reader in readers[x] if reader is not node]
        if others and all(reader.op_type == "Mul" and gate in reader.input for reader in others):
            found.add(x)
    return found


def _with_zero(found: Range) -> Range:
    """Zero must be representable: padding is zero (Jacob et al., arXiv 1712.05877, section 2.1)."""
    return min(found[0], 0.0), max(found[1], 0.0)

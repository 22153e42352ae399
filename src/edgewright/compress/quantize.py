"""Turn a float graph into an integer one with ONNX Runtime's quantizer, giving it ranges that suit a detector."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from edgewright.artifact import HeadSpec
from edgewright.compress.calibrate import Range, RangeRule, Ranges, TensorStatistics, least_squares, min_max, percentile
from edgewright.compress.recipes import Part, Recipe
from edgewright.compress.schemes import Scheme
from edgewright.errors import EngineError

INSIDE = 0.99999  # of 65,536 sampled values an image, what falls outside is one or two: outliers, not features
RULES: Mapping[str, RangeRule] = {"min_max": min_max, "least_squares": least_squares, "percentile": partial(percentile, inside=INSIDE)}
STEM_CONVS = 3
# Attention's softmax maps to 0..1 with most values near 0, which 256 even steps cannot tell apart.
NEVER_QUANTIZED = {"Softmax"}


def quantize_static(
    model: onnx.ModelProto, head: HeadSpec, statistics: Mapping[str, TensorStatistics], recipe: Recipe, scheme: Scheme, target: Path
) -> None:
    """Write `model` with weights and activations in 8 bits, as QDQ, which ONNX Runtime fuses into integer kernels when it loads the file.

    `model` ends in the outputs that `head` names; its nodes have names (`name_nodes`); `statistics` come from `calibrate.observe`.

    Raises:
        EngineError: ONNX Runtime's quantizer cannot take this graph.
    """
    from onnxruntime.quantization import QuantType  # noqa: PLC0415 - heavy
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData  # noqa: PLC0415
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # noqa: PLC0415
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry  # noqa: PLC0415

    ranges = choose_ranges(model.graph, head, statistics, recipe)
    quantizer = QDQQuantizer(
        model,
        per_channel=scheme.per_channel,
        reduce_range=scheme.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if scheme.activation == "uint8" else QuantType.QInt8,
        tensors_range=TensorsData(
            CalibrationMethod.MinMax, {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
        ),
        nodes_to_quantize=[],
        nodes_to_exclude=float_nodes(model.graph, recipe.float_parts),
        op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry} - NEVER_QUANTIZED),
        extra_options={},
    )
    try:
        quantizer.quantize_model()
    except Exception as error:  # it raises ValueError, KeyError, RuntimeError and AssertionError alike
        raise EngineError("ONNX Runtime's quantizer cannot take this graph", got=f"{type(error).__name__}: {error}"[:300]) from error
    quantizer.model.save_model_to_file(str(target))


def quantize_dynamic(source: Path, target: Path) -> None:
    """Write the float model at `source` with 8-bit weights; activations are quantized while it runs, which needs no calibration."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: PLC0415 - heavy

    # It advises a pre-processing that `head_cut.fold` has done, on the root logger.
    with _silenced(logging.getLogger()):
        # Unsigned weights: the CPU's ConvInteger does not take signed ones (microsoft/onnxruntime#15888).
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)


def choose_ranges(graph: onnx.GraphProto, head: HeadSpec, statistics: Mapping[str, TensorStatistics], recipe: Recipe) -> Ranges:
    """The range each tensor is encoded in: the recipe's rule, and what the graph itself says about a tensor."""
    rule = RULES[recipe.ranges]
    ranges = {name: rule(stats) for name, stats in statistics.items()}
    # Rare large logits are the detections themselves: the ends of an output are never cut from above.
    ranges |= {output.name: min_max(statistics[output.name]) for output in head.outputs if output.name in statistics}
    floors = dict.fromkeys(_silu_inputs(graph), recipe.silu_floor)
    floors |= {o.name: {"class": recipe.class_logit_floor, "box": recipe.box_logit_floor, "decoded": None}[o.role] for o in head.outputs}
    for name, floor in floors.items():
        if floor is not None and name in ranges:
            ranges[name] = (max(ranges[name][0], floor), ranges[name][1])
    return {name: _with_zero(found) for name, found in ranges.items()}


def float_nodes(graph: onnx.GraphProto, parts: Iterable[Part]) -> list[str]:
    """Names of the nodes of these parts, found by where they stand in the graph; every node must have a name (`name_nodes`)."""
    names: list[str] = []
    for part in parts:
        names += _stem(graph) if part == "stem" else _head(graph)
    return names


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
def _silenced(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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
    outputs = {output.name for output in graph.output}
    return [node.name for node in graph.node if node.op_type == "Conv" and outputs & set(node.output)]


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

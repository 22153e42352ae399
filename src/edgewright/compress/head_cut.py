"""End the network at its head convolutions, and fold what can be folded.

The decode behind them (softmax over every cell, anchor arithmetic, a last concatenation of pixels and probabilities) costs time for
8,400 cells where a dozen survive, and shares one scale between ranges a thousand times apart if it is quantized. Cut off, it
runs in numpy for the survivors alone.
"""

from pathlib import Path

import onnx

from edgewright.errors import ModelError
from edgewright.graph.head import YoloHead
from edgewright.graph.shapes import fix_input_shape

OLDEST_OPSET = 13  # per-channel DequantizeLinear (its axis attribute) arrived here


def fold(source: Path, target: Path, head: YoloHead) -> None:
    """Write `source` with its input pinned to the head's size, BatchNormalization folded into convolutions and constants computed."""
    import onnxruntime  # noqa: PLC0415 - heavy

    model = _upgrade(fix_input_shape(onnx.load(source), head.input.name, head.input.shape))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # The basic level folds and removes, but stays within standard operators; higher levels write for this very CPU.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def cut_head(model: onnx.ModelProto, head: YoloHead) -> onnx.ModelProto:
    """The part of `model` that leads to the head convolutions, which become its outputs: box, class, box, class, ... finest grid first."""
    wanted = [output.name for output in head.raw.outputs]
    kept = _upstream(model.graph, wanted)
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph = cut.graph
    for field, keep in (
        (graph.node, [node for node in graph.node if any(name in kept for name in node.output)]),
        (graph.initializer, [tensor for tensor in graph.initializer if tensor.name in kept]),
        (graph.value_info, [value for value in graph.value_info if value.name in kept]),
        (graph.output, [_float_output(name) for name in wanted]),
    ):
        held = [type(each).FromString(each.SerializeToString()) for each in keep]
        del field[:]
        field.extend(held)
    return onnx.shape_inference.infer_shapes(cut)


def _upstream(graph: onnx.GraphProto, wanted: list[str]) -> set[str]:
    producer = {name: node for node in graph.node for name in node.output}
    missing = [name for name in wanted if name not in producer]
    if missing:
        raise ModelError(f"the head convolution {missing[0]!r} is gone after folding", fix="report this model")
    kept, pending = set(wanted), list(wanted)
    while pending:
        node = producer.get(pending.pop())
        fresh = [name for name in (node.input if node else ()) if name and name not in kept]
        kept.update(fresh)
        pending.extend(fresh)
    return kept


def _float_output(name: str) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _upgrade(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset >= OLDEST_OPSET:
        return model
    return onnx.version_converter.convert_version(model, OLDEST_OPSET)

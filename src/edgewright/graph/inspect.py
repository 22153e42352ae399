"""What a model is, without running it: inputs, outputs, classes, size, work, precision, and what is odd about it.

inspection = inspect_model(Path("yolov8n.onnx"), recognise=family_of)
json.dumps(inspection.to_json())
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from edgewright.errors import ModelError
from edgewright.graph.cost import learned_operands, mac_count, parameter_count
from edgewright.graph.finding import Finding, info
from edgewright.graph.lint import refuse_unsound
from edgewright.graph.load import load_model, model_digest
from edgewright.graph.metadata import class_names, declared_stride, image_size
from edgewright.graph.tensors import element_count, type_name
from edgewright.graph.values import Dim, Value, infer, value_of
from edgewright.graph.walk import blocks, opset_of, real_inputs
from edgewright.printable import printable

Recognise = Callable[[onnx.ModelProto], str | None]

NAME_LIMIT = 200
DYNAMIC = {"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat"}
OPERATOR = {"QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearSigmoid", "QAttention"}
PAIRS = {"QuantizeLinear", "DequantizeLinear"}
PACKED = {"MatMulNBits", "MatMulBnb4", "GatherBlockQuantized"}


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """An input or output; a free axis is its name, or None where it has none."""

    name: str
    shape: tuple[Dim, ...] | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything `inspect` says. `input` is the first input; all of them are in `inputs`."""

    name: str
    digest: str
    bytes: int
    family: str | None
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    classes: tuple[str, ...] | None
    image_size_wh: tuple[int, int] | None
    stride: int | None
    parameters: int
    macs: int | None
    opset: int | None
    ir_version: int
    producer: str
    precision: str
    nodes: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def input(self) -> TensorDescription:
        return self.inputs[0]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "input": asdict(self.input)}


def inspect_model(path: Path, recognise: Recognise | None = None) -> Inspection:
    """Describe the model at `path`; `recognise` names its family.

    Raises:
        InputError: there is no such file.
        ModelError: it cannot be read, or no one should run it.
    """
    model = load_model(path)
    findings = refuse_unsound(model)
    macs = mac_count(model)
    if macs is None:
        findings.append(
            info("macs-unknown", "graph", "does work that depends on sizes not fixed here", "export with a fixed input size to count it")
        )
    return Inspection(
        name=printable(path.name, NAME_LIMIT),
        digest=model_digest(path),
        bytes=path.stat().st_size,
        family=_family(model, recognise),
        inputs=tuple(_described(value, None) for value in real_inputs(model.graph)),
        outputs=_outputs(model),
        classes=class_names(model),
        image_size_wh=image_size(model),
        stride=declared_stride(model),
        parameters=parameter_count(model),
        macs=macs,
        opset=opset_of(model),
        ir_version=model.ir_version,
        producer=printable(f"{model.producer_name} {model.producer_version}".strip()),
        precision=precision_of(model),
        nodes=_node_counts(model),
        findings=tuple(findings),
    )


def precision_of(model: onnx.ModelProto) -> str:
    """From the operators that are there; where none is of integers, the type that most learned elements have."""
    operators = _operators(model)
    if operators & DYNAMIC:
        return "int8 (dynamic)"
    if operators & OPERATOR:
        return "int8 (QOperator)"
    if "QuantizeLinear" in operators:
        return "int8 (QDQ)"
    if operators & PACKED:
        return "int4 (weights)"
    if operators & PAIRS:
        return "int8 (weights)"
    return _stored_type(model)


def _operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for block in blocks(model) for node in block.nodes}


def _stored_type(model: onnx.ModelProto) -> str:
    elements: Counter[int] = Counter()
    for operand in learned_operands(model):
        elements[operand.tensor.data_type] += element_count(operand.tensor)
    if not elements:
        elements.update(value.type.tensor_type.elem_type for value in real_inputs(model.graph))
    return type_name(elements.most_common(1)[0][0]) if elements else "float32"


def _family(model: onnx.ModelProto, recognise: Recognise | None) -> str | None:
    try:
        return recognise(model) if recognise is not None else None
    except ModelError:
        return None  # any sound model can be inspected, detector or not


def _outputs(model: onnx.ModelProto) -> tuple[TensorDescription, ...]:
    """As declared; where the file leaves out a shape, as inferred."""
    inferred = infer(model).values
    return tuple(_described(value, inferred.get(value.name)) for value in model.graph.output)


def _described(value: onnx.ValueInfoProto, inferred: Value | None) -> TensorDescription:
    name, kind = printable(value.name, NAME_LIMIT), value.type.WhichOneof("value")
    if kind is not None and kind != "tensor_type":
        return TensorDescription(name, None, kind.removesuffix("_type"))
    declared = value_of(value)
    dims = declared.dims if declared.dims is not None or inferred is None else inferred.dims
    elem_type = declared.elem_type or (inferred.elem_type if inferred is not None else 0)
    shape = None if dims is None else tuple(printable(dim) if isinstance(dim, str) else dim for dim in dims)
    return TensorDescription(name, shape, type_name(elem_type))


def _node_counts(model: onnx.ModelProto) -> dict[str, int]:
    counts = Counter(printable(node.op_type) for block in blocks(model) for node in block.nodes)
    return dict(sorted(counts.items(), key=lambda counted: (-counted[1], counted[0])))

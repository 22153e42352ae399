"""Do operands fit their operators: known operator, right number, right types, channels and inner dimensions that agree.

ONNX Runtime accepts a convolution whose weight has the wrong number of channels and fails when it runs; here it is named beforehand.
"""

from collections.abc import Callable, Iterator

import onnx

from edgewright.graph.attributes import attribute_findings, shown, window_of
from edgewright.graph.finding import Finding, error, info, warning
from edgewright.graph.operators import (
    CONTRIBUTED,
    CONTRIBUTED_DOMAIN,
    MACHINE_DOMAINS,
    exists,
    newest_versions,
    schema_of,
    standard_domains,
)
from edgewright.graph.tensors import MAX_RANK, show_dims, size_finding, type_name
from edgewright.graph.values import Inferred, Value, contradiction, infer
from edgewright.graph.walk import Block, blocks, node_label, normal_domain, opset_of
from edgewright.printable import printable

Sizes = tuple[int | None, ...]

ANOTHER_EXPORT = "export the model again with the operators of the ONNX standard"
WEIGHTS_FIT = "export the model again; its weights are of another network"


def operator_findings(model: onnx.ModelProto) -> list[Finding]:
    """Operators nobody knows, and operands that are too few or too many."""
    functions = {(normal_domain(function.domain), function.name) for function in model.functions}
    found: list[Finding] = []
    for block in blocks(model):
        versions = _versions(model, block)
        for node in block.nodes:
            domain = normal_domain(node.domain)
            if (domain, node.op_type) not in functions:
                found += _operator(node, versions.get(domain))
    return found


def _versions(model: onnx.ModelProto, block: Block) -> dict[str, int]:
    """Domain -> the version that counts in the block; of several, the first."""
    imported = block.opsets if block.opsets is not None else [(opset.domain, opset.version) for opset in model.opset_import]
    return {normal_domain(domain): version for domain, version in reversed(imported)}


def _operator(node: onnx.NodeProto, version: int | None) -> Iterator[Finding]:
    domain, label = normal_domain(node.domain), node_label(node)
    if domain == CONTRIBUTED_DOMAIN:
        if version is None:
            yield _no_opset(label, domain)
        if node.op_type not in CONTRIBUTED:
            yield warning(
                "unlisted-operator", label, "is a com.microsoft operator we have not heard of", "run it with the newest onnxruntime"
            )
    elif domain in MACHINE_DOMAINS:
        yield warning("machine-specific", label, "was optimised for the machine it was saved on", "use the model from before optimisation")
    elif domain not in standard_domains():
        yield error("unknown-domain", label, f"belongs to the domain {printable(domain)}, which no engine here runs", ANOTHER_EXPORT)
    else:
        yield from _standard(node, domain, version)


def _no_opset(label: str, domain: str) -> Finding:
    what = f"needs the domain {domain or 'ai.onnx'}, for which its surroundings import no version"
    return error("no-opset", label, what, "export the model again; it must say which opset it uses")


def _standard(node: onnx.NodeProto, domain: str, version: int | None) -> Iterator[Finding]:
    label = node_label(node)
    if version is None:
        yield _no_opset(label, domain)
        return
    schema = schema_of(domain, node.op_type, version)
    if schema is None:
        known = exists(domain, node.op_type)
        what = f"is not an operator of opset {version}" if known else "is an operator that does not exist in ONNX"
        yield error("unknown-operator", label, what, "export the model with a newer opset" if known else ANOTHER_EXPORT)
        return
    if schema.deprecated:
        yield warning("deprecated-operator", label, f"was withdrawn before opset {version}", ANOTHER_EXPORT)
    elif not schema.min_input <= len(node.input) <= schema.max_input:
        what = f"has {len(node.input)} inputs; the operator takes {schema.min_input} to {schema.max_input}"
        yield error("operand-count", label, what, ANOTHER_EXPORT)
    elif not schema.min_output <= len(node.output) <= schema.max_output:
        what = f"has {len(node.output)} outputs; the operator gives {schema.min_output} to {schema.max_output}"
        yield error("operand-count", label, what, ANOTHER_EXPORT)
    else:
        yield from attribute_findings(node, domain, version, label)


def opset_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    """Versions that nobody has seen, or that are missing."""
    if not 0 < model.ir_version <= int(onnx.IR_VERSION):
        what = f"is {model.ir_version}; known are 1 to {int(onnx.IR_VERSION)}"
        yield error("ir-version", "IR version", what, "export the model again, or install a newer onnx")
    if not model.opset_import:
        yield error(
            "no-opset",
            "model",
            "imports no opset, so its operators mean nothing",
            "export the model again; it must say which opset it uses",
        )
    newest = newest_versions()
    for opset in model.opset_import:
        domain = normal_domain(opset.domain)
        if opset.version < 1 or opset.version > newest.get(domain, opset.version):
            what = f"is {opset.version}; known are 1 to {newest.get(domain, 'any')}"
            yield error("opset-version", f"opset of {printable(domain) or 'ai.onnx'}", what, "export the model with a known opset")
    standard = opset_of(model)
    if standard is not None and 0 < standard < 13:
        what = f"is {standard}; per-channel quantization starts at 13"
        yield warning("old-opset", "opset of ai.onnx", what, "export the model with opset 17 or so")


def operand_findings(model: onnx.ModelProto) -> list[Finding]:
    """Types, channels and sizes that do not fit, as far as inference can tell them. Wants a model whose names and dims are sound."""
    inferred = infer(model)
    found = list(_foreign_kinds(model))
    found += [finding for graph in inferred.all() for finding in _graph_findings(model, graph)]
    if inferred.complaint is None or any(finding.severity == "error" for finding in found):
        return found
    contradicted = contradiction(model)
    if contradicted is not None:
        found.append(error("shapes", "graph", f"has shapes that contradict each other: {_gist(contradicted)}", "export the model again"))
    else:
        found.append(
            warning("shape-inference", "graph", f"shapes cannot be inferred: {_gist(inferred.complaint)}", "export the model again")
        )
    return found


def _foreign_kinds(model: onnx.ModelProto) -> Iterator[Finding]:
    """Inputs that are no tensor, used where only a tensor will do."""
    kinds = {value.name: value.type.WhichOneof("value") for value in model.graph.input}
    foreign = {name: kind.removesuffix("_type") for name, kind in kinds.items() if kind not in (None, "tensor_type")}
    for node in model.graph.node if foreign else ():
        version = opset_of(model, normal_domain(node.domain))
        schema = schema_of(normal_domain(node.domain), node.op_type, version) if version is not None else None
        for index, name in enumerate(node.input):
            if name in foreign and schema is not None and schema.inputs:
                takes = str(schema.inputs[min(index, len(schema.inputs) - 1)].types)
                if {"sequence": "seq(", "optional": "optional(", "map": "map("}.get(foreign[name], "sparse_tensor(") not in takes:
                    what = f"is of the kind {foreign[name]}, which {printable(node.op_type)} does not take"
                    yield error(
                        "type-mismatch", f"input {index} of {node_label(node)}", what, "export the model with tensors as its inputs"
                    )


def _gist(complaint: str) -> str:
    return printable(" ".join(complaint.split()), 200)


def _graph_findings(model: onnx.ModelProto, graph: Inferred) -> Iterator[Finding]:
    for node in graph.nodes:
        operands = [graph.values.get(name) for name in node.input]
        yield from _types(model, node, operands)
        complaint = _misfit(node, [None if value is None else value.sizes for value in operands])
        if complaint is not None:
            yield error("channels", node_label(node), complaint, WEIGHTS_FIT)
        for name in node.output:
            value = graph.values.get(name)
            absurd = size_finding(_known(value), value.elem_type if value is not None else 0, f"value {printable(name)}")
            if absurd is not None:
                yield absurd


def _known(value: Value | None) -> tuple[int, ...]:
    return tuple(dim for dim in (value.sizes or ()) if dim is not None) if value is not None else ()


def _types(model: onnx.ModelProto, node: onnx.NodeProto, operands: list[Value | None]) -> Iterator[Finding]:
    """Each operand against what the operator allows, and operands that must be alike against each other."""
    version = opset_of(model, normal_domain(node.domain))
    schema = schema_of(normal_domain(node.domain), node.op_type, version) if version is not None else None
    if schema is None or not schema.inputs:
        return
    allowed = {constraint.type_param_str: set(constraint.allowed_type_strs) for constraint in schema.type_constraints}
    bound: dict[str, int] = {}
    for index, value in enumerate(operands):
        if value is None or not value.elem_type:
            continue
        parameter = schema.inputs[min(index, len(schema.inputs) - 1)]
        got = _type_string(value.elem_type)
        where = f"input {index} of {node_label(node)}"
        if got not in allowed.get(parameter.type_str, {parameter.type_str}):
            what = f"is {type_name(value.elem_type)}, which {printable(node.op_type)} does not take"
            yield error("type-mismatch", where, what, "export the model again, with the input type it was trained with")
        elif parameter.is_homogeneous and bound.setdefault(parameter.type_str, value.elem_type) != value.elem_type:
            what = f"is {type_name(value.elem_type)}, but another operand of the same kind is {type_name(bound[parameter.type_str])}"
            yield error("type-mismatch", where, what, "export the model again, with the input type it was trained with")


def _type_string(elem_type: int) -> str:
    return f"tensor({onnx.TensorProto.DataType.Name(onnx.TensorProto.DataType.ValueType(elem_type)).lower()})"


def _misfit(node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
    """Why the operands' sizes contradict each other, or None where they do not or cannot be told."""
    check = CHECKS.get(node.op_type)
    return check(node, sizes) if check is not None else None


def _at(sizes: list[Sizes | None], index: int) -> Sizes | None:
    return sizes[index] if index < len(sizes) else None


def attribute_int(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)


def _convolution(weight_at: int) -> Callable[[onnx.NodeProto, list[Sizes | None]], str | None]:
    def check(node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
        got, weight = _at(sizes, 0), _at(sizes, weight_at)
        if got is None or weight is None:
            return None
        if len(weight) < 3 or len(got) != len(weight):
            return f"gets {show_dims(got)} but its weight is {show_dims(weight)}: the ranks differ"
        group = attribute_int(node, "group", 1)
        if group < 1 or (weight[0] or 0) % group:
            return f"splits {weight[0]} filters into {group} groups"
        wanted = None if weight[1] is None else weight[1] * group
        if wanted is not None and got[1] is not None and got[1] != wanted:
            return f"gets {got[1]} channels, but its weight {show_dims(weight)} with group {group} takes {wanted}"
        bias = _at(sizes, weight_at + 1) if node.op_type in BIASED else None
        return _bias_misfit(bias, weight) or _window_misfit(node, weight)

    return check


def _bias_misfit(bias: Sizes | None, weight: Sizes) -> str | None:
    if bias is None or (len(bias) == 1 and _agree(bias[0], weight[0])):
        return None
    return f"has a bias of {show_dims(bias)} for {weight[0]} filters"


def _window_misfit(node: onnx.NodeProto, weight: Sizes) -> str | None:
    for name, numbers in window_of(node).items():
        if len(numbers) != (len(weight) - 2) * (2 if name == "pads" else 1):
            return f"has {len(numbers)} {name} for a weight {show_dims(weight)}"
        if name == "kernel_shape" and not all(_agree(said, held) for said, held in zip(numbers, weight[2:], strict=True)):
            return f"has the kernel_shape {shown(numbers)} and a weight {show_dims(weight)}"
    return None


def _transposed_convolution(_node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
    got, weight = _at(sizes, 0), _at(sizes, 1)
    if got is None or weight is None:
        return None
    if len(got) != len(weight) or len(weight) < 3:
        return f"gets {show_dims(got)} but its weight is {show_dims(weight)}: the ranks differ"
    return None if _agree(got[1], weight[0]) else f"gets {got[1]} channels, but its weight {show_dims(weight)} takes {weight[0]}"


def _gemm(node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
    a, b = _at(sizes, 0), _at(sizes, 1)
    if a is None or b is None:
        return None
    if len(a) != 2 or len(b) != 2:
        return f"multiplies {show_dims(a)} by {show_dims(b)}, which are not two matrices"
    inner = a[0 if attribute_int(node, "transA", 0) else 1], b[1 if attribute_int(node, "transB", 0) else 0]
    return None if _agree(*inner) else f"multiplies {show_dims(a)} by {show_dims(b)}: {inner[0]} does not meet {inner[1]}"


def _product(right_at: int) -> Callable[[onnx.NodeProto, list[Sizes | None]], str | None]:
    def check(_node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
        a, b = _at(sizes, 0), _at(sizes, right_at)
        if not a or not b:
            return None
        inner = a[-1], b[-2] if len(b) > 1 else b[0]
        return None if _agree(*inner) else f"multiplies {show_dims(a)} by {show_dims(b)}: {inner[0]} does not meet {inner[1]}"

    return check


def _normalisation(_node: onnx.NodeProto, sizes: list[Sizes | None]) -> str | None:
    got, scale = _at(sizes, 0), _at(sizes, 1)
    if got is None or len(got) < 2 or scale is None or len(scale) != 1:
        return None
    return None if _agree(got[1], scale[0]) else f"gets {got[1]} channels, but scales {scale[0]}"


def _agree(one: int | None, other: int | None) -> bool:
    return one is None or other is None or one == other


BIASED = {"Conv", "FusedConv"}
CHECKS: dict[str, Callable[[onnx.NodeProto, list[Sizes | None]], str | None]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "Gemm": _gemm,
    "MatMul": _product(1),
    "MatMulInteger": _product(1),
    "QLinearMatMul": _product(3),
    "BatchNormalization": _normalisation,
    "InstanceNormalization": _normalisation,
}


def input_findings(graph_inputs: list[onnx.ValueInfoProto]) -> Iterator[Finding]:
    """What the caller must feed: a known type and rank; free axes are noted."""
    for value in graph_inputs:
        kind = value.type.WhichOneof("value")
        where = f"input {printable(value.name)}"
        if kind is None:
            yield error("untyped-input", where, "has no type", "export the model again")
        elif kind == "tensor_type":
            yield from _tensor_input(value.type.tensor_type, where)


def _tensor_input(tensor: onnx.TypeProto.Tensor, where: str) -> Iterator[Finding]:
    if tensor.elem_type not in onnx.TensorProto.DataType.values() or not tensor.elem_type:
        yield error("untyped-input", where, f"has element type {tensor.elem_type}, which ONNX does not know", "export the model again")
        return
    if not tensor.HasField("shape"):
        yield error("no-input-shape", where, "has no shape", "export the model with the shape of its input")
        return
    if len(tensor.shape.dim) > MAX_RANK:
        yield error("absurd-dims", where, f"has {len(tensor.shape.dim)} axes; known are up to {MAX_RANK} axes", "export the model again")
        return
    # -1 is how some exporters write a free axis; nothing else below zero means anything.
    fixed = tuple(dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value") and dim.dim_value != -1)
    absurd = size_finding(fixed, tensor.elem_type, where)
    if absurd is not None:
        yield absurd
    elif 0 in fixed:
        yield error("empty-input", where, f"has no elements: {show_dims(fixed)}", "export the model with the shape of its input")
    free = [_free(dim, index) for index, dim in enumerate(tensor.shape.dim) if not dim.HasField("dim_value") or dim.dim_value == -1]
    if free:
        yield info("dynamic-axes", where, f"has free axes: {', '.join(free[:8])}", "export with a fixed input size where speed matters")


def _free(dim: onnx.TensorShapeProto.Dimension, index: int) -> str:
    return f"{index} ({printable(dim.dim_param, 20)})" if dim.dim_param else str(index)

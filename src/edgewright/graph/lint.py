"""What is wrong with a model, said before anyone runs it.

ONNX Runtime and the ONNX checker accept models that cannot be right (all-zero weights, NaN, channels that do not match) and refuse others
with a message about C++. `lint` looks at everything that can be told without running the model; `refuse_unsound` stops at errors.

    findings = refuse_unsound(load_model(path))     # ModelError, or what is merely worth knowing

Stages go from the outside in, and a later stage runs only on what the earlier ones found sound: numpy never meets a tensor whose dims
were not checked, shape inference never a graph with a cycle.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgewright.errors import ModelError
from edgewright.graph.compatibility import input_findings, operand_findings, operator_findings, opset_findings
from edgewright.graph.dataflow import call_findings, dataflow_findings
from edgewright.graph.finding import Finding, error, warning
from edgewright.graph.metadata import class_names, declared_stride, image_size
from edgewright.graph.tensors import FLOATS, MAX_RANK, claim_finding, dims_finding
from edgewright.graph.walk import blocks, node_label, real_inputs, subgraphs, tensors
from edgewright.graph.weights import CARRIERS, LEARNED, MAX_CARRIERS, MEASURED, VARIANCES, WEIGHTS, Scope, is_blank, own_constants, scopes
from edgewright.printable import printable

__all__ = ["Finding", "lint", "refuse_unsound"]

SHOWN_PER_CODE = 5
HANDFUL = 8  # elements: a weight this small may be zero by design
LARGEST_WEIGHT = 1e12
MOST_TRIPS = 1_000_000
LONG_NAME = 256
LONG_VALUE = 64 * 1024
RE_EXPORT = "export the model again from a checkpoint that works"
IGNORED = "nothing in it is run or opened; clean it before you pass the model on"

HOSTILE_TEXT = {
    "markup": re.compile(r"<\s{0,8}[a-zA-Z!/]|javascript:", re.ASCII),
    "a path out of its folder": re.compile(r"\.\.[/\\]|^\s{0,8}file:", re.ASCII),
}
CODE = re.compile(
    # Every repetition is bounded: a search that starts anew at each of 9,000 words must not read on to the end each time.
    r"__\w{1,64}__|\b(?:eval|exec|system|popen|compile|getattr|open)\s{0,8}\(|\bimport\s{1,8}\w|\blambda\b[^:\n]{0,64}:|\$\(|\bsubprocess\b",
    re.ASCII,
)


WHITESPACE = dict.fromkeys(map(ord, "\n\t\r"))  # for str.translate: taken out


def lint(model: onnx.ModelProto) -> list[Finding]:
    """Everything noticed, errors first in the order in which they are worth mending."""
    found = [*opset_findings(model), *_structure_findings(model)]
    stages = (_tensor_findings, call_findings, dataflow_findings, operator_findings, _weight_findings, _loop_findings, operand_findings)
    for stage in stages:
        if model.HasField("graph") and not _has_error(found):
            found += stage(model)
    found += [*_name_findings(model), *_metadata_findings(model)]
    return sorted(_bounded(found), key=lambda finding: ("error", "warning", "info").index(finding.severity))


def refuse_unsound(model: onnx.ModelProto) -> list[Finding]:
    """The findings of a model that may be run.

    Raises:
        ModelError: no one should run it; the first error says why.
    """
    findings = lint(model)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = " (and there is more)" if len(errors) > 1 else ""
        raise ModelError(f"the model is unsound: {errors[0].where} {errors[0].what}{more}", fix=errors[0].fix)
    return findings


def _has_error(findings: Iterable[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _bounded(findings: list[Finding]) -> Iterator[Finding]:
    """The first few of each kind and the number of the rest: a hostile file can earn a million findings."""
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    for same in by_code.values():
        yield from same[:SHOWN_PER_CODE]
        if len(same) > SHOWN_PER_CODE:
            last = same[-1]
            yield Finding(last.code, last.severity, "model", f"has {len(same) - SHOWN_PER_CODE} more like this", last.fix)


def _structure_findings(model: onnx.ModelProto) -> list[Finding]:
    if not model.HasField("graph"):
        return [error("no-graph", "model", "holds no graph", RE_EXPORT)]
    graph = model.graph
    inputs = real_inputs(graph)
    missing = {"node": graph.node, "input": inputs, "output": graph.output}
    found = [error(f"no-{what}s", "graph", f"has no {what}s", RE_EXPORT) for what, held in missing.items() if not held]
    return [*found, *input_findings(inputs), *_output_findings(graph.output)]


def _output_findings(values: Iterable[onnx.ValueInfoProto]) -> Iterator[Finding]:
    for value in values:
        kind, tensor, where = value.type.WhichOneof("value"), value.type.tensor_type, f"output {printable(value.name)}"
        if kind is None:
            yield error("untyped-output", where, "has no type", RE_EXPORT)
        elif kind == "tensor_type" and (not tensor.elem_type or tensor.elem_type not in onnx.TensorProto.DataType.values()):
            yield error("untyped-output", where, f"has element type {tensor.elem_type}, which ONNX does not know", RE_EXPORT)
        if len(tensor.shape.dim) > MAX_RANK:
            yield error("absurd-dims", where, f"has {len(tensor.shape.dim)} axes; known are up to {MAX_RANK} axes", RE_EXPORT)


def _tensor_findings(model: onnx.ModelProto) -> list[Finding]:
    claims = (claim_finding(tensor, where) for where, tensor in tensors(model))
    sparse = (
        dims_finding(tuple(one.dims), f"sparse initializer {printable(one.values.name)}") for block in blocks(model) for one in block.sparse
    )
    return [finding for finding in (*claims, *sparse) if finding is not None]


def _weight_findings(model: onnx.ModelProto) -> list[Finding]:
    return [finding for scope in scopes(model) for finding in (*_blank_weights(scope), *_non_finite(scope))]


def _blank_weights(scope: Scope) -> Iterator[Finding]:
    for operand in scope.operands(WEIGHTS):
        if 0 in operand.tensor.dims:
            what = f"multiplies by the weight {printable(operand.name)}, which holds no elements"
            yield error("empty-weights", node_label(operand.node), what, RE_EXPORT)
        elif np.prod(operand.tensor.dims) > HANDFUL and is_blank(operand):
            what = f"multiplies by the weight {printable(operand.name)}, which is zero throughout"
            yield error("zero-weights", node_label(operand.node), what, RE_EXPORT)


def _loop_findings(model: onnx.ModelProto) -> list[Finding]:
    return [finding for scope in scopes(model) for node in scope.block.nodes if node.op_type == "Loop" for finding in _loop(node, scope)]


def _loop(node: onnx.NodeProto, scope: Scope) -> Iterator[Finding]:
    """A loop whose condition cannot change must say how often it runs; exporters of `while` give a condition and 2^63 - 1 trips."""
    trips, condition = (*node.input, "", "")[:2]
    body = next(subgraphs(node), None)
    if body is None or (condition and not _is_constant(body, scope)):
        return
    if not trips:
        yield error("endless-loop", node_label(node), "never ends: it has no number of trips, and no condition that changes", RE_EXPORT)
    held = scope.constants.get(trips)
    count = (
        int(numpy_helper.to_array(held).flat[0])
        if held is not None and held.data_type == onnx.TensorProto.INT64 and 0 not in held.dims
        else 0
    )
    if count > MOST_TRIPS:
        what = f"runs {count} times, and has no condition that changes; at most {MOST_TRIPS:,} are allowed"
        yield error("endless-loop", node_label(node), what, RE_EXPORT)


def _is_constant(body: onnx.GraphProto, scope: Scope) -> bool:
    """Whether the body hands on the condition that it was given, or one that is written down."""
    made = {name: node for node in body.node for name in node.output}
    held = {tensor.name for tensor in body.initializer}
    name = body.output[0].name if body.output else ""
    for _ in range(MAX_CARRIERS):
        producer = made.get(name)
        if producer is None:
            return name in held or name in scope.constants or (len(body.input) > 1 and name == body.input[1].name)
        if producer.op_type == "Constant":
            return True
        if producer.op_type not in CARRIERS:
            return False
        name = next(iter(producer.input), "")
    return False


def _non_finite(scope: Scope) -> Iterator[Finding]:
    learned = {operand.name for operand in scope.operands(WEIGHTS, LEARNED)}
    weights = learned | {operand.name for operand in scope.operands(MEASURED)}
    variances = {operand.name for operand in scope.operands(VARIANCES)}
    for name, tensor in own_constants(scope.block).items():
        if tensor.data_type not in FLOATS:
            continue
        # float32 holds every value of the narrow types, which numpy's functions do not all know.
        values = numpy_helper.to_array(tensor)
        values = values if values.dtype.kind == "f" else values.astype(np.float32)
        yield from _non_finite_values(name, values, is_weight=name in weights)
        if (
            name in learned
            and values.size
            and np.isfinite(largest := max(abs(values.max()), abs(values.min())))
            and largest > LARGEST_WEIGHT
        ):
            what = f"holds values up to {largest:.0e}; no training gives more than {LARGEST_WEIGHT:.0e}"
            yield error("absurd-weights", f"tensor {printable(name)}", what, f"the file is damaged; {RE_EXPORT}")
        if name in variances and (values < 0).any():
            yield error("negative-variance", f"tensor {printable(name)}", f"holds a negative variance: {values.min():.3g}", RE_EXPORT)


def _non_finite_values(name: str, values: NDArray[np.floating[Any]], *, is_weight: bool) -> Iterator[Finding]:
    finite = int(np.count_nonzero(np.isfinite(values)))
    if finite == values.size:
        return
    nans = int(np.count_nonzero(np.isnan(values)))
    what = f"holds {nans} NaN and {values.size - finite - nans} infinite values of {values.size}"
    # A lone NaN, or -inf outside a weight, is how padding and attention masks are written.
    if is_weight or (nans and values.size > 1):
        yield error("nan-weights" if nans else "inf-weights", f"tensor {printable(name)}", what, RE_EXPORT)
    else:
        yield warning("non-finite-constant", f"tensor {printable(name)}", what, "expected in masks; elsewhere, export the model again")


def _name_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    for kind, name in _names(model):
        reasons = _hostility(name, LONG_NAME)
        if reasons:
            yield warning("hostile-name", f"{kind} {printable(name, 40)}", f"holds {', '.join(reasons)}", IGNORED)


def _names(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """Every name of the model once, with the kind of thing it names first."""
    seen = set()
    for kind, name in _all_names(model):
        if name not in seen:
            seen.add(name)
            yield kind, name


def _all_names(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    yield from (("producer", model.producer_name), ("producer version", model.producer_version), ("model domain", model.domain))
    yield "graph", model.graph.name
    yield from (("input", value.name) for value in model.graph.input)
    yield from (("output", value.name) for value in model.graph.output)
    for value in (*model.graph.input, *model.graph.output):
        yield from (("axis", dim.dim_param) for dim in value.type.tensor_type.shape.dim)
    for block in blocks(model):
        for node in block.nodes:
            yield "node", node.name
            yield from (("value", name) for name in node.output)
        yield from (("initializer", tensor.name) for tensor in block.initializers)


def _metadata_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    entries = [*model.metadata_props, *_descriptions(model)]
    for entry in entries:
        reasons = [*_hostility(entry.value, LONG_VALUE), *(["code"] if CODE.search(entry.value[:LONG_VALUE]) else [])]
        reasons += [f"{reason} in its key" for reason in _hostility(entry.key, LONG_NAME)]
        if reasons:
            what = f"holds {', '.join(reasons)}: {printable(entry.value)}"
            yield warning("hostile-metadata", f"metadata {printable(entry.key, 40)}", what, IGNORED)
    readers = {"names": class_names, "imgsz": image_size, "stride": declared_stride}
    held = {entry.key: entry.value for entry in model.metadata_props}
    for key, reader in readers.items():
        if key in held and reader(model) is None:
            what = f"cannot be read and is ignored: {printable(held[key])}"
            yield warning("unreadable-metadata", f"metadata {key}", what, "name the classes or the size yourself where they matter")


def _descriptions(model: onnx.ModelProto) -> Iterator[onnx.StringStringEntryProto]:
    texts = {"description": model.doc_string, "description of the graph": model.graph.doc_string}
    yield from (onnx.StringStringEntryProto(key=key, value=text[: LONG_VALUE + 1]) for key, text in texts.items() if text)


def _hostility(text: str, limit: int) -> list[str]:
    """What a text holds that an honest name or description does not."""
    looked_at = text[:LONG_VALUE]
    found = [what for what, pattern in HOSTILE_TEXT.items() if pattern.search(looked_at)]
    if not looked_at.isprintable() and not looked_at.translate(WHITESPACE).isprintable():
        found.append("control characters")
    if len(text) > limit:
        found.append(f"{len(text)} characters")
    return found

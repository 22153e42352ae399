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

import numpy as np
import onnx
from onnx import numpy_helper

from edgewright.errors import ModelError
from edgewright.graph.compatibility import input_findings, operand_findings, operator_findings, opset_findings
from edgewright.graph.dataflow import call_findings, dataflow_findings
from edgewright.graph.finding import Finding, error, printable, warning
from edgewright.graph.metadata import class_names, declared_stride, image_size
from edgewright.graph.tensors import FLOATS, claim_finding, dims_finding
from edgewright.graph.walk import blocks, node_label, real_inputs, tensors
from edgewright.graph.weights import LEARNED, MEASURED, WEIGHTS, Scope, is_blank, own_constants, scopes

__all__ = ["Finding", "lint", "printable", "refuse_unsound"]

SHOWN_PER_CODE = 5
HANDFUL = 8  # elements: a weight this small may be zero by design
LONG_NAME = 256
LONG_VALUE = 64 * 1024
RE_EXPORT = "export the model again from a checkpoint that works"
IGNORED = "nothing in it is run or opened; clean it before you pass the model on"

HOSTILE_TEXT = {
    "markup": re.compile(r"<\s*[a-zA-Z!/]|javascript:", re.ASCII),
    "a path out of its folder": re.compile(r"\.\.[/\\]|^\s*file:", re.ASCII),
}
CODE = re.compile(
    r"__\w+__|\b(?:eval|exec|system|popen|compile|getattr|open)\s*\(|\bimport\s+\w|\blambda\b.*:|\$\(|\bsubprocess\b", re.ASCII
)


def lint(model: onnx.ModelProto) -> list[Finding]:
    """Everything noticed, errors first in the order in which they are worth mending."""
    found = [*opset_findings(model), *_structure_findings(model)]
    for stage in (_tensor_findings, call_findings, dataflow_findings, operator_findings, _weight_findings, operand_findings):
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
    return [*found, *input_findings(inputs)]


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
        if np.prod(operand.tensor.dims) > HANDFUL and is_blank(operand):
            what = f"multiplies by the weight {printable(operand.name)}, which is zero throughout"
            yield error("zero-weights", node_label(operand.node), what, RE_EXPORT)


def _non_finite(scope: Scope) -> Iterator[Finding]:
    weights = {operand.name for operand in scope.operands(WEIGHTS, LEARNED, MEASURED)}
    for name, tensor in own_constants(scope.block).items():
        if tensor.data_type in FLOATS:
            yield from _non_finite_values(name, tensor, is_weight=name in weights)


def _non_finite_values(name: str, tensor: onnx.TensorProto, *, is_weight: bool) -> Iterator[Finding]:
    # float32 holds every value of the narrow types, which numpy's functions do not all know.
    values = numpy_helper.to_array(tensor)
    values = values if values.dtype.kind == "f" else values.astype(np.float32)
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
    for block in blocks(model):
        for node in block.nodes:
            yield "node", node.name
            yield from (("value", name) for name in node.output)
        yield from (("initializer", tensor.name) for tensor in block.initializers)


def _metadata_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    for entry in model.metadata_props:
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


def _hostility(text: str, limit: int) -> list[str]:
    """What a text holds that an honest name or description does not."""
    looked_at = text[:LONG_VALUE]
    found = [what for what, pattern in HOSTILE_TEXT.items() if pattern.search(looked_at)]
    if not all(character.isprintable() or character in "\n\t\r" for character in looked_at):
        found.append("control characters")
    if len(text) > limit:
        found.append(f"{len(text)} characters")
    return found

"""Are a node's attributes those its operator has, of the right kind, and numbers that mean something.

A stride of zero divides by zero somewhere below us, and a padding of 2^40 allocates; runtimes differ in what they say of them, and when.
"""

from collections.abc import Iterator, Sequence

import onnx

from edgewright.graph.finding import Finding, error
from edgewright.graph.operators import attributes_of
from edgewright.printable import printable

ANOTHER_EXPORT = "export the model again with the operators of the ONNX standard"
# How a window moves over its input; each list has a number an axis, pads two.
AT_LEAST = {"kernel_shape": 1, "strides": 1, "dilations": 1, "pads": 0}
WINDOWED = {"Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool", "AveragePool", "LpPool", "MaxUnpool", "Col2Im"}
LARGEST = 2**20
KINDS = {kind: name.lower() for name, kind in onnx.AttributeProto.AttributeType.items()}
HELD_IN = {"float": "f", "int": "i", "string": "s", "tensor": "t", "graph": "g"} | {
    kind: kind for kind in ("floats", "ints", "strings", "tensors", "graphs", "sparse_tensor", "sparse_tensors")
}
HELD_IN |= {"type_proto": "tp", "type_protos": "type_protos"}


def attribute_findings(node: onnx.NodeProto, domain: str, version: int, label: str) -> Iterator[Finding]:
    """What is wrong with the attributes of a standard operator."""
    known = attributes_of(domain, node.op_type, version)
    seen = set()
    for attribute in node.attribute:
        name = printable(attribute.name, 40)
        if attribute.name in seen:
            yield error("attribute", label, f"has the attribute {name} more than once", ANOTHER_EXPORT)
        seen.add(attribute.name)
        # Names with two underscores in front are a runtime's own notes; inside a function an attribute may refer to the caller's.
        if attribute.name.startswith("__") or attribute.ref_attr_name:
            continue
        if attribute.name not in known:
            yield error("attribute", label, f"has an attribute {name}, which the operator does not have in opset {version}", ANOTHER_EXPORT)
            continue
        wanted, got = KINDS[known[attribute.name].kind], KINDS.get(attribute.type, "unknown")
        if got != wanted:
            yield error("attribute", label, f"has an attribute {name} of kind {got}, where the operator takes {wanted}", ANOTHER_EXPORT)
        elif not _holds(attribute, HELD_IN[got]):
            yield error("attribute", label, f"has an attribute {name} of kind {got} that holds something else", ANOTHER_EXPORT)
    for name in (name for name, expected in known.items() if expected.required and name not in seen):
        yield error("attribute", label, f"lacks the attribute {name}", ANOTHER_EXPORT)
    if node.op_type in WINDOWED:
        yield from _window(node, label)


def _holds(attribute: onnx.AttributeProto, field: str) -> bool:
    """Whether it holds what its kind says and nothing else; a list may be empty."""
    held = {each.name for each, _ in attribute.ListFields()} - {"name", "doc_string", "type"}
    return held == {field} or (not held and field.endswith("s") and field != "s")


def window_of(node: onnx.NodeProto) -> dict[str, Sequence[int]]:
    """The lists of numbers that say how a window moves, those that are there."""
    return {attribute.name: attribute.ints for attribute in node.attribute if attribute.name in AT_LEAST and attribute.ints}


def _window(node: onnx.NodeProto, label: str) -> Iterator[Finding]:
    window = window_of(node)
    for name, numbers in window.items():
        if any(not AT_LEAST[name] <= number <= LARGEST for number in numbers):
            what = f"has {name} {shown(numbers)}; each must be {AT_LEAST[name]} to 2^20"
            yield error("attribute", label, what, ANOTHER_EXPORT)
    axes = {len(numbers) / 2 if name == "pads" else len(numbers) for name, numbers in window.items()}
    if len(axes) > 1:
        counts = ", ".join(f"{len(numbers)} {name}" for name, numbers in window.items())
        yield error("attribute", label, f"has {counts}, which are not of one number of axes", ANOTHER_EXPORT)


def shown(numbers: Sequence[int]) -> str:
    return f"[{', '.join(map(str, numbers[:8]))}{', ...' if len(numbers) > 8 else ''}]"

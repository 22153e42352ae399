"""Which operators an ONNX file uses, read from its bytes: a board has no onnx package, and an engine wants to say what it computes in.

Only what leads to `ModelProto.graph.node.op_type` is looked at (fields 7, 1 and 4 of onnx.proto); weights are stepped over.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

GRAPH, NODE, OP_TYPE = 7, 1, 4
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
# What makes a graph one of integers: Q/DQ pairs that are fused, integer operators, and those that quantize as they go.
INTEGER_OPERATORS = frozenset(
    {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
)


def operator_types(path: Path) -> Iterator[str]:
    """The type of each node of the main graph, in its order; none where the bytes are no ONNX."""
    if not path.stat().st_size:
        return  # nothing cannot be mapped
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for graph in _messages(data, 0, len(data), GRAPH):
            for node in _messages(data, *graph, NODE):
                yield from (bytes(data[begin:end]).decode("utf-8", "replace") for begin, end in _messages(data, *node, OP_TYPE))


def is_of_integers(path: Path) -> bool:
    """Whether one of them makes the graph one of integers; the first that does ends the reading, and is one of the first nodes."""
    return any(each in INTEGER_OPERATORS for each in operator_types(path))


def _messages(data: mmap.mmap, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the length-delimited fields of that number lie between `at` and `end`; ends where the bytes make no sense."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind, number = tag & 7, tag >> 3
        if kind == LENGTH_DELIMITED:
            length, at = _varint(data, at, end)
            if number == wanted and at + length <= end:
                yield at, at + length
            at += length
        elif kind == VARINT:
            _, at = _varint(data, at, end)
        elif kind in {FIXED64, FIXED32}:
            at += 8 if kind == FIXED64 else 4
        else:
            return


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(at, min(at + LONGEST_VARINT, end)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place + 1
    return value, end

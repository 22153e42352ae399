"""What a file would unfold into, counted in its bytes before a parser makes objects of them.

Ten megabytes can hold five million empty messages, each of which a parser turns into a hundred bytes and Python into more; where memory
is limited, the parser dies of it. So the fields are counted first, by what they are, and the walk ends where they become too many. The
limits are many times what real models hold: a detector has some hundred nodes, a large transformer some ten thousand.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import onnx

MAX_BYTES: Final = 2 * 1024**3  # what a protobuf message can hold
MAX_DEPTH: Final = 100  # messages in messages, as protobuf's own parsers have it
MAX_FIELDS: Final = 2_000_000
MAX_MESSAGES: Final = 500_000  # of one kind
MAX_OF_KIND: Final = {
    "onnx.ModelProto.opset_import": 100,
    "onnx.ModelProto.metadata_props": 10_000,
    "onnx.ModelProto.functions": 10_000,
    "onnx.GraphProto.node": 50_000,
    "onnx.FunctionProto.node": 50_000,
    "onnx.GraphProto.initializer": 100_000,
    "onnx.GraphProto.sparse_initializer": 10_000,
    "onnx.GraphProto.input": 100_000,
    "onnx.GraphProto.output": 100_000,
}
VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED_WIDTHS: Final = {FIXED64: 8, FIXED32: 4}
CORRUPT: Final = "bytes inside that are not ONNX: the content is corrupt"

# Field number -> its full name, and the fields of the message in it (None where it holds no message).
Fields: TypeAlias = dict[int, tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong; `excess` where the bytes are in order and merely too many."""

    got: str
    excess: bool = False


def complaint_of(data: bytes) -> Complaint | None:
    """The first reason why no one should parse `data` as an ONNX model, or None."""
    counts: Counter[str] = Counter()
    at = fields = 0
    stack: list[tuple[int, Fields]] = [(len(data), _fields_of(onnx.ModelProto.DESCRIPTOR.full_name))]
    while stack:
        end, known = stack[-1]
        if at >= end:
            stack.pop()
            continue
        fields += 1
        number, is_message, at, length = _field(data, at)
        if length is None:
            return Complaint(CORRUPT)
        if at + length > end:
            return _cut_short(len(data), at, length) if len(stack) == 1 else Complaint(CORRUPT)
        name, inner = known.get(number, ("", None))
        if inner is None or not is_message:
            at += length
        else:
            counts[name] += 1
            stack.append((at + length, _fields_of(inner)))
        excess = _excess(fields, name, counts[name], len(stack))
        if excess is not None:
            return excess
    return None


def _field(data: bytes, at: int) -> tuple[int, bool, int, int | None]:
    """Its number, whether it may hold a message, where its content begins, and how long that is: None where it is nothing ONNX has."""
    tag, at = _varint(data, at)
    kind = tag & 7
    if tag < 8:
        return 0, False, at, None
    if kind == LENGTH_DELIMITED:
        length, at = _varint(data, at)
        return tag >> 3, True, at, length
    if kind == VARINT:
        return tag >> 3, False, _varint(data, at)[1], 0
    return tag >> 3, False, at, FIXED_WIDTHS.get(kind)


def _excess(fields: int, name: str, of_kind: int, depth: int) -> Complaint | None:
    limit = MAX_OF_KIND.get(name, MAX_MESSAGES)
    if of_kind > limit:
        return Complaint(f"more than {limit:,} {_plural(name)}", excess=True)
    if fields > MAX_FIELDS:
        return Complaint(f"more than {MAX_FIELDS:,} fields", excess=True)
    if depth > MAX_DEPTH:
        return Complaint(f"content nested more than {MAX_DEPTH} messages deep", excess=True)
    return None


def _cut_short(size: int, at: int, length: int) -> Complaint:
    if length > MAX_BYTES:
        return Complaint(f"a field that claims {length} bytes in a file of {size}")
    return Complaint(f"{size} bytes of at least {at + length}: the file is cut short")


def _plural(full_name: str) -> str:
    """onnx.GraphProto.node -> nodes; onnx.ModelProto.metadata_props -> metadata props."""
    name = full_name.rpartition(".")[2].replace("_", " ")
    return name if name.endswith("s") else f"{name}s"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at` and where it ends; the end lies behind the data where it is cut short or never ends."""
    value = shift = 0
    for byte in data[at : at + 10]:
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    return value, len(data) + 1


@cache
def _fields_of(message: str) -> Fields:
    # By name and on demand: a graph holds nodes whose attributes hold graphs.
    descriptor = onnx.ModelProto.DESCRIPTOR.file.pool.FindMessageTypeByName(message)
    return {
        field.number: (field.full_name, field.message_type.full_name if field.message_type is not None else None)
        for field in descriptor.fields
    }

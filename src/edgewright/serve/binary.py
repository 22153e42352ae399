"""Tensors as bytes, row by row, little-endian: what follows the JSON of a request in the binary tensor extension.

Strings (BYTES) are a length of 4 bytes and so many bytes, one after the other. Source: Triton, extension_binary_data.md.
"""

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.errors import InputError
from edgewright.serve.datatypes import Datatype, datatype_of

Raw: TypeAlias = bytes | bytearray | memoryview
_LENGTH = struct.Struct("<I")


def from_bytes(raw: Raw, datatype: Datatype, shape: Sequence[int], what: str) -> NDArray[Any]:
    """The tensor, a view of `raw` unless it holds strings. `what` names it in a sentence; `shape` has been found bearable.

    Raises:
        InputError: these are not the bytes of such a tensor.
    """
    count = _count(shape)
    if datatype.is_bytes:
        return _strings(raw, count, what).reshape(shape)
    expected = count * datatype.item_bytes
    if len(raw) != expected:
        raise InputError(f"{what} does not have the bytes of its shape", got=f"{len(raw)} bytes", expected=f"{expected}")
    found = np.frombuffer(raw, datatype.dtype).reshape(shape)
    if datatype.name == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise InputError(f"{what} holds a byte that is no truth", expected="0 or 1")
    return found


def to_bytes(array: NDArray[Any]) -> memoryview:
    """The bytes of a tensor, a view of it where it lies in order.

    Raises:
        InputError: the protocol has no name for its elements.
    """
    datatype = datatype_of(array)
    if datatype.is_bytes:
        pieces: list[bytes] = []
        for element in array.ravel().tolist():
            data = as_string(element)
            pieces += (_LENGTH.pack(len(data)), data)
        return memoryview(b"".join(pieces))
    ordered = np.ascontiguousarray(array, datatype.dtype)
    return ordered.reshape(-1).view(np.uint8).data


def as_string(element: object) -> bytes:
    """An element of a BYTES tensor: models give text or bytes."""
    return element if isinstance(element, bytes) else str(element).encode("utf-8", "surrogateescape")


def _strings(raw: Raw, count: int, what: str) -> NDArray[Any]:
    # A string takes four bytes at least: what is made here is never more than a few times what came.
    if count * _LENGTH.size > len(raw):
        raise InputError(f"{what} has too few bytes for {count} strings", got=f"{len(raw)} bytes")
    found = np.empty(count, np.object_)
    view, at = memoryview(raw), 0
    for index in range(count):
        if at + _LENGTH.size > len(view):
            raise InputError(f"{what} ends within the length of string {index}")
        (length,) = _LENGTH.unpack_from(view, at)
        at += _LENGTH.size
        if at + length > len(view):
            raise InputError(f"{what} ends within string {index}", got=f"{len(view) - at} bytes", expected=f"{length}")
        found[index] = bytes(view[at : at + length])
        at += length
    if at != len(view):
        raise InputError(f"{what} has {len(view) - at} bytes after its last string")
    return found


def _count(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count

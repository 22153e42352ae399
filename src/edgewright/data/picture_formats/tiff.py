"""A TIFF's first directory (TIFF 6.0, and BigTIFF): the size, and whether all strips or tiles are there.

Only the first picture is read, so where the directory says the next one is does not matter.
"""

import struct
from dataclasses import dataclass

from edgewright.data.picture_formats.structure import CutShort, Malformed, Structure

WIDTH, LENGTH, SAMPLE_FORMAT = 256, 257, 339
PLACES = ((273, 279), (324, 325))  # offsets and byte counts: of strips, of tiles
UNSIGNED = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # BYTE, SHORT, LONG, IFD, LONG8, IFD8
FLOATING = 3


@dataclass(frozen=True, slots=True)
class _Field:
    kind: int
    count: int
    at: int  # where its value, or the offset of its values, is written


def structure(content: bytes) -> Structure:
    order = "<" if content[:1] == b"I" else ">"
    big = content[2:4] in (b"+\x00", b"\x00+")
    fields = _directory(content, order, big=big)
    wide, high = (_values(content, order, fields.get(tag), big=big)[:1] for tag in (WIDTH, LENGTH))
    if not wide or not high:
        raise Malformed("without a size")
    if _values(content, order, fields.get(SAMPLE_FORMAT), big=big)[:1] == (FLOATING,):
        raise Malformed("of floating-point samples, which have no agreed white")
    whole = all(
        offset + count <= len(content)
        for offsets, counts in PLACES
        for offset, count in zip(*(_values(content, order, fields.get(tag), big=big) for tag in (offsets, counts)), strict=False)
    )
    return Structure((wide[0], high[0]), whole, content)


def _directory(content: bytes, order: str, *, big: bool) -> dict[int, _Field]:
    """The fields of the first directory by their tags; of equal ones the first."""
    (first,) = struct.unpack_from(order + ("Q" if big else "I"), content, 8 if big else 4)
    count_layout, entry_layout, value_bytes = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    if first >= len(content):
        raise CutShort
    (entries,) = struct.unpack_from(order + count_layout, content, first)
    start, step = first + struct.calcsize(order + count_layout), struct.calcsize(order + entry_layout) + value_bytes
    if start + entries * step > len(content):
        raise CutShort
    fields: dict[int, _Field] = {}
    for at in range(start, start + min(entries, 1 << 16) * step, step):
        tag, kind, count = struct.unpack_from(order + entry_layout, content, at)
        fields.setdefault(tag, _Field(kind, count, at + step - value_bytes))
    return fields


def _values(content: bytes, order: str, field: _Field | None, *, big: bool) -> tuple[int, ...]:
    """The numbers of a field; none where it is absent or holds none."""
    if field is None or field.kind not in UNSIGNED:
        return ()
    bytes_in_all = struct.calcsize(order + UNSIGNED[field.kind]) * field.count
    at = field.at
    if bytes_in_all > (8 if big else 4):
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), content, field.at)
    if at + bytes_in_all > len(content):
        raise CutShort
    return struct.unpack_from(f"{order}{field.count}{UNSIGNED[field.kind]}", content, at)

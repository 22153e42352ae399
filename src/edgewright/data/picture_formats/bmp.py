"""A BMP's header (Microsoft's BITMAPCOREHEADER and BITMAPINFOHEADER): the size, and whether all rows are there."""

import struct

from edgewright.data.picture_formats.structure import Malformed, Structure

CORE_HEADER_BYTES, INFO_HEADER_BYTES = 12, 36
PLAIN, BITFIELDS = 0, 3  # compressions whose rows have a known length; the others are run lengths


def structure(content: bytes) -> Structure:
    pixels_at, header_bytes = struct.unpack_from("<II", content, 10)
    if header_bytes == CORE_HEADER_BYTES:
        wide, high, _planes, bits = struct.unpack_from("<HHHH", content, 18)
        compression = PLAIN
    elif header_bytes >= INFO_HEADER_BYTES:
        wide, high, _planes, bits, compression = struct.unpack_from("<iiHHI", content, 18)
    else:
        raise Malformed(f"with a header of {header_bytes} bytes")
    if wide < 0:
        raise Malformed(f"of a width of {wide}")
    high = abs(high)  # below zero: the first row is the uppermost
    row_bytes = (wide * bits + 31) // 32 * 4
    whole = compression not in (PLAIN, BITFIELDS) or pixels_at + row_bytes * high <= len(content)
    return Structure((wide, high), whole, content)

"""A WebP's chunks (RFC 9649): the size, and whether all of it is there."""

import struct

from edgewright.data.picture_formats.structure import Malformed, Structure

LOSSY, LOSSLESS, EXTENDED = b"VP8 ", b"VP8L", b"VP8X"
LOSSY_START, LOSSLESS_START = b"\x9d\x01\x2a", 0x2F


def structure(content: bytes) -> Structure:
    (riff_bytes,) = struct.unpack_from("<I", content, 4)
    (name,) = struct.unpack_from("4s", content, 12)
    size_wh = _size(content, name)
    return Structure(size_wh, 8 + riff_bytes <= len(content), content)


def _size(content: bytes, name: bytes) -> tuple[int, int]:
    if name == LOSSY:
        start, wide, high = struct.unpack_from("<3sHH", content, 23)
        if start != LOSSY_START:
            raise Malformed("without a first frame")
        return wide & 0x3FFF, high & 0x3FFF  # the upper two bits ask for a larger display
    if name == LOSSLESS:
        start, packed = struct.unpack_from("<BI", content, 20)
        if start != LOSSLESS_START:
            raise Malformed("without a first frame")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if name == EXTENDED:
        wide, high = (int.from_bytes(struct.unpack_from("3s", content, at)[0], "little") + 1 for at in (24, 27))
        return wide, high
    raise Malformed("that does not begin with its header")

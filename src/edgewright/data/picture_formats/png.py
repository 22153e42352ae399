"""A PNG's chunks (W3C PNG specification, third edition): the size, the end, and whether each chunk is what its checksum says.

The checksums know every changed byte, so a picture whose pixels would be others is never taken for sound: libpng refuses it, and so is it
refused here, before libpng can say so on standard error. Of the chunks only those that make pixels go to the decoder: no profile, text or
animation, which is where bombs and known incorrect profiles lie.
"""

import re
import struct
import zlib
from collections.abc import Iterator

from edgewright.data.picture_formats.structure import Damaged, Malformed, Structure

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LAST = b"\x00\x00\x00\x00IEND\xaeB`\x82"
MOST_CHUNKS = 1 << 18  # of 1 KB each in the largest file that is read
CHUNK_NAME = re.compile(rb"[A-Za-z]{4}")
PALETTE = 3
# Bits a sample, by kind of colour: grey, RGB, palette, grey and RGB with alpha (table 12).
BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
MAKE_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT"})  # transparency (tRNS) is dropped anyhow
TIFF_STARTS = frozenset({b"II*\x00", b"MM\x00*"})  # of an EXIF block


def structure(content: bytes) -> Structure:
    size_wh, kind = _header(content)
    kept, wrong, whole = [SIGNATURE], list[bytes](), False
    for name, start, end in _chunks(content):
        if name == b"IEND":
            whole = True
            break
        sound = zlib.crc32(memoryview(content)[start + 4 : end - 4]) == int.from_bytes(content[end - 4 : end], "big")
        if not sound:
            wrong.append(name)
        if _is_critical(name):
            if not sound:
                raise Damaged(f"whose {name.decode()} chunk is not what its checksum says")
            if name not in MAKE_PIXELS:
                raise Malformed(f"with a chunk {name.decode()}, which no decoder knows")
        if sound and _makes_pixels(name, content[start + 8 : start + 12], kind):
            kept.append(content[start:end])
    if whole and not any(each[4:8] == b"IDAT" for each in kept[1:]):
        raise Malformed("without pixels")
    damage = f"a PNG whose {wrong[0].decode()} chunk is not what its checksum says" if wrong else None
    return Structure(size_wh, whole, b"".join([*kept, LAST]), damage)


def _header(content: bytes) -> tuple[tuple[int, int], int]:
    length, name, wide, high, bits, kind, *how = struct.unpack_from(">I4sIIBBBBB", content, len(SIGNATURE))
    if (length, name) != (13, b"IHDR"):
        raise Malformed("that does not begin with its header")
    if bits not in BITS.get(kind, ()) or how[:2] != [0, 0] or how[2] > 1:
        raise Malformed(f"of a kind that there is not: {bits} bits, colour {kind}, methods {how}")
    return (wide, high), kind


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of chunk after chunk, up to the end of the file or the first that is not all there."""
    at = len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(content):
            return
        length, name = struct.unpack_from(">I4s", content, at)
        if not CHUNK_NAME.fullmatch(name):
            raise Damaged("whose chunks do not follow each other")
        end = at + 12 + length
        if end > len(content):
            if content.find(LAST, at) >= 0:  # it has an end: a length is wrong, nothing is missing
                raise Damaged(f"whose {name.decode()} chunk is longer than the file")
            return
        yield name, at, end
        at = end
    raise Malformed(f"of more than {MOST_CHUNKS} chunks")


def _makes_pixels(name: bytes, begins: bytes, kind: int) -> bool:
    if name == b"eXIf":  # says how the camera was held
        return begins in TIFF_STARTS
    return name in MAKE_PIXELS and (name != b"PLTE" or kind == PALETTE)


def _is_critical(name: bytes) -> bool:
    return name[:1].isupper()

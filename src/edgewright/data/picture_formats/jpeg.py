"""A JPEG's markers (ITU-T T.81, annex B): the size, the end of the picture, how often it is scanned, how the camera was held.

The scans themselves are for libjpeg. A thumbnail in EXIF lies inside a segment whose length is known, so that its own end is not taken
for the picture's; what follows the end (a second view, a video, padding) is not looked at.
"""

import re
import struct
from collections.abc import Iterator

from edgewright.data.picture_formats.structure import CutShort, Damaged, Malformed, Structure

START, END, SCAN, APP0, APP1 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # C4, C8 and CC are tables and a reserved one
# Comments and all applications' segments but JFIF's (E0) and Adobe's (EE), which say what the components are. Among them are profiles,
# and a broken one would make libjpeg refuse a picture that is sound.
MAKE_NO_PIXELS = frozenset(range(0xE1, 0xF0)) - {0xEE} | {0xFE}
# That it is there says what the components are; its version and resolution make no pixels, and libjpeg refuses versions it does not know.
JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}  # restarts and TEM have no length
EXIF = b"Exif\x00\x00"
ORIENTATION, SHORT = 0x0112, 3  # tag and type (TIFF 6.0)
MOST_SEGMENTS = 1 << 16  # before the first scan; cameras write a few hundred at most

MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
ANOTHER = b"\xff\xd8\xff"  # the start of the next picture in the same file


def structure(content: bytes) -> Structure:
    size_wh, exif, kept, after, between = _header(content)
    end = content.find(bytes([0xFF, END]), after)
    whole = end >= 0 and content.find(ANOTHER, after, end) < 0
    # Within coded data FF is always followed by 0 or a restart, so these are markers.
    scans = 1 + content.count(bytes([0xFF, SCAN]), after)
    damage = f"a JPEG with {between} bytes between its segments" if between else None
    return Structure(size_wh, whole, b"".join([*kept, content[after:]]), damage, scans, orientation_in(exif))


def _header(content: bytes) -> tuple[tuple[int, int], bytes, list[bytes], int, int]:
    """The size, the EXIF block (or nothing), what a decoder needs, where the coded data of the first scan begin, and how many bytes lie
    between segments, where none should.
    """
    size_wh, exif, kept, last, between = None, b"", [content[:2]], 2, 0
    for before, marker, at, end in _segments(content):
        between, last = between + before - last, end
        if marker == APP0 and content.startswith(b"JFIF\x00", at + 2):
            kept.append(JFIF)
        elif marker not in MAKE_NO_PIXELS:
            kept.append(content[at - 2 : end])
        if marker in FRAMES and size_wh is None:
            high, wide = struct.unpack_from(">HH", content, at + 3)
            size_wh = wide, high
        elif marker == APP1 and not exif and content.startswith(EXIF, at + 2):
            exif = content[at + 2 + len(EXIF) : end]
        elif marker == SCAN:
            if size_wh is None:
                raise Malformed("without a size")
            return size_wh, exif, kept, end, between
    raise Malformed(f"with more than {MOST_SEGMENTS} segments before its picture")


def _segments(content: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Start, marker, where its length is written, and end, of segment after segment; never past the picture's end."""
    at = 2
    for _ in range(MOST_SEGMENTS):
        found = MARKER.search(content, at)
        if found is None:
            raise CutShort
        marker, at = found[1][0], found.end()
        if marker in ALONE:
            continue
        if marker in (START, END):
            raise Malformed("without a picture")
        (length,) = struct.unpack_from(">H", content, at)
        if at + length > len(content):
            if content.rstrip(b"\x00").endswith(bytes([0xFF, END])):  # it has an end: a length is wrong, nothing is missing
                raise Damaged("with a segment longer than the file")
            raise CutShort
        yield found.start(), marker, at, at + length
        at += length


def orientation_in(exif: bytes) -> int:
    r"""How the camera was held, 1..8, by the first directory of an EXIF block; 1 where it does not say.

    >>> orientation_in(b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, ORIENTATION, SHORT, 1, 6, 0, 0))
    6
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, _count, value = struct.unpack_from(f"{order}HHIH", exif, at)
            if tag == ORIENTATION:
                return value if kind == SHORT and 1 <= value <= 8 else 1
    except struct.error:  # a block that ends early says nothing
        pass
    return 1

"""The formats of pictures that are read: one file each, which finds the size and the end of the picture without decoding it.

Written for hostile bytes: every length is checked against the file, nothing loops, and no more is set aside than the file is long.
"""

import struct
from collections.abc import Callable

from edgewright.data.picture_formats import bmp, jpeg, png, tiff, webp
from edgewright.data.picture_formats.structure import CutShort, Damaged, Malformed, Structure

__all__ = ["CutShort", "Damaged", "Malformed", "Structure", "structure_of"]

FORMATS: dict[str, Callable[[bytes], Structure]] = {
    "JPEG": jpeg.structure,
    "PNG": png.structure,
    "BMP": bmp.structure,
    "TIFF": tiff.structure,
    "WebP": webp.structure,
}


def structure_of(content: bytes, name: str) -> Structure:
    """The structure of a file of the format `name`.

    Raises:
        CutShort: it ends within its header.
        Damaged: its bytes were changed so that nothing can be decoded.
        Malformed: it is no such picture.
    """
    try:
        return FORMATS[name](content)
    except struct.error as error:  # a field beyond the end
        raise CutShort from error

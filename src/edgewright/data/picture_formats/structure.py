"""What a picture's file says of itself before any pixel is decoded: the noun that every format of pictures is read into."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Structure:
    """The size as stored, not yet turned; whether the file holds the picture to its end; how many scans it takes to draw it.

    `to_decode` is what a decoder is given: the file, or of a PNG and a JPEG the parts that make pixels. `damage` is what is known to be
    wrong with a picture that can be decoded all the same. `orientation` is EXIF's, 1..8, of a JPEG; other formats carry theirs to the
    decoder.
    """

    size_wh: tuple[int, int]
    whole: bool
    to_decode: bytes
    damage: str | None = None
    scans: int = 1
    orientation: int = 1

    @property
    def pixels(self) -> int:
        return self.size_wh[0] * self.size_wh[1]


class CutShort(Exception):  # noqa: N818 - a state of a file, turned into a DataError where its name is known
    """The file ends before its header does."""


class Malformed(Exception):  # noqa: N818 - as above
    """What the file holds is no picture of its format; the message completes "got a PNG ..."."""


class Damaged(Exception):  # noqa: N818 - as above
    """It was a picture of its format before its bytes were changed, and cannot be decoded; the message completes "got a PNG ..."."""

"""Read a picture from a stranger: RGB uint8 pixels, or one clear sentence.

What is not RGB becomes it as trainers' `cv2.imread` has it, so that a detector sees what it was trained on: upright by its EXIF
orientation (all eight); grey and black-and-white on three equal channels; a palette looked up; 16 bits scaled to 8 (their upper byte);
CMYK to RGB without a colour profile, Adobe's inverted values understood; transparency dropped, the stored colour staying (a TIFF's is
drawn on black by libtiff). Floating-point TIFFs have no agreed white and are refused.

Size and end are looked for before anything is decoded (`picture_formats`), since a kilobyte may claim gigabytes, and since not every
OpenCV says that a picture is cut short. A JPEG is decoded by libjpeg itself (simplejpeg), the only one to tell that the data are damaged:
OpenCV leaves that to a line on standard error. All others are decoded by OpenCV. docs/decisions/0010 has the reasons.
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from edgewright.data.opencv_log import quiet_opencv
from edgewright.data.picture_formats import CutShort, Damaged, Malformed, Structure, structure_of
from edgewright.data.picture_formats.sniff import READ, format_of
from edgewright.detections import ImageRgb
from edgewright.errors import DataError
from edgewright.printable import printable
from edgewright.regular_file import read_regular, why

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MOST_BYTES = 256 << 20
# 384 MiB as RGB: the largest area sensors that inspect anything (127 million pixels) fit, and a small board survives it.
MOST_PIXELS = 1 << 27
# Each scan of a progressive JPEG goes over all pixels, and may take ten bytes: this is some ten seconds of work. Ten scans are usual.
MOST_PIXELS_TIMES_SCANS = 16 * MOST_PIXELS
EXPECTED = "JPEG, PNG, BMP, TIFF or WebP of 1 to 16 bits"
FETCH_AGAIN = "fetch it again from where it was whole"

Colour: TypeAlias = Literal["RGB", "GRAY"]
Shrink: TypeAlias = Literal[1, 2, 4, 8]
Pixels: TypeAlias = NDArray[np.uint8]

OPENCV_MODES = {
    ("RGB", 1): cv2.IMREAD_COLOR_RGB,
    ("RGB", 2): cv2.IMREAD_REDUCED_COLOR_2,
    ("RGB", 4): cv2.IMREAD_REDUCED_COLOR_4,
    ("RGB", 8): cv2.IMREAD_REDUCED_COLOR_8,
    ("GRAY", 1): cv2.IMREAD_GRAYSCALE,
    ("GRAY", 2): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    ("GRAY", 4): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    ("GRAY", 8): cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A file that holds a whole picture of a bearable size, as far as can be told before it is decoded. `name` is printable."""

    name: str
    kind: str
    structure: Structure

    def decode(self, colour: Colour = "RGB", *, shrink: Shrink = 1, damaged: list[str] | None = None) -> Pixels:
        """Upright, H x W x 3 RGB or H x W grey, of about 1/`shrink` of the size each way; a JPEG is decoded faster to less.

        Raises:
            DataError: nothing can be decoded, or it takes more memory than there is.
        """
        try:
            pixels, damage = self._decode(colour, shrink)
        except MemoryError as error:
            raise DataError(f"{self.name} takes more memory than there is", got="{} x {} pixels".format(*self.structure.size_wh)) from error
        if damage and damaged is not None:
            damaged.append(f"{self.name} is damaged, and was decoded as far as that goes; got {damage}; {FETCH_AGAIN}")
        return pixels

    def _decode(self, colour: Colour, shrink: Shrink) -> tuple[Pixels, str | None]:
        if self.kind != "JPEG":
            return self._by_opencv(colour, shrink), self.structure.damage
        try:
            return self._by_libjpeg(colour, shrink, strict=True), self.structure.damage
        except ValueError as error:
            first = _as_words(str(error))
        try:
            return self._by_libjpeg(colour, shrink, strict=False), first
        except ValueError as error:
            # This interface of libjpeg forgives nothing in a header, and does not know every ratio of chroma to luma. OpenCV does both,
            # but says nothing of damaged data.
            last = _as_words(str(error))
            return self._by_opencv(colour, shrink, last), self.structure.damage if "subsampling" in last else last

    def _by_libjpeg(self, colour: Colour, shrink: Shrink, *, strict: bool) -> Pixels:
        # The least size asked for keeps it from shrinking further.
        wide, high = (-(-side // shrink) for side in self.structure.size_wh)
        least = {} if shrink == 1 else {"min_width": wide, "min_height": high, "min_factor": shrink}
        decoded = simplejpeg.decode_jpeg(self.structure.to_decode, colour, strict=strict, **least)
        return _upright(decoded if colour == "RGB" else decoded[..., 0], self.structure.orientation)

    def _by_opencv(self, colour: Colour, shrink: Shrink, otherwise: str = "OpenCV refuses it") -> Pixels:
        encoded = np.frombuffer(self.structure.to_decode, np.uint8)
        try:
            with quiet_opencv():
                pixels = cv2.imdecode(encoded, OPENCV_MODES[colour, shrink])
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError from error
            raise self._undecodable(f"a {self.kind}: {printable(str(error.err))}") from error
        if pixels is None:
            raise self._undecodable(f"a {self.kind}: {otherwise}")
        if colour == "RGB" and shrink != 1:  # the reduced modes know only BGR
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return _upright(pixels.astype(np.uint8, copy=False), self.structure.orientation)

    def _undecodable(self, got: str) -> DataError:
        return DataError(f"{self.name} is not a picture we can decode", got=got, expected=EXPECTED)


def read_image(path: Path, *, damaged: list[str] | None = None) -> ImageRgb:
    """The picture at `path`, upright (EXIF orientation applied), H x W x 3 RGB uint8.

    One whose data are damaged and which can be decoded all the same is returned, and a sentence about it is appended to `damaged`.

    Raises:
        DataError: it is missing, no regular file, too large, cut short or not a picture.
    """
    return open_picture(path).decode(damaged=damaged)


def is_turned(path: Path) -> bool:
    """True where `read_image` turned the stored picture by a quarter, as its EXIF orientation asks."""
    picture = open_picture(path)
    return picture.decode().shape[:2] != picture.structure.size_wh[::-1]


def open_picture(path: Path) -> EncodedPicture:
    """Read the file and look whether it can and may be decoded.

    Raises:
        DataError: it is missing, no regular file, too large, cut short or none of the formats we read.
    """
    name = printable(str(path), 300)
    return picture_of(_content(path, name), name)


def picture_of(content: bytes, name: str) -> EncodedPicture:
    """The same of bytes that came otherwise; `name`, printable, is what they are called in a sentence.

    Raises:
        DataError: they are too many, cut short or none of the formats we read.
    """
    if len(content) > MOST_BYTES:
        raise DataError(f"{name} is too large for a picture", got=f"{len(content)} bytes", expected=f"at most {MOST_BYTES}")
    kind = format_of(content)
    if kind not in READ:
        fix = "run `git lfs pull`" if kind.endswith("pointer") else None
        raise DataError(f"{name} is not a picture we can decode", got=kind, expected=EXPECTED, fix=fix)
    try:
        structure = structure_of(content, kind)
    except CutShort as error:
        raise _cut_short(name, content) from error
    except Malformed as error:
        raise DataError(f"{name} is not a picture we can decode", got=f"a {kind} {error}", expected=EXPECTED) from error
    except Damaged as error:
        raise DataError(f"{name} is damaged and cannot be decoded", got=f"a {kind} {error}", fix=FETCH_AGAIN) from error
    _refuse_bombs(name, structure)
    if not structure.whole:
        raise _cut_short(name, content)
    return EncodedPicture(name, kind, structure)


def encode_jpeg(image_rgb: ImageRgb, *, quality: int = 85) -> bytes:
    """The picture as JPEG bytes."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"cannot encode a picture of shape {image_rgb.shape} as JPEG")
    return encoded.tobytes()


def _content(path: Path, name: str) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise DataError(f"{name} is too large for a picture", got=why(error), expected="a picture file") from error
        raise DataError(f"cannot read {name}", got=why(error), expected="a picture file") from error


def _refuse_bombs(name: str, structure: Structure) -> None:
    wide, high = structure.size_wh
    if not structure.pixels:
        raise DataError(f"{name} claims to have no pixels", got=f"{wide} x {high}", expected="at least 1 x 1")
    if structure.pixels > MOST_PIXELS:
        raise DataError(
            f"{name} claims to be too large for a picture",
            got=f"{wide} x {high} pixels",
            expected=f"at most {MOST_PIXELS} in all",
            fix="cut it into tiles",
        )
    if structure.pixels * structure.scans > MOST_PIXELS_TIMES_SCANS:
        raise DataError(
            f"{name} would take too long to decode",
            got=f"{wide} x {high} pixels in {structure.scans} scans",
            expected=f"at most {MOST_PIXELS_TIMES_SCANS // structure.pixels} scans of that size",
        )


def _cut_short(name: str, content: bytes) -> DataError:
    return DataError(f"{name} is cut short", got=f"{len(content)} bytes without the end of the picture", fix=FETCH_AGAIN)


def _as_words(said: str) -> str:
    """What libjpeg says, as the end of a sentence."""
    return printable(said[:1].lower() + said[1:], 120).replace("jPEG", "JPEG")


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turned and mirrored as the EXIF orientation 1..8 asks (TIFF 6.0, "Orientation")."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)

"""Read a picture from a stranger: RGB uint8 pixels, or one clear sentence.

What is not RGB becomes it as trainers' `cv2.imread` has it, so that a detector sees what it was trained on: upright by its EXIF
orientation (all eight); grey and black-and-white on three equal channels; a palette looked up; 16 bits scaled to 8 (their upper byte);
CMYK to RGB without a colour profile, Adobe's inverted values understood; transparency dropped, the stored colour staying (a TIFF's is
drawn on black by libtiff). Floating-point TIFFs have no agreed white and are refused.
"""

from pathlib import Path

import cv2
import numpy as np

from edgewright.detections import ImageRgb
from edgewright.errors import DataError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MOST_BYTES = 256 << 20


def read_image(path: Path, *, damaged: list[str] | None = None) -> ImageRgb:
    """The picture at `path`, upright (EXIF orientation applied), H x W x 3 RGB uint8.

    One whose data are damaged and which can be decoded all the same is returned, and a sentence about it is appended to `damaged`.

    Raises:
        DataError: it is missing, empty, too large, cut short or not a picture.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} is too large for a picture", got=f"{size} bytes", expected=f"at most {MOST_BYTES}")
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB) if encoded.size else None
    except cv2.error as error:
        raise DataError(f"{path} is not a picture we can decode", got=str(error.err)) from error
    if pixels is None:
        raise DataError(f"{path} is not a picture we can decode", expected="JPEG, PNG, BMP, TIFF or WebP of 1 to 16 bits")
    return pixels.astype(np.uint8, copy=False)


def is_turned(path: Path) -> bool:
    """True where `read_image` turned the stored picture by a quarter, as its EXIF orientation asks."""
    stored = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    high, wide, _ = read_image(path).shape
    return stored is not None and stored.shape != (high, wide)


def encode_jpeg(image_rgb: ImageRgb, *, quality: int = 85) -> bytes:
    """The picture as JPEG bytes."""
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise DataError(f"cannot encode a picture of shape {image_rgb.shape} as JPEG")
    return encoded.tobytes()

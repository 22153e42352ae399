"""Pictures from strangers: upright RGB bytes, or one clear sentence."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from edgewright.data import images
from edgewright.data.images import encode_jpeg, read_image
from edgewright.errors import DataError

RED = (255, 0, 0)


def left_red(high=16, wide=32):
    """RGB: the left half red, the right half black."""
    picture = np.zeros((high, wide, 3), np.uint8)
    picture[:, : wide // 2] = RED
    return picture


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF block that says how the camera was held."""
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, lambda p: np.rot90(p, 1)),
    ],
)
def test_a_camera_held_sideways_makes_an_upright_picture(tmp_path, orientation, turned):
    (tmp_path / "a.jpg").write_bytes(with_orientation(encode_jpeg(left_red(), quality=100), orientation))
    read, expected = read_image(tmp_path / "a.jpg"), turned(left_red())
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 5


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".jpg", ".webp"])
def test_colours_come_out_as_rgb(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), left_red()[..., ::-1])
    read = read_image(path)
    assert (read.dtype, read.shape) == (np.uint8, (16, 32, 3))
    assert np.abs(read[:, :10].astype(int) - RED).mean() < 10


def test_grey_becomes_three_equal_channels(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(256, dtype=np.uint8).reshape(16, 16))
    read = read_image(tmp_path / "a.png")
    assert read.shape == (16, 16, 3)
    assert (read == np.arange(256).reshape(16, 16, 1)).all()


def test_sixteen_bits_become_eight(tmp_path):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    assert np.abs(read[..., 0].astype(int) - values // 257).max() <= 1


def test_transparency_is_dropped(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([left_red()[..., ::-1], np.full((16, 32), 90, np.uint8)]))
    assert read_image(tmp_path / "a.png").shape == (16, 32, 3)


def palette_png(indices, palette) -> bytes:
    high, wide = indices.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 3, 0, 0, 0))
    pixels = b"".join(b"\x00" + row.tobytes() for row in indices.astype(np.uint8))
    colours = chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
    return b"\x89PNG\r\n\x1a\n" + header + colours + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def test_a_palette_is_looked_up(tmp_path):
    indices = np.arange(32).reshape(4, 8) % 3
    palette = [(255, 0, 0), (0, 255, 0), (10, 20, 30)]
    (tmp_path / "a.png").write_bytes(palette_png(indices, palette))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.array(palette)[indices])


def test_the_suffix_does_not_matter(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(cv2.imencode(".png", left_red()[..., ::-1])[1].tobytes())
    assert np.array_equal(read_image(path), left_red())


@pytest.mark.parametrize("content", [b"", b"words", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", bytes(2000)])
def test_what_is_no_picture_is_one_clear_sentence(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg is not a picture we can decode"):
        read_image(tmp_path / "a.jpg")


def test_what_is_not_there_or_no_file_is_said(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_image(path)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    with pytest.raises(DataError, match="too large for a picture; got 11 bytes"):
        read_image(tmp_path / "a.jpg")


def test_broken_pictures_are_refused_or_decoded_but_never_crash(test_data):
    refused = {}
    for path in sorted((test_data / "bad/images").iterdir()):
        try:
            read = read_image(path)
        except DataError as error:
            refused[path.name] = str(error)
        else:
            assert read.dtype == np.uint8
            assert read.ndim == 3
    assert {"gen_empty.jpg", "gen_text.jpg", "gen_soi_only.jpg"} <= set(refused)
    assert all(name in said for name, said in refused.items())


def test_jpeg_comes_back_close_to_what_it_was(tmp_path):
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), (9, 9), 3).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(picture, quality=95))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - picture).mean() < 6

"""Pictures from strangers: upright RGB bytes, or one clear sentence."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from data.turned_jpeg import with_orientation
from edgewright.data import images
from edgewright.data.images import encode_jpeg, open_picture, read_image
from edgewright.errors import DataError

RED = (255, 0, 0)


def left_red(high=16, wide=32):
    """RGB: the left half red, the right half black."""
    picture = np.zeros((high, wide, 3), np.uint8)
    picture[:, : wide // 2] = RED
    return picture


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (4, lambda p: p[::-1]),
        (5, lambda p: p.transpose(1, 0, 2)),
        (6, lambda p: np.rot90(p, -1)),
        (7, lambda p: np.rot90(p, 2).transpose(1, 0, 2)),
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


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_scaled_to_eight_neither_wrapped_nor_clipped(tmp_path, suffix, channels):
    values = np.linspace(0, 65535, 32 * 32 * channels).astype(np.uint16).reshape(32, 32, channels)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), values[..., ::-1] if channels == 3 else values)
    read = read_image(path)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - values // 257).max() <= 1


def test_floating_point_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.full((8, 8), 0.5, np.float32))
    with pytest.raises(DataError, match=r"not a picture we can decode; got a TIFF of floating-point samples"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("bits", [np.uint8, np.uint16])
def test_transparency_is_dropped_and_the_stored_colour_stays(tmp_path, bits):
    full = np.iinfo(bits).max
    picture = (left_red()[..., ::-1] > 0).astype(bits) * full
    alpha = np.zeros((16, 32), bits)
    alpha[8:] = full
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([picture, alpha]))
    assert np.array_equal(read_image(tmp_path / "a.png"), left_red())


def png(rows, *, size_wh, bits, kind, palette=None, transparent=None) -> bytes:
    """A PNG of packed rows; kind 0 grey, 3 palette, 4 grey with alpha (PNG specification, 11.2.2)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size_wh, bits, kind, 0, 0, 0))
    colours = b"" if palette is None else chunk(b"PLTE", np.asarray(palette, np.uint8).tobytes())
    clear = b"" if transparent is None else chunk(b"tRNS", transparent)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\x00" + bytes(row) for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + colours + clear + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("transparent", [None, b"\x00"])
def test_a_palette_is_looked_up(tmp_path, transparent):
    indices = np.arange(32, dtype=np.uint8).reshape(4, 8) % 3
    palette = [(255, 0, 0), (0, 255, 0), (10, 20, 30)]
    (tmp_path / "a.png").write_bytes(png(indices, size_wh=(8, 4), bits=8, kind=3, palette=palette, transparent=transparent))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.array(palette)[indices])


def test_one_bit_is_black_and_white(tmp_path):
    (tmp_path / "a.png").write_bytes(png([[0b10110000], [0b00000001]], size_wh=(8, 2), bits=1, kind=0))
    expected = np.array([[1, 0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1]]) * 255
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(expected[..., None], 3, axis=2))


def test_grey_with_transparency_is_grey(tmp_path):
    rows = [[200, 0, 100, 255], [50, 128, 0, 0]]
    (tmp_path / "a.png").write_bytes(png(rows, size_wh=(2, 2), bits=8, kind=4))
    assert read_image(tmp_path / "a.png")[..., 1].tolist() == [[200, 100], [50, 0]]


def flat_jpeg(samples, adobe_transform) -> bytes:
    """An 8 x 8 JPEG of four components, each of one value: only DC coefficients are written (ITU-T T.81, annexes B and F)."""

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    adobe = segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, adobe_transform))
    # Divided by 8, the DC coefficient of a flat block is its value, less 128.
    tables = segment(0xDB, b"\x00" + bytes([8] * 64))
    frame = segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 4) + b"".join(bytes([1 + at, 0x11, 0]) for at in range(4)))
    dc = segment(0xC4, b"\x00" + bytes([0, 0, 0, 9, *[0] * 12]) + bytes(range(9)))  # nine sizes of number, four bits each
    ac = segment(0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\x00")  # "end of block" is the bit 0
    scan = segment(0xDA, b"\x04" + b"".join(bytes([1 + at, 0]) for at in range(4)) + b"\x00\x3f\x00")
    bits = ""
    for sample in samples:
        value = sample - 128
        size = abs(value).bit_length()
        bits += f"{size:04b}" + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else "") + "0"
    bits += "1" * (-len(bits) % 8)
    coded = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")
    return b"\xff\xd8" + adobe + tables + frame + dc + ac + scan + coded + b"\xff\xd9"


@pytest.mark.parametrize(
    ("rgb", "black"), [((200, 120, 40), 255), ((255, 0, 0), 255), ((0, 0, 255), 255), ((255, 255, 255), 128), ((255, 255, 255), 0)]
)
@pytest.mark.parametrize("coded_as", ["CMYK", "YCCK"])
def test_cmyk_as_adobe_inverts_it_comes_out_as_rgb(tmp_path, rgb, black, coded_as):
    """Photoshop stores 255 - C, 255 - M, 255 - Y, 255 - K, the first three perhaps as YCC (libjpeg.txt, "Special color spaces")."""
    red, green, blue = (255 - value for value in rgb)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    ycc = [round(each) for each in (y, 128 + (blue - y) / 1.772, 128 + (red - y) / 1.402)]
    samples, transform = ((*rgb, black), 0) if coded_as == "CMYK" else ((*(min(each, 255) for each in ycc), black), 2)
    (tmp_path / "a.jpg").write_bytes(flat_jpeg(samples, transform))
    expected = np.array(rgb) * black / 255
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - expected).max() <= 3


def test_the_suffix_does_not_matter(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(cv2.imencode(".png", left_red()[..., ::-1])[1].tobytes())
    assert np.array_equal(read_image(path), left_red())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a picture we can decode; got an empty file"),
        (b"words", "is not a picture we can decode; got text"),
        (b"P6 2 2 255 " + bytes(12), "got a Netpbm picture; expected JPEG, PNG, BMP, TIFF or WebP of 1 to 16 bits"),
        (b"GIF89a" + bytes(99), "got a GIF"),
        (b"\x00\x00\x00\x1cftypavif" + bytes(99), "got an AVIF"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "got a JPEG 2000"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "got a Git LFS pointer; expected JPEG, PNG, .*; run `git lfs pull`",
        ),
        (bytes(2000), "got bytes of no format we know"),
        (b"\xff\xd8", "is cut short; got 2 bytes without the end of the picture"),
        (b"\xff\xd8\xff\xd9", "is not a picture we can decode; got a JPEG without a picture"),
        (b"\x89PNG\r\n\x1a\n", "is cut short; got 8 bytes without the end of the picture"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "got a PNG that does not begin with its header"),
        (b"RIFF\x00\x00\x00\x00WEBPabcd", "got a WebP that does not begin with its header"),
        (b"BM" + bytes(60), "got a BMP with a header of 0 bytes"),
        (b"II*\x00\x08\x00\x00\x00\x00\x00" + bytes(4), "got a TIFF without a size"),
    ],
)
def test_what_is_no_picture_is_one_clear_sentence(tmp_path, content, said):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.jpg.* {said}"):
        read_image(tmp_path / "a.jpg")


def test_what_is_not_there_or_no_file_is_said(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_image(path)


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    (tmp_path / "a.jpg").write_bytes(bytes(11))
    with pytest.raises(DataError, match="too large for a picture; got more than 10 bytes"):
        read_image(tmp_path / "a.jpg")


CUT = "gen_pcb_{}pct.jpg is cut short; got {} bytes without the end of the picture; fetch it again from where it was whole"
NO_PICTURE = "is not a picture we can decode; got {}; expected JPEG, PNG, BMP, TIFF or WebP of 1 to 16 bits"
BAD_PICTURES = {
    "gen_empty.jpg": NO_PICTURE.format("an empty file"),
    "gen_pcb_60_random_bytes.jpg": "is damaged, and was decoded as far as that goes; got corrupt JPEG data: premature end of data segment; "
    "fetch it again from where it was whole",
    "gen_pcb_sof_0x0.jpg": "claims to have no pixels; got 0 x 0; expected at least 1 x 1",
    "gen_pcb_sof_65535x65535.jpg": "claims to be too large for a picture; got 65535 x 65535 pixels; expected at most 134217728 in all; "
    "cut it into tiles",
    "gen_pcb_trunc_02pct.jpg": CUT.format("trunc_02", 370),
    "gen_pcb_trunc_10pct.jpg": CUT.format("trunc_10", 1854),
    "gen_pcb_trunc_50pct.jpg": CUT.format("trunc_50", 9274),
    "gen_pcb_trunc_90pct.jpg": CUT.format("trunc_90", 16694),
    "gen_pcb_trunc_99pct.jpg": CUT.format("trunc_99", 18363),
    "gen_png_bytes_named.jpg": NO_PICTURE.format("a PNG that does not begin with its header"),
    "gen_soi_eoi.jpg": NO_PICTURE.format("a JPEG without a picture"),
    "gen_soi_only.jpg": "is cut short; got 2 bytes without the end of the picture; fetch it again from where it was whole",
    "gen_text.jpg": NO_PICTURE.format("text"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_each_bad_picture_gets_its_own_words(test_data, name):
    path = test_data / "bad/images" / name
    damaged: list[str] = []
    try:
        assert read_image(path, damaged=damaged).shape == (640, 640, 3)
        (said,) = damaged
    except DataError as error:
        said = str(error)
        assert not damaged
    assert said.removeprefix(f"{path} ") == BAD_PICTURES[name].removeprefix(f"{name} ")
    assert bool(damaged) == (name == "gen_pcb_60_random_bytes.jpg")


def test_no_bad_picture_is_without_words(test_data):
    assert {path.name for path in (test_data / "bad/images").iterdir()} == set(BAD_PICTURES)


def test_a_pipe_a_device_and_a_folder_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "folder.jpg", "device.jpg"):
        with pytest.raises(DataError, match=f"cannot read .*{name}; got not a regular file; expected a picture file"):
            read_image(tmp_path / name)


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path):
    path = tmp_path / "a\x1b[31m\udc80.jpg"
    path.write_bytes(b"words")
    with pytest.raises(DataError, match=r"a\\x1b\[31m\\udc80\.jpg is not a picture"):
        read_image(path)
    with pytest.raises(DataError, match=r"cannot read .*; got not a name a file can have"):
        read_image(tmp_path / "a\x00.jpg")


def test_a_picture_without_damage_says_nothing_and_one_with_it_says_it_once(tmp_path):
    sound = encode_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    (tmp_path / "a.jpg").write_bytes(sound)
    (tmp_path / "b.jpg").write_bytes(sound[:2000] + b"\xff\xd9" + sound[2000:])  # it ends in the middle
    damaged: list[str] = []
    assert read_image(tmp_path / "a.jpg", damaged=damaged).shape == (64, 64, 3)
    assert damaged == []
    assert read_image(tmp_path / "b.jpg", damaged=damaged).shape == (64, 64, 3)
    assert [line.split("; ")[1] for line in damaged] == ["got corrupt JPEG data: premature end of data segment"]
    assert read_image(tmp_path / "b.jpg").shape == (64, 64, 3)  # nobody asked


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize(("colour", "mode"), [("RGB", "COLOR"), ("GRAY", "GRAYSCALE")])
def test_a_small_look_is_what_opencv_calls_a_reduced_one(tmp_path, suffix, shrink, colour, mode):
    picture = np.random.default_rng(0).integers(0, 256, (75, 130, 3)).astype(np.uint8)
    content = cv2.imencode(suffix, cv2.GaussianBlur(picture, (5, 5), 2))[1]
    (tmp_path / "a").write_bytes(content.tobytes())
    expected = cv2.imdecode(content, getattr(cv2, f"IMREAD_REDUCED_{mode}_{shrink}"))
    found = open_picture(tmp_path / "a").decode(colour, shrink=shrink)
    assert np.array_equal(found, expected[..., ::-1] if colour == "RGB" else expected)


def test_pictures_up_to_the_largest_are_read_and_not_one_row_more(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 32 * 16)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), left_red())
    assert read_image(path).shape == (16, 32, 3)
    cv2.imwrite(str(path), left_red(high=17))
    with pytest.raises(DataError, match="claims to be too large for a picture; got 32 x 17 pixels; expected at most 512 in all"):
        read_image(path)


def test_jpeg_comes_back_close_to_what_it_was(tmp_path):
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), (9, 9), 3).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(picture, quality=95))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - picture).mean() < 6

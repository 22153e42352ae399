"""Pictures as no camera writes them: cut, flipped, glued, lying about their size; each with what may be made of it.

The same seed gives the same mutations. A verdict is "sound", "damaged" or "refused"; where only some can be right, `may` says which, known
from how the mutation was made and from nothing else.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from data.turned_jpeg import with_orientation

ANY = frozenset({"sound", "damaged", "refused"})
REFUSED = frozenset({"refused"})
SOUND = frozenset({"sound"})


@dataclass(frozen=True, slots=True)
class Original:
    """A picture of a format as it should be."""

    name: str
    suffix: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Mutation:
    """`same_pixels`: if it is called sound, its pixels must be the original's; `says`: what the refusal must say."""

    name: str
    suffix: str
    content: bytes
    may: frozenset[str] = ANY
    says: str = ""
    same_pixels: bool = False
    original: Original | None = field(default=None, repr=False)


def drawn(rng: np.random.Generator, size_wh: tuple[int, int] = (96, 64)) -> np.ndarray:
    """RGB: soft noise with a few hard edges, so that every kind of code in a JPEG is used."""
    wide, high = size_wh
    picture = cv2.GaussianBlur(rng.integers(0, 256, (high, wide, 3)).astype(np.uint8), (7, 7), 2)
    for _ in range(4):
        left, top = int(rng.integers(wide - 12)), int(rng.integers(high - 12))
        cv2.rectangle(picture, (left, top), (left + 11, top + 9), rng.integers(0, 256, 3).tolist(), -1)
    return picture


def encoded(suffix: str, picture: np.ndarray, *flags: int) -> bytes:
    done, content = cv2.imencode(suffix, picture, list(flags))
    assert done
    return content.tobytes()


def originals(rng: np.random.Generator) -> list[Original]:
    """Every format in its common kinds."""
    rgb = drawn(rng)[..., ::-1]
    deep = rgb.astype(np.uint16) * 257
    grey = np.ascontiguousarray(rgb[..., 0])
    jpegs = {
        "baseline": encoded(".jpg", rgb, cv2.IMWRITE_JPEG_QUALITY, 85),
        "progressive": encoded(".jpg", rgb, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "restarts": encoded(".jpg", rgb, cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
        "grey": encoded(".jpg", grey),
        "turned": with_orientation(encoded(".jpg", rgb), 6),
    }
    pngs = {
        "rgb": encoded(".png", rgb),
        "deep": encoded(".png", deep),
        "grey": encoded(".png", grey),
        "alpha": encoded(".png", np.dstack([rgb, grey])),
        "text": with_chunk(encoded(".png", rgb), b"tEXt", b"Comment\x00drawn for a test"),
        "palette": palette_png(colours=8, entries=8),
    }
    tiffs = {
        "lzw": encoded(".tiff", rgb),
        "plain": encoded(".tiff", rgb, cv2.IMWRITE_TIFF_COMPRESSION, 1),
        "deep": encoded(".tiff", deep),
    }
    webps = {"lossy": encoded(".webp", rgb, cv2.IMWRITE_WEBP_QUALITY, 80), "lossless": encoded(".webp", rgb, cv2.IMWRITE_WEBP_QUALITY, 101)}
    families = {
        ".jpg": jpegs,
        ".png": pngs,
        ".bmp": {"rgb": encoded(".bmp", rgb), "grey": encoded(".bmp", grey)},
        ".tiff": tiffs,
        ".webp": webps,
    }
    return [Original(f"{kind} {suffix[1:]}", suffix, content) for suffix, kinds in families.items() for kind, content in kinds.items()]


def mutations(seed: int, *, given: tuple[Original, ...] = ()) -> Iterator[Mutation]:
    """Some hundreds, of drawn pictures and of those `given`."""
    rng = np.random.default_rng(seed)
    drawn_now = originals(rng)
    for original in (*drawn_now, *given):
        yield Mutation(f"{original.name} as it is", original.suffix, original.content, SOUND, same_pixels=True, original=original)
        yield from cut(rng, original)
        yield from changed(rng, original)
        yield from resized(rng, original)
        yield from renamed(original)
        yield from glued(original, drawn_now[int(rng.integers(len(drawn_now)))])
    yield from exif_blocks(rng, drawn_now[0])
    yield from chunks(rng, next(each for each in drawn_now if each.name == "rgb png"))
    yield from kinds()
    yield from lies()


# --- what happens to files on their way ---------------------------------------------------------------------------------------------------


def cut(rng: np.random.Generator, original: Original) -> Iterator[Mutation]:
    """The end is missing."""
    size = len(original.content)
    lengths = {int(size * share) for share in (0.02, 0.5, 0.9, 0.99)} | {size - 2, int(rng.integers(16, size - 2))}
    for length in sorted({max(length, 16) for length in lengths}):
        yield Mutation(f"{original.name} cut to {length} bytes", original.suffix, original.content[:length], REFUSED, "is cut short")


def changed(rng: np.random.Generator, original: Original) -> Iterator[Mutation]:
    """Bytes flipped, zeroed, inserted and removed, in the header and in the body."""
    checked = original.suffix == ".png"
    for name, start, end in (("header", 2, 64), ("body", 64, len(original.content) - 2)):
        for how, change in CHANGES.items():
            at = int(rng.integers(start, end))
            content = change(rng, original.content, at)
            if content != original.content:
                yield Mutation(
                    f"{original.name}, {how} in the {name} at {at}", original.suffix, content, same_pixels=checked, original=original
                )


def flip_bit(rng: np.random.Generator, content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def random_bytes(rng: np.random.Generator, content: bytes, at: int) -> bytes:
    return content[:at] + rng.bytes(min(16, len(content) - 2 - at)) + content[at + 16 :]


def zeros(rng: np.random.Generator, content: bytes, at: int) -> bytes:
    length = min(int(rng.integers(1, 200)), len(content) - 2 - at)
    return content[:at] + bytes(length) + content[at + length :]


def insert(rng: np.random.Generator, content: bytes, at: int) -> bytes:
    return content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:]


def remove(rng: np.random.Generator, content: bytes, at: int) -> bytes:
    return content[:at] + content[min(at + int(rng.integers(1, 9)), len(content) - 2) :]


CHANGES = {"a bit flipped": flip_bit, "16 random bytes": random_bytes, "zeros": zeros, "bytes inserted": insert, "bytes removed": remove}


def renamed(original: Original) -> Iterator[Mutation]:
    """The suffix lies; the content decides."""
    suffix = {".jpg": ".png", ".png": ".jpg", ".bmp": ".tiff", ".tiff": ".webp", ".webp": ".bmp"}[original.suffix]
    yield Mutation(f"{original.name} as *{suffix}", suffix, original.content, SOUND, same_pixels=True, original=original)


def glued(original: Original, other: Original) -> Iterator[Mutation]:
    """Something behind the end does not matter; something in the middle does."""
    for name, more in ((other.name, other.content), ("zeros", bytes(999)), ("words", b"the end " * 99)):
        content = original.content + more
        yield Mutation(f"{original.name} and behind it {name}", original.suffix, content, SOUND, same_pixels=True, original=original)
    half = original.content[: len(original.content) // 2]
    if original.suffix in (".jpg", ".png"):
        yield Mutation(
            f"half of {original.name}, then all of it", original.suffix, half + original.content, REFUSED, "is cut short|is damaged"
        )


# --- sizes --------------------------------------------------------------------------------------------------------------------------------


def size_at(original: Original) -> tuple[int, str]:
    """Where width and height are written, and how."""
    content = original.content
    if original.suffix == ".jpg":
        return next(at for marker, at in segments(content) if marker in (0xC0, 0xC1, 0xC2)) + 5, ">HH"
    return {".png": (16, ">II"), ".bmp": (18, "<ii"), ".webp": (26, "<HH")}[original.suffix]


def resized(rng: np.random.Generator, original: Original) -> Iterator[Mutation]:
    """The size is written over; the rest stays."""
    if original.suffix == ".tiff" or original.content[12:16] == b"VP8L":
        return
    at, layout = size_at(original)
    most = {"H": 65535, "I": 2**32 - 1, "i": 2**31 - 1}[layout[1]] if original.suffix != ".webp" else 16383
    for name, sides, says in (
        ("nothing", (0, 0), "claims to have no pixels"),
        ("no height", (96, 0), "claims to have no pixels"),
        ("the largest", (most, most), "claims to be too large for a picture"),
        ("a line", (1, most), ""),
        ("a little more", (97, 81), ""),
        ("any", tuple(rng.integers(1, 4000, 2).tolist()), ""),
    ):
        content = bytearray(original.content)
        struct.pack_into(layout, content, at, *(sides[::-1] if original.suffix == ".jpg" else sides))
        if original.suffix == ".png":
            yield Mutation(f"{original.name} claims {name}", ".png", bytes(content), REFUSED, "is damaged")
            content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        may = REFUSED if says else ANY
        yield Mutation(f"{original.name} claims {name}, and its checksum too", original.suffix, bytes(content), may, says)


# --- the parts of files -------------------------------------------------------------------------------------------------------------------


def exif_blocks(rng: np.random.Generator, original: Original) -> Iterator[Mutation]:
    """An orientation is 1..8; all else, and all rubbish, is none."""
    jpeg = original.content
    for orientation in (*range(10), 90, 255, 256, 65535):
        yield Mutation(f"orientation {orientation}", ".jpg", with_orientation(jpeg, orientation), SOUND)
    for at in range(24):
        block = bytearray(with_orientation(jpeg, 6)[:40])
        where = int(rng.integers(6, 38))
        block[where] = int(rng.integers(256))
        yield Mutation(f"EXIF block {at}, byte {where}", ".jpg", bytes(block) + jpeg[2:], ANY)
    thumbnail = b"Exif\x00\x00" + b"MM\x00*" + bytes(20) + encoded(".jpg", np.zeros((8, 8, 3), np.uint8))
    inside = jpeg[:2] + segment(0xE1, thumbnail) + jpeg[2:]
    yield Mutation("a thumbnail with an end of its own", ".jpg", inside, SOUND, same_pixels=True, original=original)
    short = inside[: len(inside) // 2]
    yield Mutation("cut short behind a thumbnail with an end of its own", ".jpg", short, REFUSED, "is cut short")
    for name, profile in (("rubbish", rng.bytes(3000)), ("two parts, the second missing", b"\x01\x02" + bytes(2000)), ("nothing", b"")):
        content = jpeg[:2] + segment(0xE2, b"ICC_PROFILE\x00" + profile) + jpeg[2:]
        yield Mutation(f"a colour profile: {name}", ".jpg", content, SOUND, same_pixels=True, original=original)


def chunks(rng: np.random.Generator, original: Original) -> Iterator[Mutation]:
    """PNG chunks: lengths written over, bombs in what no decoder needs, animations, profiles."""
    content = original.content
    for at in (8, 33, content.index(b"IDAT") - 4):
        for length in (0, 1, 2**31 - 1, 2**32 - 1, int(rng.integers(len(content)))):
            changed_length = content[:at] + struct.pack(">I", length) + content[at + 4 :]
            yield Mutation(f"PNG chunk at {at} of length {length}", ".png", changed_length, same_pixels=True, original=original)
    bomb = zlib.compress(bytes(64 << 20), 9)
    for name, body in (
        (b"zTXt", b"Comment\x00\x00" + bomb),
        (b"iTXt", b"Comment\x00\x01\x00\x00\x00" + bomb),
        (b"iCCP", b"sRGB\x00\x00" + bomb),
        (b"iCCP", b"sRGB\x00\x00" + zlib.compress(rng.bytes(200))),
        (b"gAMA", struct.pack(">I", 0)),
        (b"tRNS", rng.bytes(300)),
        (b"eXIf", rng.bytes(80)),
        (b"acTL", struct.pack(">II", 2**31 - 1, 0)),
    ):
        yield Mutation(f"a PNG with {name.decode()}", ".png", with_chunk(content, name, body), SOUND, same_pixels=True, original=original)
    animated = with_chunk(
        with_chunk(content, b"fcTL", struct.pack(">5I2H2B", 0, 2**31 - 1, 2**31 - 1, 7, 7, 1, 0, 9, 9)), b"acTL", bytes(8)
    )
    yield Mutation("an animated PNG whose frame is beyond it", ".png", animated, SOUND, same_pixels=True, original=original)
    wrong = bytearray(with_chunk(content, b"tEXt", b"Comment\x00words"))
    wrong[33 + 12] ^= 1
    yield Mutation("a PNG whose words are changed", ".png", bytes(wrong), frozenset({"damaged"}), original=original)


def kinds() -> Iterator[Mutation]:
    """Rare but right, and of formats that are none of ours."""
    yield Mutation("arithmetic coding", ".jpg", coded_jpeg(frame=0xC9), ANY)
    for factors in ((0x11,), (0x21, 0x11, 0x11), (0x31, 0x11, 0x11), (0x42, 0x11, 0x11), (0x11,) * 4, (0x22, 0x11, 0x11, 0x22)):
        yield Mutation(f"sampling {[f'{each:02x}' for each in factors]}", ".jpg", coded_jpeg(factors), SOUND)
    yield Mutation("12 bits", ".jpg", coded_jpeg(frame=0xC1, bits=12), REFUSED, "not a picture we can decode")
    yield Mutation("a palette with numbers beyond it", ".png", palette_png(colours=200, entries=5), ANY)
    for name, content in OTHER_FORMATS.items():
        yield Mutation(f"{name} named .jpg", ".jpg", content, REFUSED, f"not a picture we can decode; got {name}")


def lies() -> Iterator[Mutation]:
    """Files of a kilobyte or a megabyte that would be gigabytes, or that have no end."""
    yield from bombs()
    for big_endian in (False, True):
        loop = tiff({256: 8, 257: 8, 258: 8, 262: 1, 273: 8, 278: 8, 279: 64}, next_directory=8, big_endian=big_endian)
        yield Mutation("a TIFF whose directories loop", ".tiff", loop, ANY)
    yield Mutation(
        "a TIFF of 2^31 strips", ".tiff", tiff({256: 8, 257: 8, 278: 1, 273: (4, 2**31 - 1, 8), 279: 64}), REFUSED, "is cut short"
    )
    yield Mutation("a TIFF whose strip lies beyond it", ".tiff", tiff({256: 8, 257: 8, 273: 2**31, 279: 64}), REFUSED, "is cut short")
    yield Mutation("a TIFF without strips", ".tiff", tiff({256: 8, 257: 8}), REFUSED, "not a picture we can decode")
    yield Mutation("a TIFF without a size", ".tiff", tiff({258: 8}), REFUSED, "not a picture we can decode")
    yield Mutation("a TIFF of 65535 samples", ".tiff", tiff({256: 8, 257: 8, 258: 8, 277: 65535, 273: 8, 279: 64}), ANY)
    yield Mutation("a BMP of height -2^31", ".bmp", bmp(1, -(2**31)), REFUSED, "claims to be too large")
    yield Mutation("a BMP of width -2^31", ".bmp", bmp(-(2**31), 1), REFUSED, "not a picture we can decode")


def bombs() -> Iterator[Mutation]:
    """What claims more than it may; each must be refused without being decoded."""
    claim = "claims to be too large for a picture"
    zero_rows = zlib.compress(bytes(64 << 20), 9) * 14  # as good as a whole one: nobody is to look
    yield Mutation("a PNG of 30000 x 30000 zeros", ".png", png(30000, 30000, zero_rows), REFUSED, claim)
    yield Mutation("a PNG of 2^31 - 1 rows", ".png", png(1, 2**31 - 1, zero_rows), REFUSED, claim)
    yield Mutation("a TIFF of 2^32 - 1 each way", ".tiff", tiff({256: 2**32 - 1, 257: 2**32 - 1, 273: 8, 279: 64}), REFUSED, claim)
    yield Mutation("a TIFF of 40000 x 40000 in one strip", ".tiff", tiff({256: 40000, 257: 40000, 259: 5, 273: 8, 279: 64}), REFUSED, claim)
    yield Mutation("a WebP canvas of 2^24 each way", ".webp", webp_canvas(2**24, 2**24), REFUSED, claim)
    yield Mutation("a BMP of run lengths, 60000 x 60000", ".bmp", bmp(60000, 60000, compression=1), REFUSED, claim)
    jpeg = encoded(".jpg", np.zeros((16, 16, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    frame = jpeg.index(b"\xff\xc2")
    wide = jpeg[: frame + 5] + struct.pack(">HH", 8000, 8000) + jpeg[frame + 9 :]
    scan = wide.rindex(b"\xff\xda")
    end = len(wide) - 2
    again = wide[:end] + wide[scan:end] * 2000 + wide[end:]
    yield Mutation("a JPEG of 8000 x 8000 in 2000 scans", ".jpg", again, REFUSED, "would take too long to decode")


# --- writing files by hand ----------------------------------------------------------------------------------------------------------------


def segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and start of each segment of a sound JPEG up to its first scan; a thumbnail's lie within one of them."""
    at, marker = 2, 0
    while marker != 0xDA:
        marker, length = struct.unpack_from(">xBH", content, at)
        yield marker, at
        at += 2 + length


def coded_from(content: bytes) -> int:
    """Where the coded data of a sound JPEG begin."""
    *_, (_, scan) = segments(content)
    return scan + 2 + int.from_bytes(content[scan + 2 : scan + 4], "big")


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(content: bytes, name: bytes, body: bytes) -> bytes:
    """The PNG with a chunk behind its header."""
    return content[:33] + chunk(name, body) + content[33:]


def png(wide: int, high: int, coded: bytes, *, bits: int = 8, kind: int = 0, palette: bytes = b"") -> bytes:
    colours = chunk(b"PLTE", palette) if palette else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + colours + chunk(b"IDAT", coded) + chunk(b"IEND", b"")


def palette_png(*, colours: int, entries: int) -> bytes:
    """16 x 16 numbers below `colours` into a palette of `entries`."""
    rows = b"".join(b"\x00" + bytes((row * 16 + column) % colours for column in range(16)) for row in range(16))
    return png(16, 16, zlib.compress(rows), kind=3, palette=bytes(range(3 * entries)))


def tiff(fields: dict[int, int | tuple[int, int, int]], *, next_directory: int = 0, big_endian: bool = False) -> bytes:
    """One directory at 8 of LONG values, or of (type, count, value)."""
    order = ">" if big_endian else "<"
    rows = [value if isinstance(value, tuple) else (4, 1, value) for value in fields.values()]
    entries = b"".join(struct.pack(f"{order}HHII", tag, *row) for tag, row in zip(fields, rows, strict=True))
    start = (b"MM\x00*" if big_endian else b"II*\x00") + struct.pack(f"{order}IH", 8, len(fields))
    return start + entries + struct.pack(f"{order}I", next_directory) + bytes(128)


def bmp(wide: int, high: int, *, compression: int = 0) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHI", 1078, 0, 1078, 40, wide, high, 1, 8, compression) + bytes(2048)


def webp_canvas(wide: int, high: int) -> bytes:
    canvas = bytes(4) + (wide - 1).to_bytes(3, "little") + (high - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def coded_jpeg(factors: tuple[int, ...] = (0x11, 0x11, 0x11), *, frame: int = 0xC0, bits: int = 8) -> bytes:
    """64 x 64 in one colour, with any sampling factors (ITU-T T.81, annexes B and F): only differences of DC are written."""
    values, last = (50, 10, 5, 3), [0] * 4
    numbers = range(1, len(factors) + 1)
    columns, rows = max(each >> 4 for each in factors), max(each & 15 for each in factors)
    units = -(-64 // (8 * columns)) * -(-64 // (8 * rows))
    coded = ""
    for _ in range(units):
        for at, factor in enumerate(factors):
            for _block in range((factor >> 4) * (factor & 15)):
                step, last[at] = values[at] - last[at], values[at]
                size = abs(step).bit_length()
                coded += f"{size:04b}" + (f"{step:0{size}b}" if size else "") + "0"
    coded += "1" * (-len(coded) % 8)
    tables = segment(0xDB, b"\x00" + bytes([8] * 64))
    shape = segment(frame, struct.pack(">BHHB", bits, 64, 64, len(factors)) + b"".join(bytes([at, factors[at - 1], 0]) for at in numbers))
    dc = segment(0xC4, b"\x00" + bytes([0, 0, 0, 9, *[0] * 12]) + bytes(range(9)))
    ac = segment(0xC4, b"\x10" + bytes([1, *[0] * 15]) + b"\x00")
    scan = segment(0xDA, bytes([len(factors)]) + b"".join(bytes([at, 0]) for at in numbers) + b"\x00\x3f\x00")
    body = bytes(int(coded[at : at + 8], 2) for at in range(0, len(coded), 8)).replace(b"\xff", b"\xff\x00")
    return b"\xff\xd8" + tables + shape + dc + ac + scan + body + b"\xff\xd9"


OTHER_FORMATS = {
    "a GIF": b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
    "a Netpbm picture": b"P6\n2 2\n255\n" + bytes(12),
    "a Radiance HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 8 +X 8\n" + bytes(300),
    "a Sun raster": struct.pack(">8I", 0x59A66A95, 8, 8, 24, 192, 1, 0, 0) + bytes(192),
    "an OpenEXR": b"v/1\x01" + bytes(200),
    "a JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(200),
    "an AVIF": b"\x00\x00\x00\x1cftypavif" + bytes(200),
    "a PDF": b"%PDF-1.7\n" + bytes(200),
    "text": b"<html>404 not found</html>",
}

"""Broken clips, made from sound ones, the same ones for the same seed; and what a child process found when it read them.

    clips = sound_clips(tmp_path)
    for mutation in mutations(clips, seed=0):
        ...  # mutation.name, mutation.suffix, mutation.data, mutation.sound_frames

Run as a script, it reads clips in a process of its own, so that a decoder's native crash names the clip and does not end the test:

    python clip_mutations.py FILE...   # a line of JSON for each, as it is done
"""

import json
import random
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgewright.data.video import Reading, read_frames
from edgewright.errors import DataError

FRAMES, SIZE_WH, FPS = 30, (96, 64), 25.0
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80", ".mkv": "mp4v", ".ts": "mp4v", ".mpg": "MPG1"}
BOXES = (
    b"ftyp",
    b"mdat",
    b"moov",
    b"mvhd",
    b"trak",
    b"tkhd",
    b"elst",
    b"mdhd",
    b"stbl",
    b"stsd",
    b"esds",
    b"stts",
    b"stsc",
    b"stsz",
    b"stco",
)
ELEMENTS = {
    "EBML": b"\x1a\x45\xdf\xa3",
    "Segment": b"\x18\x53\x80\x67",
    "Info": b"\x15\x49\xa9\x66",
    "Tracks": b"\x16\x54\xae\x6b",
    "Cluster": b"\x1f\x43\xb6\x75",
    "Cues": b"\x1c\x53\xbb\x6b",
    "width": b"\xb0",
    "CodecID": b"\x86\x85",
}


@dataclass(frozen=True)
class Clip:
    """A sound clip: its bytes, how many frames it has, and where in the file the bytes of each frame end (of real ones unknown)."""

    suffix: str
    data: bytes
    frames: int
    ends: tuple[int, ...] = ()

    def frames_before(self, at: int) -> int:
        """Whose bytes lie before `at`, and which a decoder can know to be whole."""
        if self.suffix == ".mp4" and at > self.data.rfind(b"moov") - 4:
            return 0  # the index lies at the end, and without it no frame is found
        if self.suffix in (".ts", ".mpg"):
            # Pieces of frames share packets, and the next frame's beginning is the end of one.
            return max(sum(end <= at - 2048 for end in self.ends) - 1, 0)
        return sum(end <= at for end in self.ends)


@dataclass(frozen=True)
class Mutation:
    """A broken clip; its first `sound_frames` frames were not touched, whatever became of the rest."""

    name: str
    origin: str
    suffix: str
    data: bytes
    sound_frames: int = 0


def sound_clips(folder: Path) -> dict[str, Clip]:
    """A clip of each container that this OpenCV can write."""
    made = {suffix: _encoded(folder / f"sound{suffix}", codec) for suffix, codec in CODECS.items()}
    return {path.suffix[1:]: _clip(path) for path in [*made.values(), *_gif(folder / "sound.gif")]}


def pictures() -> Iterator[np.ndarray]:
    """Noise that moves, with a bar that grows: no two frames are alike."""
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    for at in range(FRAMES):
        picture = cv2.resize(np.roll(noise, at // 3, 1), SIZE_WH)
        picture[:8, : 3 * at + 3] = 255
        yield picture


def _encoded(path: Path, codec: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), FPS, SIZE_WH)
    for picture in pictures():
        writer.write(picture)
    writer.release()
    return path


def _gif(path: Path) -> list[Path]:
    """OpenCV 4.11 is the first to write it."""
    if not hasattr(cv2, "Animation"):
        return []
    animation = cv2.Animation()
    animation.frames = list(pictures())
    animation.durations = np.full(FRAMES, 40, np.int32)
    return [path] if cv2.imwriteanimation(str(path), animation) else []


def _clip(path: Path) -> Clip:
    data = path.read_bytes()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    ends, at = [], 0
    while capture.grab():
        packet = capture.retrieve()[1].tobytes()
        last = packet[-24:]
        found = data.find(last, at)
        # In the streams of broadcast even these bytes may lie in two pieces.
        at = at if found < 0 else found + len(last)
        ends.append(at if found >= 0 else len(data))
    return Clip(path.suffix, data, len(ends), tuple(ends))


def mutations(clips: dict[str, Clip], seed: int = 0) -> Iterator[Mutation]:
    """All of them, clip by clip, from the general to what each container has."""
    for name, clip in clips.items():
        chance = random.Random(f"{seed} {name}")
        for label, data, touched in [*_blows(clip.data, chance), *_lies(clip, chance)]:
            yield Mutation(f"{name}-{label}", name, clip.suffix, bytes(data), clip.frames_before(touched))
        other = next(suffix for suffix in (".webm", ".mp4") if suffix != clip.suffix)
        yield Mutation(f"{name}-named{other}", name, other, clip.data, clip.frames_before(len(clip.data)))
        for second in sorted({"mp4", "webm", name} & set(clips)):
            yield Mutation(f"{name}-then-{second}", name, clip.suffix, clip.data + clips[second].data)


def _blows(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes, int]]:
    """What disks, networks and editors do: a label, the bytes, and the first of them that is not the original's."""
    size = len(data)
    for percent in (1, 5, 10, 25, 50, 75, 90, 99):
        yield f"cut-{percent}", data[: size * percent // 100], size * percent // 100
    places = {
        "header": chance.randrange(12, 400),
        "body": chance.randrange(size // 3, size * 2 // 3),
        "tail": size - chance.randrange(20, 600),
    }
    for where, at in places.items():
        for count in (4, 64, size // 10):
            yield f"zero-{count}-{where}", data[:at] + bytes(min(count, size - at)) + data[at + count :], at
        for count in (1, 999):
            yield f"insert-{count}-{where}", data[:at] + chance.randbytes(count) + data[at:], at
            yield f"remove-{count}-{where}", data[:at] + data[at + count :], at
        for count in (1, 30):
            flipped, end = bytearray(data), min(size, at + 2000)
            bits = [chance.randrange(at * 8, end * 8) for _ in range(count)]
            for bit in bits:
                flipped[bit // 8] ^= 1 << bit % 8
            yield f"flip-{count}-{where}", bytes(flipped), at
    everywhere = bytearray(data)
    for _ in range(size // 200):
        everywhere[chance.randrange(size)] = chance.randrange(256)
    yield "noise-everywhere", bytes(everywhere), 0


def _lies(clip: Clip, chance: random.Random) -> Iterator[tuple[str, bytes, int]]:
    """What no accident does: fields that claim too much, too little or nonsense."""
    kinds: dict[str, Callable[[bytes, random.Random], Iterator[tuple[str, bytes]]]] = {
        ".mp4": _mp4_lies,
        ".avi": _avi_lies,
        ".webm": _ebml_lies,
        ".mkv": _ebml_lies,
        ".gif": _gif_lies,
        ".ts": _ts_lies,
    }
    if clip.suffix in kinds:
        yield from ((label, data, 0) for label, data in kinds[clip.suffix](clip.data, chance))


def _at(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _mp4_lies(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for box in BOXES:
        at = data.find(box) - 4
        if at < 0:
            continue
        for claim in (0, 1, 7, 1 << 31, (1 << 32) - 1):
            yield f"{box.decode()}-size-{claim}", _at(data, at, struct.pack(">I", claim))
    yield "mdat-size-2^63", _at(data, data.find(b"mdat") - 4, struct.pack(">I4sQ", 1, b"mdat", 1 << 63))
    for table, first, width in ((b"stsz", 16, 4), (b"stco", 12, 4), (b"stts", 8, 8), (b"stsc", 12, 12)):
        at = data.find(table) - 4
        for claim in (0, 1 << 31, (1 << 32) - 1):
            yield f"{table.decode()}-count-{claim}", _at(data, at + first - 4 if table == b"stts" else at + first, struct.pack(">I", claim))
            yield f"{table.decode()}-entry-{claim}", _at(data, at + first + 4 + width, struct.pack(">I", claim))
        yield f"{table.decode()}-noise", _at(data, at + first + 4, chance.randbytes(16))
    for claim in (0, 1, 1_000_000_000):
        yield f"time-scale-{claim}", _at(data, data.find(b"mdhd") + 16, struct.pack(">I", claim))
    for wide, high in ((0, 0), (65535, 65535), (32767, 2), (8, 8)):
        yield f"picture-{wide}x{high}", _at(data, data.find(b"mp4v") + 28, struct.pack(">HH", wide, high))
    track = data.find(b"trak") - 4
    (length,) = struct.unpack_from(">I", data, track)
    many = data[track : track + length] * 1500
    moov = data.find(b"moov") - 4
    grown = struct.unpack_from(">I", data, moov)[0] + len(many)
    yield "1500-more-tracks", _at(data, moov, struct.pack(">I", grown))[:track] + many + data[track:]


def _avi_lies(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    head, stream, form, index, movi = (data.find(name) for name in (b"avih", b"strh", b"strf", b"idx1", b"movi"))
    for claim in (0, 1, 1 << 31, (1 << 32) - 1):
        field = struct.pack("<I", claim)
        yield f"frames-{claim}", _at(_at(data, head + 24, field), stream + 40, field)
        yield f"streams-{claim}", _at(data, head + 32, field)
        yield f"rate-{claim}", _at(data, stream + 32, field)
        yield f"scale-{claim}", _at(data, stream + 28, field)
        yield f"index-size-{claim}", _at(data, index + 4, field)
        yield f"index-offset-{claim}", _at(data, index + 8 + 16 * 9 + 8, field)
        yield f"chunk-size-{claim}", _at(data, movi + 8, field)
        yield f"riff-size-{claim}", _at(data, 4, field)
    yield "index-noise", _at(data, index + 8, chance.randbytes(16 * 20))
    yield "index-reversed", data[: index + 8] + b"".join(reversed([data[at : at + 16] for at in range(index + 8, len(data) - 15, 16)]))
    for wide, high in ((0, 0), (-1, -1), (1 << 30, 1 << 30), (8, 8)):
        yield f"picture-{wide}x{high}", _at(data, form + 12, struct.pack("<ii", wide, high))
    frames = [at for at in range(len(data)) if data.startswith(b"\xff\xc0", at)]
    for wide, high in ((0, 0), (65535, 65535), (16, 16), (65535, 1)):
        one = _at(data, frames[5] + 5, struct.pack(">HH", high, wide))
        yield f"jpeg-{wide}x{high}", one
        for at in frames:
            one = _at(one, at + 5, struct.pack(">HH", high, wide))
        yield f"jpegs-{wide}x{high}", one
    for marker in (b"\xff\xc4", b"\xff\xdb", b"\xff\xda"):
        at = data.find(marker, frames[7])
        yield f"jpeg-marker-{marker[1]:x}-length", _at(data, at + 2, b"\xff\xff")
        yield f"jpeg-marker-{marker[1]:x}-gone", _at(data, at, b"\x00\x00")


def _ebml_lies(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for name, element in ELEMENTS.items():
        at = data.find(element)
        if at < 0:
            continue
        length = at + len(element)
        width = 9 - data[length].bit_length() if data[length] else 1
        for label, field in (("0", b"\x80"), ("open", b"\xff"), ("most", b"\x01" + b"\xff" * 6 + b"\xfe"), ("none", b"\x00")):
            yield f"{name}-{label}", _at(data, length, field.ljust(width, b"\x00")[:8])
        yield f"{name}-noise", _at(data, length + width, chance.randbytes(12))
    blocks = [at for at in range(len(data)) if data.startswith(b"\xa3", at)]
    for at in chance.sample(blocks, min(6, len(blocks))):
        yield f"block-{at}-length", _at(data, at + 1, chance.randbytes(3))


def _gif_lies(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    for wide, high in ((0, 0), (65535, 65535), (16, 16)):
        yield f"screen-{wide}x{high}", _at(data, 6, struct.pack("<HH", wide, high))
    controls = [at for at in range(len(data)) if data.startswith(b"\x21\xf9\x04", at)]
    for delay in (0, 65535):
        changed = data
        for at in controls:
            changed = _at(changed, at + 4, struct.pack("<H", delay))
        yield f"delay-{delay}", changed
    image = data.find(b",", controls[4])
    yield "image-65535x65535", _at(data, image + 5, b"\xff\xff\xff\xff")
    yield "image-outside", _at(data, image + 1, b"\xff\xff\xff\xff")
    yield "image-noise", _at(data, image, chance.randbytes(60))


def _ts_lies(data: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    packets = range(0, len(data), 188)
    for label, every in (("all", 1), ("second", 2), ("tenth", 10)):
        changed = bytearray(data)
        for at in packets[20::every]:
            changed[at] = 0
        yield f"no-sync-{label}", bytes(changed)
    changed = bytearray(data)
    for at in chance.sample(packets, len(packets) // 10):
        changed[at + 1] ^= 0x80
    yield "error-flags", bytes(changed)
    yield "shuffled", b"".join(chance.sample([data[at : at + 188] for at in packets], len(packets)))
    yield "tables-gone", data[188 * 3 :]


def read(path: Path) -> dict[str, object]:
    """What became of a clip: a refusal, or the counts and a checksum of each frame."""
    reading, frames = Reading(), []
    try:
        frames.extend((frame.index, frame.time_s, zlib.crc32(frame.image_rgb.tobytes())) for frame in read_frames(path, reading))
    except DataError as refusal:
        return {"refused": str(refusal)}
    return {**reading.to_json(), "seen": frames}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps({"begun": name}), flush=True)
        print(json.dumps({"done": name, **read(Path(name))}), flush=True)

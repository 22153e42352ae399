"""What a clip's file is by its own bytes, and when its container says that each frame is due; nothing is decoded here.

The suffix is a stranger's word. A text file named .mp4 that says `ffconcat` or `#EXTM3U` makes a decoder open the other files and addresses
it lists, so only what begins like one of the known containers is handed on.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

Times: TypeAlias = NDArray[np.float64]  # seconds from the first frame, ascending

HEAD_BYTES = 4096
MOST_BOXES = 4096  # at the top of a file; a long fragmented recording has thousands
MOST_INDEX_BYTES = 64 << 20  # ten hours at 60 frames a second take 40 MiB
MOST_FRAMES = 1 << 22  # of an index that is read whole: 19 hours at 60 frames a second
MOST_ELEMENTS = 1 << 22  # of a Matroska file, looked at one by one: ten hours of pictures and sound

BOXES_FIRST = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"}
HEIF_BRANDS = {b"avif", b"heic", b"heix", b"mif1"}
NAMES = {"mp4": "MP4", "avi": "AVI", "matroska": "Matroska", "gif": "GIF", "mpegts": "MPEG-TS", "mpeg": "MPEG"}
GIF_ENDS = b";"
EBML, SEGMENT, CLUSTER, BLOCK_GROUP = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa0"
ENTERED = {SEGMENT, CLUSTER, BLOCK_GROUP}
TRACKS, TRACK_ENTRY, TRACK_NUMBER, TRACK_TYPE, CODEC_ID = b"\x16\x54\xae\x6b", b"\xae", b"\xd7", b"\x83", b"\x86"
BLOCKS, BLOCK_HEADER = {b"\xa3", b"\xa1"}, 4  # bytes: track, time, flags
PASSED = {
    *(EBML, TRACKS, *BLOCKS, b"\xec", b"\xbf"),
    # of a segment: seek head, information, cues, attachments, chapters, tags
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67"),
    # of a cluster: its time, size of the one before, position, silent tracks, encrypted block
    *(b"\xe7", b"\xab", b"\xa7", b"\x58\x54", b"\xaf"),
    # of a group: duration, priority, references, codec state, padding, additions, virtual block, slices
    *(b"\x9b", b"\xc8", b"\xfa", b"\xfb", b"\xa4", b"\x75\xa2", b"\x75\xa1", b"\xa2", b"\x8e", b"\xfd"),
}
TS_SYNC = 0x47
TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes a packet, and where in it the sync byte lies: broadcast, Blu-ray, with parity

# First bytes -> what the file is, for those that are given a clip's name most often.
NO_CLIP = {
    b"version https://git-lfs": ("a git-LFS pointer, not the clip itself", "fetch the clip with `git lfs pull`"),
    b"<!doctype": ("a web page", "download the file itself, not the page that shows it"),
    b"<html": ("a web page", "download the file itself, not the page that shows it"),
    b"<?xml": ("an XML file", "take the clip itself"),
    b"#extm3u": ("a playlist, which names other files", "take the clips it names"),
    b"ffconcat": ("a playlist, which names other files", "take the clips it names"),
    b"PK\x03\x04": ("a zip archive", "unpack it"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!": ("a rar archive", "unpack it"),
    b"\xff\xd8\xff": ("a JPEG picture", "name it .jpg"),
    b"\x89PNG": ("a PNG picture", "name it .png"),
    b"BM": ("a BMP picture", "name it .bmp"),
    b"OggS": ("an Ogg file", "convert it to MP4 or WebM"),
    b"FLV\x01": ("a Flash video", "convert it to MP4 or WebM"),
    b"0&\xb2u\x8ef\xcf\x11": ("a Windows Media file", "convert it to MP4 or WebM"),
}


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each frame of a clip is shown, in order, and which of them (numbers from 0) can be decoded without another."""

    times_s: Times
    keys: Sequence[int]


@dataclass(frozen=True, slots=True)
class Box:
    """A box of an MP4 file: its four letters, where its content begins and where it says that it ends."""

    kind: bytes
    start: int
    end: int


def container_of(stream: BinaryIO) -> str | None:
    """What kind of clip begins here: "mp4", "avi", "matroska", "gif", "mpegts" or "mpeg"; None where it is none of them."""
    head = _read(stream, 0, HEAD_BYTES)
    if head[4:8] in BOXES_FIRST and head[8:12] not in HEIF_BRANDS:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:4] == EBML:
        return "matroska"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:4] in (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"):
        return "mpeg"
    return "mpegts" if any(_in_step(head, *packet) for packet in TS_PACKETS) else None


def _in_step(head: bytes, packet_bytes: int, sync_at: int) -> bool:
    syncs = head[sync_at : 8 * packet_bytes : packet_bytes]
    return len(syncs) >= 2 and syncs.count(TS_SYNC) * 4 >= len(syncs) * 3  # one that was hit does not make it another file


def what_else(stream: BinaryIO) -> tuple[str, str]:
    """What a file that is no clip seems to be, and what to do about it."""
    size, head = size_of(stream), _read(stream, 0, HEAD_BYTES)
    if not size:
        return "an empty file", "copy or download it again"
    lowered = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:32].lower()
    for signature, found in NO_CLIP.items():
        if head.startswith(signature) or lowered.startswith(signature):
            return found
    if head[8:12] in HEIF_BRANDS or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "a picture", "convert it to JPEG or PNG"
    if not any(head):
        return f"{size} bytes that begin with zeros", "copy or download it again"
    if _is_text(head):
        return "a text file", "take the clip itself"
    return f"{size} bytes of no kind we know", "copy or download it again, or convert it to MP4 or WebM"


def _is_text(head: bytes) -> bool:
    # Where the head is cut, a letter may be.
    return b"\x00" not in head and "\ufffd" not in head.decode(errors="replace")[:-1]


def why_unopened(stream: BinaryIO, container: str) -> tuple[str, str]:
    """What is wrong with a clip of which a decoder makes nothing, as far as its container tells, and what to do about it."""
    size = size_of(stream)
    again = "copy or download it again"
    if container == "mp4":
        boxes = list(_boxes(stream, 0, size))
        moov = [box for box in boxes if box.kind == b"moov"]
        if not moov:
            cut = f", and {size} of at least {boxes[-1].end} bytes" if boxes and boxes[-1].end > size else ""
            return f"an MP4 without an index (moov){cut}: the recording was cut before it was finished", f"record or {again}"
        if moov[0].end > size:
            return "an MP4 cut within its index (moov)", again
        return "an MP4 with a damaged index (moov)", again
    name = NAMES[container]
    return (f"{'an' if name == 'AVI' else 'a'} {name} file that was cut" if is_cut(stream, container) else f"a damaged {name} file"), again


def is_cut(stream: BinaryIO, container: str) -> bool:
    """Whether the container says that it goes on behind the end of the file."""
    size = size_of(stream)
    if container == "mp4":
        boxes = list(_boxes(stream, 0, size))
        # What a fragment describes comes after it.
        return any(box.kind == b"moof" or (box.end > size and box.kind in (b"moov", b"mdat")) for box in boxes[-1:])
    head = _read(stream, 0, HEAD_BYTES)
    if container == "avi":
        return 8 + int.from_bytes(head[4:8], "little") > size
    if container == "matroska":
        at = head.find(SEGMENT)
        _, length, width = _element(head[max(at, 0) :])
        return at >= 0 and length is not None and at + width + length > size
    if container == "gif":
        return _read(stream, size - 1, 1) != GIF_ENDS
    if container == "mpegts":
        count, sync_at = _packet_layout(head)
        begun = size // count * count + sync_at
        return size % count > sync_at and _read(stream, begun, 1) == _read(stream, begun - count, 1) == bytes([TS_SYNC])
    return False


def end_of_whole_boxes(stream: BinaryIO) -> int | None:
    """Where an MP4's last whole box ends, if another one begins there and is cut."""
    size = size_of(stream)
    boxes = list(_boxes(stream, 0, size))
    if len(boxes) < 2 or boxes[-1].end <= size:
        return None
    return boxes[-2].end


def is_intact(stream: BinaryIO, container: str) -> bool | None:
    """Whether the parts of the file follow each other as the container has it, from first byte to last; None: we cannot tell."""
    if container == "mpeg":
        return None
    if container == "matroska":
        return walk_matroska(stream).intact
    if container == "gif":
        return _gif_is_intact(stream)
    if container == "mpegts":
        return _packets_are_intact(stream)
    return not is_cut(stream, container)


@dataclass(frozen=True, slots=True)
class Blocks:
    """The frames of a Matroska file's first video track that lie whole in it, and whether nothing else lies between its elements."""

    shown: int
    intact: bool


def walk_matroska(stream: BinaryIO) -> Blocks:
    """From element to element; what holds others is entered, so that lengths left open by a live recording do not matter."""
    size, at, shown = size_of(stream), 0, 0
    track, is_vp8 = None, False
    for _ in range(MOST_ELEMENTS):
        head = _read(stream, at, 32)
        if at >= size or not head:
            break
        kind, length, width = _element(head)
        if kind in ENTERED:
            at += width
            continue
        if kind not in PASSED or length is None or at + width + length > size:
            return Blocks(shown, intact=False)
        if kind == TRACKS:
            track, is_vp8 = _video_track(_read(stream, at + width, min(length, HEAD_BYTES)))
        elif kind in BLOCKS and length > BLOCK_HEADER and head[width] & 0x7F == track:
            # VP8 has frames that are there for others to lean on, and are not shown, as a bit of their first byte says.
            shown += not is_vp8 or bool(head[width + BLOCK_HEADER] & 0x10)
        at += width + length
    return Blocks(shown, intact=True)


def _video_track(tracks: bytes) -> tuple[int | None, bool]:
    """The number of the first track of pictures, and whether they are VP8."""
    at = 0
    while at < len(tracks):
        kind, length, width = _element(tracks[at : at + 16])
        if length is None:
            break
        if kind != TRACK_ENTRY:  # a checksum
            at += width + length
            continue
        entry, fields, inner = tracks[at + width : at + width + length], dict[bytes, bytes](), 0
        while inner < len(entry):
            name, count, header = _element(entry[inner : inner + 16])
            if count is None:
                break
            fields[name] = entry[inner + header : inner + header + count]
            inner += header + count
        if fields.get(TRACK_TYPE) == b"\x01" and fields.get(TRACK_NUMBER):
            return fields[TRACK_NUMBER][-1], fields.get(CODEC_ID) == b"V_VP8"
        at += width + length
    return None, False


def _element(head: bytes) -> tuple[bytes, int | None, int]:
    """The name of the EBML element that begins here, the length of its content (None: open, or no length) and of its header."""
    name_width = 9 - head[0].bit_length() if head and head[0] else 9
    name, field = head[:name_width], head[name_width : name_width + 8]
    width = 9 - field[0].bit_length() if field else 9
    if width > len(field):
        return name, None, name_width
    value = int.from_bytes(field[:width], "big") & ((1 << 7 * width) - 1)
    return name, None if value == (1 << 7 * width) - 1 else value, name_width + width


def _gif_is_intact(stream: BinaryIO) -> bool:
    head = _read(stream, 0, 13)
    at = 13 + _palette_bytes(head[10:11])
    while True:
        part = _read(stream, at, 10)
        if part[:1] == GIF_ENDS:
            return True
        if part[:1] == b"!":
            at += 2
        elif part[:1] == b"," and len(part) == 10:
            at += 11 + _palette_bytes(part[9:10])
        else:
            return False
        while count := _read(stream, at, 1):
            at += 1 + count[0]
            if not count[0]:
                break


def _palette_bytes(flags: bytes) -> int:
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _packet_layout(head: bytes) -> tuple[int, int]:
    return next(packet for packet in TS_PACKETS if _in_step(head, *packet))


def _packets_are_intact(stream: BinaryIO) -> bool:
    """Every packet of a transport stream begins with its sync byte, and those of the busiest stream carry on counting to 16."""
    head = _read(stream, 0, HEAD_BYTES)
    count, sync_at = _packet_layout(head)
    size, last, busiest = size_of(stream), -1, -1
    for at in range(0, size, count * 8192):
        data = np.frombuffer(_read(stream, at, count * 8192), np.uint8)
        packets = data[: len(data) // count * count].reshape(-1, count)[:, sync_at : sync_at + 4].astype(np.int64)
        if data.size % count or (packets[:, 0] != TS_SYNC).any():
            return False
        streams = (packets[:, 1] & 0x1F) << 8 | packets[:, 2]
        if busiest < 0:
            busiest = int(np.bincount(streams).argmax())
        counters = packets[(streams == busiest) & (packets[:, 3] & 0x10 > 0), 3] & 15
        steps = np.diff(np.concatenate(([last] if last >= 0 else [], counters))) % 16
        if (steps > 1).any():
            return False
        last = int(counters[-1]) if counters.size else last
    return True


def schedule_of_mp4(stream: BinaryIO) -> Schedule | None:
    """The frames of an MP4's first video track; None where its index does not tell (fragments, several edits, or it is damaged)."""
    size = size_of(stream)
    for moov in _boxes(stream, 0, size):
        if moov.kind == b"moov" and moov.end <= size and moov.end - moov.start <= MOST_INDEX_BYTES:
            index = _read(stream, moov.start, moov.end - moov.start)
            try:
                return next(
                    (_schedule_of_track(index, track, size) for track in _inner(index, b"trak") if _handler(track) == b"vide"), None
                )
            except (struct.error, ValueError, IndexError):
                return None
    return None


def _schedule_of_track(moov: bytes, track: bytes, most_frames: int) -> Schedule | None:
    [media] = _inner(track, b"mdia")
    [info] = _inner(media, b"minf")
    [table] = _inner(info, b"stbl")
    [counts] = _inner(table, b"stts")
    frames, steps = _pairs(counts, ">u4")
    total, scale = int(frames.sum()), _time_scale(media, b"mdhd")
    if not 0 < total <= most_frames or not scale:
        return None
    shown = np.concatenate(([0], np.cumsum(np.repeat(steps, frames))[:-1]))
    for offsets in _inner(table, b"ctts"):
        # Of both versions: what writers of version 0 mean by huge offsets is negative ones.
        repeated, late = _pairs(offsets, ">i4")
        shown = shown + np.repeat(late, repeated)
    begin, end = _edit(moov, track, scale)
    kept = (shown >= begin) & (shown < end)
    if not kept.any():
        return None
    order = np.argsort(shown, kind="stable")
    times = shown[order][kept[order]]
    keys: Sequence[int] = range(len(times))
    if (lists := _inner(table, b"stss")) and kept.all():
        rank = np.argsort(order)
        keys = sorted(int(rank[sample - 1]) for sample in _numbers(lists[0]) if 0 < sample <= total)
    return Schedule((times - times[0]) / scale, keys)


def _edit(moov: bytes, track: bytes, scale: int) -> tuple[float, float]:
    """From when to when, in the track's own time, it is to be shown."""
    entries = [entry for edits in _inner(track, b"edts") for table in _inner(edits, b"elst") for entry in _edits(table)]
    real = [(duration, start) for duration, start in entries if start >= 0]
    if not real:
        return -math.inf, math.inf
    if len(real) > 1:
        raise ValueError("frames in several pieces, in an order of their own")
    [(duration, start)] = real
    return start, start + duration * scale / _time_scale(moov, b"mvhd")


def _edits(table: bytes) -> Iterator[tuple[int, int]]:
    layout = ">Qqi" if table[0] == 1 else ">Iii"
    (count,) = struct.unpack_from(">I", table, 4)
    for at in range(min(count, MOST_BOXES)):
        duration, start, _ = struct.unpack_from(layout, table, 8 + at * struct.calcsize(layout))
        yield duration, start


def _time_scale(content: bytes, kind: bytes) -> int:
    """Units a second, as a header of version 0 or 1 says."""
    [header] = _inner(content, kind)
    (scale,) = struct.unpack_from(">I", header, 20 if header[0] == 1 else 12)
    return int(scale)


def _numbers(table: bytes) -> list[int]:
    (count,) = struct.unpack_from(">I", table, 4)
    numbers: list[int] = np.frombuffer(table, ">u4", count, 8).tolist()
    return numbers


def _pairs(box: bytes, second: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of a run-length table: how often, and what."""
    (count,) = struct.unpack_from(">I", box, 4)
    if count > (len(box) - 8) // 8:
        raise ValueError("the table ends before its entries")
    rows = np.frombuffer(box, np.dtype([("often", ">u4"), ("what", second)]), count, 8)
    if rows["often"].astype(np.int64).sum() > MOST_FRAMES:
        raise ValueError("more frames than any clip has")
    return rows["often"].astype(np.int64), rows["what"].astype(np.int64)


def _handler(track: bytes) -> bytes | None:
    return next((handler[8:12] for media in _inner(track, b"mdia") for handler in _inner(media, b"hdlr")), None)


def _inner(content: bytes, kind: bytes) -> list[bytes]:
    """The contents of the boxes of a kind that lie directly in `content`."""
    found, at = [], 0
    for _ in range(MOST_BOXES):
        if at + 8 > len(content):
            break
        size, name = struct.unpack_from(">I4s", content, at)
        if size < 8:
            break
        if name == kind:
            found.append(content[at + 8 : at + size])
        at += size
    return found


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes that follow each other in `stream` from `start`; the last may say that it ends behind `end`."""
    for _ in range(MOST_BOXES):
        header = _read(stream, start, 16)
        if start >= end or len(header) < 8:
            return
        size, kind = struct.unpack_from(">I4s", header)
        width = 8
        if size == 1 and len(header) == 16:
            size, width = int.from_bytes(header[8:], "big"), 16
        if size == 0:  # to the end of the file
            size = end - start
        if size < width:
            return
        yield Box(kind, start + width, start + size)
        start += size


def size_of(stream: BinaryIO) -> int:
    """How many bytes the file has."""
    return os.fstat(stream.fileno()).st_size


def _read(stream: BinaryIO, at: int, count: int) -> bytes:
    return os.pread(stream.fileno(), count, at) if 0 <= at < 1 << 62 else b""

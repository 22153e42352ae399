"""Moving pictures in and out."""

import itertools
import os
import shlex
import socket
import struct
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_mutations import sound_clips

from edgewright.data import video
from edgewright.data.source import open_source
from edgewright.data.video import Reading, WebmWriter, probe, read_frames
from edgewright.errors import DataError, HostError


def frames(count=8, size_wh=(64, 48)):
    for at in range(count):
        picture = np.full((size_wh[1], size_wh[0], 3), (200, 40, 40), np.uint8)
        picture[:, : 6 * (at + 1)] = (40, 40, 200)
        yield picture


def written(path, count=8, fps=10.0):
    with WebmWriter(path, fps) as writer:
        for picture in frames(count):
            writer.write(picture)
    return path


def test_what_is_written_is_read_again(tmp_path):
    path = written(tmp_path / "a.webm")
    read = list(read_frames(path))
    assert [frame.index for frame in read] == list(range(8))
    assert [frame.time_s for frame in read] == pytest.approx([at / 10 for at in range(8)])
    for frame, picture in zip(read, frames(), strict=True):
        assert frame.image_rgb.shape == picture.shape
        assert np.abs(frame.image_rgb.astype(int) - picture).mean() < 25, "the colours are RGB on both sides"
    assert probe(path)[0] == pytest.approx(10.0, rel=0.05)


def test_frames_come_one_at_a_time(tmp_path):
    stream = read_frames(written(tmp_path / "a.webm"))
    assert next(stream).index == 0
    stream.close()


def test_a_writer_that_was_given_nothing_leaves_nothing(tmp_path):
    with WebmWriter(tmp_path / "a.webm", 10.0):
        pass
    assert not (tmp_path / "a.webm").exists()


def test_a_folder_that_is_not_there_is_said(tmp_path, capfd):
    with pytest.raises(HostError, match="cannot write"), WebmWriter(tmp_path / "no/such/a.webm", 10.0) as writer:
        writer.write(next(frames()))


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("broken")])
def test_a_writer_that_is_stopped_leaves_what_was_there(tmp_path, error):
    before = written(tmp_path / "a.webm").read_bytes()
    with pytest.raises((KeyboardInterrupt, DataError)), WebmWriter(tmp_path / "a.webm", 10.0) as writer:  # noqa: PT012 - the stop is in it
        for picture in frames():
            writer.write(picture)
        raise error
    assert (tmp_path / "a.webm").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.webm"]


def test_a_link_in_the_place_of_the_video_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "a.webm").symlink_to(tmp_path / "elsewhere")
    written(tmp_path / "a.webm")
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert len(list(read_frames(tmp_path / "a.webm"))) == 8


FILL = """
import sys
from pathlib import Path
import numpy as np
from edgewright.data.video import WebmWriter
from edgewright.errors import HostError
folder, noise = Path(sys.argv[1]), np.random.default_rng(0)
try:
    for frames in (3, 130):
        with WebmWriter(folder / "a.webm", 10) as writer:
            for _ in range(frames):
                writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8))
        print((folder / "a.webm").stat().st_size)
except HostError as error:
    print([path.name for path in folder.iterdir()], (folder / "a.webm").stat().st_size)
    print(error, error.exit_code)
"""


@pytest.mark.parametrize("size", ["300k", pytest.param("2m", marks=pytest.mark.soak)])
def test_a_full_disk_is_said_and_the_old_video_stays(tmp_path, size):
    mount = f"mount -t tmpfs -o size={size} none {shlex.quote(str(tmp_path))}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this host lets no one mount a small disk (unshare -rm)")
    fill = f"{mount} && {shlex.join([sys.executable, '-c', FILL, str(tmp_path)])}"
    ran = subprocess.run(["unshare", "-rm", "sh", "-c", fill], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    first, left, error = ran.stdout.splitlines()
    assert left == f"['a.webm'] {first}"
    assert "a.webm; got no space left on the disk" in error
    assert error.endswith(" 3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file"),
        (b"words, not a video", "a text file"),
        (bytes(5000), "5000 bytes that begin with zeros"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "a web page"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"\xff\xd8\xff\xe0" + bytes(40), "a JPEG picture"),
        (b"RIFF\x30\0\0\0WEBPVP8 ", "a picture"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "a picture"),
        (np.random.default_rng(0).bytes(3000), "3000 bytes of no kind we know"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0mdat" + bytes(500), "without an index (moov)"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0moov" + bytes(500), "cut within its index (moov)"),
        (b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x10moov" + bytes(8), "a damaged index (moov)"),
        (b"RIFF\x40\x42\x0f\0AVI LIST" + bytes(40), "an AVI file that was cut"),
        (b"GIF89a" + bytes(10), "a GIF file that was cut"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "a damaged Matroska file"),
        (b"\0\0\1\xba" + bytes(60), "a damaged MPEG file"),
        ((b"\x47" + bytes(187)) * 5, "a damaged MPEG-TS file"),
    ],
)
def test_what_is_no_video_is_one_clear_sentence(tmp_path, content, said):
    (tmp_path / "a.mp4").write_bytes(content)
    for attempt in (lambda path: list(read_frames(path)), probe):
        with pytest.raises(DataError, match=r"no frame of .*a\.mp4 can be decoded") as refusal:
            attempt(tmp_path / "a.mp4")
        assert said in str(refusal.value)


def test_the_decoder_says_nothing_of_its_own(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\x10\0mdat" + bytes(500))
    program = "import sys; from pathlib import Path; from edgewright.data.video import probe; probe(Path(sys.argv[1]))"
    ran = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False)
    assert ran.stdout == ""
    assert [line for line in ran.stderr.splitlines() if line.startswith("[") or "moov atom" in line] == []
    assert "DataError: no frame of" in ran.stderr


def test_a_missing_video_is_said(tmp_path):
    with pytest.raises(DataError, match="is not there"):
        list(read_frames(tmp_path / "none.mp4"))


BAD_CLIPS = {
    "gen_bottle_4000_random_bytes.mp4": "an MP4 with a damaged index (moov)",
    "gen_bottle_no_moov.mp4": "an MP4 without an index (moov): the recording was cut before it was finished",
    "gen_bottle_truncated_1KiB.mp4": "an MP4 without an index (moov), and 1024 of at least 489953 bytes",
    "gen_bottle_truncated_50pct.mp4": "an MP4 without an index (moov), and 252480 of at least 489953 bytes",
    "gen_empty.mp4": "an empty file",
    "gen_text_named.mp4": "a text file",
}


def test_broken_clips_are_refused_for_their_own_reason_or_read_as_far_as_they_go(test_data):
    clips = sorted((test_data / "bad/video").iterdir())
    assert {path.name for path in clips} == {*BAD_CLIPS, "gen_car_400KB_zeroed.mp4"}
    for path in clips:
        if path.name in BAD_CLIPS:
            with pytest.raises(DataError) as refusal:
                open_source(path)
            assert f"no frame of {path} can be decoded; got {BAD_CLIPS[path.name]}" in str(refusal.value)


def test_frames_behind_a_broken_stretch_are_read_and_keep_their_numbers_and_times(test_data):
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(test_data / "bad/video/gen_car_400KB_zeroed.mp4", reading)]
    assert [index for index, _ in read] == [*range(25), *range(57, 377)]
    assert [time_s for _, time_s in read] == pytest.approx([index / 12.5 for index, _ in read])
    assert reading == Reading(expected=377, decoded=345, broke_at=25, missing=32, decoded_after_break=320, damaged=3)
    assert reading.sentence("car.mp4") == "car.mp4 broke at frame 25 of 377: 32 frames could not be decoded, 320 could after it"
    assert reading.damage("car.mp4") == "car.mp4: 3 frames after the break at 25 may be damaged, as they lean on missing ones"


@pytest.mark.parametrize("name", ["bottle-detection.mp4", "bolt-multi-size-detection.gif"])
def test_real_clips_are_read(test_data, name):
    [first, second] = itertools.islice(read_frames(test_data / "video" / name), 2)
    assert (first.index, second.index) == (0, 1)
    assert second.time_s > first.time_s


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Sound clips of 30 frames, as the generator of broken ones makes them."""
    return sound_clips(tmp_path_factory.mktemp("clips"))


def with_steps(data, steps):
    """An MP4 of OpenCV's whose frames are shown for `steps` units each; its edit list, which knows another length, is put aside."""
    at = data.find(b"stts") - 4
    (old,) = struct.unpack_from(">I", data, at)
    table = struct.pack(">I4sII", 16 + 8 * len(steps), b"stts", 0, len(steps)) + b"".join(struct.pack(">II", 1, step) for step in steps)
    grown = bytearray(data.replace(b"edts", b"free"))
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        begin = data.rfind(box, 0, at) - 4
        struct.pack_into(">I", grown, begin, struct.unpack_from(">I", data, begin)[0] + len(table) - old)
    grown[at : at + old] = table
    return bytes(grown)


def with_block_times(data, times_ms):
    """A Matroska file of 25 frames a second, whose frames are shown at these times instead."""
    changed, at, cluster_ms = bytearray(data), 0, 0
    for number, time_ms in enumerate(times_ms):
        cluster = data.find(b"\x1f\x43\xb6\x75", at)
        block = data.find(b"\x81" + struct.pack(">h", 40 * number - cluster_ms), at)
        if number == 0 or block < 0 or 0 <= cluster < block:
            at = data.index(b"\xe7", cluster)
            count = data[at + 1] & 0x7F
            cluster_ms = int.from_bytes(data[at + 2 : at + 2 + count], "big")
            changed[at + 2 : at + 2 + count] = bytes(count)
            block = data.index(b"\x81" + struct.pack(">h", 40 * number - cluster_ms), at + 2 + count)
        struct.pack_into(">h", changed, block + 1, time_ms)
        at = block + 4
    return bytes(changed)


UNEVEN = [[40, 400, 7, 90, 40, 1][at % 6] * 13 for at in range(30)]
PAUSE = [512] * 20 + [512 * 70] + [512] * 9


@pytest.mark.parametrize("steps", [UNEVEN, PAUSE], ids=["uneven", "a pause"])
def test_a_variable_frame_rate_is_no_break(clips, tmp_path, steps):
    path = tmp_path / "a.mp4"
    path.write_bytes(with_steps(clips["mp4"].data, steps))
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(path, reading)]
    assert [index for index, _ in read] == list(range(30))
    assert [time_s for _, time_s in read] == pytest.approx([sum(steps[:at]) / 12800 for at in range(30)])
    assert (reading.expected, reading.broke_at, reading.missing) == (30, None, 0)


@pytest.mark.parametrize("container", ["webm", "mkv"])
@pytest.mark.parametrize(
    "times_ms",
    [list(itertools.accumulate(step // 13 for step in [0, *UNEVEN[:-1]])), [40 * at + 3000 * (at > 20) for at in range(30)]],
    ids=["uneven", "a pause"],
)
def test_a_variable_frame_rate_of_matroska_is_no_break(clips, tmp_path, container, times_ms):
    path = tmp_path / f"a.{container}"
    path.write_bytes(with_block_times(clips[container].data, times_ms))
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(path, reading)]
    assert [index for index, _ in read] == list(range(30))
    assert [time_s for _, time_s in read] == pytest.approx([time_ms / 1000 for time_ms in times_ms])
    assert (reading.broke_at, reading.missing) == (None, 0)


def test_a_broken_stretch_of_uneven_frames_keeps_the_numbers_of_those_behind_it(clips, tmp_path):
    sound = clips["mp4"]
    at, behind = sound.ends[9], sound.ends[14]
    path = tmp_path / "a.mp4"
    path.write_bytes(with_steps(sound.data[:at] + bytes(behind - at) + sound.data[behind:], UNEVEN))
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(path, reading)]
    assert [index for index, _ in read] == [*range(10), *range(15, 30)]
    assert [time_s for _, time_s in read] == pytest.approx([sum(UNEVEN[:index]) / 12800 for index, _ in read])
    assert (reading.expected, reading.broke_at, reading.missing, reading.decoded_after_break) == (30, 10, 5, 15)
    assert reading.damaged == 9, "OpenCV sets a key frame every twelve, so from 15 to 23 they lean on lost ones"


@pytest.mark.parametrize(
    ("first", "shown_ms", "frames"), [(0, 1200, 30), (5, 1000, 25), (12, 1200, 18), (12, 720, 18), (5, 400, 10), (0, 400, 10)]
)
def test_frames_that_an_edit_cuts_off_are_not_missing(clips, tmp_path, first, shown_ms, frames):
    data = bytearray(clips["mp4"].data)
    struct.pack_into(">II", data, data.find(b"elst") + 12, shown_ms, 512 * first)
    (tmp_path / "a.mp4").write_bytes(data)
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(tmp_path / "a.mp4", reading)]
    assert read == [(at, pytest.approx(at / 25)) for at in range(frames)]
    assert (reading.expected, reading.broke_at, reading.missing) == (frames, None, 0)


def test_an_avi_that_shows_a_frame_longer_is_whole(clips, tmp_path):
    path = tmp_path / "a.avi"
    path.write_bytes(held_avi(clips["avi"].data, {5, 6, 20}))
    reading = Reading()
    assert [frame.index for frame in read_frames(path, reading)] == [at for at in range(30) if at not in (5, 6, 20)]
    assert (reading.expected, reading.decoded, reading.broke_at, reading.missing) == (27, 27, None, 0)


def held_avi(data, held):
    """A motion JPEG whose frames of these numbers are empty chunks, as capture programs write them for frames that they dropped."""
    movi, index = data.find(b"movi"), data.find(b"idx1")
    at, chunks, entries = movi + 4, b"", b""
    for number in range(30):
        (length,) = struct.unpack_from("<I", data, at + 4)
        kept = b"" if number in held else data[at + 8 : at + 8 + length + length % 2]
        entries += data[at : at + 4] + struct.pack("<III", 16, 4 + len(chunks), 0 if number in held else length)
        chunks += data[at : at + 4] + struct.pack("<I", 0 if number in held else length) + kept
        at += 8 + length + length % 2
    assert at <= index
    body = data[8 : movi - 4] + struct.pack("<I", 4 + len(chunks)) + b"movi" + chunks + b"idx1" + struct.pack("<I", len(entries)) + entries
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(kind, *content):
    content = b"".join(content)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def in_fragments(clip):
    """OpenCV's MP4 as phones and cameras write one that may be cut at any time: an index without frames, then pieces of ten frames."""
    data, moov = clip.data, clip.data.rfind(b"moov") - 4
    head = bytearray(data[moov:].replace(b"edts", b"free"))
    for table in (b"stts", b"stss", b"stsc", b"stco"):
        struct.pack_into(">I", head, head.find(table) + 8, 0)
    struct.pack_into(">II", head, head.find(b"stsz") + 8, 0, 0)
    head += box(b"mvex", box(b"trex", struct.pack(">6I", 0, 1, 1, 0, 0, 0)))
    struct.pack_into(">I", head, 0, len(head))
    begins = [data.find(b"mdat") + 4, *clip.ends]
    pieces = []
    for first in range(0, 30, 10):
        frames = [data[begins[at] : begins[at + 1]] for at in range(first, first + 10)]
        samples = b"".join(struct.pack(">III", 512, len(frame), 0x1010000 * bool((first + at) % 12)) for at, frame in enumerate(frames))
        length = len(box(b"moof", *_fragment(first, 0, samples)))
        pieces.append(box(b"moof", *_fragment(first, length + 8, samples)) + box(b"mdat", *frames))
    return data[: struct.unpack_from(">I", data)[0]] + bytes(head) + b"".join(pieces)


def _fragment(first, offset, samples):
    run = box(b"trun", struct.pack(">III", 0x701, 10, offset), samples)
    track = box(b"traf", box(b"tfhd", struct.pack(">II", 0x20000, 1)), box(b"tfdt", struct.pack(">II", 0, 512 * first)), run)
    return box(b"mfhd", struct.pack(">II", 0, first // 10 + 1)), track


def test_a_clip_in_fragments_is_read_as_far_as_it_goes(clips, tmp_path):
    whole = in_fragments(clips["mp4"])
    path = tmp_path / "a.mp4"
    path.write_bytes(whole)
    reading = Reading()
    read = [(frame.index, frame.time_s) for frame in read_frames(path, reading)]
    assert read == [(at, pytest.approx(at / 25)) for at in range(30)]
    assert (reading.broke_at, reading.missing) == (None, 0)
    behind = whole.rfind(b"moof")
    for cut, most in ((behind + 100, 20), (behind + 207, 20), (behind + 1500, 29)):
        path.write_bytes(whole[:cut])
        frames = len(list(read_frames(path, reading := Reading())))
        assert most - 8 < frames <= most
        assert (reading.was_cut, reading.broke_at, reading.expected, reading.missing) == (True, frames, 30, 30 - frames)


def test_a_transport_stream_whose_first_byte_was_hit_is_one_still(clips, tmp_path):
    (tmp_path / "a.ts").write_bytes(b"\0" + clips["ts"].data[1:])
    assert len(list(read_frames(tmp_path / "a.ts", Reading()))) > 20


def test_a_break_is_not_passed_over_in_silence(clips, tmp_path):
    clip = clips["avi"].data
    (tmp_path / "a.avi").write_bytes(clip[: len(clip) // 2])
    with pytest.warns(RuntimeWarning, match=r"a\.avi broke at frame 1\d of 30, where the file was cut"):
        assert len(list(read_frames(tmp_path / "a.avi"))) > 10


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{other}\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {other}\nfile {address}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "dash": '<?xml version="1.0"?><MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><BaseURL>{address}</BaseURL></MPD>',
    "smil": '<smil><body><video src="{address}"/></body></smil>',
    "rtsp": "rtsptext\n{address}\n",
    "reference": "[Reference]\nRef1={address}\n",
}


@pytest.mark.parametrize(("suffix", "container"), [(".mp4", None), (".ts", None), (".mp4", "mp4"), (".ts", "mpegts"), (".gif", "gif")])
@pytest.mark.parametrize("playlist", PLAYLISTS)
def test_a_list_of_other_places_named_as_a_clip_opens_none_of_them(clips, tmp_path, monkeypatch, playlist, container, suffix):
    other = tmp_path / "other.mp4"
    other.write_bytes(clips["mp4"].data)
    path = tmp_path / f"clip{suffix}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        text = PLAYLISTS[playlist].format(other=other.name, address=f"http://127.0.0.1:{port}/x.ts", port=port).encode()
        # Behind the first bytes of a clip too, which is all that tells it from one.
        disguise = {None: b"", "mp4": b"\0\0\0\x10ftypisom\0\0\0\0", "gif": b"GIF89a\n", "mpegts": b"\x47".ljust(188, b"\n") * 5}[container]
        path.write_bytes(disguise + b"\n" * bool(disguise) + text)
        os.utime(other, ns=(0, other.stat().st_mtime_ns))  # older than its last change, so that reading it is noted even where that is rare
        with pytest.raises(DataError, match="can be decoded"):
            list(read_frames(path))
        assert other.stat().st_atime_ns == 0, "the other file was read"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_decoder_left_alone_would_follow_such_a_list_and_its_options_hold_it_back_too(clips, tmp_path, monkeypatch, capfd):
    (tmp_path / "other.mp4").write_bytes(clips["mp4"].data)
    path = tmp_path / "clip.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    assert cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).read()[0], "so it is worth refusing"
    monkeypatch.setattr(video, "container_of", lambda _stream: "mp4")
    with pytest.raises(DataError, match="can be decoded"):
        list(read_frames(path))


def test_what_is_no_file_is_never_opened(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "null.mp4").symlink_to(os.devnull)
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "gone")
    for name in ("pipe.mp4", "folder.mp4", "null.mp4", "nowhere.mp4", "none.mp4", "a\0b.mp4", "x" * 300 + ".mp4"):
        for attempt in (lambda path: list(read_frames(path)), probe, open_source):
            with pytest.raises(DataError):
                attempt(tmp_path / name)


@pytest.mark.parametrize("name", ["img_%03d.mp4", "concat:a|b.mp4", "http:x.mp4", "-i.mp4", "\x1b[31m.mp4", "\udcff.mp4", "*?.mp4"])
def test_a_clip_of_any_name_is_read(clips, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    data = clips["mp4"].data
    Path(name).write_bytes(data)
    assert len(list(read_frames(Path(name)))) == 30


@pytest.mark.parametrize("size_wh", [(65535, 65535), (8192, 8193)])
def test_a_frame_larger_than_any_picture_is_refused_before_it_is_decoded(tmp_path, size_wh):
    raw = b"".join(
        (
            b"avih" + struct.pack("<I14I", 56, 40000, 0, 0, 0x10, 1, 0, 1, 0, *size_wh, 0, 0, 0, 0),
            b"LIST" + struct.pack("<I", 116) + b"strl",
            b"strh" + struct.pack("<I", 56) + b"vidsDIB " + struct.pack("<12I", 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0),
            b"strf" + struct.pack("<IIiiHHIIiiII", 40, 40, *size_wh, 1, 24, 0, 0, 0, 0, 0, 0),
        )
    )
    chunks = (
        b"LIST"
        + struct.pack("<I", 4 + len(raw))
        + b"hdrl"
        + raw
        + b"LIST"
        + struct.pack("<I", 24)
        + b"movi00db"
        + struct.pack("<I", 12)
        + bytes(12)
    )
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"AVI " + chunks)
    for attempt in (lambda path: list(read_frames(path)), probe):
        with pytest.raises(DataError, match=r"no frame of .*a\.avi can be decoded; got (8192x8193 pixels|a damaged AVI)"):
            attempt(path)


@pytest.mark.parametrize("claim", [0, 1, 2**31, 2**32 - 1])
def test_an_absurd_frame_rate_or_count_is_not_believed(clips, tmp_path, claim):
    data = bytearray(clips["avi"].data)
    header = data.find(b"strh")
    for rate, count in ((True, False), (False, True)):
        changed = bytearray(data)
        if rate:
            struct.pack_into("<I", changed, header + 32, claim)
        if count:
            struct.pack_into("<I", changed, header + 40, claim)
            struct.pack_into("<I", changed, data.find(b"avih") + 24, claim)
        path = tmp_path / "a.avi"
        path.write_bytes(changed)
        fps, frames = probe(path)
        assert 0 < fps <= 1000
        assert frames is None or 0 < frames <= len(data)
        reading = Reading()
        times = [frame.time_s for frame in read_frames(path, reading)]
        assert len(times) >= 30
        assert times == sorted(times)

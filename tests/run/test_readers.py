"""Readers: every frame of a clip, every picture of a folder, and pictures that arrive; and which reader a source gets."""

import os
import shutil
import time

import cv2
import numpy as np
import pytest

from edgewright.data.video import read_frames
from edgewright.errors import DataError, EdgewrightError, HostError, InputError
from edgewright.run.readers import READERS, ReaderLost, SourceOrder, open_reader
from edgewright.run.readers import folder as folder_reader
from edgewright.run.readers.base import STRETCH_INDEX, is_live, kind_of
from edgewright.run.secrets import Address
from edgewright.run.settings import CameraSettings
from edgewright.testing.sources import check_source

FRAMES, FPS = 12, 10.0


def picture(level, size_wh=(32, 24)):
    return np.full((size_wh[1], size_wh[0], 3), level, np.uint8)


def save(path, level, **size):
    assert cv2.imwrite(str(path), picture(level, **size))
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (64, 48))
    for at in range(FRAMES):
        writer.write(picture(20 * at, (64, 48)))
    writer.release()
    return path


@pytest.fixture
def pictures(tmp_path):
    for name, level in (("b.png", 20), ("a.jpg", 10), ("c.bmp", 30)):
        save(tmp_path / name, level)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes((tmp_path / "b.png").read_bytes())
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def level_of(reader):
    wide, high = reader.size_wh()
    into = np.zeros((high, wide, 3), np.uint8)
    reader.draw(into)
    return round(float(into.mean()))


def order(kind, path, **fields):
    return SourceOrder(kind, str(path), **fields)


# --- conformance ------------------------------------------------------------------------------------------------------------------------


def test_a_clip_is_a_source(clip):
    report = check_source(lambda: open_reader(order("clip", clip)))
    assert (report.frames, report.ended, report.findings) == (FRAMES, True, ())


def test_a_clip_that_begins_again_is_one(clip):
    report = check_source(lambda: open_reader(order("clip", clip, loop=True)), most_frames=3 * FRAMES)
    assert (report.frames, report.ended, report.findings) == (3 * FRAMES, False, ())


def test_a_folder_is_one(pictures):
    report = check_source(lambda: open_reader(order("folder", pictures)))
    assert (report.frames, report.ended, report.findings) == (3, True, ())


def test_the_check_finds_what_is_wrong(clip):
    class Wrong:
        name, is_patient, fps, frames, time_s = "a\nb", 0, 0.0, 99, 0.0

        def __init__(self):
            self.left, self.sizes, self.held = 5, 0, open(clip, "rb")  # noqa: PTH123, SIM115

        def next(self):
            self.left -= 1
            self.time_s -= 1
            return self.left >= 0

        def size_wh(self):
            self.sizes += 1
            return 4, 2 + self.sizes % 2

        def draw(self, into):
            into[:-1] = self.sizes

        def close(self):
            held.append(self.held)

    held = []
    report = check_source(Wrong)
    held[0].close()
    said = " ".join(report.findings)
    expected = ["its name", "is_patient", "its fps", "99 frames", "another when asked", "fill the picture", "its time is", "1 descriptors"]
    assert [words for words in expected if words not in said] == []


# --- clips ------------------------------------------------------------------------------------------------------------------------------


def test_every_frame_of_a_clip_comes_at_its_time(clip):
    reader = open_reader(order("clip", clip))
    assert (reader.frames, reader.fps) == (FRAMES, pytest.approx(FPS))
    seen = []
    while reader.next():
        seen.append((round(reader.time_s, 3), level_of(reader)))
    wanted = [(round(frame.time_s, 3), round(float(frame.image_rgb.mean()))) for frame in read_frames(clip)]
    assert seen == wanted
    assert len(seen) == FRAMES
    reader.close()


def test_a_clip_that_begins_again_goes_on_in_time(clip):
    reader = open_reader(order("clip", clip, loop=True))
    times = [reader.time_s for _ in range(3 * FRAMES) if reader.next()]
    reader.close()
    assert np.diff(times) == pytest.approx(np.full(3 * FRAMES - 1, 1 / FPS), abs=1e-3)
    assert reader.frames is None


@pytest.mark.parametrize("content", [b"", b"no clip at all" * 100])
def test_what_is_no_clip_is_refused(tmp_path, content):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(DataError):
        open_reader(order("clip", tmp_path / "x.mp4"))


# --- folders ----------------------------------------------------------------------------------------------------------------------------


def test_pictures_come_in_the_order_of_their_names_as_rgb(pictures):
    cv2.imwrite(str(pictures / "d.png"), np.full((4, 6, 3), (0, 0, 200), np.uint8))  # red, as OpenCV writes it
    reader, seen, sizes = open_reader(order("folder", pictures)), [], []
    into = None
    while reader.next():
        wide, high = reader.size_wh()
        into = np.zeros((high, wide, 3), np.uint8)
        reader.draw(into)
        seen.append((reader.time_s, round(float(into.mean()))))
        sizes.append((wide, high))
    assert seen == [(0, 10), (1, 20), (2, 30), (3, 67)]
    assert sizes == [(32, 24)] * 3 + [(6, 4)]
    assert into[0, 0].tolist() == [200, 0, 0]


def test_broken_pictures_are_passed_over(pictures):
    (pictures / "aa.png").write_bytes(b"not one")
    (pictures / "bb.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:100])
    (pictures / "zz.png").symlink_to(pictures / "gone.png")
    reader = open_reader(order("folder", pictures))
    assert [level_of(reader) for _ in iter(reader.next, False)] == [10, 20, 30]
    assert reader.broken == 2


def test_a_folder_of_broken_pictures_alone_comes_to_an_end_even_in_a_loop(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not one")
    assert open_reader(order("folder", tmp_path, loop=True)).next() is False


def test_a_folder_can_begin_again(pictures):
    reader = open_reader(order("folder", pictures, loop=True))
    seen = [level_of(reader) for _ in range(7) if reader.next()]
    assert seen == [10, 20, 30, 10, 20, 30, 10]


def test_a_folder_without_pictures_is_an_error_unless_it_is_watched(tmp_path):
    with pytest.raises(InputError, match="no picture in"):
        open_reader(order("folder", tmp_path))
    open_reader(order("folder", tmp_path, watch=True))


@pytest.mark.parametrize("watch", [True, False])
def test_a_folder_that_is_not_there_may_come_back(tmp_path, watch):
    with pytest.raises(ReaderLost, match="no such file"):
        open_reader(order("folder", tmp_path / "gone", watch=watch))


class Watched:
    """A watched folder, whose looks take no time."""

    def __init__(self, folder):
        self.reader = open_reader(order("folder", folder, watch=True))

    def look(self):
        """The levels of the pictures that one look finds."""
        seen = []
        while found := self.reader.next():
            seen.append(level_of(self.reader))
        assert found is None
        return seen


@pytest.fixture
def watched(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_reader, "LOOK_EVERY_S", 0.0)
    save(tmp_path / "before.png", 1)
    return Watched(tmp_path)


def test_what_was_there_before_is_not_what_arrives(watched, tmp_path):
    assert watched.reader.is_patient
    save(tmp_path / "at once.png", 5)  # after the opening, before the first look
    assert watched.look() == []
    assert watched.look() == [5]
    assert watched.look() == []


def test_a_picture_is_taken_once_it_is_whole(watched, tmp_path):
    whole = save(tmp_path.parent / "whole.png", 40).read_bytes()
    growing = tmp_path / "new.png"
    for end in (10, 50, len(whole)):
        growing.write_bytes(whole[:end])
        assert watched.look() == []
    assert watched.look() == [40]
    assert watched.look() == []


def test_a_copy_that_paused_is_taken_when_it_goes_on(watched, tmp_path):
    whole = save(tmp_path.parent / "whole.png", 40).read_bytes()
    (tmp_path / "new.png").write_bytes(whole[:50])
    assert [watched.look() for _ in range(3)] == [[], [], []]
    assert watched.reader.broken == 1
    (tmp_path / "new.png").write_bytes(whole)
    assert [watched.look() for _ in range(3)] == [[], [40], []]


def test_a_name_that_is_written_again_has_arrived_again(watched, tmp_path):
    for level in (50, 60):
        save(tmp_path / "latest.png", level, size_wh=(32 + level, 24))
        assert [watched.look() for _ in range(3)] == [[], [level], []]
    (tmp_path / "latest.png").unlink()
    assert watched.look() == []
    save(tmp_path / "latest.png", 70)
    assert [watched.look() for _ in range(3)] == [[], [70], []]


def test_several_arrive_in_the_order_of_their_names(watched, tmp_path):
    for name, level in (("c", 30), ("a", 10), ("b", 20)):
        save(tmp_path / f"{name}.png", level)
    assert [watched.look(), watched.look()] == [[], [10, 20, 30]]


def test_pictures_that_are_taken_away_under_our_hands_are_no_loss(watched, tmp_path, monkeypatch):
    save(tmp_path / "new.png", 10)
    watched.look()
    held = os.scandir

    class Late:
        """A listing, one of whose files is gone when it is asked for."""

        def __init__(self, folder):
            self.entries = held(folder)

        def __enter__(self):
            listed = list(self.entries)
            (tmp_path / "new.png").unlink()
            return listed

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Late)
    assert watched.look() == []
    monkeypatch.setattr(os, "scandir", held)
    assert watched.look() == []


def test_a_watched_folder_that_vanishes_is_lost(watched, tmp_path):
    watched.look()
    shutil.rmtree(tmp_path)
    with pytest.raises(ReaderLost, match="cannot be read"):
        watched.look()


def test_looks_are_apart(tmp_path):
    reader = open_reader(order("folder", tmp_path, watch=True))
    began_s = time.monotonic()
    assert [reader.next(), reader.next()] == [None, None]
    assert time.monotonic() - began_s >= 2 * folder_reader.LOOK_EVERY_S


# --- which reader -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reader", "kind", "live"),
    [
        ("0", "auto", "stream", True),
        ("/dev/video2", "auto", "stream", True),
        ("csi:0", "auto", "csi", True),
        ("rtsp://cam/", "auto", "stream", True),
        ("rtsp://cam/", "opencv", "stream", True),
        ("RTSP://cam/", "ffmpeg", "ffmpeg", True),
        ("http://cam/mjpeg", "auto", "stream", True),
        ("FOLDER", "auto", "folder", False),
        ("STRETCH", "auto", "replay", False),
        ("CLIP", "auto", "clip", False),
        ("CLIP", "ffmpeg", "clip", False),
        ("/nowhere.mp4", "auto", "clip", False),
    ],
)
def test_which_reader_a_source_gets_and_whether_it_is_live(clip, tmp_path, source, reader, kind, live):
    (tmp_path / "stretch").mkdir()
    (tmp_path / "stretch" / STRETCH_INDEX).touch()
    places = {"FOLDER": tmp_path, "STRETCH": tmp_path / "stretch", "CLIP": clip}
    camera = CameraSettings("belt", Address(str(places.get(source, source))), reader=reader)
    assert (kind_of(camera), is_live(camera)) == (kind, live)
    for said in (True, False):
        assert is_live(CameraSettings("belt", camera.source, live=said)) is said


def test_an_order_travels_as_json():
    camera = CameraSettings("belt", Address("rtsp://u:p@cam/"), size_wh=(640, 480), fps=5.0, stall_s=1.0)
    sent = SourceOrder.of(camera)
    assert (sent.address, sent.timeout_s) == ("rtsp://u:p@cam/", 1.0)
    assert SourceOrder.from_json({**sent.to_json(), "size_wh": [640, 480]}) == sent


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(InputError) as refused:
        open_reader(SourceOrder("telepathy", ""))
    assert all(kind in str(refused.value) for kind in READERS)


def test_a_camera_of_a_pi_needs_picamera2():
    if shutil.which("libcamera-hello"):
        pytest.skip("this may be a Pi")
    with pytest.raises(HostError, match="apt-get install python3-picamera2"):
        open_reader(SourceOrder("csi", "csi:0"))


@pytest.mark.parametrize("address", ["/dev/video97", "97"])
def test_a_device_that_is_not_there_may_come_back(address, capfd):
    with pytest.raises(ReaderLost, match="cannot be opened"):
        open_reader(SourceOrder("stream", address))


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x", "concat:/etc/passwd|/etc/group", "ftp://h/x"]
)
def test_an_address_that_leads_nowhere_or_to_a_file_is_lost(address, monkeypatch):
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_CAPTURE_OPTIONS"):
        monkeypatch.setenv(name, "")  # set by the reader; put back afterwards
    with pytest.raises((ReaderLost, EdgewrightError)):
        open_reader(SourceOrder("stream", address, timeout_s=1.0))

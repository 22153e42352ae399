"""The decoder's log is overheard: sizes are noted, errors go on, and nobody who writes is ever held up."""

import os
from contextlib import contextmanager

import pytest

from edgewright.run.readers import ReaderLost
from edgewright.run.readers.decoder_log import DecoderLog
from edgewright.run.readers.stream import StreamReader
from live_stage import descriptors


@contextmanager
def overheard():
    """Within a test alone: between its phases pytest changes standard output itself."""
    before = descriptors()
    log = DecoderLog()
    try:
        yield log
    finally:
        log.close()
    assert descriptors() == before


def say(text):
    os.write(1, text.encode())


@pytest.mark.parametrize(
    ("said", "size_wh"),
    [
        ("[OPENCV:FFMPEG:40] Reinit context to 320x192, pix_fmt: yuv420p\n", (320, 192)),
        ("[OPENCV:FFMPEG:48] sof0: picture: 160x92\n", (160, 92)),
        ("[OPENCV:FFMPEG:48] sof0: picture: 160x92\n[OPENCV:FFMPEG:48] sof2: picture: 320x180\n[OPENCV:FFMPEG:48] index=0\n", (320, 180)),
        ("[OPENCV:FFMPEG:40] Reinit context to 320x192", None),  # may go on
        ("[OPENCV:FFMPEG:48] said: Reinit context to 320x192\n", None),
        ("s=Reinit context to 320x192\n", None),  # a line of an SDP, which the camera wrote
        ("", None),
    ],
)
def test_sizes_are_noted(said, size_wh):
    with overheard() as log:
        say(said)
        log.hear()
        assert log.size_wh == size_wh


def test_a_line_may_come_in_pieces():
    with overheard() as log:
        for piece in ("[OPENCV:FFMPEG:40] Rein", "it context to 3", "20x192, pix_fmt: yuv420p", "\n[OPENCV"):
            assert log.size_wh is None
            say(piece)
            log.hear()
        assert log.size_wh == (320, 192)


def test_errors_go_on_and_the_rest_does_not(capfd):
    with overheard() as log:
        say("[OPENCV:FFMPEG:16] no frame!\n[OPENCV:FFMPEG:48] nal_unit_type: 7(SPS)\nv=0\n[OPENCV:FFMPEG:08] gone\n")
        log.hear()
    assert capfd.readouterr().err == "[OPENCV:FFMPEG:16] no frame!\n[OPENCV:FFMPEG:08] gone\n"


def test_who_says_more_than_anybody_hears_is_not_held_up():
    with overheard() as log:
        with pytest.raises(BlockingIOError):  # which a program in C passes over
            say_much()
        log.hear()
        say("[OPENCV:FFMPEG:48] sof0: picture: 160x92\n")
        log.hear()
        assert log.size_wh == (160, 92)
        say("x" * 20_000)  # a line without an end
        log.hear()
        assert len(log._pending) < 5000


def say_much():
    for _ in range(3000):
        say("[OPENCV:FFMPEG:48] " + "x" * 1000 + "\n")


class Said:
    """In OpenCV's place: grabs, and says what it says with each frame."""

    def __init__(self, *said):
        self._said = list(said)

    def isOpened(self):  # noqa: N802 - as OpenCV has it
        return True

    def get(self, _):
        return 10.0

    def grab(self):
        say(self._said.pop(0))
        return True

    def release(self):
        """There is nothing to release."""


JPEG, SMALLER, SMALLEST = (f"[OPENCV:FFMPEG:48] sof0: picture: {size}\n" for size in ("320x180", "160x92", "80x46"))
H264, OTHER = (f"[OPENCV:FFMPEG:40] Reinit context to {size}, pix_fmt: yuv420p\n" for size in ("320x192", "160x96"))


@pytest.mark.parametrize(
    ("said", "sound"),
    [
        ([JPEG] * 5, 5),
        ([H264, "", "", "", ""], 5),
        ([H264, "", OTHER, "", ""], 3),
        ([H264 + H264, "", "", OTHER, ""], 4),
        ([OTHER + H264, "", "", "", ""], 5),  # before the first frame the decoder may try what it likes
        ([JPEG, JPEG, SMALLER, SMALLER, SMALLER], 3),
        ([JPEG, SMALLER, JPEG, SMALLER, JPEG], 5),  # garbled now and then
        ([JPEG, SMALLER, SMALLEST, JPEG, JPEG], 5),
        ([H264, H264, H264, H264, H264], 5),  # begun anew, with the same size
        (["", "", JPEG, JPEG, JPEG], 5),
        (["", "", "", "", ""], 5),  # a codec that says no size
    ],
)
def test_a_size_that_stays_another_is_noticed(said, sound):
    reader = StreamReader(Said(*said), "x", 10.0, DecoderLog())
    try:
        assert [reader.next() for _ in range(sound)] == [True] * sound
        if sound < len(said):
            with pytest.raises(ReaderLost, match="another size now"):
                reader.next()
    finally:
        reader.close()

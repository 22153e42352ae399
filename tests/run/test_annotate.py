"""What a recording shows."""

import numpy as np
import pytest

from edgewright.detections import Detections
from edgewright.run.annotate import annotate, time_text
from edgewright.run.records import UNTRACKED, Answer
from edgewright.vision.drawing import PALETTE

FOUND = Detections(np.array([[20, 60, 120, 160]], np.float32), np.array([0.9], np.float32), np.array([0]), ("short",))


def answer(detections=FOUND, track_ids=None):
    return Answer("line 1", "m", 0, 1764371700.44, 10.0, (320, 240), detections, track_ids)


def test_the_picture_itself_is_left_alone():
    picture = np.full((240, 320, 3), 90, np.uint8)
    for answers in ([], [answer()]):
        shown = annotate(picture, answers, "line 1", 1764371700.44)
        assert not np.shares_memory(shown, picture)
        assert (picture == 90).all()
        assert (shown[-20:] != 90).any()  # the footer
        assert shown.shape == picture.shape


def test_boxes_and_their_tracks_are_drawn():
    picture = np.full((240, 320, 3), 90, np.uint8)
    plain, tracked, untracked = (
        annotate(picture, [answer(track_ids=ids)], "line 1", 0.0) for ids in (None, np.array([17]), np.array([UNTRACKED]))
    )
    assert (plain[100, 20] == PALETTE[0]).all()
    assert (tracked != plain).any()
    assert (untracked == plain).all()


@pytest.mark.parametrize("shape", [(2, 2), (10, 300), (300, 10), (31, 97), (1080, 1920)])
def test_any_size_will_do(shape):
    picture = np.zeros((*shape, 3), np.uint8)
    assert annotate(picture, [answer()], "\x1b[31m" * 1000, 1e300).shape == picture.shape


def test_the_time_is_that_of_the_world():
    assert time_text(1764371700.44) == "2025-11-28 23:15:00.4 UTC"
    assert time_text(-5.0) == "1970-01-01 00:00:00.0 UTC"

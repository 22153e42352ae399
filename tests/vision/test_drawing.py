"""Drawing: what it leaves alone, where labels go, and pictures of any size."""

import numpy as np
import pytest

from edgewright.detections import Detections
from edgewright.vision.drawing import PALETTE, Pen, colour_of, draw, in_font


def found(*boxes, class_ids=None, classes=("cat", "dog")):
    count = len(boxes)
    ids = np.zeros(count, np.int64) if class_ids is None else np.array(class_ids)
    return Detections(np.array(boxes, np.float32).reshape(count, 4), np.linspace(0.9, 0.5, count, dtype=np.float32), ids, classes)


def grey(high=240, wide=320):
    return np.full((high, wide, 3), 90, np.uint8)


def touched(image):
    """Rows and columns that are no longer grey."""
    return np.argwhere((image != 90).any(axis=2))


def test_draws_on_a_copy():
    picture = grey()

    drawn = draw(picture, found([40, 80, 120, 200]))

    assert (picture == 90).all()
    assert len(touched(drawn))


def test_leaves_a_picture_without_boxes_as_it_is():
    assert np.array_equal(draw(grey(), Detections.none()), grey())


def test_draws_the_box_in_the_colour_of_its_class():
    drawn = draw(grey(), found([40, 80, 120, 200], class_ids=[1]))

    assert tuple(drawn[200, 80]) == colour_of(1)
    assert tuple(drawn[140, 40]) == colour_of(1)
    assert tuple(drawn[140, 80]) == (90, 90, 90), "boxes are not filled"


def test_gives_a_class_the_same_colour_everywhere_and_neighbours_different_ones():
    assert colour_of(3) == colour_of(3 + len(PALETTE))
    assert len(set(PALETTE)) == len(PALETTE)


def test_draws_a_quiet_box_without_label():
    loud = touched(draw(grey(), found([40, 80, 120, 200])))
    quiet = touched(draw(grey(), found([40, 80, 120, 200]), quiet=np.array([True])))

    assert loud[:, 0].min() < 78, "the label stands above the box"
    assert quiet[:, 0].min() == 80
    assert len(quiet) < len(loud)


@pytest.mark.parametrize(
    "box", [[0, 0, 60, 60], [300, 100, 319, 120], [0, 230, 30, 239], [-50, -50, 900, 900]], ids=["corner", "right", "bottom", "beyond"]
)
def test_keeps_the_label_inside_the_picture(box):
    name = "a rather long name"
    pen = Pen.for_picture(grey())
    plate_px = (pen.extent(f"{name} 0.90")[0] + 2 * pen.padding_px) * pen.extent(name)[1]

    drawn = draw(grey(), found(box, classes=(name,)))

    plate = (drawn == colour_of(0)).all(axis=2).sum() + (drawn.max(axis=2) < 60).sum()
    assert plate > plate_px * 0.6, "most of the plate is seen"


STRANGE = {
    "a megabyte": "x" * 1_000_000,
    "a megabyte of marks": "e" + "\u0301" * 1_000_000,
    "one letter for eighteen": "\ufdfa" * 1000,
    "commands": "\x1b[2J\x9b5m\0\n\r\u202e\udcff",
    "formats": "%s%n{0}",
    "nothing": "",
}


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("shape", [(40, 60), (240, 320), (720, 1280)])
def test_whatever_a_class_is_called_most_of_the_picture_is_seen(name, shape):
    box = [0, shape[0] // 2, shape[1] // 9, shape[0] - 1]

    drawn = draw(grey(*shape), found(box, classes=(name,)))

    lines, label_px = 4 * sum(shape), Pen.for_picture(drawn).extent("Hg")[1] * 3 * shape[1]
    assert 0 < len(touched(drawn)) < min(lines + label_px, 0.5 * shape[0] * shape[1])
    assert len(touched(drawn)) < 0.15 * shape[0] * shape[1] or max(shape) < 1000


def test_the_score_is_whole_however_long_the_name_is():
    box = [40, 80, 120, 200]
    names = ("x" * 60, "x" * 600)
    certain, doubtful = (
        draw(grey(), Detections(np.array([box], np.float32), np.array([score], np.float32), np.array([0]), names)) for score in (0.91, 0.33)
    )

    differing = np.argwhere((certain != doubtful).any(axis=2))
    assert len(differing), "the figures are drawn"
    assert np.ptp(differing[:, 1]) < 40, "and they alone differ"


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 3), (12, 9), (2160, 3840)])
def test_takes_pictures_of_any_size(shape):
    boxes = found([0, 0, shape[1], shape[0]], [0, 0, 1, 1])

    assert draw(grey(*shape), boxes).shape == (*shape, 3)


def test_survives_boxes_that_are_no_numbers():
    assert draw(grey(), found([np.nan, np.inf, -np.inf, 5])).shape == (240, 320, 3)


def test_takes_pictures_that_are_views():
    assert draw(grey()[:, ::-1], found([40, 80, 120, 200])).shape == (240, 320, 3)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("person", "person"), ("Käse", "Kase"), ("猫", "?"), ("a\x1b[31mb", "a?[31mb"), ("", "")],
)
def test_writes_what_the_font_has(text, shown):
    assert in_font(text) == shown

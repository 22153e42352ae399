"""Pictures of any shape go into the network and boxes come back to where they were."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgewright.vision.letterbox import Letterbox

SOURCE = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
INPUT = st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda cells: (cells[0] * 32, cells[1] * 32))


def drawn_wh(box: Letterbox) -> tuple[int, int]:
    return round(box.source_wh[0] * box.scale), round(box.source_wh[1] * box.scale)


@given(SOURCE, INPUT)
@settings(deadline=None)
def test_the_corners_of_the_drawn_picture_are_the_corners_of_the_source(source_wh, input_wh):
    box = Letterbox.fit(source_wh, input_wh)
    wide, high = drawn_wh(box)
    assume(min(wide, high) >= 1)
    corners = np.array([[box.left, box.top, box.left + wide, box.top + high]], np.float32)
    assert box.to_source(corners)[0] == pytest.approx([0, 0, *source_wh], abs=0.5 / box.scale + 1e-2)


@given(SOURCE, INPUT, st.lists(st.floats(0, 1), min_size=4, max_size=4))
@settings(deadline=None)
def test_a_box_comes_back_to_where_it_was(source_wh, input_wh, shares):
    box = Letterbox.fit(source_wh, input_wh)
    x1, x2 = sorted(shares[:2])
    y1, y2 = sorted(shares[2:])
    there = np.array([[x1, y1, x2, y2]]) * [*source_wh, *source_wh]
    seen = there * box.scale + [box.left, box.top, box.left, box.top]
    assert box.to_source(seen.astype(np.float32))[0] == pytest.approx(there[0], abs=0.5 / box.scale)


@given(SOURCE, INPUT)
@settings(deadline=None)
def test_the_picture_lies_inside_and_an_odd_border_goes_right_and_below(source_wh, input_wh):
    box = Letterbox.fit(source_wh, input_wh)
    for start, drawn, whole in zip((box.left, box.top), drawn_wh(box), input_wh, strict=True):
        after = whole - start - max(1, drawn)
        assert start >= 0
        assert 0 <= after - start <= 1


@pytest.mark.parametrize(
    ("source_wh", "input_wh", "left", "top"),
    [
        ((640, 480), (640, 640), 0, 80),
        ((640, 479), (640, 640), 0, 80),  # 161 rows of grey: 80 above, 81 below
        ((479, 640), (640, 640), 80, 0),
        ((1280, 720), (640, 640), 0, 140),
        ((320, 320), (640, 640), 0, 0),  # small pictures are scaled up
        ((100, 50), (64, 32), 0, 0),
    ],
)
def test_lies_where_the_published_implementations_put_it(source_wh, input_wh, left, top):
    box = Letterbox.fit(source_wh, input_wh)
    assert (box.left, box.top) == (left, top)


def test_the_rest_is_grey_114_and_the_picture_is_not():
    box = Letterbox.fit((40, 21), (64, 64))
    canvas = box.apply(np.full((21, 40, 3), 200, np.uint8))
    wide, high = drawn_wh(box)
    inside = np.zeros((64, 64), bool)
    inside[box.top : box.top + high, box.left : box.left + wide] = True
    assert (canvas[inside] == 200).all()
    assert (canvas[~inside] == 114).all()
    assert box.apply(np.zeros((21, 40, 3), np.uint8), value=0).max() == 0


def test_a_picture_of_the_input_size_is_not_touched():
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3)).astype(np.uint8)
    box = Letterbox.fit((64, 32), (64, 32))
    assert (box.scale, box.left, box.top) == (1.0, 0, 0)
    assert np.array_equal(box.apply(picture), picture)
    boxes = np.array([[1.25, 2.5, 60, 30]], np.float32)
    assert np.array_equal(box.to_source(boxes), boxes)


@pytest.mark.parametrize("source_wh", [(1, 1), (1, 5000), (5000, 1), (3, 2000)])
def test_a_sliver_still_has_a_pixel(source_wh):
    box = Letterbox.fit(source_wh, (64, 64))
    canvas = box.apply(np.full((source_wh[1], source_wh[0], 3), 255, np.uint8))
    assert canvas.shape == (64, 64, 3)
    assert canvas.max() == 255


def test_boxes_are_clipped_to_the_picture():
    box = Letterbox.fit((640, 320), (64, 64))
    assert box.to_source(np.array([[-9, -9, 99, 99]], np.float32)).tolist() == [[0, 0, 640, 320]]
    assert box.to_source(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_a_painted_rectangle_is_found_where_it_was_painted():
    picture = np.zeros((300, 500, 3), np.uint8)
    picture[60:180, 100:350] = 255
    box = Letterbox.fit((500, 300), (64, 64))
    rows, columns = np.nonzero(box.apply(picture, value=0)[..., 0] > 127)
    seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    assert box.to_source(seen)[0] == pytest.approx([100, 60, 350, 180], abs=1 / box.scale)


def test_halving_averages_four_pixels_a_side_as_the_triangle_filter_does():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    found = Letterbox.fit((64, 64), (32, 32)).apply(picture)
    taps = np.array([1, 3, 3, 1]) / 8
    # Output pixel n covers source pixels 2n - 1 to 2n + 2, so the one that starts at source pixel 1 is the second.
    expected = sum(
        tap_y * tap_x * picture[1 + y : 61 + y : 2, 1 + x : 61 + x : 2].astype(float)
        for y, tap_y in enumerate(taps)
        for x, tap_x in enumerate(taps)
    )
    assert np.abs(found[1:31, 1:31] - expected).max() <= 1.5  # rounded twice


@pytest.mark.parametrize("side", [100, 150, 200, 260, 640, 1000])
def test_fine_stripes_become_grey_instead_of_broad_ones(side):
    """At less than half the size some of the finest stripes pass the triangle, but never most of what OpenCV alone lets through."""
    stripes = np.zeros((side, side, 3), np.uint8)
    stripes[:, ::2] = 255
    found = Letterbox.fit((side, side), (64, 64)).apply(stripes)[8:-8, 8:-8].astype(float)
    alone = cv2.resize(stripes, (64, 64), interpolation=cv2.INTER_LINEAR)[8:-8, 8:-8].astype(float)
    assert found.mean() == pytest.approx(127.5, abs=3)
    assert found.std() < max(10, 0.6 * alone.std())


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (64, 20)])
def test_what_is_not_shrunk_is_not_smoothed(size):
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    box = Letterbox.fit(size, (64, 64))
    drawn = box.apply(picture)[box.top : box.top + round(size[1] * box.scale), box.left : box.left + round(size[0] * box.scale)]
    assert np.array_equal(drawn, cv2.resize(picture, drawn.shape[1::-1], interpolation=cv2.INTER_LINEAR))


@given(st.tuples(st.integers(1, 300), st.integers(1, 300)), st.integers(0, 255))
@settings(deadline=None)
def test_what_is_drawn_over_an_old_picture_is_what_is_drawn_anew(source_wh, value):
    picture = np.random.default_rng(0).integers(0, 256, (source_wh[1], source_wh[0], 3), dtype=np.uint8)
    box = Letterbox.fit(source_wh, (96, 64))
    anew = box.apply(picture, value=value)
    old = np.full((64, 96, 3), 77, np.uint8)
    assert box.apply(picture, value=value, into=old) is old
    assert np.array_equal(old, anew)
    wide = np.full((64, 200, 3), 77, np.uint8)  # rows that lie apart
    box.apply(picture, value=value, into=wide[:, 50:146])
    assert np.array_equal(wide[:, 50:146], anew)
    assert (wide[:, :50] == 77).all()
    assert (wide[:, 146:] == 77).all()

"""Rules speak when something becomes true, once, with figures; lines count each way; quiet times lose nothing."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import count, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.detections import Detections
from edgewright.errors import InputError
from edgewright.run.records import UNTRACKED, Answer
from edgewright.run.rules import Rule
from edgewright.run.settings import RuleSettings
from edgewright.vision.tracking import Tracker

WIDE, HIGH = 800, 400
CLASSES = ("person", "car", "dog")
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
DOWN = ((0.5, 0.25), (0.5, 0.75))  # from above to below: its left is the picture's right

ZONE = RuleSettings("yard", "zone", polygon=LEFT_HALF)
LINE = RuleSettings("gate", "line", line=DOWN)
SEEN = RuleSettings("anybody", "seen")


def standing(x, y, *, wide=0.05, high=0.2):
    """The box of a thing that stands at a point, all in shares of the picture."""
    return (x - wide / 2) * WIDE, (y - high) * HIGH, (x + wide / 2) * WIDE, y * HIGH


class Shown:
    """A rule, and the answers that it is shown, a second apart."""

    def __init__(self, rule_settings):
        numbers = count(1)
        self.rule = Rule(rule_settings, lambda _: f"id {next(numbers)}")
        self.frame = 0
        self.time_s = 1_790_000_000.0

    def look(self, *boxes, scores=None, classes=None, tracks="in order", camera="front", model="yolo", after_s=1.0):
        self.frame += 1
        self.time_s += after_s
        found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(scores or [0.9] * len(boxes), np.float32),
            np.array(classes or [0] * len(boxes), np.int64),
            CLASSES,
        )
        ids = np.arange(len(boxes)) + 1 if tracks == "in order" else tracks if tracks is None else np.array(tracks, np.int64)
        return self.rule.look(Answer(camera, model, self.frame, self.time_s, 12.0, (WIDE, HIGH), found, ids))


@pytest.mark.parametrize(
    ("box", "is_inside"),
    [
        (standing(0.2, 0.5), True),
        (standing(0.8, 0.5), False),
        (standing(0.2, 1.0), True),  # at the picture's lower edge
        (standing(0.5, 0.5), True),  # on the zone's border
        (standing(0.51, 0.5, wide=0.5), False),  # nearly half of it is inside, but it stands outside
        ((0, 0, 2, HIGH * 1.5), True),  # reaches out of the picture
        ((np.nan, 0, np.nan, 10), True),  # no place: the corner
    ],
)
def test_a_thing_is_in_a_zone_when_it_stands_there(box, is_inside):
    assert (Shown(ZONE).look(box) is not None) == is_inside


def test_somebody_in_front_of_a_zone_is_not_in_it():
    table = ((0.3, 0.3), (0.7, 0.3), (0.7, 0.6), (0.3, 0.6))
    shown = Shown(replace(ZONE, polygon=table))
    assert shown.look(standing(0.5, 0.8, high=0.5)) is None
    assert shown.look(standing(0.5, 0.55, high=0.5)) is not None


def exactly_inside(x, y, corners):
    """Even-odd, on fractions; on the border is inside."""
    odd = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        cross = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        if cross == 0 and min(x1, x2) <= x <= max(x1, x2) and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


EIGHTHS = st.tuples(st.integers(0, 8), st.integers(0, 8))


@given(st.lists(EIGHTHS, min_size=3, max_size=7, unique=True), EIGHTHS)
@settings(deadline=None, max_examples=200)
def test_a_zone_of_any_shape_holds_what_exact_arithmetic_says(corners, point):
    shown = Shown(replace(ZONE, polygon=tuple((x / 8, y / 8) for x, y in corners)))
    expected = exactly_inside(*map(Fraction, point), [(Fraction(x), Fraction(y)) for x, y in corners])
    x, y = point[0] / 8, point[1] / 8
    assert (shown.look((x * WIDE, 0, x * WIDE, y * HIGH)) is not None) == expected


def test_a_zone_speaks_when_somebody_comes_not_while_he_stays():
    shown = Shown(ZONE)
    inside, outside = standing(0.2, 0.5), standing(0.8, 0.5)
    told = [shown.look(at) is not None for at in (outside, inside, inside, inside, outside, inside, inside)]
    assert told == [False, True, False, False, False, True, False]


def test_an_event_says_who_when_where_and_how_many():
    shown = Shown(replace(ZONE, classes=("person", "car")))
    event = shown.look(
        standing(0.1, 0.5), standing(0.2, 0.5), standing(0.3, 0.5), standing(0.4, 0.5), standing(0.9, 0.5),
        scores=[0.5, 0.75, 0.625, 0.9, 0.9], classes=[0, 1, 0, 2, 0], tracks=[7, 8, UNTRACKED, 9, 10],
    )  # fmt: skip
    assert (event.id, event.kind, event.name, event.camera, event.time_s) == ("id 1", "rule", "yard", "front", shown.time_s)
    assert event.text == "2 person, 1 car in zone yard, camera front"
    assert json.loads(json.dumps(event.to_json()))["data"] == {
        "rule": "zone",
        "model": "yolo",
        "frame": 1,
        "source_wh": [WIDE, HIGH],
        "count": 3,
        "classes": {"person": 2, "car": 1},
        "best_score": 0.75,
        "box_xyxy": [140, 120, 180, 200],
        "track_ids": [7, 8],
        "frames": [1, 1],
    }


@pytest.mark.parametrize(
    ("frames_of", "seen", "told_at"),
    [
        ((1, 1), "0110010", [1, 5]),
        ((2, 3), "1001101", [4]),
        ((2, 3), "1010000110", [2, 8]),
        ((3, 3), "110111011", [5]),
        ((2, 5), "1000010001", [9]),
        ((3, 10), "1111111111111", [2]),
    ],
)
def test_seen_on_k_of_n_frames(frames_of, seen, told_at):
    shown = Shown(replace(SEEN, frames_of=frames_of))
    events = [shown.look(*[standing(0.5, 0.5)] * int(here)) for here in seen]
    assert [at for at, event in enumerate(events) if event] == told_at


def test_seen_needs_no_tracks_and_says_so_with_an_empty_list():
    event = Shown(replace(SEEN, frames_of=(1, 3))).look(standing(0.5, 0.5), tracks=None)
    assert event.data["track_ids"] == []
    assert event.text == "1 person seen by anybody, on 1 of 1 frames, camera front"


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 6), st.integers(0, 5))
@settings(deadline=None)
def test_k_of_n_is_told_at_each_edge_as_counting_anew_says(seen, least, more):
    frames = least + more
    shown = Shown(replace(SEEN, frames_of=(least, frames)))
    was_true, expected = False, []
    for at in range(len(seen)):
        is_true = sum(seen[max(0, at + 1 - frames) : at + 1]) >= least
        expected.append(is_true and not was_true)
        was_true = is_true
    assert [shown.look(*[standing(0.5, 0.5)] * here) is not None for here in seen] == expected


@pytest.mark.parametrize(
    ("changes", "how", "is_told"),
    [
        ({"classes": ("car",)}, {"classes": [1]}, True),
        ({"classes": ("car",)}, {"classes": [0]}, False),
        ({"classes": ("5",)}, {"classes": [5]}, True),  # a class without a name
        ({"score": 0.5}, {"scores": [0.6]}, True),
        ({"score": 0.5}, {"scores": [0.5]}, False),
        ({"cameras": ("front", "back")}, {}, True),
        ({"cameras": ("back",)}, {}, False),
        ({"models": ("yolo",)}, {}, True),
        ({"models": ("other",)}, {}, False),
    ],
)
def test_a_rule_looks_only_at_what_it_is_meant_for(changes, how, is_told):
    assert (Shown(replace(SEEN, **changes)).look(standing(0.5, 0.5), **how) is not None) == is_told


def test_every_camera_and_model_counts_by_itself():
    shown = Shown(replace(SEEN, frames_of=(2, 2), again_after_s=100))
    box = standing(0.5, 0.5)
    assert shown.look(box, camera="a") is None
    assert shown.look(box, camera="b") is None
    assert shown.look(box, camera="a", model="other") is None
    assert shown.look(box, camera="a").camera == "a"
    assert shown.look(box, camera="b").camera == "b"


def test_a_rule_that_has_spoken_keeps_still_and_then_tells_of_who_is_still_there():
    shown = Shown(replace(SEEN, again_after_s=10))
    box = standing(0.5, 0.5)
    assert shown.look(box) is not None
    assert shown.look() is None
    assert shown.look(box) is None  # came again after 2 s
    assert shown.look() is None  # and went
    assert shown.look(box, after_s=4) is None  # 7 s
    assert shown.look(box, after_s=2.5) is None  # 9.5 s
    assert shown.look(after_s=0.6) is None  # nobody in the very frame
    assert shown.look(box) is not None
    assert shown.look(box, after_s=60) is None  # who stays is told of once


def test_a_clock_set_back_ends_the_quiet():
    shown = Shown(replace(SEEN, again_after_s=10))
    assert shown.look(standing(0.5, 0.5)) is not None
    assert shown.look(after_s=-3600) is None
    assert shown.look(standing(0.5, 0.5)) is not None


def walk(shown, *points, track=1, **how):
    """What is told as a track stands at each point in turn."""
    return [shown.look(standing(*point), tracks=[track], **how) for point in points]


def sides(events):
    return [{side: n for side, n in event.data["crossed"].items() if n} for event in events if event]


LEFT_TO_RIGHT = [(x / 10, 0.5) for x in range(1, 10)]


@pytest.mark.parametrize(
    ("points", "crossed"),
    [
        (LEFT_TO_RIGHT, [{"left": 1}]),
        (LEFT_TO_RIGHT[::-1], [{"right": 1}]),
        (LEFT_TO_RIGHT + LEFT_TO_RIGHT[::-1], [{"left": 1}, {"right": 1}]),
        ([(0.1, 0.5), (0.9, 0.5)], [{"left": 1}]),  # in one leap
        ([(0.1, 0.1), (0.9, 0.1)], []),  # past its upper end
        ([(0.1, 0.9), (0.9, 0.9)], []),  # past its lower end
        ([(0.1, 0.9), (0.9, 0.9), (0.9, 0.5), (0.1, 0.5)], [{"right": 1}]),  # round it, and then across
        ([(0.2, 0.5), (0.49, 0.5), (0.3, 0.5)], []),  # to it and back
        ([(0.2, 0.5), (0.5, 0.5), (0.5, 0.5), (0.8, 0.5)], [{"left": 1}]),  # a rest upon it
        ([(0.2, 0.5), (0.5, 0.5), (0.2, 0.5)], []),
        ([(0.499, 0.5), (0.8, 0.5)], []),  # begun on it
        ([(0.2, 0.5), (0.495, 0.5), (0.495, 0.9), (0.8, 0.9)], []),  # along it, and round its end
        ([(0.2, 0.9), (0.495, 0.9), (0.495, 0.5), (0.8, 0.5)], [{"left": 1}]),
    ],
)
def test_a_line_counts_who_goes_across(points, crossed):
    assert sides(walk(Shown(LINE), *points)) == crossed


def test_right_is_right_as_one_looks_along_the_line():
    along = replace(LINE, line=((0.2, 0.5), (0.8, 0.5)))  # from left to right: its right is below
    assert sides(walk(Shown(along), (0.5, 0.2), (0.5, 0.9))) == [{"right": 1}]


@pytest.mark.parametrize(
    ("points", "crossed"),
    [
        ([(0.05, 0.5), (0.35, 0.5), (0.65, 0.5), (0.95, 0.5)], [{"left": 1}]),  # six of its lengths from one frame to the next
        ([(0.02, 0.5), (0.98, 0.5), (0.02, 0.5), (0.98, 0.5)], [{"left": 1}, {"right": 1}, {"left": 1}]),
        ([(0.3, 0.1), (0.7, 0.3)], []),  # past its upper end, by a twentieth of the picture
        ([(0.3, 0.2), (0.7, 0.4)], [{"left": 1}]),  # and not past it
        ([(0.1, 0.1), (0.9, 0.9)], [{"left": 1}]),  # both ends of the way are beyond those of the line
        ([(0.1, 0.9), (0.45, 0.95), (0.55, 0.05), (0.9, 0.1)], [{"left": 1}]),
        ([(0.45, 0.95), (0.55, 0.75), (0.9, 0.5)], []),  # went past its lower end, and came up behind it
    ],
)
def test_who_is_fast_at_two_frames_a_second_is_counted_by_the_way_between(points, crossed):
    assert sides(walk(Shown(LINE), *points, after_s=0.5)) == crossed


@given(st.tuples(EIGHTHS, EIGHTHS).filter(lambda way: way[0][0] != 4 != way[1][0]))
@settings(deadline=None, max_examples=200)
def test_one_leap_crosses_as_exact_arithmetic_says(way):
    (x1, y1), (x2, y2) = way
    there = Fraction(y1) + Fraction(y2 - y1) * Fraction(4 - x1, x2 - x1) if x1 != x2 else None
    expected = [{"left" if x2 > 4 else "right": 1}] if (x1 > 4) != (x2 > 4) and 2 <= there <= 6 else []
    assert sides(walk(Shown(LINE), (x1 / 8, y1 / 8), (x2 / 8, y2 / 8))) == expected


@pytest.mark.parametrize(
    ("lengths_a_second", "faster", "is_counted"),
    [
        (0.2, 0.0, True),
        (0.5, 0.0, True),
        (1.0, 0.0, True),
        (1.2, 0.0, False),
        (4.0, 0.0, False),
        (0.4, 0.2, True),  # from frame to frame: 1.8 lengths a second when it is across
    ],
)
def test_how_fast_a_thing_can_be_followed_across_a_line_at_two_frames_a_second(lengths_a_second, faster, is_counted):
    """As docs/reference/service.md says."""
    rule, tracker = Rule(LINE, str), Tracker()
    told, x, number = [], 0.1, 0
    while x < 0.9:
        lengths_a_second += faster
        found = Detections(np.array([standing(x, 0.5, wide=0.1)], np.float32), np.array([0.9], np.float32), np.array([0]), CLASSES)
        number, x = number + 1, x + 0.1 * lengths_a_second / 2
        ids = tracker.update(found, number / 2)
        told.append(rule.look(Answer("front", "yolo", number, 1e9 + number / 2, 1.0, (WIDE, HIGH), found, ids)))
    assert sides(told) == [{"left": 1}] * is_counted


@pytest.mark.parametrize(
    ("anchor", "boxes", "is_told"),
    [
        ("foot", [(0.2, 0.45), (0.2, 0.75)], True),
        ("centre", [(0.2, 0.45), (0.2, 0.65)], False),  # the middle of a box of 0.4 has not reached the line
        ("centre", [(0.2, 0.45), (0.2, 0.95)], True),
        ("foot", [(0.2, 1.0), (0.2, 0.9), (0.2, 0.3)], True),
        ("centre", [(0.2, 0.65), (0.2, 0.75)], True),
        ("foot", [(0.2, 0.65), (0.2, 0.75)], False),  # beyond it all the time
    ],
)
def test_a_line_is_crossed_by_the_foot_or_by_the_centre(anchor, boxes, is_told):
    shown = Shown(replace(LINE, line=((0.0, 0.5), (1.0, 0.5)), anchor=anchor))
    told = [shown.look(standing(*at, high=0.4), tracks=[1]) for at in boxes]
    assert any(told) == is_told


def test_a_thing_is_in_a_zone_by_its_centre_where_that_is_asked_for():
    table = replace(ZONE, polygon=((0.3, 0.3), (0.7, 0.3), (0.7, 0.6), (0.3, 0.6)))
    in_front = standing(0.5, 0.7, high=0.5)
    assert Shown(table).look(in_front) is None
    assert Shown(replace(table, anchor="centre")).look(in_front) is not None


@given(st.integers(0, 999), st.integers(2, 100))
@settings(deadline=None, max_examples=50)
def test_who_trembles_on_a_line_crosses_it_once(seed, frames):
    rng = np.random.default_rng(seed)
    tremble = np.clip(rng.normal(0, 0.03, frames), -0.09, 0.09) * 0.2 * HIGH / WIDE  # of his height
    points = [(0.2, 0.5), *((0.5 + by, 0.5) for by in tremble.tolist()), (0.8, 0.5)]
    assert sides(walk(Shown(LINE), *points)) == [{"left": 1}]


@given(st.lists(EIGHTHS, min_size=2, max_size=30))
@settings(deadline=None, max_examples=100)
def test_ways_across_take_turns_on_a_line_without_ends_to_go_round(points):
    whole = replace(LINE, line=((0.5, 0.0), (0.5, 1.0)))
    told = [next(iter(each)) for each in sides(walk(Shown(whole), *[(x / 8, y / 8) for x, y in points]))]
    clear = [x for x, _ in points if x != 4]
    assert told == [("left" if b > 4 else "right") for a, b in pairwise(clear) if (a > 4) != (b > 4)]


def test_several_across_at_once_are_one_event_with_sums():
    shown = Shown(LINE)
    shown.look(standing(0.4, 0.4), standing(0.4, 0.6), standing(0.6, 0.5), classes=[0, 1, 0])
    event = shown.look(standing(0.6, 0.4), standing(0.6, 0.6), standing(0.4, 0.5), classes=[0, 1, 0], scores=[0.5, 0.75, 0.25])
    assert event.text == "2 person, 1 car crossed line gate, 2 to the left and 1 to the right, camera front"
    assert event.data["crossed"] == event.data["total"] == {"left": 2, "right": 1}
    assert event.data["track_ids"] == [1, 2, 3]
    assert event.data["classes"] == {"person": 2, "car": 1}
    assert event.data["best_score"] == 0.9
    again = walk(shown, (0.6, 0.4), (0.4, 0.4))[-1]
    assert again.data["crossed"] == {"left": 0, "right": 1}
    assert again.data["total"] == {"left": 2, "right": 2}
    json.dumps(again.to_json())


def test_crossings_in_the_quiet_are_told_in_sum():
    shown = Shown(replace(LINE, again_after_s=100))
    assert sides(walk(shown, (0.4, 0.5), (0.6, 0.5))) == [{"left": 1}]
    assert sides(walk(shown, *[(0.4, 0.5), (0.6, 0.5)] * 30)) == []
    event = shown.look(after_s=60)
    assert event.data["crossed"] == {"left": 30, "right": 30}
    assert event.data["total"] == {"left": 31, "right": 30}
    assert event.data["count"] == 60
    assert event.data["track_ids"] == [1]


def test_who_crosses_is_what_he_was_called_all_along():
    shown = Shown(replace(LINE, classes=("car",), score=0.5))
    for at, (x, kind, score) in enumerate([(0.2, 1, 0.9), (0.3, 1, 0.8), (0.4, 0, 0.3), (0.6, 0, 0.3)]):
        event = shown.look(standing(x, 0.5), classes=[kind], scores=[score])
        assert (event is not None) == (at == 3)
    assert event.data["classes"] == {"car": 1}
    assert walk(Shown(replace(LINE, classes=("car",))), *LEFT_TO_RIGHT) == [None] * 9
    assert walk(Shown(replace(LINE, score=0.95)), *LEFT_TO_RIGHT) == [None] * 9


def test_boxes_of_no_track_cross_nothing():
    assert walk(Shown(LINE), *LEFT_TO_RIGHT, track=UNTRACKED) == [None] * 9
    shown = Shown(LINE)
    assert [shown.look(standing(*at), tracks=None) for at in LEFT_TO_RIGHT] == [None] * 9


def test_two_tracks_are_not_one_that_crosses():
    shown = Shown(LINE)
    assert walk(shown, (0.4, 0.5), track=1) + walk(shown, (0.6, 0.5), track=2) == [None, None]


def test_a_line_remembers_a_bounded_number_of_tracks():
    shown = Shown(LINE)
    walk(shown, (0.4, 0.5), track=1)
    for at in range(20):
        shown.look(*[standing(0.4, 0.5)] * 100, tracks=range(100 * at + 2, 100 * at + 102))
    (crossings,) = shown.rule._watches.values()
    assert len(crossings._walks) == 1000
    assert walk(shown, (0.6, 0.5), track=1) == [None]  # forgotten
    assert walk(shown, (0.6, 0.5), track=2001)[0] is not None


def test_foreign_names_are_shown_harmlessly():
    shown = Shown(SEEN)
    answer = Answer("cam\x1b[31m", "yolo", 1, 1.0, 1.0, (WIDE, HIGH), Detections(
        np.array([standing(0.5, 0.5)], np.float32), np.array([0.9], np.float32), np.array([0]), ("a\nb" * 1000,)
    ))  # fmt: skip
    text = shown.rule.look(answer).text
    assert text.isprintable()
    assert len(text) < 250


def test_many_classes_are_named_in_part():
    shown = Shown(SEEN)
    kinds = list(range(12))
    assert shown.look(*[standing(0.5, 0.5)] * 12, classes=kinds).text.startswith("1 person, 1 car, 1 dog, 1 3, 1 4, 7 others seen")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (replace(ZONE, kind="circle"), "is of no known kind"),
        (replace(ZONE, polygon=None), "the polygon of rule yard is missing"),
        (replace(ZONE, polygon=((0.1, 0.1), (0.5, 0.5), (0.1, 0.1))), "too few points"),
        (replace(ZONE, polygon=((0.0, 0.0), (640.0, 0.0), (640.0, 480.0))), "lies outside the picture"),
        (replace(ZONE, polygon=((0.0, 0.0), (float("nan"), 0.0), (1.0, 1.0))), "lies outside the picture"),
        (replace(ZONE, line=DOWN), "the line of rule yard has no use"),
        (replace(LINE, line=None), "the line of rule gate is missing"),
        (replace(LINE, line=((0.5, 0.5), (0.5, 0.5))), "too few points"),
        (replace(LINE, polygon=LEFT_HALF), "the polygon of rule gate has no use"),
        (replace(LINE, frames_of=(2, 3)), "counts crossings, not frames"),
        (replace(SEEN, polygon=LEFT_HALF), "the polygon of rule anybody has no use"),
        (replace(LINE, anchor="head"), "anchor of rule gate is none; got 'head'; expected foot or centre"),
        (replace(SEEN, frames_of=(0, 1)), "is not k of n frames"),
        (replace(SEEN, frames_of=(3, 2)), "is not k of n frames"),
        (replace(SEEN, frames_of=(1, 10**9)), "is not k of n frames"),
        (replace(SEEN, again_after_s=-1.0), "is no time"),
        (replace(SEEN, again_after_s=float("inf")), "is no time"),
        (replace(SEEN, score=1.0), "has such a score"),
        (replace(SEEN, score=float("nan")), "has such a score"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(wrong, words):
    with pytest.raises(InputError, match=words):
        Rule(wrong, str)

"""What a service says is taken apart, and nothing of it is believed: no crash, no control character, nothing without end."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.watch.asker import Answered, last_id
from edgewright.watch.page import Look, page
from edgewright.watch.said import MOST_CAMERAS, happened, said
from edgewright.watch.spans import plain, width_of
from edgewright.watch.view import Watched
from edgewright.watch.words import one_line
from told_service import Figures

FIGURES = Figures(("belt", "gate"), wall_s=1_796_000_000.0)
FIGURES.turn(1.0)
STATUS = FIGURES.status()
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([10**400, -1, 1e308, "\x1b[2J", "\u202e"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def paths_of(value, at=()):
    """The place of everything inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from paths_of(inner, (*at, key))


def changed(document, path, value):
    """The document with something else in that place."""
    found = copy.deepcopy(document)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


PLACES = sorted(paths_of(STATUS), key=str)


def test_a_status_taken_apart():
    found = said(STATUS)
    camera = found.cameras[0]
    assert (found.name, found.is_ready, found.uptime_s, camera.name, camera.state, camera.captured) == (
        "line-3",
        True,
        101.0,
        "belt",
        "up",
        10,
    )
    assert camera.models["defects"].dropped == {"superseded": 1}
    assert sum(camera.models["defects"].age) == 9
    assert len(camera.models["defects"].stages["model"]) == len(found.bounds_s) + 1
    assert (found.governor.at, found.governor.rungs, found.governor.time_to_throttle_s) == (1, 3, 480.0)
    assert (found.board.hottest_c, found.board.throttled, found.board.power_w) == (74.6, (), 6.2)
    assert [(each.name, each.delivered, each.waiting, each.lost) for each in found.outputs] == [
        ("store", 1204, 0, 0),
        ("broker", 880, 12, 0),
    ]
    assert (found.films[0].recorded, found.films[0].missed) == (898, 2)


@pytest.mark.parametrize("document", [None, [], "up", 3, {}, {"cameras": []}, {"error": "no"}])
def test_what_is_no_status(document):
    assert said(document) is None


def screens(document, events=None):
    """The page of a service that says this the second time it is asked."""
    clock = iter(range(10_000))
    watched = Watched("http://a", lambda: 1_796_000_102.0, lambda: float(next(clock)))
    watched.hear(Answered(STATUS, events))
    watched.hear(Answered(document, events))
    return [plain(each) for size in ((80, 24), (200, 60), (9, 3)) for each in page(watched.view(), Look(*size))] + [
        one_line(watched.view(), [])
    ]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_one_thing_that_is_not_as_it_should_be(path, value):
    document = changed({**STATUS, "uptime_s": 102.0}, path, value)
    assert all(text.isprintable() for text in screens(document))


@settings(max_examples=80, deadline=None)
@given(JSON, JSON)
def test_anything_at_all(document, events):
    assert all(text.isprintable() for text in screens(document, events))
    assert all(
        text.isprintable()
        for text in screens(
            {**STATUS, "uptime_s": 102.0}, {"events": [{"id": "a", "time_s": 1, "text": "x", "kind": document, "name": events}]}
        )
    )


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PLACES), JSON, st.integers(1, 250), st.integers(1, 70))
def test_a_page_fits_whatever_it_shows(path, value, columns, rows):
    watched = Watched("a place", lambda: 1_796_000_102.0, lambda: 1.0)
    watched.hear(Answered(changed(STATUS, path, value)))
    lines = page(watched.view(), Look(columns, rows))
    assert len(lines) <= rows
    assert all(width_of(each) <= columns for each in lines)


def test_a_thousand_cameras_are_not_shown():
    camera = STATUS["cameras"]["belt"]
    assert len(said({**STATUS, "cameras": {f"camera-{number}": camera for number in range(1000)}}).cameras) == MOST_CAMERAS


def test_names_are_short_and_cannot_command():
    found = said({**STATUS, "name": "\x1b]0;owned\x07" + "x" * 10_000_000})
    assert len(found.name) <= 64
    assert found.name.isprintable()


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ({"events": []}, 0),
        ({"events": {"a": 1}}, 0),
        ({"events": [None, 3, {"id": "a"}, {"id": "b", "time_s": "now", "text": "x"}]}, 0),
        ({"events": [{"id": "a", "time_s": 1.0, "text": "x"}]}, 1),
        ({"events": [{"id": str(number), "time_s": 1.0, "text": "x"} for number in range(900)]}, 500),
        (None, 0),
    ],
)
def test_events_that_are_some(events, count):
    assert len(happened(events, 500)) == count


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ({"events": [{"id": "a"}, {"id": "b"}]}, "b"),
        ({"events": []}, None),
        ({"events": [{"id": "x" * 65}]}, None),
        ({"events": [{"id": 3}]}, None),
        ({"events": ["b"]}, None),
        (json.loads("[[]]"), None),
    ],
)
def test_the_last_events_id(events, expected):
    assert last_id(events) == expected

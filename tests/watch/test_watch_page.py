"""The page: what there is to know stands on it, at every size, and cause and effect stand under one another."""

import pytest

from edgewright.watch.asker import Answered
from edgewright.watch.chart import ASCII, BLOCKS, Axis, bars, letter, markers, peaks, round_top, ticks
from edgewright.watch.lately import Quantiles, Sample
from edgewright.watch.page import Look, glyphs_for, page
from edgewright.watch.said import Happened
from edgewright.watch.spans import plain
from edgewright.watch.view import Watched
from edgewright.watch.words import one_line
from told_service import MIB, Figures

CAMERAS = ("belt", "gate", "hall-north", "press-2")
BEGAN_S = 1_796_000_000.0


class Story:
    """A service for a while, and what `watch` has heard of it."""

    def __init__(self, cameras=CAMERAS):
        self.figures = Figures(cameras, wall_s=BEGAN_S)
        self.monotonic_s = 0.0
        self.watched = Watched("/var/lib/edgewright", lambda: self.figures.wall_s, lambda: self.monotonic_s)
        self._told = 0

    def go_on(self, seconds, **how):
        for _ in range(seconds):
            self.figures.turn(1.0, **how)
            self.monotonic_s += 1.0
            self.watched.hear(Answered(self.figures.status(), {"events": self.figures.events[self._told :]}))
            self._told = len(self.figures.events)

    def page(self, columns=80, rows=24, **look):
        return [plain(each).rstrip() for each in page(self.watched.view(), Look(columns, rows, **look))]


@pytest.fixture(scope="module")
def story():
    story = Story()
    story.go_on(40, age_ms=40)
    story.figures.happen("governor", "power", "the supply sags", "error")
    story.go_on(3, age_ms=40)
    story.go_on(10, age_ms=400, dropped=5)
    story.figures.happen("worker", "defects", "was replaced: it was silent for 10.0 s", "warning")
    story.go_on(12, age_ms=40)
    story.figures.said["gate"] = {"state": "waiting", "why": "connection refused", "restarts": 3}
    story.go_on(2, age_ms=40)
    return story


def test_everything_is_on_80_by_24(story):
    found = story.page()
    text = "\n".join(found)
    assert len(found) <= 24
    for words in (*CAMERAS, "defects", "onnxruntime", "412 of 600 MiB, 444 promised", "74.6 °C, limit 78", "not throttled"):
        assert words in text
    for words in ("rung 2 of 3: yolo-480, 2 threads", "cap 12.0 fps", "throttles in 8 min", "store", "1,204", "broker", "3.0 KiB", "film"):
        assert words in text
    for words in (
        "9.0/10.0",
        "superseded",
        "connection refused",
        "W worker defects was replaced",
        "G governor power the supply sags",
        "p99",
    ):
        assert words in text


def test_what_is_wrong_stands_first(story):
    assert story.page()[2].startswith("gate        waiting")


def test_cause_and_effect_stand_under_one_another(story):
    found = story.page()
    at = next(number for number, text in enumerate(found) if text.startswith("events "))
    high, events = found[at - 2], found[at]
    cause, rise = events.index("G"), high.index(next(each for each in high[9:] if each != " "), 9)
    assert rise - cause == 3 + 1  # seconds, a column each: it went on for three more, and the next was late
    assert events.index("W") - cause == 13


@pytest.mark.parametrize("columns", [20, 40, 60, 100, 132, 250])
@pytest.mark.parametrize("rows", [1, 4, 10, 24, 33, 34, 60])
def test_every_size(story, columns, rows):
    found = story.page(columns, rows)
    assert len(found) <= rows
    assert all(len(text) <= columns for text in found)
    assert found[0].startswith("line-3")
    if rows >= 10:
        assert any("gate" in text for text in found)


def test_small_screens_say_what_is_missing(story):
    found = story.page(60, 12)
    assert "  and 3 more" in found[2:6] or "  and 2 more" in found[2:6]


def test_large_screens_have_more(story):
    text = "\n".join(story.page(180, 50))
    for words in ("1280x720", "opencv", "model defects 290", "q ends it"):
        assert words in text


def test_the_last_figures_of_a_service_that_is_gone():
    story = Story()
    story.go_on(3)
    story.monotonic_s += 12
    story.watched.hear(Answered(failure="nobody is there"))
    found = page(story.watched.view(), Look(80, 24))
    assert "gone" in plain(found[0])
    assert plain(found[1]) == "no answer: nobody is there; what is shown is 12 s old"
    assert all(span.style == "faint" for each in found[2:] for span in each)
    assert any("belt" in plain(each) for each in found)
    assert one_line(story.watched.view(), []).endswith("no answer: nobody is there")


def test_before_the_first_answer():
    story = Story()
    assert story.page()[1] == "asking the service ..."
    story.watched.hear(Answered(failure="nobody is there"))
    assert story.page()[:2] == [story.page()[0], "waiting for the service; no answer: nobody is there"]
    assert "/var/lib/edgewright" in story.page()[0]


def test_alarms_are_not_said_by_colour_alone():
    story = Story()
    story.figures.more = {
        "ready": False,
        "board": {"zones_c": {"cpu": 81.0}, "throttled": {"under-voltage": True, "throttled": False}},
        "governor": None,
        "memory": {"budget_bytes": 100 * MIB, "promised_bytes": {}, "used_bytes": {"service": 97 * MIB}, "alarm": True},
        "models": {"defects": {"state": "refused", "engine": None, "waiting": 0, "restarts": 2, "why": "it does not fit"}},
    }
    story.go_on(2)
    text = "\n".join(story.page())
    for words in ("not ready", "under-voltage", "81.0 °C", "97 of 100 MiB", "refused", "it does not fit"):
        assert words in text
    assert one_line(story.watched.view(), []).endswith("model defects refused; memory 97 of 100 MiB; 81.0 °C; under-voltage")


def test_a_line_for_a_pipe(story):
    found = one_line(story.watched.view(), list(story.watched.view().events))
    assert "line-3 ready; belt 9.0/10.0 fps" in found
    assert "gate waiting" in found
    assert found.endswith("worker defects was replaced: it was silent for 10.0 s (2 events)")


def test_a_terminal_without_blocks(story):
    assert glyphs_for("utf-8") == glyphs_for("UTF8") == BLOCKS
    assert glyphs_for("ANSI_X3.4-1968") == glyphs_for(None) == ASCII
    text = "\n".join(story.page(glyphs=ASCII)).replace("°", "")
    assert text.isascii()


# --- the chart ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "top"), [(0, 1), (0.4, 0.4), (41, 50), (97, 100), (100, 100), (212, 300), (1600, 2000)])
def test_a_round_top(value, top):
    assert round_top(value) == pytest.approx(top)


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        ([None, 0.0, 50.0, 100.0], 1, [" ▁▄█"]),
        ([None, 1.0, 50.0, 75.0, 100.0], 2, ["   ▄█", " ▁███"]),
    ],
)
def test_bars(values, rows, expected):
    assert bars(values, 100.0, rows, BLOCKS) == expected


def sample(time_s, p99):
    return Sample(time_s, Quantiles(p99 / 2, p99))


def test_columns_hold_their_peak_and_do_not_move():
    samples = [sample(100.2, 40.0), sample(104.9, 90.0), sample(105.0, 20.0)]
    assert peaks(samples, Axis(109.0, 3, 5.0)) == [None, 90.0, 20.0]
    assert peaks(samples, Axis(110.0, 3, 5.0)) == [90.0, 20.0, None]


def happened(time_s, kind, severity):
    return Happened(str(time_s), time_s, kind, "x", "y", severity)


def test_the_gravest_of_a_column_is_marked():
    events = [
        happened(100, "rule", "info"),
        happened(100.5, "worker", "error"),
        happened(100.9, "camera", "warning"),
        happened(99, "rule", "info"),
    ]
    assert plain(markers(events, Axis(102.0, 4, 1.0), BLOCKS)) == "RW··"
    assert plain(markers(events, Axis(1e6, 4, 1.0), BLOCKS)) == "····"


@pytest.mark.parametrize(("kind", "expected"), [("camera", "C"), ("", "?"), ("検", "?"), ("3d", "?"), ("http", "H")])
def test_letters(kind, expected):
    assert letter(kind) == expected


def test_times_of_day_stand_where_they_are():
    axis = Axis(BEGAN_S + 59, 60, 1.0)
    found = ticks(axis)
    assert found.count("|") == 3
    assert all(axis.begins_s(at) % 20 == 0 for at, each in enumerate(found) if each == "|")
    assert ticks(Axis(1e15, 30, 1.0)).count(":") % 2 == 0  # a time that no calendar has

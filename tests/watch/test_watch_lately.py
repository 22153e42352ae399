"""What has changed: rates and quantiles of counts that only grow, and a service that begins anew."""

import pytest

from edgewright.watch.asker import Answered
from edgewright.watch.lately import Trail
from edgewright.watch.said import said
from edgewright.watch.view import STALE_S, Watched
from told_service import Figures


def heard(figures, trail):
    return trail.hear(said(figures.status()), 0.0)


def test_the_first_status_has_no_rates():
    found = heard(Figures(), Trail())
    assert (found.cameras[0].fps, found.cameras[0].now.p50, found.models[0].fps) == (None, None, None)


def test_rates_are_of_five_seconds_and_drops_of_a_minute():
    figures, trail = Figures(), Trail()
    heard(figures, trail)
    for _ in range(70):
        figures.turn(1.0, fps=10, dropped=1, age_ms=40)
        found = heard(figures, trail)
    belt = found.cameras[0]
    assert (belt.fps, belt.fps_captured, dict(belt.dropped), found.minute_s) == (9.0, 10.0, {"superseded": 60}, 60.0)
    for _ in range(6):
        figures.turn(1.0, fps=10, dropped=6, age_ms=400)
        found = heard(figures, trail)
    assert found.cameras[0].fps == 4.0
    assert found.cameras[0].now.p50 == pytest.approx(400, rel=0.35)  # half as much again is a bucket
    assert found.cameras[0].minute.p50 == pytest.approx(42, rel=0.35)
    assert found.models[0].stages["model"].p50 == pytest.approx(33, rel=0.35)
    assert [sample.age.p50 is not None for sample in trail.samples] == [True] * 76


def test_the_same_status_once_more_is_none():
    figures, trail = Figures(), Trail()
    heard(figures, trail)
    assert heard(figures, trail) is None


def test_a_service_that_begins_anew_has_done_nothing_before():
    figures, trail = Figures(), Trail()
    for _ in range(5):
        figures.turn(1.0)
        heard(figures, trail)
    again = Figures()
    again.uptime_s = 1.0
    assert heard(again, trail).cameras[0].fps is None
    again.turn(1.0)
    assert heard(again, trail).cameras[0].fps == 9.0


def test_a_camera_that_comes_later_is_all_new():
    figures, trail = Figures(("belt",)), Trail()
    heard(figures, trail)
    later = Figures(("belt", "gate"))
    later.turn(2.0, fps=10, dropped=0)
    assert heard(later, trail).cameras[1].fps == 10.0


def test_two_models_of_a_camera_show_the_slower_one():
    figures, trail = Figures(), Trail()
    document = figures.status()
    pair = document["cameras"]["belt"]["models"]["defects"]
    document["cameras"]["belt"]["models"]["people"] = pair
    trail.hear(said(document), 0.0)
    figures.turn(1.0, fps=10, dropped=0)
    later = figures.status()
    later["cameras"]["belt"]["models"]["people"] = {**pair, "answered": 4}
    belt = trail.hear(said(later), 0.0).cameras[0]
    assert belt.fps == 4.0
    assert belt.now.p50 == pytest.approx(43, rel=0.35)


class Clocks:
    wall_s = 1_796_000_000.0
    monotonic_s = 0.0


def watched():
    clocks = Clocks()
    return clocks, Watched("here", lambda: clocks.wall_s, lambda: clocks.monotonic_s)


def test_a_service_that_is_gone_leaves_its_last_figures_with_their_age():
    clocks, found = watched()
    figures = Figures()
    assert found.hear(Answered(figures.status(), {"events": []}))
    assert found.view().trouble is None
    clocks.monotonic_s = 12.0
    assert not found.hear(Answered(failure="nobody is there"))
    view = found.view()
    assert (view.trouble, view.age_s, view.lately.said.name) == ("no answer: nobody is there", 12.0, "line-3")
    figures.turn(13.0)
    assert found.hear(Answered(figures.status(), {"events": []}))
    assert found.view().trouble is None


def test_a_front_whose_service_has_stopped_talking_is_noticed():
    clocks, found = watched()
    status = Figures().status()
    found.hear(Answered(status, {"events": []}))
    clocks.monotonic_s = STALE_S + 1
    assert not found.hear(Answered(status, {"events": []}))
    assert found.view().trouble == "it says nothing new"


def test_what_is_no_status_is_said():
    _, found = watched()
    found.hear(Answered({"models": []}, {"events": []}))
    assert found.view().trouble == "what it says of itself is no status"


def test_events_are_noted_once_and_the_latest_are_kept():
    _, found = watched()
    figures = Figures()
    for number in range(700):
        figures.happen("rule", "seen", f"number {number}")
    found.hear(Answered(figures.status(), {"events": figures.events}))
    found.hear(Answered(figures.status(), {"events": figures.events[-3:]}))
    view = found.view()
    assert (len(view.events), view.events[-1].text, found.noted) == (500, "number 699", 500)
    assert [event.text for event in found.since(498)] == ["number 698", "number 699"]


def test_the_time_shown_is_the_services():
    clocks, found = watched()
    figures = Figures(wall_s=clocks.wall_s + 3600)
    found.hear(Answered(figures.status(), None))
    assert found.view().now_s == pytest.approx(clocks.wall_s + 3700)

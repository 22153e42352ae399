"""Who may ask, and how often; and how figures are written."""

import pytest

from edgewright.run.figures import Histogram
from edgewright.run.secrets import Secret
from edgewright.serve.exposition import Family, exposed
from edgewright.serve.gate import MOST_ADDRESSES, Gate, Paces, check_token
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.refusals import ForbiddenError, NotNowError, TooManyError, UnauthorizedError


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.now_s


def taken(paces, address="a", tries=20):
    """How many of so many tries at once are let through."""
    count = 0
    for _ in range(tries):
        try:
            paces.take(address)
        except TooManyError:
            return count
        count += 1
    return count


def test_as_many_as_in_two_seconds_may_come_at_once_and_then_as_many_as_come_in():
    clock = Clock()
    paces = Paces(5, clock)
    assert taken(paces) == 10
    assert taken(paces) == 0
    assert taken(paces, "b") == 10, "another address has a pace of its own"
    clock.now_s += 1
    assert taken(paces) == 5
    clock.now_s += 1000
    assert taken(paces) == 10


def test_who_is_too_fast_is_told_when_to_come_again():
    clock = Clock()
    paces = Paces(0.1, clock)
    paces.take("a")
    with pytest.raises(TooManyError) as caught:
        paces.take("a")
    clock.now_s += caught.value.retry_after_s + 0.001
    paces.take("a")


def test_no_more_addresses_are_remembered_than_there_is_room_for():
    paces = Paces(1, Clock())
    for number in range(MOST_ADDRESSES + 100):
        paces.take(str(number))
    assert len(paces._buckets) == MOST_ADDRESSES


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer other-token-of-16", "Basic the-right-token-1", "the-right-token-1", "Bearer \xff"]
)
def test_another_token_is_none(given):
    with pytest.raises(UnauthorizedError):
        check_token(given, Secret("the-right-token-1"))
    check_token("Bearer the-right-token-1", Secret("the-right-token-1"))


def comes_in(headers, *, method="GET", is_for_people=False):
    """Without a token."""
    gate = Gate(HttpSettings(), clock=Clock())
    headers = {"host": "127.0.0.1:8000", **headers}
    try:
        gate.check(headers, "127.0.0.1", is_open=False, method=method, is_for_people=is_for_people)
    except ForbiddenError:
        return False
    return True


LINK = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
PICTURE = {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
FRAME = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}


@pytest.mark.parametrize("how", [LINK, PICTURE, FRAME])
def test_a_browser_that_asks_from_here_or_from_nowhere_comes_in(how):
    for site in ("same-origin", "none"):
        assert comes_in({"sec-fetch-site": site, **how})


@pytest.mark.parametrize("site", ["cross-site", "same-site", "what comes next"])
def test_from_another_site_a_link_leads_to_pages_for_people_and_nothing_else_anywhere(site):
    """What a browser says of it (W3C, Fetch Metadata): for an <img> it sends no Origin."""
    for is_for_people in (False, True):
        for how in (LINK, PICTURE, FRAME, {}):
            for method in ("GET", "POST"):
                may = is_for_people and how is LINK and method == "GET"
                assert comes_in({"sec-fetch-site": site, **how}, method=method, is_for_people=is_for_people) == may
    assert not comes_in({"sec-fetch-site": site, "origin": "http://elsewhere.example", **LINK}, is_for_people=True)
    assert not comes_in({"sec-fetch-site": site, "host": "evil.example", **LINK}, is_for_people=True)


def test_what_is_held_and_answered_is_counted_back():
    gate = Gate(HttpSettings(most_held_bytes=10, most_at_once=1), clock=Clock())
    gate.hold(8)
    with pytest.raises(NotNowError):
        gate.hold(3)
    gate.let_go(8)
    gate.hold(10)
    with gate.answering(), pytest.raises(TooManyError), gate.answering():
        pass
    with gate.answering():
        assert gate.at_once == 1
    assert gate.at_once == 0


def test_figures_are_written_as_prometheus_reads_them():
    counter = Family("edgewright_x_total", "counter", "Text.").add(3, model='a"b\\c\nd').add(0.25, model="e")
    histogram = Histogram()
    for seconds in (0.0005, 0.002, 1000.0):
        histogram.add(seconds)
    lines = exposed([counter, Family("edgewright_y_seconds", "histogram", "Text.").add_histogram(histogram, stage="queue")]).splitlines()
    assert lines[:4] == [
        "# HELP edgewright_x_total Text.",
        "# TYPE edgewright_x_total counter",
        'edgewright_x_total{model="a\\"b\\\\c\\nd"} 3',
        'edgewright_x_total{model="e"} 0.25',
    ]
    assert lines[6] == 'edgewright_y_seconds_bucket{stage="queue",le="0.001"} 1'
    assert lines[-4:] == [
        'edgewright_y_seconds_bucket{stage="queue",le="100"} 2',
        'edgewright_y_seconds_bucket{stage="queue",le="+Inf"} 3',
        'edgewright_y_seconds_sum{stage="queue"} 1000.0025',
        'edgewright_y_seconds_count{stage="queue"} 3',
    ]

"""What a live service says becomes figures that Prometheus takes: names, kinds, labels, and sums that add up."""

import re
from collections import Counter, defaultdict

import pytest

from edgewright.clock import SystemClock
from edgewright.serve.exposition import exposed
from edgewright.serve.live_metrics import live_families
from edgewright.serve.live_view import MOST_EVENTS, STALE_S, LiveView
from edgewright.serve.metrics import HttpFigures, families
from edgewright.serve.model_figures import ModelFigures
from edgewright.serve.model_host import ModelHost
from edgewright.serve.model_settings import HostSettings
from live_status import a_status

UNITS = (
    "seconds",
    "bytes",
    "celsius",
    "fps",
    "total",
    "up",
    "state",
    "alarm",
    "throttled",
    "rung",
    "cap",
    "info",
    "ready",
    "requests",
    "connections",
)
SAMPLE = re.compile(r'(?P<name>[a-z_:]+)(?:\{(?P<labels>(?:[a-z_]+="(?:[^"\\]|\\.)*",?)+)\})? (?P<value>[-+0-9.e]+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Turned:
    def __init__(self):
        self.now_s = 100.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.now_s


@pytest.fixture
def status(tmp_path):
    return a_status(tmp_path)


def samples_of(text):
    """(family, sample, labels, value) of every line; each family begins with its help and its kind."""
    found, kinds = [], {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds, f"{name} comes twice"
            kinds[name] = kind
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = match["name"]
            family = re.sub(r"_(bucket|sum|count)$", "", name) if kinds.get(name) is None else name
            found.append((family, name, dict(LABEL.findall(match["labels"] or "")), float(match["value"])))
    return found, kinds


def test_names_kinds_and_labels_are_as_prometheus_asks(status):
    found, kinds = samples_of(exposed(live_families(status)))
    for name, kind in kinds.items():
        assert name.startswith("edgewright_")
        assert name.endswith(UNITS), name
        assert name.endswith("_total") == (kind == "counter"), name
    labels = defaultdict(set)
    for family, name, given, _ in found:
        labels[family, name].add(frozenset(given))
    assert {family: names for family, names in labels.items() if len(names) > 1} == {}
    repeated = Counter((name, *sorted(given.items())) for _, name, given, _ in found)
    assert repeated.most_common(1)[0][1] == 1
    assert set(kinds) == {family for family, *_ in found}, "of each there is something in this status"


def test_frames_add_up(status):
    found, _ = samples_of(exposed(live_families(status)))
    for camera, models in (("belt", ("tiny", "second")), ("gate", ("tiny",))):
        captured = next(
            value for _, name, given, value in found if name == "edgewright_frames_captured_total" and given["camera"] == camera
        )
        frames = Counter()
        for _, name, given, value in found:
            if name == "edgewright_frames_total" and given["camera"] == camera:
                frames[given["model"]] += value
        for model in models:
            on_the_way = status["cameras"][camera]["models"][model]["on_the_way"]
            assert captured == frames[""] + frames[model] + on_the_way


def test_buckets_are_cumulative_and_end_with_the_count(status):
    found, _ = samples_of(exposed(live_families(status)))
    buckets = [value for _, name, given, value in found if name.endswith("age_seconds_bucket") and given["camera"] == "gate"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 93
    stages = [value for _, name, given, value in found if name == "edgewright_stage_duration_seconds_sum" and given["camera"] == "gate"]
    age = next(value for _, name, given, value in found if name == "edgewright_frame_age_seconds_sum" and given["camera"] == "gate")
    assert sum(stages) == pytest.approx(age), "an age is the sum of its stages"


def test_the_same_page_holds_models_over_http_and_the_live_service_and_no_family_twice(status):
    clock = Turned()
    view, host = LiveView(clock), ModelHost(HostSettings(memory_bytes=1 << 30), clock=SystemClock())

    def shown():
        return samples_of(exposed(families(host, HttpFigures(), ready=True, live=view)))[1]

    assert "edgewright_uptime_seconds" not in shown()
    view.hear_status(status)
    assert {"edgewright_uptime_seconds", "edgewright_memory_budget_bytes", "edgewright_info", "nv_inference_count"} <= set(shown())
    clock.now_s += STALE_S + 0.1
    assert "edgewright_uptime_seconds" not in shown(), "figures that stand still are not shown as ones of now"
    assert "edgewright_memory_budget_bytes" not in shown()
    alone = samples_of(exposed(families(host, HttpFigures(), ready=True)))[1]
    assert "edgewright_memory_budget_bytes" in alone


def test_restarts_are_counted_apart_and_outlive_an_unload_and_a_service_that_is_silent(status):
    clock = Turned()
    view, host = LiveView(clock), ModelHost(HostSettings(memory_bytes=1 << 30), clock=SystemClock())
    host.figures["tiny"] = ModelFigures(restarts=2)  # it was asked over HTTP, and has been unloaded
    status["models"]["tiny"]["restarts"] = 3

    def shown():
        found, _ = samples_of(exposed(families(host, HttpFigures(), ready=True, live=view)))
        return {
            given["of"]: value for _, name, given, value in found if name == "edgewright_worker_restarts_total" and given["model"] == "tiny"
        }

    view.hear_status(status)
    assert shown() == {"http": 2, "cameras": 3}
    clock.now_s += STALE_S + 0.1
    assert shown() == {"http": 2}


def test_a_service_is_ready_when_it_has_just_said_so(status):
    clock = Turned()
    view = LiveView(clock)
    assert not view.is_ready
    view.hear_status(status)
    assert view.is_ready
    view.hear_status({**status, "ready": False})
    assert not view.is_ready
    view.hear_status(status)
    clock.now_s += STALE_S
    assert view.is_ready
    clock.now_s += 0.1
    assert not view.is_ready


def test_the_last_events_are_kept_and_listeners_hear_of_each():
    class Heard:
        def __init__(self):
            self.events, self.states = [], []

        def heard_event(self, event):
            self.events.append(event["id"])

        def heard_status(self, status):
            self.states.append(status)

    view, heard = LiveView(Turned()), Heard()
    view.listeners.append(heard)
    for number in range(MOST_EVENTS + 20):
        view.hear_event({"id": f"{number:06}"})
    view.hear_status({"ready": True})
    assert [event["id"] for event in view.events_after(None)] == [f"{number:06}" for number in range(20, MOST_EVENTS + 20)]
    assert [event["id"] for event in view.events_after("000517")] == ["000518", "000519"]
    assert view.events_after("zzz") == []
    assert (len(heard.events), heard.states) == (MOST_EVENTS + 20, [{"ready": True}])

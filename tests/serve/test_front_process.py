"""The front as the service sees it: told what there is, never waited for, replaced when it goes, and gone when nobody looks."""

import socket
from types import SimpleNamespace

import pytest

from edgewright.errors import HostError
from edgewright.run.front_settings import FrontSettings
from edgewright.run.loop import Loop
from edgewright.run.memory import MIB, MemoryBudget
from edgewright.run.records import Event
from edgewright.run.secrets import Secret
from edgewright.run.settings import ModelSettings, ServiceSettings
from edgewright.serve import front as front_module
from edgewright.serve.doors import Doors, listen_at, listen_in
from edgewright.serve.front import FRONT_BYTES, REST_S, SILENT_S, START_S, Front, front_of
from edgewright.serve.front_words import FrontOrder, Gathered
from edgewright.serve.live_view import MOST_EVENTS
from live_stage import Spoken

TOKEN = "a-token-that-must-not-be-seen"


class Turned:
    def __init__(self):
        self.now_s = 1000.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.now_s


class Stage:
    """A loop, a clock, a budget and a front, whose process the test speaks for."""

    def __init__(self, folder, *, listens=True, budget_bytes=1 << 30):
        self.clock, self.loop = Turned(), Loop()
        self.budget = MemoryBudget(budget_bytes)
        self.said, self.states = [], 0
        self.doors = Doors(listen_at("127.0.0.1", 0) if listens else ())
        self.doors.own, self.doors.own_path = listen_in(folder)
        http = FrontSettings(port=0, token=Secret(TOKEN)) if listens else None
        models = (ModelSettings("tiny", folder / "tiny.onnx"),)
        self.settings = ServiceSettings(models, (), state=folder, http=http)
        parts = {"loop": self.loop, "clock": self.clock, "budget": self.budget}
        self.front = Front(self.settings, self.doors, **parts, hearer=self, status=self.status)
        self.gathered = Gathered()

    def status(self):
        self.states += 1
        return {"ready": True, "state": self.states}

    def say(self, kind, name, text, severity="info", *, data=None):
        assert (kind, name) == ("http", "front")
        self.said.append(text)

    def turn(self, seconds=0.0):
        self.clock.now_s += seconds
        self.loop.turn(0.0)
        self.front.advance(self.clock.now_s)

    @property
    def child(self):
        return Spoken.made[-1]

    def heard(self):
        """Documents that the process was told meanwhile; other words as they are."""
        found = []
        while (message := self.child.theirs.receive()) is not None:
            for descriptor in message.fds:
                socket.socket(fileno=descriptor).close()
            if "piece" not in message.words:
                found.append({**message.words, "fds": len(message.fds)})
            elif (document := self.gathered.take(message.words)) is not None:
                found.append(document)
        return found

    def serves(self):
        self.child.theirs.send({"say": "serves"})
        self.hears()

    def hears(self, **words):
        self.child.theirs.send({"say": "heard", "busy": False, "promised": {}, "used": {}, **words})
        self.turn()

    def knock(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.doors.own_path))
        return client


@pytest.fixture
def stage(tmp_path, monkeypatch):
    monkeypatch.setattr("edgewright.run.kept.Child", Spoken)
    monkeypatch.setattr(Spoken, "made", [])
    stages = []

    def make(**options):
        stages.append(Stage(tmp_path, **options))
        return stages[-1]

    yield make
    for each in stages:
        each.front.finish(0.0)
        each.front.end()
        each.loop.close()


def event(number):
    return Event(f"{number:06}", 1.0, "camera", "belt", "happened", "warning")


def events_of(heard):
    return [each["id"] for document in heard for each in document.get("events", ())]


def test_it_is_told_where_to_listen_what_to_serve_and_then_how_the_service_is(stage):
    it = stage()
    it.front.start()
    it.turn()
    doors, order, first = it.heard()
    assert doors == {"doors": [1, 1], "fds": 2}
    told = FrontOrder.from_json(order["order"])
    assert (told.settings.token.reveal(), [name for name, *_ in told.models]) == (TOKEN, ["tiny"])
    assert first["status"]["state"] == 1
    assert first["room_bytes"] == (1 << 30) - FRONT_BYTES
    it.serves()
    assert it.said == [f"listens at http://127.0.0.1:{it.doors.port}"]
    it.turn(0.5)
    assert it.heard() == []
    it.turn(0.5)
    assert [each["status"]["state"] for each in it.heard()] == [2]


def test_events_come_at_once_in_their_order_and_after_a_replacement_again(stage):
    it = stage()
    it.front.offer(event(1))
    it.turn()
    it.serves()
    it.heard()
    it.front.offer(event(2))
    it.front.offer(event(3))
    it.turn()
    assert events_of(it.heard()) == ["000002", "000003"]
    it.child.theirs.close()
    it.turn()
    assert it.front.state == "waiting"
    assert "gone" in it.said[-1]
    it.turn(1.1)
    heard = it.heard()
    assert events_of(heard) == ["000001", "000002", "000003"]
    assert heard[-1]["status"]["front"]["restarts"] == 1
    assert heard[-1]["status"]["events"] == [["camera", "warning", 3]]


def test_one_that_reads_nothing_holds_nobody_up_and_misses_only_old_statuses(stage):
    it = stage()
    it.turn()
    for number in range(3000):
        it.front.offer(event(number))
        it.turn(0.001)
    states_before = it.states
    for _ in range(10):
        it.turn(1.0)
    assert it.states <= states_before + 10
    heard = it.heard()
    it.turn()
    while more := it.heard():
        heard += more
        it.turn()
    ids = events_of(heard)
    assert ids == sorted(set(ids)), "each at most once, in their order"
    assert ids[-MOST_EVENTS // 2 :] == [f"{number:06}" for number in range(3000 - MOST_EVENTS // 2, 3000)]
    assert len(it.front._events) == MOST_EVENTS


def test_one_that_is_silent_is_replaced(stage):
    it = stage()
    it.turn()
    it.turn(START_S - 1)
    assert it.front.state == "starting"
    it.serves()
    it.turn(SILENT_S - 1)
    assert it.front.state == "serving"
    it.turn(2)
    assert it.front.state == "waiting"
    assert "silent" in it.said[-1]


@pytest.mark.parametrize(
    "words", [{"say": "what"}, {"say": "heard", "busy": False}, {"say": "heard", "busy": 0, "promised": [], "used": {}}, {}]
)
def test_one_that_speaks_nonsense_is_replaced(stage, words):
    it = stage()
    it.turn()
    it.child.theirs.send(words)
    it.turn()
    assert it.front.state == "waiting"
    assert it.front.restarts == 1


def test_a_failure_that_comes_again_and_again_is_said_ever_less_often(stage):
    it = stage()
    for _ in range(16):
        it.turn(60)
        it.child.theirs.send({"say": "refused", "why": "no certificate"})
        it.turn()
    assert len(it.said) == 5
    assert it.said[0].startswith("no certificate; another is started in 1 s")


def test_its_models_have_their_part_of_the_one_budget(stage):
    it = stage(budget_bytes=200 * MIB)
    it.front.start()
    it.turn()
    it.serves()
    it.hears(promised={"model tiny": 50 * MIB}, used={"model tiny": 40 * MIB})
    assert it.budget.promises == {"front": FRONT_BYTES, "http model tiny": 50 * MIB}
    assert it.front.used_bytes == {"http model tiny": 40 * MIB}
    it.heard()
    it.turn(1)
    assert it.heard()[-1]["room_bytes"] == 200 * MIB - FRONT_BYTES
    it.hears(promised={"model tiny": 500 * MIB})
    assert it.budget.promises["http model tiny"] == 50 * MIB, "more than there is nobody is promised"
    it.hears()
    assert it.budget.promises == {"front": FRONT_BYTES}
    it.front.end()
    assert it.budget.promises == {}


def test_one_that_listens_and_does_not_fit_is_said_at_the_start(stage):
    it = stage(budget_bytes=10 * MIB)
    with pytest.raises(HostError, match="the HTTP front does not fit into the memory budget"):
        it.front.start()


def test_without_an_address_it_runs_only_while_somebody_is_there(stage):
    it = stage(listens=False)
    it.front.start()
    it.turn(10)
    assert (Spoken.made, it.budget.promises, it.front.state) == ([], {}, "resting")
    with it.knock():
        it.turn()
        it.turn()
        assert it.heard()[0] == {"doors": [0, 1], "fds": 1}
        it.serves()
        assert it.said == []
        for _ in range(20):
            it.turn(REST_S / 6)
            it.hears(busy=True)
            assert it.front.state == "serving"
    it.doors.own.accept()[0].close()
    for _ in range(6):
        it.turn(REST_S / 6)
        it.hears()
    it.turn(1)
    assert (it.front.state, it.child.ended, it.budget.promises) == ("resting", True, {})
    assert it.front.restarts == 0
    with it.knock():
        it.turn()
        it.turn()
        assert len(Spoken.made) == 2


def test_where_there_is_no_memory_for_it_who_knocks_is_let_go_and_it_is_said_once(stage):
    it = stage(listens=False, budget_bytes=10 * MIB)
    for _ in range(3):
        with it.knock() as client:
            it.turn()
            it.turn()
            client.settimeout(5)
            assert client.recv(1) == b""
    assert len(it.said) == 1
    assert "does not fit" in it.said[0]


def test_at_the_end_nobody_new_comes_in_and_it_has_time_for_what_was_asked(stage):
    it = stage()
    it.turn()
    it.serves()
    it.heard()
    path, port = it.doors.own_path, it.doors.port
    it.front.finish(0.8)
    assert it.heard() == [{"end": 0.8, "fds": 0}]
    assert not path.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not it.front.has_finished
    it.child.theirs.close()
    it.turn()
    assert it.front.has_finished
    assert it.front.restarts == 0
    assert it.said[1:] == []


def test_a_fault_in_there_is_said_without_credentials_and_not_in_floods(stage):
    it = stage()
    it.turn()
    it.serves()
    for _ in range(20):
        it.child.theirs.send({"say": "fault", "text": "Traceback\nValueError: rtsp://user:hunter2@camera/"})
        it.turn(0.1)
    assert it.said[1:] == ["a fault of edgewright's"]


def test_where_the_package_is_missing_there_is_no_front_and_one_that_is_asked_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(front_module, "is_installed", lambda: False)
    plain = ServiceSettings((), (), state=tmp_path)
    with front_of(plain) as beside:
        assert beside is None
    asked_for = ServiceSettings((), (), state=tmp_path, http=FrontSettings(port=0))
    with pytest.raises(HostError, match=r"pip install 'edgewright\[serve\]'"), front_of(asked_for):
        pass


def test_a_fault_of_ours_over_what_it_says_is_not_held_against_it(stage, monkeypatch):
    it = stage()
    it.front.start()
    it.turn()
    it.serves()
    child = it.child

    def fails(*_args, **_fields):
        raise KeyError("a slip")

    monkeypatch.setattr(it.front, "_hearer", SimpleNamespace(say=fails))
    child.theirs.send({"say": "note", "text": "the disk is full"})
    with pytest.raises(KeyError, match="a slip"):
        it.turn()
    assert (it.child, it.front.state, it.front.restarts) == (child, "serving", 0)

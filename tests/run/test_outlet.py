"""An outlet gives every record to its sink, in order and at least once, waits longer and longer for one that fails, and counts."""

import errno
import itertools
import threading
from random import Random

import pytest

from edgewright.clock import SystemClock
from edgewright.run import outlets as outlets_module
from edgewright.run import spool as spool_module
from edgewright.run.letter import letter_of
from edgewright.run.outlet import ATTEND_EVERY_S, LONGEST_ASKED_S, LONGEST_RETRY_S, ROOM_BYTES, SPARED_S, TELL_EVERY_S, Outlet
from edgewright.run.outlets import Outlets, Route, open_outlets
from edgewright.run.records import Event
from edgewright.run.secrets import Address, Secret
from edgewright.run.settings import FileOutput, MqttOutput, ServiceSettings, WebhookOutput
from edgewright.run.sinks.base import RefusedError, UndeliveredError, secrets_of
from edgewright.run.spool import LEAST_BYTES, SEGMENTS, Spool
from edgewright.run.wear import Wear
from edgewright.testing.sinks import some_letters
from tiny_answer import an_answer
from turned_clock import TurnedClock


class ScriptedSink:
    """Takes everything, but for the failures it was told to meet."""

    def __init__(self, *, on_disk=False, gather_s=0.0, most_records=10):
        self.on_disk, self.gather_s, self.most_records = on_disk, gather_s, most_records
        self.failures = []
        self.taken, self.asked, self.closed = [], [], 0

    def deliver(self, letters):
        self.asked.append([letter.id for letter in letters])
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            self.taken += [letter.id for letter in letters[: getattr(failure, "delivered", 0)]]
            raise failure
        self.taken += [letter.id for letter in letters]

    def close(self):
        self.closed += 1


class Sparing:
    def __init__(self, *, answers=False, events=False):
        self.spares_answers, self.spares_events = answers, events


class Told(list):
    def __call__(self, name, severity, text, data):
        self.append((name, severity, text, dict(data)))


@pytest.fixture
def clock():
    return TurnedClock()


@pytest.fixture
def made(tmp_path, clock):
    """Makes outlets over one folder; closes them at the end."""
    outlets = []

    def make(sink=None, sparing=None, **more):
        outlet = Outlet(
            "out",
            sink or ScriptedSink(),
            Spool(tmp_path / "spool", SEGMENTS * LEAST_BYTES),
            clock=clock,
            sparing=sparing or Sparing(),
            tell=Told(),
            random=Random(5),
            **more,
        )
        outlets.append(outlet)
        return outlet

    yield make
    for outlet in outlets:
        outlet.spool.close(clock.monotonic_s())


def ids(letters):
    return [letter.id for letter in letters]


def turn(outlet, clock, by_s):
    """Both steps whenever they are due, for so long."""
    until_s = clock.monotonic_s() + by_s
    while True:
        now_s = clock.monotonic_s()
        due_s = [outlet.keep(now_s), outlet.advance(now_s)]
        next_s = min(each for each in due_s if each is not None)
        if next_s > until_s:
            clock.turn(until_s - now_s)
            return
        clock.turn(max(next_s - now_s, 0.0))


def test_records_arrive_in_their_order(made, clock):
    outlet, letters = made(), some_letters(35)
    for letter in letters:
        outlet.offer(letter)
    turn(outlet, clock, 1.0)
    assert outlet.sink.taken == ids(letters)
    assert max(map(len, outlet.sink.asked)) == 10
    state = outlet.state()
    assert (state.delivered, state.waiting_records, state.waiting_bytes) == (35, 0, 0)
    assert state.last_error is state.failing_since_s is None


def test_a_sink_that_fails_is_asked_ever_less_often_and_gets_everything(made, clock):
    sink = ScriptedSink()
    outlet, letters = made(sink), some_letters(25)
    sink.failures = [UndeliveredError("the server is away") for _ in range(12)]
    for letter in letters:
        outlet.offer(letter)
    times = []
    while not sink.taken:
        now_s = clock.monotonic_s()
        outlet.keep(now_s)
        due_s = outlet.advance(now_s)
        times.append(now_s)
        assert outlet.advance(due_s - 0.001) == due_s
        clock.turn(due_s - now_s)
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses[:6]))
    assert all(LONGEST_RETRY_S / 2 <= pause <= LONGEST_RETRY_S for pause in pauses[7:])
    turn(outlet, clock, 1.0)
    assert sink.taken == ids(letters)


def test_failing_and_recovery_are_told_once(made, clock):
    sink = ScriptedSink()
    outlet = made(sink)
    sink.failures = [UndeliveredError("away") for _ in range(5)]
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 0.4)
    state = outlet.state()
    assert state.failing_since_s == 1_700_000_000.0
    assert state.last_error == "away"
    turn(outlet, clock, 300.0)
    assert [(name, severity) for name, severity, *_ in outlet._tell] == [("out", "warning"), ("out", "info")]
    assert outlet.state().failing_since_s is None


@pytest.mark.parametrize(("asked_s", "least_s"), [(30.0, 30.0), (1e9, LONGEST_ASKED_S), (-5.0, 0.5)])
def test_a_sink_says_when_it_wants_to_be_asked_again_within_bounds(made, clock, asked_s, least_s):
    sink = ScriptedSink()
    outlet = made(sink)
    sink.failures = [UndeliveredError("busy", retry_after_s=asked_s)]
    outlet.offer(some_letters(1)[0])
    outlet.keep(clock.monotonic_s())
    outlet.advance(clock.monotonic_s())
    due_s = outlet.advance(clock.monotonic_s())
    assert least_s <= due_s - clock.monotonic_s() <= LONGEST_ASKED_S


def test_what_was_taken_before_a_failure_is_not_sent_again(made, clock):
    sink = ScriptedSink()
    outlet, letters = made(sink), some_letters(8)
    sink.failures = [UndeliveredError("lost", delivered=3)]
    for letter in letters:
        outlet.offer(letter)
    turn(outlet, clock, 5.0)
    assert sink.taken == ids(letters)
    assert sink.asked[1] == ids(letters)[3:]


def test_what_is_refused_is_counted_told_and_passed_over(made, clock):
    sink = ScriptedSink()
    outlet, letters = made(sink), some_letters(8)
    sink.failures = [RefusedError("400 Bad Request", delivered=2), RefusedError("400 Bad Request")]
    for letter in letters:
        outlet.offer(letter)
    turn(outlet, clock, 1.0)
    assert sink.taken == ids(letters[:2] + letters[4:])
    state = outlet.state()
    assert (state.delivered, state.refused, state.waiting_records) == (6, 2, 0)
    assert [data for *_, data in outlet._tell] == [{"counted": "refused", "count": 1}]
    assert TELL_EVERY_S > 1.0


def test_a_fault_in_a_sink_is_a_failure_and_not_the_end(made, clock):
    sink = ScriptedSink()
    outlet = made(sink)
    sink.failures = [ZeroDivisionError("hunter2 in the message")]
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 5.0)
    assert sink.taken == ["e000000"]
    assert outlet.state().last_error == "a fault of the output: ZeroDivisionError"


def test_records_for_a_disk_gather_for_a_moment(made, clock):
    sink = ScriptedSink(gather_s=1.0, most_records=100)
    outlet, letters = made(sink), some_letters(30)
    for letter in letters:
        outlet.offer(letter)
        turn(outlet, clock, 0.1)
    turn(outlet, clock, 2.0)
    deliveries = [asked for asked in sink.asked if asked]
    assert sink.taken == ids(letters)
    assert len(deliveries) <= 4


def test_an_idle_sink_has_time_for_itself(made, clock):
    outlet = made()
    turn(outlet, clock, 10 * ATTEND_EVERY_S - 1)
    assert outlet.sink.asked == [[]] * 10


def test_a_full_spool_drops_the_oldest_counts_and_tells(made, clock):
    sink = ScriptedSink()
    sink.failures = [UndeliveredError("away") for _ in range(10_000)]
    outlet, letters = made(sink), some_letters(5000)
    for letter in letters:
        outlet.offer(letter)
        outlet.keep(clock.monotonic_s())
    state = outlet.state()
    assert state.overflowed > 0
    assert state.overflowed + state.waiting_records == 5000
    assert [data["counted"] for *_, data in outlet._tell] == ["overflowed"]
    sink.failures = []
    turn(outlet, clock, 5.0)
    assert sink.taken == ids(letters)[state.overflowed :]


def test_more_than_fits_into_memory_is_turned_away_and_counted(made, clock):
    """A disk that hangs: nobody keeps."""
    outlet = made()
    letters = some_letters(20_000)
    for letter in letters:
        outlet.offer(letter)
    assert outlet.state().waiting_bytes <= ROOM_BYTES
    outlet.keep(clock.monotonic_s())
    turn(outlet, clock, 5.0)
    state = outlet.state()
    assert state.turned_away > 0
    assert state.delivered + state.turned_away + state.overflowed == 20_000
    assert outlet.sink.taken[-1] == letters[-1].id


def test_a_close_keeps_what_the_sink_does_not_take(made, clock, tmp_path):
    sink = ScriptedSink()
    outlet, letters = made(sink), some_letters(40)
    for letter in letters[:5]:
        outlet.offer(letter)
    turn(outlet, clock, 0.1)
    sink.failures = [UndeliveredError("away") for _ in range(10)]
    for letter in letters[5:]:
        outlet.offer(letter)
    outlet.close(within_s=1.0)
    assert sink.closed == 1
    assert outlet.state().waiting_records == 35
    again = made()
    turn(again, clock, 1.0)
    assert again.sink.taken == ids(letters)[5:]


def test_a_close_delivers_what_a_sound_sink_takes(made, clock):
    outlet, letters = made(ScriptedSink(gather_s=1.0)), some_letters(40)
    for letter in letters:
        outlet.offer(letter)
    outlet.close(within_s=1.0)
    assert outlet.sink.taken == ids(letters)
    outlet.offer(letters[0])
    assert outlet.state().turned_away == 1


def test_a_close_does_not_wait_for_what_cannot_be_read_now(made, clock, monkeypatch):
    outlet, letters = made(), some_letters(3)
    for letter in letters:
        outlet.offer(letter)
    outlet.keep(clock.monotonic_s())
    advance, advanced = outlet.advance, []

    def counted(now_s, *, hurry):
        clock.turn(0.1)
        advanced.append(now_s)
        return advance(now_s, hurry=hurry)

    with monkeypatch.context() as patched:
        patched.setattr(spool_module, "_open_file", no_more_files)
        patched.setattr(outlet, "advance", counted)
        outlet.close(within_s=5.0)
    assert len(advanced) == 1
    assert (outlet.state().waiting_records, outlet.state().damaged) == (3, 0)
    again = made()
    turn(again, clock, 1.0)
    assert again.sink.taken == ids(letters)


def no_more_files(path):
    raise OSError(errno.EMFILE, "Too many open files", str(path))


def test_answers_are_spared_where_they_would_go_to_the_disk(made, clock):
    sparing = Sparing(answers=True)
    outlet = made(ScriptedSink(on_disk=True), sparing)
    outlet.offer(letter_of(an_answer()))
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 1.0)
    assert outlet.sink.taken == ["e000000"]
    assert outlet.state().spared == 1


def test_answers_for_the_network_are_spared_only_while_it_is_away(made, clock):
    sink = ScriptedSink()
    outlet = made(sink, Sparing(answers=True))
    outlet.offer(letter_of(an_answer(frame=1)))
    turn(outlet, clock, 0.1)
    sink.failures = [UndeliveredError("away")]
    outlet.offer(letter_of(an_answer(frame=2)))
    turn(outlet, clock, 0.1)
    outlet.offer(letter_of(an_answer(frame=3)))
    turn(outlet, clock, 5.0)
    assert len(sink.taken) == 2
    assert outlet.state().spared == 1


def test_events_wait_when_the_day_is_used_up_altogether(made, clock):
    sparing = Sparing(answers=True, events=True)
    outlet = made(ScriptedSink(on_disk=True), sparing)
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 3 * SPARED_S)
    assert outlet.sink.taken == []
    assert outlet.state().waiting_records == 1
    sparing.spares_events = False
    turn(outlet, clock, 2 * SPARED_S)
    assert outlet.sink.taken == ["e000000"]


def test_what_is_not_a_letter_on_the_disk_is_counted_and_passed_over(made, clock):
    outlet = made()
    for record in (b"", b"{}\n{}", b'["a", "event", null]', b'["\xc3\xa9", "event", null]\n{}', b"[[[[", b'["a", ["event"], null]\n{}'):
        outlet.spool.append(record, urgent=True, now_s=0.0)
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 1.0)
    assert outlet.sink.taken == ["e000000"]
    assert outlet.state().damaged == 6


def test_no_secret_is_in_the_state(made, clock):
    settings = WebhookOutput("w", url=Address("https://ann:hunter%202@example.org/x?key=abc123"), token=Secret("t0ken"))
    sink = ScriptedSink()
    outlet = made(sink, secrets=secrets_of(settings))
    sink.failures = [UndeliveredError("hunter%202, hunter 2, t0ken and abc123 at https://ann:x@y/")]
    outlet.offer(some_letters(1)[0])
    turn(outlet, clock, 0.1)
    told = f"{outlet.state()} {outlet._tell}"
    for secret in ("hunter", "t0ken", "abc123", "ann"):
        assert secret not in told


def test_secrets_are_found_wherever_settings_have_them():
    assert secrets_of(MqttOutput("m", user="u", password=Secret("long one"))) == ("long one",)
    assert secrets_of(WebhookOutput("w", url=Address("http://[oops"))) == ()
    assert secrets_of(None) == ()


# --- all together -------------------------------------------------------------------------------------------------------------------------


def test_records_go_where_they_belong():
    event, global_event, answer = (
        Event("1", 0.0, "rule", "r", "t", camera="a"),
        Event("2", 0.0, "service", "s", "t"),
        an_answer(camera="a"),
    )
    assert [Route(("events",), ()).takes(record) for record in (event, global_event, answer)] == [True, True, False]
    assert [Route(("answers", "events"), ("b",)).takes(record) for record in (event, global_event, answer)] == [False, True, False]
    assert [Route(("answers",), ("a",)).takes(record) for record in (event, global_event, answer)] == [False, False, True]


@pytest.fixture
def real_outlets(tmp_path):
    """With threads and the machine's clock, over sinks that are handed in."""
    clock, running = SystemClock(), []

    def start(*sinks):
        wear = Wear(tmp_path / "wear.json", 1 << 40, clock)
        routed = [
            (
                Route(("events", "answers"), ()),
                Outlet(f"o{at}", sink, Spool(tmp_path / f"s{at}", 1 << 20), clock=clock, sparing=wear, tell=Told()),
            )
            for at, sink in enumerate(sinks)
        ]
        outlets = Outlets(routed, wear, clock, Told())
        outlets.start()
        running.append(outlets)
        return outlets

    yield start
    for outlets in running:
        outlets.close(2.0)


def test_threads_bring_everything_to_every_sink(real_outlets):
    sinks = [ScriptedSink(gather_s=gather_s, most_records=50) for gather_s in (0.0, 0.05)]
    sinks[0].failures = [UndeliveredError("once")]
    outlets = real_outlets(*sinks)
    events = [Event(f"e{n:06}", 0.0, "rule", "r", "t") for n in range(2000)]
    threads = [threading.Thread(target=lambda part: [outlets.offer(e) for e in part], args=(events[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(200):
        if all(state.waiting_records == 0 for state in outlets.states()):
            break
        threading.Event().wait(0.02)
    assert outlets.close(5.0)
    for sink in sinks:
        assert sorted(sink.taken) == [event.id for event in events]
        assert sink.closed == 1
    assert [state.delivered for state in outlets.states()] == [2000, 2000]


def test_a_sink_that_hangs_holds_up_neither_the_others_nor_the_end(real_outlets, tmp_path):
    release = threading.Event()

    class Hanging(ScriptedSink):
        def deliver(self, letters):
            if letters:
                release.wait(30)
            super().deliver(letters)

    hanging, sound = Hanging(), ScriptedSink()
    outlets = real_outlets(hanging, sound)
    for number in range(20):
        outlets.offer(Event(f"e{number:06}", 0.0, "rule", "r", "t"))
    while len(sound.taken) < 20:
        threading.Event().wait(0.01)
    assert not outlets.close(0.5)
    assert len(sound.taken) == 20
    kept = Spool(tmp_path / "s0", 1 << 20)
    assert kept.state().records == 20
    kept.close(0.0)
    release.set()
    for thread in outlets._threads:
        thread.join(5)


def test_a_fault_of_ours_is_in_the_log_and_the_thread_goes_on(real_outlets, monkeypatch, caplog):
    monkeypatch.setattr(outlets_module, "LONGEST_WAIT_S", 0.01)
    sink = ScriptedSink()
    outlets = real_outlets(sink)
    outlet = outlets._routed[0][1]
    keep, faults = outlet.keep, iter([True, True])

    def keep_after_a_while(now_s, **more):
        if next(faults, False):
            raise ZeroDivisionError
        return keep(now_s, **more)

    outlet.keep = keep_after_a_while
    outlets.offer(Event("e1", 0.0, "rule", "r", "t"))
    while not sink.taken:
        threading.Event().wait(0.01)
    assert outlets.close(5.0)
    assert "the thread outputs failed" in caplog.text


def test_outputs_that_were_never_started_keep_and_deliver_at_the_end(tmp_path):
    settings = ServiceSettings(
        (), (), outputs=(FileOutput("lines"), WebhookOutput("w", url=Address("http://127.0.0.1:9/"))), state=tmp_path
    )
    outlets = open_outlets(settings, tmp_path, SystemClock(), start=False)
    outlets.offer(Event("e1", 0.0, "rule", "r", "t"))
    assert outlets.close(5.0)
    assert outlets.close(5.0)
    assert [state.delivered for state in outlets.states()] == [1, 0]
    again = Spool(tmp_path / "spool" / "w", 1 << 20)
    assert again.state().records == 1
    again.close(0.0)


def test_a_record_that_is_no_json_is_counted_and_hurts_nobody(real_outlets):
    sink = ScriptedSink()
    outlets = real_outlets(sink)
    endless = {}
    endless["self"] = endless
    outlets.offer(Event("bad", 0.0, "rule", "r", "t", data=endless))
    outlets.offer(Event("good", 0.0, "rule", "r", "t", data={"score": float("nan"), "path": object}))
    outlets.close(2.0)
    assert sink.taken == ["good"]
    assert outlets.unwritable == 1

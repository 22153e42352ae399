"""Every frame that is put is given once or dropped once; of a live camera the newest waits, of a file all; nobody is passed over."""

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.run.desk import Desk
from edgewright.run.frames import HeldFrame, SharedRing
from edgewright.run.ring import MIB, Ring

LIVE = {"a": True, "b": True, "file": False, "other file": False}
steps = st.lists(
    st.sampled_from([("put", camera) for camera in LIVE] + [("next", None)] * 3 + [("clear", "a"), ("clear", None)]), max_size=80
)


class Bench:
    """A desk, frames to put on it, and what became of them."""

    def __init__(self):
        self.shared = SharedRing(Ring.make("x", slots=64, slot_bytes=12, room_bytes=MIB), lambda shared: None)
        self.dropped = []
        self.desk = Desk(lambda frame: self.dropped.append((frame.camera, frame.number)))
        self.numbers = Counter()

    def put(self, camera):
        ledger = self.shared.ledger
        slot = ledger.take()
        assert slot is not None
        ledger.fill(slot)
        frame = HeldFrame(camera, self.numbers[camera], self.shared, slot, (2, 2), 0.0, 0.0, 0.0)
        self.numbers[camera] += 1
        self.desk.put(frame, newest_wins=LIVE[camera])
        frame.release()  # the camera's own

    def next(self):
        frame = self.desk.next()
        if frame is None:
            return None
        frame.release()
        return frame.camera, frame.number

    def close(self):
        self.shared.retire()
        assert self.shared.ring.fd == -1  # all frames were let go


@settings(deadline=None)
@given(steps)
def test_every_frame_is_given_once_or_dropped_once(steps):
    bench, given_out = Bench(), []
    for step, camera in steps:
        if step == "put" and bench.shared.ledger.free:
            bench.put(camera)
        elif step == "next":
            waiting = bench.desk.waiting
            found = bench.next()
            assert (found is None) == (waiting == 0)
            given_out += [found] if found else []
        elif step == "clear":
            bench.desk.clear(camera)
    bench.desk.clear()
    put = [(camera, number) for camera, count in bench.numbers.items() for number in range(count)]
    assert sorted(given_out + bench.dropped) == sorted(put)
    for camera in LIVE:
        numbers = [number for name, number in given_out if name == camera]
        assert numbers == sorted(numbers)
    assert bench.desk.waiting == 0
    bench.close()


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(LIVE)), max_size=40))
def test_a_live_camera_has_its_newest_waiting_and_a_file_everything(cameras):
    bench = Bench()
    for camera in cameras:
        bench.put(camera)
    waiting = defaultdict(list)
    while (found := bench.next()) is not None:
        waiting[found[0]].append(found[1])
    for camera, live in LIVE.items():
        count = cameras.count(camera)
        assert waiting[camera] == (list(range(count))[-1:] if live else list(range(count)))
    bench.close()


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(LIVE)), max_size=60))
def test_a_camera_waits_for_no_more_than_one_frame_of_each_other(cameras):
    bench, since = Bench(), {}
    for camera in cameras:
        bench.put(camera)
        since.setdefault(camera, Counter())
        if len(bench.numbers) < 2:
            continue
        served, _ = bench.next()
        since.pop(served, None)
        for others in since.values():
            others[served] += 1
            assert others[served] <= 1
        if served in [name for name, queue in bench.desk._waiting.items() if queue]:
            since[served] = Counter()
    bench.desk.clear()
    bench.close()


def test_two_busy_files_are_served_in_turn():
    bench = Bench()
    for camera in ["file"] * 5 + ["other file"] * 3:
        bench.put(camera)
    order = []
    while (found := bench.next()) is not None:
        order.append(found[0])
    assert order == ["file", "other file"] * 3 + ["file"] * 2
    bench.close()


def test_clearing_one_camera_leaves_the_others():
    bench = Bench()
    for camera in ("a", "file", "file"):
        bench.put(camera)
    bench.desk.clear("file")
    assert bench.dropped == [("file", 0), ("file", 1)]
    assert bench.next() == ("a", 0)
    bench.close()

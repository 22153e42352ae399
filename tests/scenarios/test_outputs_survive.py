"""Nothing accepted is lost: a broker killed in the middle, a server with every fault, a process killed, a disk that is full."""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from broker import Listener, broker_in
from edgewright.clock import SystemClock
from edgewright.run.outlets import open_outlets
from edgewright.run.records import Event
from edgewright.run.secrets import Address
from edgewright.run.settings import FileOutput, ServiceSettings, SpoolSettings, WebhookOutput
from edgewright.run.sinks.store import query
from webhook_server import WebhookServer, babble, drip, hang, hang_up

CHILD = Path(__file__).with_name("outputs_child.py")
DISK_CHILD = Path(__file__).with_name("full_disk_child.py")


class Impatient(SystemClock):
    """Time passes faster for whoever waits for a retry, and not at all while it is held."""

    def __init__(self, times):
        self._times, self._held_s = times, None

    def monotonic_s(self):
        return time.monotonic() * self._times if self._held_s is None else self._held_s

    def hold(self):
        self._held_s = self.monotonic_s()

    def go(self):
        self._held_s = None


@pytest.fixture
def outlets_for(tmp_path):
    running = []

    def start(*outputs, clock=None):
        settings = ServiceSettings((), (), outputs=outputs, name="site", state=tmp_path / "state")
        running.append(open_outlets(settings, settings.state, clock or SystemClock()))
        return running[-1]

    yield start
    for outlets in running:
        outlets.close(2.0)


def an_event(number):
    return Event(f"e{number:06}", 1_700_000_000.0 + number, "rule", "gate", f"number {number}", camera="door")


def wait_until(is_so, within_s=60.0):
    until_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until_s, "it does not come to that"
        time.sleep(0.02)


def missing(found, count):
    return sorted({f"e{number:06}" for number in range(count)} - set(found))


def test_a_broker_that_is_killed_again_and_again_gets_every_event(outlets_for, tmp_path):
    """It is killed while events flow. A listener is there before the outlet may connect again, so what is missing was lost."""
    pytest.importorskip("paho.mqtt.client", reason="pip install 'edgewright[mqtt]'")
    # Without a limit the broker passes on what it acknowledges, and keeps nothing in the memory that a kill takes.
    broker = broker_in(tmp_path, "allow_anonymous true", "max_inflight_messages 0")
    clock, offered = Impatient(10), iter(range(400))
    outlets = outlets_for(broker.output(discovery_prefix=None), clock=clock)
    listeners = []

    def state():
        return outlets.states()[0]

    def offer(count):
        for number in itertools.islice(offered, count):
            outlets.offer(an_event(number))
            time.sleep(0.001)

    try:
        for _ in range(4):
            offer(50)
            wait_until(lambda: state().failing_since_s is not None)
            clock.hold()
            broker.start()
            # One that acknowledges gives up on a dead connection at its next word, with messages still unread; this one only listens.
            listeners.append(Listener(broker.port, "edgewright/site/door/events", qos=0))
            clock.go()
            offer(50)
            if len(listeners) < 4:
                broker.kill()
        wait_until(lambda: state().waiting_records == 0)
        assert (state().delivered, state().overflowed, state().turned_away, state().refused) == (400, 0, 0, 0)
        listeners[-1].wait_for(lambda _: b"e000399" in listeners[-1].messages[-1][1])
        found = [json.loads(payload)["id"] for listener in listeners for _, payload, _ in listener.messages]
        assert missing(found, 400) == []
    finally:
        for listener in listeners:
            listener.close()
        broker.kill()


def test_a_server_with_every_fault_gets_every_event_in_order(outlets_for):
    server = WebhookServer()
    rng = random.Random(7)
    faults = [hang_up, babble, hang(server), drip(server), (500, {}), (503, {"Retry-After": "1"}), (429, {"Retry-After": "1"}), (302, {})]
    server.answers = [rng.choice(faults) if rng.random() < 0.3 else (200, {}) for _ in range(40)]
    outlets = outlets_for(WebhookOutput("hook", url=Address(f"http://127.0.0.1:{server.port}/"), timeout_s=0.3), clock=Impatient(20))
    for number in range(80):
        outlets.offer(an_event(number))
    wait_until(lambda: outlets.states()[0].delivered == 80)
    assert list(dict.fromkeys(server.ids)) == [f"e{number:06}" for number in range(80)]
    server.close()


def run_child(state, port, first, count, pause_s=0.0):
    words = [sys.executable, str(CHILD), *map(str, (state, port, first, count, pause_s))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_again_and_again_a_process_loses_nothing_that_it_had_accepted(tmp_path):
    """Nobody listens at first; then a server does. What each process had said to be kept arrives, whenever it was killed."""
    kept, first = -1, 0
    for seed in range(3):
        with run_child(tmp_path, 0, first, 100_000) as child:
            for _ in range(20 + 20 * seed):
                kept = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            kept = max([kept, *map(int, child.stdout.read().split())])
        first = kept + 1  # one more may have been kept and not said: it then comes twice
    server = WebhookServer()
    try:
        with run_child(tmp_path, server.port, first, 5) as child:
            _, errors = child.communicate(timeout=120)
            assert child.returncode == 0, errors
        assert missing(server.ids, first + 5) == []
        assert list(dict.fromkeys(server.ids)) == sorted(set(server.ids))
        stored = [record["id"] for record in query(tmp_path / "events.sqlite", limit=10_000)]
        assert missing(stored, first + 5) == []
        assert len(stored) == len(set(stored))
        assert first >= 100
    finally:
        server.close()


# $1 KiB of the disk, $2 where, $3 Python, $4 the child, $5 where the answer goes
STORY = """
set -e
mount -t tmpfs -o "size=$1k" none "$2"
"$3" "$4" "$2" "$1" > "$5"
"""


def test_a_disk_that_is_full_costs_nothing_accepted_and_stops_nothing(tmp_path):
    """A private tmpfs that something else fills up, with outputs at work on it."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no private mounts here (unshare -rm)")
    disk, answer = tmp_path / "disk", tmp_path / "answer.json"
    disk.mkdir()
    words = [unshare, "-rm", "sh", "-c", STORY, "sh", "2048", str(disk), sys.executable, str(DISK_CHILD), str(answer)]
    subprocess.run(words, check=True, timeout=120)
    told = json.loads(answer.read_text())
    before, full, after = told["before"], told["full"], told["after"]
    assert before["waiting_records"] == 50
    assert "no space left on the disk" in full["last_error"]
    assert full["waiting_records"] + full["turned_away"] == 50 + told["offered_when_full"]
    assert full["turned_away"] > 0
    assert after["delivered"] + after["turned_away"] + after["overflowed"] == told["offered"]
    assert after["overflowed"] == 0
    assert after["turned_away"] == full["turned_away"]
    assert told["arrived"][:50] == [f"e{number:06}" for number in range(50)]
    assert len(told["arrived"]) == len(set(told["arrived"])) == after["delivered"]
    assert told["arrived"] == sorted(told["arrived"])
    assert "records are lost" in " ".join(told["told"])


def test_files_a_store_and_a_server_at_once_count_alike(outlets_for, tmp_path):
    server = WebhookServer()
    outlets = outlets_for(
        FileOutput("lines"),
        WebhookOutput("hook", url=Address(f"http://127.0.0.1:{server.port}/"), batch=50, spool=SpoolSettings(1 << 20)),
    )
    threads = [
        threading.Thread(target=lambda part: [outlets.offer(an_event(n)) for n in part], args=(range(at, 1000, 4),)) for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: all(state.waiting_records == 0 for state in outlets.states()))
    assert outlets.close(5.0)
    lines = [line for path in (tmp_path / "state" / "outputs" / "lines").iterdir() for line in path.read_bytes().splitlines()]
    assert missing([json.loads(line)["id"] for line in lines], 1000) == missing(server.ids, 1000) == []
    assert [state.delivered for state in outlets.states()] == [1000, 1000]
    server.close()

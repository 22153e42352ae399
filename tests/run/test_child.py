"""Processes that end for certain: with us, whatever becomes of us, and with all that they started; their last words are kept."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgewright.run.channel import ChannelError
from edgewright.run.child import KEPT_LINES, LONGEST_LINE, MOST_READ, STOPPED, Child, LogTail, _how, reap
from live_stage import descriptors

# A module for `Child` to run, told what to be by an environment variable.
MODULE = """
import os, signal, subprocess, sys, time
from edgewright.run.channel import Channel
channel = Channel.of_child()
match os.environ["BE"]:
    case "quiet":
        channel.send({"pid": os.getpid(), "session": os.getsid(0), "fd": channel.fileno()})
        print("said on stdout", flush=True)
        channel.receive()
    case "exit":
        print("rtsp://user:hunter2@cam/ cannot be opened", file=sys.stderr)
        sys.exit(7)
    case "killed":
        os.kill(os.getpid(), signal.SIGSEGV)
    case "family":
        own = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        channel.send({"pid": own.pid})
        time.sleep(600)
    case "flood":
        line = b"x" * 199 + b"\\n"
        channel.send({"begins": 1})
        while True:
            os.write(2, line * 320)
    case "silent":
        os.close(1)
        os.close(2)
        channel.send({"closed": 1})
        time.sleep(600)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    (tmp_path / "becomes.py").write_text(MODULE)
    started = []

    def child(be):
        started.append(Child("becomes", be, {"BE": be, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}))
        return started[-1]

    before = descriptors()
    yield child
    for each in started:
        each.end()
    assert descriptors() == before


def said(child):
    """Its next message, waited for."""
    child.channel.set_blocking(True)
    try:
        return child.channel.receive().words
    finally:
        child.channel.set_blocking(False)


def until(true, within_s=10.0):
    deadline_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline_s, "it does not come to pass"
        time.sleep(0.005)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_it_speaks_has_a_session_of_its_own_and_is_ended(start):
    child = start("quiet")
    words = said(child)
    assert words == {"pid": child.pid, "session": child.pid, "fd": 3}
    assert child.is_alive()
    until(lambda: child.hear() or child.log.lines == ["said on stdout"])
    assert child.end() == STOPPED
    assert reap(10.0)
    assert not child.is_alive()
    assert is_gone(child.pid)
    assert child.end() == STOPPED  # a second time is none


def test_how_it_ended_itself_is_said_and_its_last_words_hide_passwords(start):
    child = start("exit")
    until(lambda: not child.is_alive())
    assert child.end() == "ended with exit status 7"
    assert child.log.lines == ["rtsp://***@cam/ cannot be opened"]
    child = start("killed")
    until(lambda: not child.is_alive())
    assert child.end() == "was ended by SIGSEGV"


@pytest.mark.parametrize(
    ("status", "words"), [(0, "ended with exit status 0"), (-9, "was ended by SIGKILL"), (-63, "was ended by signal 63")]
)
def test_exit_statuses_in_words(status, words):
    assert _how(status) == words


def test_how_it_ended_is_known_to_whoever_hears_it_hang_up(start):
    """Its channel is closed before it can be waited for."""
    for be, how in (("exit", "ended with exit status 7"), ("killed", "was ended by SIGSEGV")):
        child = start(be)
        with pytest.raises(ChannelError, match="closed its end"):
            said(child)
        assert child.end() == how


def test_what_it_started_ends_with_it(start):
    child = start("family")
    grandchild = said(child)["pid"]
    assert not is_gone(grandchild)
    child.end()
    until(lambda: is_gone(grandchild))


def test_one_that_is_stopped_is_ended_all_the_same(start):
    child = start("quiet")
    said(child)
    os.kill(child.pid, signal.SIGSTOP)
    assert child.end() == STOPPED
    assert reap(10.0)
    assert is_gone(child.pid)


def test_those_that_the_kernel_holds_hold_nobody_up_and_are_reaped_when_it_lets_them_go(start, monkeypatch):
    """Killing has no effect for now, as while a driver hangs."""
    children = [start("silent") for _ in range(3)]
    for child in children:
        said(child)
    with monkeypatch.context() as patched:
        patched.setattr(os, "killpg", lambda *_: None)
        began_s = time.monotonic()
        assert [child.end() for child in children] == [STOPPED] * 3
        assert not reap(0.1)
        assert time.monotonic() - began_s < 5.0  # a moment each
    assert all(child.is_alive() for child in children)
    os.kill(children[0].pid, signal.SIGKILL)
    until(lambda: is_gone(children[0].pid))
    start("quiet")
    assert not Path(f"/proc/{children[0].pid}").exists()
    for child in children[1:]:
        os.kill(child.pid, signal.SIGKILL)
    assert reap(10.0)


def test_one_that_floods_its_log_holds_nobody_up(start):
    child = start("flood")
    said(child)
    until(lambda: child.hear() or len(child.log.lines) == KEPT_LINES)
    for _ in range(50):
        child.hear()  # returns, however fast it writes
    assert child.is_alive()
    assert child.end() == STOPPED
    assert len(child.log.lines) <= KEPT_LINES + 1


def test_one_that_closes_its_log_is_not_always_heard(start):
    """A pipe at its end can be read at all times, and the service's loop would turn and turn."""
    import select

    child = start("silent")
    said(child)
    assert select.select([child.log_fd], [], [], 0.05)[0] == []


PARENT = """
import os, sys, time
from edgewright.run.child import Child
children = [Child("becomes", "x", {"BE": be}) for be in ("quiet", "quiet")]
for child in children:
    child.channel.set_blocking(True)
    child.channel.receive()
print(*(child.pid for child in children), flush=True)
time.sleep(600)
"""


def test_they_die_with_the_service_even_if_that_is_killed(tmp_path):
    (tmp_path / "becomes.py").write_text(MODULE)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    until(lambda: all(map(is_gone, pids)))


def test_one_whose_parent_died_before_it_began_does_not_begin():
    """It belongs to process 1 then, or to whoever adopts; it was told whose it should be."""
    command = [sys.executable, "-m", "edgewright.run.begin", "9", "1", "this"]
    if os.getpid() == 1:
        pytest.skip("the parent is process 1")
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")


def test_a_module_that_is_not_there_leaves_nothing_open():
    before = descriptors()
    child = Child("edgewright.run.nothing", "x")
    until(lambda: not child.is_alive())
    assert child.end() == "ended with exit status 1"
    assert "nothing" in child.log.lines[-1]
    assert descriptors() == before


# --- the tail of a log ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 100, 1 << 20])
def test_lines_come_whole_however_they_arrive(step):
    data, tail = b"".join(b"line %d\n" % at for at in range(300)) + b"unfinished", LogTail()
    for at in range(0, len(data), step):
        tail.take(data[at : at + step])
    assert tail.lines == [*(f"line {at}" for at in range(200, 300)), "unfinished"]


def test_a_line_without_an_end_is_cut_and_its_rest_passed_over():
    tail = LogTail()
    for _ in range(100):
        tail.take(b"x" * 10_000)
    assert len(tail._pending) <= LONGEST_LINE * 4
    tail.take(b"rest\nnext\n")
    assert [len(line) for line in tail.lines] == [LONGEST_LINE, 4]
    assert tail.lines[-1] == "next"


@pytest.mark.parametrize("cut", range(1, 60, 3))
def test_no_part_of_a_password_is_shown_wherever_a_read_ends(cut):
    line = b"cannot open rtsp://admin:hunter2secret@cam/ at all"
    tail = LogTail()
    tail.take(line[:cut])
    assert not any(part in " ".join(tail.lines) for part in ("hun", "hunter2", "secret"))
    tail.take(line[cut:] + b"\n")
    assert tail.lines == ["cannot open rtsp://***@cam/ at all"]


def test_nor_where_a_line_is_cut():
    for before in range(LONGEST_LINE * 4 - 40, LONGEST_LINE * 4 + 5):
        tail = LogTail()
        tail.take(b"x" * 100 + b" " * (before - 100) + b"rtsp://u:hunter2")
        tail.take(b"secret@cam/\nnext\n")
        assert not any(part in " ".join(tail.lines) for part in ("hun", "secret"))


def test_foreign_bytes_are_shown_as_text():
    tail = LogTail()
    tail.take(b"\x1b[31mred\xff\r\n\n   \n\x00\n")
    assert tail.lines == ["\\x1b[31mred\ufffd", "\\x00"]


def test_no_read_is_longer_than_what_a_pipe_holds(start):
    """So that one read after its end takes all that was left."""
    import fcntl

    child = start("quiet")
    assert fcntl.fcntl(child.log_fd, fcntl.F_GETPIPE_SZ) <= MOST_READ

"""A process of the service's own: started, heard, and ended for certain.

What may hang, crash or keep memory (a camera's decoder, a model's runtime) lives in one of these. It has a session of its own, so that what
it starts itself ends with it; it ends with the service, however that ends (`begin`); and the last lines that it or its libraries wrote to
standard error are kept, without credentials, to be shown when it fails.

A killed process that the kernel holds, in a driver that hangs, is not gone until that lets it go. It is left behind for the time being, as
all other cameras would wait with us, and reaped when a process is started or the service ends.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from edgewright.printable import printable
from edgewright.run.channel import channel_pair
from edgewright.run.secrets import hide_credentials

KEPT_LINES = 100
LONGEST_LINE = 500
MOST_READ = 1 << 16  # bytes of its log at a time, all that a pipe holds; a child that floods it has to wait for the next turn
STOPPED = "was stopped by us"
GRACE_S = 0.2  # for one that has hung up, to be gone
END_S = 0.2  # a killed process is gone after moments, unless the kernel holds it
LAST_S = 1.0  # at the end of a service, for all that it held

_left_behind: list[subprocess.Popen[bytes]] = []


class LogTail:
    """The last lines of a log that comes in pieces. A line without an end is cut, and its rest passed over."""

    def __init__(self, keep: int = KEPT_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=keep)
        self._pending = b""
        self._is_cut = False

    def take(self, data: bytes) -> None:
        if self._is_cut:
            _, newline, data = data.partition(b"\n")
            self._is_cut = not newline
        *whole, self._pending = (self._pending + data).split(b"\n")
        self._lines.extend(_shown(line) for line in whole if line.strip())
        if len(self._pending) > LONGEST_LINE * 4:
            # Of a password that runs over the cut the second half would not be known for one.
            self._lines.append(_shown_unfinished(self._pending))
            self._pending, self._is_cut = b"", True

    @property
    def lines(self) -> list[str]:
        rest = [_shown_unfinished(self._pending)] if self._pending.strip() else []
        return [*self._lines, *rest]


class Child:
    """A running `python -m MODULE` that was given one end of a channel (see `begin`)."""

    def __init__(self, module: str, name: str, environment: Mapping[str, str] | None = None) -> None:
        reap()
        self.name = name
        self.log = LogTail()
        self.channel, theirs = channel_pair()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        self.log_fd = reading
        self._how: str | None = None
        self._writing = writing  # kept, or the pipe of a child that closes its own would be at its end, and readable, for ever
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-P", "-m", "edgewright.run.begin", str(theirs.fileno()), str(os.getpid()), module],
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except BaseException:
            self.channel.close()
            os.close(reading)
            os.close(writing)
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> None:
        """Take what it has written to its log."""
        with suppress(BlockingIOError):
            self.log.take(os.read(self.log_fd, MOST_READ))

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> str:
        """Kill it and all that it started, and wait for a moment until it is gone; how it ended, in a few words."""
        if self._how is not None:
            return self._how
        if self._has_hung_up():
            # A process that ends closes its descriptors first; how it ended can be had a moment later.
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_S)
        ended_itself = self._process.poll()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            _left_behind.append(self._process)
        self.hear()
        self.channel.close()
        os.close(self.log_fd)
        os.close(self._writing)
        status = self._process.returncode
        by_us = ended_itself is None and status in (None, -signal.SIGKILL)
        self._how = STOPPED if by_us else _how(status)
        return self._how

    def _has_hung_up(self) -> bool:
        poller = select.poll()
        poller.register(self.channel.fileno(), 0)
        return bool(poller.poll(0))


def reap(within_s: float = 0.0) -> bool:
    """Whether every process that was ended is gone; those that are not yet are waited for, all together no longer than `within_s`."""
    until_s = time.monotonic() + within_s
    for process in tuple(_left_behind):
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(until_s - time.monotonic(), 0.0))
            _left_behind.remove(process)
    return not _left_behind


def _how(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"
    return f"ended with exit status {status}"


def _shown(line: bytes) -> str:
    return printable(hide_credentials(line.decode(errors="replace").strip()), LONGEST_LINE)


def _shown_unfinished(line: bytes) -> str:
    """What may end within an address: a password without its @ is known for one as soon as there is an @."""
    return printable(hide_credentials(f"{line.decode(errors='replace').strip()}@").removesuffix("@"), LONGEST_LINE)

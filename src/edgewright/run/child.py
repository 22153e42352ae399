"""A process of the service's own: started, heard, and ended for certain.

What may hang, crash or keep memory (a camera's decoder, a model's runtime) lives in one of these. It has a session of its own, so that what
it starts itself ends with it; it ends with the service, however that ends (`begin`); and the last lines that it or its libraries wrote to
standard error are kept, without credentials, to be shown when it fails.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from edgewright.printable import printable
from edgewright.run.channel import channel_pair
from edgewright.run.secrets import hide_credentials

KEPT_LINES = 100
LONGEST_LINE = 500
MOST_READ = 1 << 16  # bytes of its log at a time; a child that floods it is not read to the end
STOPPED = "was stopped by us"
END_S = 5.0  # a killed process is gone after moments; the kernel may be busy with its memory


class LogTail:
    """The last lines of a log that comes in pieces."""

    def __init__(self, keep: int = KEPT_LINES) -> None:
        self._lines: deque[str] = deque(maxlen=keep)
        self._pending = b""

    def take(self, data: bytes) -> None:
        *whole, self._pending = (self._pending + data).split(b"\n")
        # A line without an end is cut, or it would be kept for ever.
        if len(self._pending) > LONGEST_LINE * 4:
            whole.append(self._pending)
            self._pending = b""
        self._lines.extend(_shown(line) for line in whole if line.strip())

    @property
    def lines(self) -> list[str]:
        rest = [_shown(self._pending)] if self._pending.strip() else []
        return [*self._lines, *rest]


class Child:
    """A running `python -m MODULE` that was given one end of a channel (see `begin`)."""

    def __init__(self, module: str, name: str, environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = LogTail()
        self.channel, theirs = channel_pair()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        self.log_fd = reading
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
            raise
        finally:
            theirs.close()
            os.close(writing)

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self) -> None:
        """Take what it has written to its log."""
        with suppress(BlockingIOError, OSError):
            while data := os.read(self.log_fd, MOST_READ):
                self.log.take(data)
                if len(data) < MOST_READ:
                    return

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def end(self) -> str:
        """Kill it and all that it started, and wait until it is gone; how it ended, in a few words."""
        ended_itself = self._process.poll()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self.hear()
        self.channel.close()
        with suppress(OSError):
            os.close(self.log_fd)
        return STOPPED if ended_itself is None else _how(ended_itself)


def _how(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
        return f"was ended by signal {-status}"
    return f"ended with exit status {status}"


def _shown(line: bytes) -> str:
    return printable(hide_credentials(line.decode(errors="replace").strip()), LONGEST_LINE)

"""What a terminal would show: as much of one as `watch` needs. Whatever else it is sent is an error, so nothing foreign gets through.

with Screened([sys.executable, "-m", "edgewright", "watch", folder]) as screen:
    screen.wait_for("ready")
    screen.press("q")
    assert screen.ended() == 0
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from typing import Any, Self

import pytest

WITHIN_S = 20.0
SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
MODES = {"1049": "other screen", "25": "cursor", "7": "wrap"}


class Screen:
    """Rows of text, and which modes are on."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.lines = [""] * rows
        self.modes = {"cursor": True, "wrap": True, "other screen": False}
        self.after = ""  # what was written on the first screen
        self.has_colour = False
        self._row, self._text = 0, ""

    def feed(self, text: str) -> None:
        """Text that ends with a whole sequence."""
        at = 0
        for found in SEQUENCE.finditer(text):
            self._write(text[at : found.start()])
            self._obey(found[1], found[2], found[3])
            at = found.end()
        self._write(text[at:])

    def _write(self, text: str) -> None:
        if not self.modes["other screen"]:
            self.after += text
            return
        assert text.isprintable(), text
        self._text += text

    def _obey(self, private: str, numbers: str, final: str) -> None:
        if private and final in "hl":
            self.modes[MODES[numbers]] = final == "h"
        elif final == "H":
            row, column = map(int, numbers.split(";"))
            assert column == 1
            assert 1 <= row <= self.rows
            self._row, self._text = row - 1, ""
        elif final == "K":
            self.lines[self._row] = self._text
        elif final == "J":
            assert numbers == "2"
            self.lines = [""] * self.rows
        elif final == "m":
            self.has_colour |= any(number not in ("0", "1", "2") for number in numbers.split(";"))
        else:
            pytest.fail(f"an unknown sequence: {private}{numbers}{final}")


class Screened:
    """A command on a terminal of its own."""

    def __init__(self, command: list[Any], *, columns: int = 80, rows: int = 24, environment: dict[str, str | None] | None = None) -> None:
        self.screen = Screen(columns, rows)
        environ = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "", **(environment or {})}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], [str(each) for each in command], {key: value for key, value in environ.items() if value is not None})
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.terminal)
        self.exit_code: int | None = None
        self._unread = ""

    def read(self, within_s: float) -> bool:
        """Whether something came."""
        if not select.select([self.terminal], [], [], within_s)[0]:
            return False
        try:
            self._unread += os.read(self.terminal, 1 << 16).decode()
        except OSError:  # nobody has it open any more
            return False
        whole = max(self._unread.rfind("\x1b"), 0)
        if SEQUENCE.match(self._unread, whole):
            whole = len(self._unread)
        self.screen.feed(self._unread[:whole])
        self._unread = self._unread[whole:]
        return True

    def wait_for(self, *words: str, within_s: float = WITHIN_S) -> str:
        """The screen, once it shows all these words."""
        until_s = time.monotonic() + within_s
        while not all(word in self.shown for word in words):
            if time.monotonic() > until_s or self.has_ended():
                pytest.fail(f"{words} are not shown:\n{self.shown}\n{self.screen.after}")
            self.read(0.1)
        return self.shown

    @property
    def shown(self) -> str:
        return "\n".join(self.screen.lines)

    def press(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.columns, self.screen.rows = columns, rows
        self.screen.lines = (self.screen.lines + [""] * rows)[:rows]
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def has_ended(self) -> bool:
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code is not None

    def ended(self, within_s: float = WITHIN_S) -> int:
        """Its exit code, once it has ended; what it said meanwhile is read."""
        until_s = time.monotonic() + within_s
        while not self.has_ended():
            assert time.monotonic() < until_s, "it does not end"
            self.read(0.05)
        while self.read(0.0):
            pass
        self.screen.feed(self._unread)
        self._unread = ""
        assert self.exit_code is not None
        return self.exit_code

    def assert_as_it_was(self) -> None:
        """The terminal is what it was before the command."""
        assert self.screen.modes == {"cursor": True, "wrap": True, "other screen": False}
        assert termios.tcgetattr(self.terminal) == self.before

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)

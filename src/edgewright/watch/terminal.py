"""A terminal for as long as it is ours: another screen, no cursor, keys at once; and as it was before, however we leave.

Only lines that differ from those that stand there are sent. Sequences: xterm's control sequences (invisible-island.net/xterm/ctlseqs),
which every terminal in use today takes.
"""

import os
import termios
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from edgewright.watch.spans import RESET, Line, drawn

# The other screen; no cursor; what is too long for a line stays on it, even where we count a letter's columns wrongly.
ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE: Final = f"{RESET}\x1b[?7h\x1b[?25h\x1b[?1049l"
TO_THE_END: Final = "\x1b[K"
LFLAG: Final = 3  # where termios.tcgetattr has the local modes
IFLAG: Final = 0
CC: Final = 6
MOST_KEYS: Final = 256
DEFAULT_SIZE: Final = 80, 24
LARGEST: Final = 500  # columns or rows; what is more is no screen


class TerminalGoneError(Exception):
    """Nobody is there to see it."""


class Terminal:
    """A context manager. `output`, `keys`: descriptors; no keys where `keys` is None."""

    def __init__(self, output: int, keys: int | None, *, colour: bool, encoding: str = "utf-8") -> None:
        self._output, self.keys = output, keys
        self._colour, self._encoding = colour, encoding
        self._before: list[Any] | None = None
        self._shown: list[str] = []
        self._size = DEFAULT_SIZE

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._output)
        except OSError:
            return DEFAULT_SIZE
        return min(columns, LARGEST) or DEFAULT_SIZE[0], min(rows, LARGEST) or DEFAULT_SIZE[1]

    def show(self, lines: Sequence[Line]) -> None:
        """These lines, from the top; nothing else.

        Raises:
            TerminalGoneError: nobody is there.
        """
        columns, rows = self.size()
        if (columns, rows) != self._size:
            self._shown, self._size = [], (columns, rows)
        texts = [drawn(each, colour=self._colour) for each in lines[:rows]]
        texts += [""] * (rows - len(texts))
        before: Sequence[str | None] = self._shown or [None] * rows
        new = [f"\x1b[{at};1H{text}{TO_THE_END}" for at, (text, old) in enumerate(zip(texts, before, strict=True), 1) if text != old]
        self._shown = texts
        if new:
            self._send("".join(new))

    def pressed(self) -> str:
        """The keys that were pressed; an end of what they come from is one of `q`."""
        if self.keys is None:
            return ""
        try:
            found = os.read(self.keys, MOST_KEYS)
        except OSError:
            found = b""
        return found.decode("ascii", "replace") if found else "q"

    def enter(self) -> None:
        """Take it."""
        if self.keys is not None:
            self._before = termios.tcgetattr(self.keys)
            ours = termios.tcgetattr(self.keys)
            ours[LFLAG] &= ~(termios.ICANON | termios.ECHO)
            ours[IFLAG] &= ~termios.IXON  # Ctrl-S would let us hang
            ours[CC][termios.VMIN], ours[CC][termios.VTIME] = 1, 0
            termios.tcsetattr(self.keys, termios.TCSADRAIN, ours)
        self._shown, self._size = [], self.size()
        self._send(ENTER)

    def leave(self) -> None:
        """As it was. Never raises: whoever leaves may do so because nobody is there."""
        with suppress(TerminalGoneError):
            self._send(LEAVE)
        if self._before is not None and self.keys is not None:
            with suppress(termios.error):
                termios.tcsetattr(self.keys, termios.TCSADRAIN, self._before)
            self._before = None

    def _send(self, text: str) -> None:
        left = text.encode(self._encoding, "replace")
        try:
            while left:
                left = left[os.write(self._output, left) :]
        except OSError as error:
            raise TerminalGoneError from error

    def __enter__(self) -> Self:
        try:
            self.enter()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.leave()

"""A terminal is ours for a while, and then as it was; and only what has changed is sent."""

import os
import pty
import select
import termios

import pytest

from edgewright.watch.spans import Span, line
from edgewright.watch.terminal import DEFAULT_SIZE, Terminal, TerminalGoneError
from terminal_screen import Screen

WHOLE = b"\x1b[10;1H\x1b[K"  # the end of a page of ten lines


@pytest.fixture
def ends():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (10, 40))
    yield ours, theirs
    for each in (ours, theirs):
        try:
            os.close(each)
        except OSError:
            continue


def came(terminal, last):
    """What came up to these bytes: the kernel passes on what was written when it likes, and in pieces."""
    found = b""
    while not found.endswith(last):
        assert select.select([terminal], [], [], 30)[0], found
        found += os.read(terminal, 1 << 16)
    return found


def test_as_it_was_after_an_error(ends):
    ours, theirs = ends
    before = termios.tcgetattr(theirs)
    screen = Screen(40, 10)

    def on_it():
        with Terminal(theirs, theirs, colour=True) as terminal:
            assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO)
            terminal.show([line("belt ", Span("up", "good"))])
            screen.feed(came(ours, WHOLE).decode())
            assert screen.modes == {"cursor": False, "wrap": False, "other screen": True}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        on_it()
    assert screen.lines == ["belt up", *[""] * 9]
    assert screen.has_colour
    screen.feed(came(ours, b"\x1b[?1049l").decode())
    assert screen.modes == {"cursor": True, "wrap": True, "other screen": False}
    assert termios.tcgetattr(theirs) == before


def test_only_what_has_changed_is_sent(ends):
    ours, theirs = ends
    with Terminal(theirs, None, colour=False) as terminal:
        terminal.show([line("one"), line("two")])
        came(ours, WHOLE)
        terminal.show([line("one"), line("three")])
        assert came(ours, b"\x1b[K") == b"\x1b[2;1Hthree\x1b[K"
        terminal.show([line("one")])
        assert came(ours, b"\x1b[K") == b"\x1b[2;1H\x1b[K"
        termios.tcsetwinsize(theirs, (3, 20))
        terminal.show([line("one")])
        assert came(ours, b"\x1b[3;1H\x1b[K").count(b"\x1b[K") == 3


def test_keys_and_their_end(ends):
    ours, theirs = ends
    with Terminal(theirs, theirs, colour=False) as terminal:
        os.write(ours, b"t")
        assert terminal.pressed() == "t"
        os.close(ours)
        assert terminal.pressed() == "q"
        with pytest.raises(TerminalGoneError):
            terminal.show([line("one")])


def test_what_is_no_terminal():
    read, write = os.pipe()
    terminal = Terminal(write, None, colour=False)
    assert (terminal.size(), terminal.pressed()) == (DEFAULT_SIZE, "")
    terminal.show([line("°C")])
    assert "°C" in os.read(read, 1 << 16).decode()
    Terminal(write, None, colour=False, encoding="ascii").show([line("°C")])
    assert b"?C" in os.read(read, 1 << 16)
    os.close(read)
    os.close(write)
    with pytest.raises(TerminalGoneError):
        terminal.show([line("more")])

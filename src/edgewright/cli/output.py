"""What goes to the terminal: progress on standard error, results and JSON on standard output.

File names, class names and metadata were written by strangers. A `Screen` draws them and obeys none of them; whoever prints need not
think of it.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, TextIO, TypeAlias, cast

import typer

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.whole_file import write_named

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgewright.cli.screen import Screen


def _in_a_folder(path: Path | None) -> Path | None:
    """Refused before the work, not after it."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise InputError(
            f"--json {path} cannot be written",
            got="a folder" if path.is_dir() else "a folder that is not there",
            fix=f"create {path.parent} first, or name another file",
        )
    return path


JsonPath: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="PATH",
        help="Write the result as JSON to PATH; - is standard output, with nothing else on it.",
        callback=_in_a_folder,
    ),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Threads: TypeAlias = Annotated[
    int, typer.Option("--threads", min=0, max=1024, help="Threads of the engine; 0 is all cores.", show_default="all cores")
]

PLAIN_EVERY_S = 5.0  # seconds between progress lines where there is no terminal
LONGEST_LINE = 2000  # characters: room for a sentence with a path
TERMINAL_ALL_THE_SAME = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")  # variables by which Rich is told


def write_json(document: Any, target: Path | None) -> None:
    """The document to a file, to standard output for `-`, or nowhere."""
    if target is None:
        return
    text = json.dumps(document, indent=2) + "\n"
    if str(target) == "-":
        sys.stdout.write(text)
        return
    write_named(target, text.encode())


class Printer(Protocol):
    """Prints one whole line at a time."""

    def print(self, text: str, /) -> None: ...


class Lines:
    """What a `Screen` prints of text where there is no terminal, to the letter, without Rich."""

    def __init__(self, *, quiet: bool, stderr: bool) -> None:
        self.quiet = quiet
        self._stderr = stderr

    def print(self, text: str, /) -> None:
        if self.quiet:
            return
        stream = sys.stderr if self._stderr else sys.stdout
        try:
            stream.write(f"{tame(text)}\n")
            stream.flush()
        except BrokenPipeError:
            self.quiet = True
            mute(stream.fileno())


def printer_for(*, quiet: bool, stderr: bool) -> Printer:
    """For text alone: a screen where there is one, or lines."""
    if is_drawn(sys.stderr if stderr else sys.stdout):
        from edgewright.cli.screen import Screen  # noqa: PLC0415 - heavy: see there

        return cast("Printer", Screen(quiet=quiet, stderr=stderr))
    return Lines(quiet=quiet, stderr=stderr)


def is_drawn(stream: TextIO) -> bool:
    """Whether Rich would take it for a terminal."""
    return stream.isatty() or any(os.environ.get(name) for name in TERMINAL_ALL_THE_SAME)


def console_for(*, quiet: bool, json_path: Path | None) -> "Screen":
    """Where tables go: standard output, unless that belongs to the JSON."""
    from edgewright.cli.screen import Screen  # noqa: PLC0415 - heavy: see there

    return Screen(quiet=quiet, stderr=str(json_path) == "-")


def mute(descriptor: int) -> None:
    """What is written there from now on is lost."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def tame(text: str) -> str:
    """One line; newlines at its ends are ours."""
    line = text.strip("\n")
    start = text.index(line)
    return text[:start] + printable(line, LONGEST_LINE) + text[start + len(line) :]


class Terminal:
    """A `Watch` that draws a live bar on a terminal and writes a plain line now and then elsewhere. A context manager."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._printer = printer_for(quiet=quiet, stderr=True)
        self._progress: Progress | None = None
        if not quiet and not isinstance(self._printer, Lines):
            from edgewright.cli.screen import live_bar  # noqa: PLC0415 - heavy: see there

            screen = cast("Screen", self._printer)
            self._progress = live_bar(screen) if screen.is_terminal else None
        self._task: TaskID | None = None
        self._stage = ""
        self._clock = clock
        self._said = -PLAIN_EVERY_S

    def stage(self, name: str) -> None:
        """A stage begins: a bar of its own, or a line."""
        self._stage = printable(name)
        self._said = self._clock()
        if self._progress is None:
            self._printer.print(self._stage)
            return
        if self._task is not None:
            self._progress.update(self._task, completed=1, total=1)
        self._task = self._progress.add_task(self._stage, total=None)

    def advance(self, done: int, total: int) -> None:
        """Steps of the stage."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif self._clock() - self._said >= PLAIN_EVERY_S:
            self._said = self._clock()
            self._printer.print(f"{self._stage}: {done}/{total}")

    def note(self, text: str) -> None:
        """A line between the bars."""
        self._printer.print(text)

    def figure(self, text: str) -> None:
        """Beside the bar; a plain log has it in its notes."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=f"{self._stage}, {printable(text)}")

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            if kind is None and self._task is not None:
                self._progress.update(self._task, completed=1, total=1)
            self._progress.stop()

"""What goes to the terminal: progress on standard error, results and JSON on standard output.

File names, class names and metadata were written by strangers. A `Screen` draws them and obeys none of them; whoever prints need not
think of it.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TypeAlias

import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.whole_file import write_named


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
WIDEST = 1000  # columns
LONGEST_LINE, LONGEST_CELL = 2000, 100  # characters: room for a sentence with a path, and for a name


def write_json(document: Any, target: Path | None) -> None:
    """The document to a file, to standard output for `-`, or nowhere."""
    if target is None:
        return
    text = json.dumps(document, indent=2) + "\n"
    if str(target) == "-":
        sys.stdout.write(text)
        return
    write_named(target, text.encode())


class Screen(Console):
    """A console on which every text is one whole line that a terminal merely draws: no markup, no emoji codes, no commands.

    Newlines at either end of what is printed are ours, and are kept. A reader that leaves (`| head`) ends the printing, not the work.
    """

    def __init__(self, *, quiet: bool, stderr: bool) -> None:
        super().__init__(quiet=quiet, stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
        if not self.is_terminal and "COLUMNS" not in os.environ:
            self.width = WIDEST  # a file or a pipe has no edge at which to cut figures off

    def render_str(self, text: str, **manner: Any) -> Text:
        """Rich passes every text here on its way out, those of tables too."""
        return super().render_str(_tame(text), **manner)

    def on_broken_pipe(self) -> None:
        """Rich would end the process, before the JSON is written and with an exit code that is a verdict."""
        self.quiet = True
        mute(self.file.fileno())


def console_for(*, quiet: bool, json_path: Path | None) -> Screen:
    """Where tables go: standard output, unless that belongs to the JSON."""
    return Screen(quiet=quiet, stderr=str(json_path) == "-")


def mute(descriptor: int) -> None:
    """What is written there from now on is lost."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _tame(text: str) -> str:
    line = text.strip("\n")
    start = text.index(line)
    return text[:start] + printable(line, LONGEST_LINE) + text[start + len(line) :]


class Terminal:
    """A `Watch` that draws a live bar on a terminal and writes a plain line now and then elsewhere. A context manager."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Screen(quiet=quiet, stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            SpinnerColumn("dots" if self._console.encoding.startswith("utf") else "line"),
            TextColumn("{task.description:<10}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task: TaskID | None = None
        self._stage = ""
        self._clock = clock
        self._said = -PLAIN_EVERY_S

    def stage(self, name: str) -> None:
        """A stage begins: a bar of its own, or a line."""
        self._stage = printable(name)
        self._said = self._clock()
        if not self._live:
            self._console.print(self._stage)
            return
        if self._task is not None:
            self._progress.update(self._task, completed=1, total=1)
        self._task = self._progress.add_task(self._stage, total=None)

    def advance(self, done: int, total: int) -> None:
        """Steps of the stage."""
        if self._live and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif self._clock() - self._said >= PLAIN_EVERY_S:
            self._said = self._clock()
            self._console.print(f"{self._stage}: {done}/{total}")

    def note(self, text: str) -> None:
        """A line between the bars."""
        self._console.print(text)

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            if kind is None and self._task is not None:
                self._progress.update(self._task, completed=1, total=1)
            self._progress.stop()


def table(title: str, columns: list[str], rows: list[list[Any]], texts: Collection[int] = (0,)) -> Table:
    """A table for a `Screen`: its columns named in `texts` (the first, unless told) fold where they are long; the others are figures,
    which do not.
    """
    drawn = Table(title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    drawn.title = printable(title, LONGEST_LINE) or None
    for at, name in enumerate(printable(name, LONGEST_CELL) for name in columns):
        if at in texts:
            drawn.add_column(name, justify="left", overflow="fold")
        else:
            drawn.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        drawn.add_row(*("-" if cell is None else printable(str(cell), LONGEST_CELL) for cell in row))
    return drawn

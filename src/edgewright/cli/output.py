"""What goes to the terminal: progress on standard error, results and JSON on standard output."""

import json
import sys
import time
from collections.abc import Callable
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


def write_json(document: Any, target: Path | None) -> None:
    """The document to a file, to standard output for `-`, or nowhere."""
    if target is None:
        return
    text = json.dumps(document, indent=2) + "\n"
    if str(target) == "-":
        sys.stdout.write(text)
        return
    target.write_text(text, "utf-8")


def console_for(*, quiet: bool, json_path: Path | None) -> Console:
    """Where tables go: standard output, unless that belongs to the JSON."""
    return Console(quiet=quiet, stderr=str(json_path) == "-", highlight=False)


class Terminal:
    """A `Watch` that draws a live bar on a terminal and writes a plain line now and then elsewhere. A context manager."""

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<10}"),
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
        self._stage = name
        self._said = self._clock()
        if not self._live:
            self._console.print(name, markup=False)
            return
        if self._task is not None:
            self._progress.update(self._task, completed=1, total=1)
        self._task = self._progress.add_task(name, total=None)

    def advance(self, done: int, total: int) -> None:
        """Steps of the stage."""
        if self._live and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif self._clock() - self._said >= PLAIN_EVERY_S:
            self._said = self._clock()
            self._console.print(f"{self._stage}: {done}/{total}", markup=False)

    def note(self, text: str) -> None:
        """A line between the bars."""
        self._console.print(text, markup=False)

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            if kind is None and self._task is not None:
                self._progress.update(self._task, completed=1, total=1)
            self._progress.stop()


def table(title: str, columns: list[str], rows: list[list[Any]]) -> Table:
    """A table whose first column is text and whose others are figures; cells are shown as they are, without markup."""
    drawn = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for at, name in enumerate(columns):
        drawn.add_column(name, justify="left" if at == 0 else "right", no_wrap=at == 0)
    for row in rows:
        drawn.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    return drawn

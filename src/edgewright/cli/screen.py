"""What Rich draws: tables, and a live bar on a terminal. Only whoever draws one imports it, which takes as long as numpy."""

import os
from collections.abc import Collection
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edgewright.cli.output import LONGEST_LINE, mute, tame
from edgewright.printable import printable

WIDEST = 1000  # columns
LONGEST_CELL = 100  # characters: room for a name


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
        return super().render_str(tame(text), **manner)

    def on_broken_pipe(self) -> None:
        """Rich would end the process, before the JSON is written and with an exit code that is a verdict."""
        self.quiet = True
        mute(self.file.fileno())


def live_bar(screen: Screen) -> Progress:
    """A bar for each stage, drawn over and over."""
    return Progress(
        SpinnerColumn("dots" if screen.encoding.startswith("utf") else "line"),
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=screen,
    )


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

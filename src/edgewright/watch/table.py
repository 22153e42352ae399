"""Tables that fit: the columns that matter least go first, then texts are cut, and what room is left goes to texts, from the left."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgewright.watch.spans import Line, Span, columns_of, padded

GAP: Final = 2


@dataclass(frozen=True, slots=True)
class Column:
    """`rank`: 0 stays, however narrow it gets; of the others those with the highest go first.

    `cuts_to`: its texts may be cut, to so many columns.
    """

    title: str
    cells: tuple[Span, ...]
    rank: int = 0
    right: bool = True
    cuts_to: int | None = None

    @property
    def width(self) -> int:
        """What it would like."""
        return max(columns_of(self.title), *(columns_of(cell.text) for cell in self.cells), 1)

    @property
    def least(self) -> int:
        """What it can do with."""
        return self.width if self.cuts_to is None else min(self.width, max(columns_of(self.title), self.cuts_to))


def table(columns: Sequence[Column], width: int) -> list[Line]:
    """A line of titles, and a line for each row."""
    kept = fitting(columns, width)
    widths = _widths(kept, width)
    titles = _row([Span(column.title, "faint") for column in kept], kept, widths)
    return [titles, *(_row([column.cells[at] for column in kept], kept, widths) for at in range(len(kept[0].cells)))]


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Those that there is room for, in their order."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.least for column in kept) + GAP * (len(kept) - 1) > width:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept.remove(last)
    return kept


def _widths(columns: Sequence[Column], width: int) -> list[int]:
    """What each gets: its least, and of the rest as much as it would like, from the left."""
    widths = [column.least for column in columns]
    rest = width - sum(widths) - GAP * (len(columns) - 1)
    for at, column in enumerate(columns):
        more = max(0, min(rest, column.width - widths[at]))
        widths[at] += more
        rest -= more
    if rest < 0:  # narrower than all of it: the name gives way
        widths[0] = max(1, widths[0] + rest)
    return widths


def _row(cells: Sequence[Span], columns: Sequence[Column], widths: Sequence[int]) -> Line:
    found: list[Span] = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        if found:
            found.append(Span(" " * GAP))
        found.append(padded(cell, width, right=column.right))
    return tuple(found)

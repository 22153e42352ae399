"""Lines of a screen before anybody draws them: pieces of text, each with what it means, measured in columns of a terminal.

>>> plain(clipped(line("a camera's name", Span("up", "good")), 10))
"a camera'…"
"""

import unicodedata
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

Style: TypeAlias = Literal["plain", "faint", "strong", "good", "warning", "bad", "accent"]
ELLIPSIS: Final = "…"
RESET: Final = "\x1b[0m"
# ECMA-48, SGR. The sixteen colours that every terminal lets its user choose, and no background: they can be read on light and on dark.
COLOURED: Final[dict[Style, str]] = {
    "faint": "\x1b[2m",
    "strong": "\x1b[1m",
    "good": "\x1b[32m",
    "warning": "\x1b[33m",
    "bad": "\x1b[1;31m",
    "accent": "\x1b[36m",
}
UNCOLOURED: Final[dict[Style, str]] = {"faint": "\x1b[2m", "strong": "\x1b[1m", "bad": "\x1b[1m"}


class Span(NamedTuple):
    """A piece of a line. Its text is for showing: whoever makes it of foreign text has made that printable."""

    text: str
    style: Style = "plain"


Line: TypeAlias = tuple[Span, ...]


def line(*parts: str | Span) -> Line:
    """A line of pieces; bare text is plain."""
    return tuple(Span(part) if isinstance(part, str) else part for part in parts)


def joined(lines: Iterable[Line], between: str) -> Line:
    """One line of several."""
    found: list[Span] = []
    for each in lines:
        found += (Span(between), *each) if found else each
    return tuple(found)


def plain(spans: Line) -> str:
    """Its text alone."""
    return "".join(text for text, _ in spans)


def columns_of(text: str) -> int:
    """How many columns a terminal takes for it (Unicode Standard Annex 11): wide letters take two, marks over a letter none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def width_of(spans: Line) -> int:
    return sum(columns_of(text) for text, _ in spans)


def cut(text: str, columns: int) -> str:
    """At most so many columns of it, with an ellipsis where something is missing."""
    if columns_of(text) <= columns:
        return text
    room = columns - 1
    kept: list[str] = []
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS if columns > 0 else ""


def clipped(spans: Line, columns: int) -> Line:
    """The line, no longer than that."""
    if width_of(spans) <= columns:
        return spans
    room, kept = columns, list[Span]()
    for span in spans:
        width = columns_of(span.text)
        if width >= room:
            # A piece that just fits gives its last column to the sign that others are missing.
            kept.append(Span(cut(span.text + " ", room), span.style))
            break
        kept.append(span)
        room -= width
    return tuple(kept)


def padded(span: Span, columns: int, *, right: bool) -> Span:
    """The piece, made as wide as a column; `right`: it stands at its right end."""
    text = cut(span.text, columns)
    blank = " " * (columns - columns_of(text))
    return Span(blank + text if right else text + blank, span.style)


def ends(left: Line, right: Line, columns: int) -> Line:
    """One piece at either end of a line; the left one is cut for the right one."""
    gap = columns - width_of(left) - width_of(right)
    if gap >= 1:
        return (*left, Span(" " * gap), *right)
    room = columns - width_of(right) - 1
    return (*clipped(left, room), Span(" "), *right) if room > 0 else clipped(left, columns)


def drawn(spans: Line, *, colour: bool) -> str:
    """The line as a terminal is sent it."""
    codes = COLOURED if colour else UNCOLOURED
    return "".join(f"{code}{text}{RESET}" if (code := codes.get(style)) and text else text for text, style in spans)


def greyed(spans: Line) -> Line:
    """The same line, of a while ago."""
    return (Span(plain(spans), "faint"),)

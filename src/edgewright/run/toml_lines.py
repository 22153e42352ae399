r"""TOML, and the line that every part of it stands on: tomllib tells values, but not where they were.

A scanner walks the text before tomllib does. It knows just enough of the grammar to tell keys, tables and values apart (TOML 1.0, toml.io),
takes more than is TOML, and stops at what it does not know, which is for tomllib to complain of. It also refuses what would take tomllib
long: its time grows with the square of a dotted key's parts, and it calls itself for every bracket.

>>> read_toml('[[camera]]\nname = "belt"\nfps = 5\n', "service.toml").line(("camera", 0, "fps"))
3
"""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from edgewright.errors import InputError
from edgewright.printable import printable

Where: TypeAlias = tuple[str | int, ...]  # keys and places in lists, from the outermost: ("camera", 0, "motion", "area")

MOST_PARTS = 8  # of a dotted key
MOST_DEEP = 8  # brackets in brackets
MOST_VALUES = 20_000  # a full service has some thousand
LONGEST_BARE = 100  # characters of a number or date

_GAP = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_BLANKS = re.compile(r"[ \t]*+")
_PART = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\\n]++|\\.)*+"|'[^'\n]*+'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']++|'{1,2}(?!'))*+'{3,5}|"(?!"")(?:[^"\\\n]++|\\.)*+"|'(?!'')[^'\n]*+\'''',
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]++")
_AT = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says, and the line of every key, table and value in it."""

    values: dict[str, Any]
    lines: Mapping[Where, int]

    def line(self, where: Where) -> int:
        """The line, from 1, of what is there; where nothing is, of what it would be in."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def read_toml(text: str, shown: str) -> Document:
    """The document that `text` is; `shown` is what errors call it.

    Raises:
        InputError: it is no TOML, or larger than anything that we read; the sentence has the line.
    """
    text = text.replace("\r\n", "\n")
    scanner = _Scanner(text, shown)
    scanner.scan()
    try:
        return Document(tomllib.loads(text), scanner.lines)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), shown, text) from error
    except (ValueError, RecursionError) as error:  # none is known that passes the scanner
        raise InputError(f"{shown} cannot be read as TOML", got=printable(" ".join(str(error).split()), 200)) from error


def _syntax_error(said: str, shown: str, text: str) -> InputError:
    """A sentence of tomllib's as one of ours: the place first."""
    found = _AT.search(said)
    place = f", line {found['line'] or text.count(chr(10)) + 1}" if found else ""
    column = f", column {found['column']}" if found and found["column"] else ""
    what = said[: found.start()] if found else said
    fix = "text stands in double quotes" if what == "Invalid value" else None
    return InputError(f"{shown}{place}{column}: no TOML: {printable(what[:1].lower() + what[1:], 200)}", fix=fix)


class _NotTomlError(Exception):
    """The scanner knows no further."""


class _Scanner:
    """Walks a text once and notes where everything is."""

    def __init__(self, text: str, shown: str) -> None:
        self.lines: dict[Where, int] = {}
        self._text = text
        self._shown = shown
        self._at = 0
        self._newlines = [found.start() for found in re.finditer("\n", text)]
        self._tables: dict[Where, int] = {}  # how many an array of tables has so far

    def scan(self) -> None:
        """Note the lines of all that is TOML, up to the end or to what is not.

        Raises:
            InputError: a key has too many parts, brackets are too deep, a number too long, values too many.
        """
        table: Where = ()
        try:
            while self._skip(_GAP) < len(self._text):
                if self._take("[["):
                    table = self._header("]]")
                elif self._take("["):
                    table = self._header("]")
                else:
                    self._pair(table, depth=0)
                self._end_of_line()
        except _NotTomlError:
            return

    def _header(self, closing: str) -> Where:
        """The table that what follows belongs to."""
        line = self._line()
        *above, last = self._key()
        self._expect(closing)
        where: Where = ()
        for part in above:
            where = self._newest((*where, part), line)
        where = (*where, last)
        if closing == "]]":
            self.lines.setdefault(where, line)
            self._tables[where] = self._tables.get(where, 0) + 1
            where = (*where, self._tables[where] - 1)
        self._note(where, line)
        return where

    def _newest(self, where: Where, line: int) -> Where:
        """A table on the way to another one; of an array of tables, its last."""
        self.lines.setdefault(where, line)
        return (*where, self._tables[where] - 1) if where in self._tables else where

    def _pair(self, table: Where, depth: int) -> None:
        line = self._line()
        where = table
        for part in self._key():
            where = (*where, part)
            if where not in self.lines:
                self._note(where, line)
        self._expect("=")
        self._skip(_BLANKS)
        self._value(where, depth)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_BLANKS)
            parts.append(_unquoted(self._match(_PART)))
            if len(parts) > MOST_PARTS:
                raise self._refused(f"a key of more than {MOST_PARTS} parts")
            self._skip(_BLANKS)
            if not self._take("."):
                return parts

    def _value(self, where: Where, depth: int) -> None:
        if depth > MOST_DEEP:
            raise self._refused(f"brackets nested more than {MOST_DEEP} deep")
        if self._take("["):
            self._list(where, depth)
        elif self._take("{"):
            self._inline_table(where, depth)
        elif self._text.startswith(('"', "'"), self._at):
            self._match(_STRING)
        elif len(self._match(_BARE).strip()) > LONGEST_BARE:
            raise self._refused(f"a number or word of more than {LONGEST_BARE} characters")

    def _list(self, where: Where, depth: int) -> None:
        place = 0
        while not self._closes("]"):
            self._note((*where, place), self._line())
            self._value((*where, place), depth + 1)
            if self._closes("]"):
                return
            self._expect(",")
            place += 1

    def _inline_table(self, where: Where, depth: int) -> None:
        while not self._closes("}"):
            self._pair(where, depth + 1)
            if self._closes("}"):
                return
            self._expect(",")

    def _closes(self, bracket: str) -> bool:
        self._skip(_GAP)
        return self._take(bracket)

    def _end_of_line(self) -> None:
        self._skip(_BLANKS)
        if self._at < len(self._text) and self._text[self._at] not in "\r\n#":
            raise _NotTomlError

    def _note(self, where: Where, line: int) -> None:
        if len(self.lines) >= MOST_VALUES:
            raise self._refused(f"more than {MOST_VALUES:,} keys and values")
        self.lines[where] = line

    def _line(self) -> int:
        return bisect_left(self._newlines, self._at) + 1

    def _refused(self, what: str) -> InputError:
        return InputError(f"{self._shown}, line {self._line()}: {what}", fix="nothing that is read here needs so much; look for a slip")

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            raise _NotTomlError
        self._at = found.end()
        return found[0]

    def _take(self, characters: str) -> bool:
        taken = self._text.startswith(characters, self._at)
        self._at += len(characters) if taken else 0
        return taken

    def _expect(self, characters: str) -> None:
        if not self._take(characters):
            raise _NotTomlError


def _unquoted(part: str) -> str:
    """What a part of a key, as it is written, stands for."""
    if part[0] == '"' and "\\" in part:
        try:
            return str(tomllib.loads(f"key = {part}")["key"])
        except ValueError as error:
            raise _NotTomlError from error
    return part[1:-1] if part[0] in "\"'" else part

"""Every number the report shows: taken from evidence.json, never typed, and marked with where it is from and by which rule it was made.

>>> document = Document({"delta": {"estimate": -0.42}})
>>> print(document.figure("signed 1", "delta", "estimate").__html__())
<data value="-0.42" data-from="#/delta/estimate" data-rule="signed 1">−0.4</data>

So a script can read the page, and a test can walk all of it and hold each number against the document.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from markupsafe import Markup

DASH = "\u2013"  # en dash: no figure
MINUS = "\u2212"  # as wide as a plus
POINTS = 100.0
LONGEST_TEXT = 5000  # characters: a command line still fits

Path: TypeAlias = tuple[str | int, ...]

# What a rule may do to the numbers it is given, before they are written with so many digits. None where a number is missing.
DERIVED: dict[str, Callable[..., float | None]] = {
    "": lambda value: value,
    "negated": lambda value: -value,
    "points": lambda value: value * POINTS,  # of 0..1; also percent of a share
    "change in points": lambda before, after: (after - before) * POINTS,
    "change in percent": lambda before, after: (after / before - 1) * 100 if before else None,
    "percent above one": lambda value: (value - 1) * 100,
    "minutes": lambda value: value / 60,  # of seconds
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as the page shows it; `pointers` say where it is from (JSON Pointer in a URI fragment, RFC 6901)."""

    value: float | None
    text: str
    pointers: tuple[str, ...]
    rule: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        value = "" if self.value is None else repr(self.value)
        return Markup('<data value="{}" data-from="{}" data-rule="{}">{}</data>').format(
            value, " ".join(self.pointers), self.rule, self.text
        )


@dataclass(frozen=True, slots=True)
class Name:
    """What something is called in the document, set apart from the words around it: names of candidates hold commas."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return Markup('<b class="called">{}</b>').format(visible(self.text))


Words: TypeAlias = tuple[str | Figure | Name, ...]  # a sentence


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document, asked for numbers by their path."""

    root: Any

    def at(self, *path: str | int) -> Any:
        """What lies at a path; None where the path ends early."""
        inner = self.root
        for key in path:
            if isinstance(key, str) and isinstance(inner, Mapping):
                inner = inner.get(key)
            elif isinstance(key, int) and isinstance(inner, list | tuple) and key < len(inner):
                inner = inner[key]
            else:
                return None
        return inner

    def number(self, *path: str | int) -> float | None:
        """The finite number at a path, or None."""
        return _finite(self.at(*path))

    def rows(self, *path: str | int) -> Sequence[Any]:
        """The list at a path; empty where there is none."""
        value = self.at(*path)
        return value if isinstance(value, list | tuple) else ()

    def paths(self, *path: str | int) -> list[Path]:
        """The paths of the rows of a list."""
        return [(*path, at) for at, _ in enumerate(self.rows(*path))]

    def figure(self, rule: str, *path: str | int) -> Figure:
        """The number at one path, by a rule: `fixed 2`, `signed 1`, `points, signed 1`, `plain`, ..."""
        return self.derived(rule, path)

    def derived(self, rule: str, *paths: Path) -> Figure:
        """A number made of those at several paths, by a rule that takes so many."""
        derivation, form = rule.rsplit(", ", 1) if ", " in rule else ("", rule)
        numbers = [self.number(*path) for path in paths]
        value = None if None in numbers else DERIVED[derivation](*numbers)
        value = None if value is None else value + 0.0  # -0.0 is 0
        text = str(self.at(*paths[0])) if form == "plain" and value is not None else written(value, form)
        return Figure(value, text, tuple(map(pointer, paths)), rule)


def how_many(paths: Iterable[Path]) -> Figure:
    """How many things of the document these are."""
    pointers = tuple(map(pointer, paths))
    return Figure(len(pointers), written(len(pointers), "fixed 0"), pointers, "how many")


def ordinal(path: Path) -> Figure:
    """The number of a row in its table: the last step of its path, counted from one."""
    at = int(path[-1]) + 1
    return Figure(at, str(at), (pointer(path),), "ordinal")


def plain_text(words: Words) -> str:
    """The sentence without marks."""
    return "".join(map(str, words))


def listed(items: Sequence[Words]) -> Words:
    """'a, b and c'."""
    joined: Words = ()
    for at, item in enumerate(items):
        joined += ("" if at == 0 else " and " if at == len(items) - 1 else ", ", *item)
    return joined


def pointer(path: Path) -> str:
    """The path as a JSON Pointer in a URI fragment (RFC 6901 sections 3 and 6), which holds no spaces."""
    return "#" + "".join("/" + quote(str(key).replace("~", "~0").replace("/", "~1"), safe="~", errors="replace") for key in path)


def written(value: float | None, form: str) -> str:
    """A number with so many decimals, thousands apart, and always with its sign if the form is `signed`; an en dash for none."""
    if value is None or not math.isfinite(value):
        return DASH
    kind, _, digits = form.partition(" ")
    text = f"{value:{'+' if kind == 'signed' else ''},.{int(digits or 0)}f}"
    # What rounds to nothing has no sign worth showing, except where a sign is promised.
    text = text.removeprefix("-") if kind == "fixed" and not any(c in text for c in "123456789") else text
    return text.replace("-", MINUS)


def visible(text: str) -> str:
    """The text without what a page would obey: controls are shown as their symbols, other commands as a replacement mark; and bounded."""
    return "".join(_symbol(c) for c in text[:LONGEST_TEXT]) + ("…" if len(text) > LONGEST_TEXT else "")


def _symbol(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or not unicodedata.category(character).startswith("C"):
        return character
    if code < 0x20:
        return chr(0x2400 + code)
    # Zero-width joiners make emoji and Indic scripts; the rest (bidirectional overrides, surrogates, private use) only misleads.
    return character if character in "\u200c\u200d" else "\ufffd"


def _finite(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        known = float(value)
    except OverflowError:
        return None
    return known if math.isfinite(known) else None

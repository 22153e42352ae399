r"""What is noticed about a model, and how foreign text is shown.

A model file is written by a stranger: its names and metadata may hold terminal escapes, markup or a megabyte of padding. Nothing
from it reaches a screen, a log or a report except through `printable`.

>>> printable("a\x1b[31mb")
'a\\x1b[31mb'
"""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]

ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed: what it is, where, and the way out. An error is what no one should run."""

    code: str
    severity: Severity
    where: str
    what: str
    fix: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def error(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "error", where, what, fix)


def warning(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "warning", where, what, fix)


def info(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "info", where, what, fix)


def printable(text: str, limit: int = 80) -> str:
    """One line of at most `limit` characters, every one of which a terminal merely draws.

    Control characters, terminal escapes, bidirectional overrides and lone surrogates come out as backslash escapes.
    """
    # One character more than fits tells whether anything was cut; a megabyte of name is never walked.
    escaped = "".join(character if character.isprintable() else _escape(character) for character in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[: max(limit - len(ELLIPSIS), 0)] + ELLIPSIS[:limit]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

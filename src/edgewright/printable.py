r"""How foreign text is shown: names, paths and metadata that strangers wrote.

They may hold terminal escapes, markup or a megabyte of padding. Nothing of theirs reaches a screen or a log but through here.

>>> printable("a\x1b[31mb")
'a\\x1b[31mb'
"""

ELLIPSIS = "…"


def printable(text: str, limit: int = 80) -> str:
    """One line of at most `limit` characters, every one of which a terminal merely draws.

    Control characters, terminal escapes, bidirectional overrides and lone surrogates come out as backslash escapes.
    """
    # One character more than fits tells whether anything was cut; a megabyte of name is never walked.
    escaped = "".join(character if character.isprintable() else _escape(character) for character in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[: max(limit - len(ELLIPSIS), 0)] + ELLIPSIS[:limit]


def brief(value: object) -> str:
    """A foreign value in a few words: text and numbers as they are, of anything that holds others only how many.

    It may be nested a thousand deep, hold itself, or be a number of a million bits; none of that is walked or turned into digits.
    """
    if isinstance(value, str):
        return printable(repr(value[:80]))
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return f"a number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    return f"a {type(value).__name__}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")

"""What must not be seen: passwords, tokens, and addresses that hold them. They print as stars; who needs them says so with `reveal`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

HIDDEN = "***"
_WORD = re.compile(r"[^ \t\r\n]++")
_SLASHES = re.compile(r":/{1,3}")
_TELLTALE = "pas|pwd|psw|pw|token|key|secret|auth|user|usr|login|cred|sig|session"
_QUERY = re.compile(rf"(?P<key>[?&;#](?=[^?=&;#\s]*?(?:{_TELLTALE}))[^?=&;#\s]*+=)[^&#\s]*+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password or token."""

    _text: str

    def reveal(self) -> str:
        """The text itself, for whoever must be shown it."""
        return self._text

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where something is: a URL, a path, a number. Printed without the credentials that it may hold.

    `_written`: how it was written, where parts of it came from elsewhere (`https://hooks.example/${HOOK}`); then that is what prints.
    """

    _text: str
    _written: str | None = None

    def reveal(self) -> str:
        """The address itself, for whoever opens it."""
        return self._text

    @property
    def scheme(self) -> str:
        """`rtsp`, `http`, ... in small letters; nothing of what is no URL."""
        return urlsplit(self._text).scheme.lower() if "://" in self._text else ""

    def __str__(self) -> str:
        return hide_credentials(self._text if self._written is None else self._written)

    __repr__ = __str__


def hide_credentials(text: str) -> str:
    """A text, such as a line of a decoder's log, with `user:password@` and values of keys that sound secret starred out."""
    return _QUERY.sub(rf"\g<key>{HIDDEN}", _WORD.sub(_without_credentials, text))


def _without_credentials(word: re.Match[str]) -> str:
    """All from the :// to the last @ goes, whatever stands between.

    A password may hold an @, and one with a bare / or # breaks its URL, but is a password none the less. A URL with an @ in its path loses
    its host to that; better than the other way round.
    """
    text = word[0]
    at = text.rfind("@")
    slashes = _SLASHES.search(text, 0, max(at, 0))
    return f"{text[: slashes.end()]}{HIDDEN}{text[at:]}" if slashes else text


def hide_in_address(text: str) -> str:
    """The same for what should be an address, and may be a slip of one (`rtsp//user:password@host`): nothing before its last @ is shown."""
    hidden = hide_credentials(text)
    before, at, after = hidden.rpartition("@")
    return hidden if not at or before.endswith(HIDDEN) else f"{HIDDEN}@{after}"

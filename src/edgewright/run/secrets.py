"""What must not be seen: passwords, tokens, and addresses that hold them. They print as stars; who needs them says so with `reveal`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

HIDDEN = "***"
_CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/?#\s]*@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<key>[?&][^=&#\s]*(?:pass|pwd|token|key|secret|auth|user|login)[^=&#\s]*=)[^&#\s]*", re.IGNORECASE)


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
    """Where something is: a URL, a path, a number. Printed without the credentials that it may hold."""

    _text: str

    def reveal(self) -> str:
        """The address itself, for whoever opens it."""
        return self._text

    @property
    def scheme(self) -> str:
        """`rtsp`, `http`, ... in small letters; nothing of what is no URL."""
        return urlsplit(self._text).scheme.lower() if "://" in self._text else ""

    def __str__(self) -> str:
        return hide_credentials(self._text)

    __repr__ = __str__


def hide_credentials(text: str) -> str:
    """A text, such as a line of a decoder's log, with `user:password@` and values of keys that sound secret starred out."""
    return _QUERY.sub(rf"\g<key>{HIDDEN}", _CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", text))

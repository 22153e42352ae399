"""Where a service's secrets come from: `${NAME}` from the environment or from systemd's credentials, files that only their owner may read.

What is taken is put into a `Secret` or an `Address` at once. No sentence of ours holds any of it.
"""

import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgewright.printable import printable
from edgewright.regular_file import open_regular, why
from edgewright.run.secrets import Address, Secret
from edgewright.run.toml_values import LONGEST_TEXT, Unfit

MOST_BYTES = 4096
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=
_PLACE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]{0,99})\}")
_EXPECTED_FILE = f"a file whose first line is the secret, of at most {MOST_BYTES:,} bytes"


@dataclass(frozen=True, slots=True)
class SecretPlaces:
    """The environment, and the folder that paths are relative to. Its methods read values of a TOML file."""

    environment: Mapping[str, str]
    folder: Path

    def filled(self, value: Any) -> str:
        """A text with what its `${NAME}`s stand for.

        Raises:
            Unfit: one of them stands for nothing that can be used, or `value` is no text.
        """
        template = _template(value)
        return _PLACE.sub(lambda found: self._value(found["name"]), template)

    def secret(self, value: Any) -> Secret:
        """The same for a password or token."""
        return Secret(self.filled(value))

    def address(self, value: Any, resolved: Callable[[str], str]) -> Address:
        """The same for an address, which `resolved` makes of the filled text.

        What goes between // and @ of a URL, or behind its ?, is percent-encoded (RFC 3986, section 2.1).
        """
        template = _template(value)
        if not _PLACE.search(template):
            return Address(resolved(template))
        secret_parts = _credentials_and_query(template)

        def put(found: re.Match[str]) -> str:
            raw = self._value(found["name"])
            return quote(raw, safe="") if any(start <= found.start() < end for start, end in secret_parts) else raw

        return Address(resolved(_PLACE.sub(put, template)), template)

    def secret_file(self, value: Any) -> Secret:
        """The first line of a file.

        Raises:
            Unfit: it cannot be read, is large, is no text, or everybody may read it.
        """
        path = self.folder / _template(value)
        shown = printable(str(path), 200)
        try:
            with open_regular(path) as stream:
                mode = os.fstat(stream.fileno()).st_mode
                if mode & (stat.S_IROTH | stat.S_IWOTH):
                    raise Unfit(said=f"names {shown}, which everybody on this machine may open", fix=f"chmod 600 {shown}")
                content = stream.read(MOST_BYTES + 1)
        except OSError as error:
            raise Unfit(said=f"names {shown}, which cannot be read: {why(error)}", expected=_EXPECTED_FILE) from error
        return Secret(_first_line(content, f"names {shown}, whose first line"))

    def _value(self, name: str) -> str:
        if name in self.environment:
            return _usable(self.environment[name], f"takes ${{{name}}}, which")
        folder = self.environment.get(CREDENTIALS)
        if folder:
            try:
                with open_regular(Path(folder) / name) as stream:
                    return _first_line(stream.read(MOST_BYTES + 1), f"takes ${{{name}}}, which")
            except FileNotFoundError:
                pass
            except OSError as error:
                raise Unfit(said=f"takes ${{{name}}}, a credential that cannot be read: {why(error)}") from error
        raise Unfit(
            said=f"takes ${{{name}}}, which is not set",
            expected=f"{name} in the environment, or a credential of systemd of that name",
        )


def literal_password(value: Any) -> bool:
    """Whether an address has a password in it that stands there itself."""
    bare = _PLACE.sub("", value) if isinstance(value, str) else ""
    credentials, at, _ = _split(bare)[1].rpartition("@") if "://" in bare else ("", "", "")
    return bool(at and credentials.partition(":")[2])


def literal_secret(value: Any) -> bool:
    """Whether a password or token stands there itself."""
    return isinstance(value, str) and not _PLACE.search(value)


def _template(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > LONGEST_TEXT or not value.isprintable():
        raise Unfit(expected=f"a line of text, at most {LONGEST_TEXT:,} characters")
    if "${" in _PLACE.sub("", value):
        raise Unfit(said="has a ${ that begins no ${NAME}", expected="letters, digits and _ between the braces")
    return value


def _split(url: str) -> tuple[int, str]:
    """Where the authority of a URL begins, and what it is: all up to the first / ? or #."""
    start = url.find("://") + 3
    return start, re.split(r"[/?#]", url[start:], maxsplit=1)[0]


def _credentials_and_query(template: str) -> list[tuple[int, int]]:
    """(start, end) of what may be percent-encoded in a URL."""
    if "://" not in template:
        return []
    start, authority = _split(template)
    query = template.find("?", start)
    return [(start, start + authority.rfind("@")), (query, len(template) if query >= 0 else query)]


def _first_line(content: bytes, what: str) -> str:
    if len(content) > MOST_BYTES:
        raise Unfit(said=f"{what} is too long", expected=f"at most {MOST_BYTES:,} bytes")
    try:
        return _usable(content.split(b"\n", 1)[0].rstrip(b"\r").decode(), what)
    except UnicodeDecodeError:  # which would carry the bytes
        raise Unfit(said=f"{what} is no UTF-8 text") from None


def _usable(raw: str, what: str) -> str:
    """A secret that can be sent: nothing empty, no line ends that would begin another header."""
    if not raw:
        raise Unfit(said=f"{what} is empty")
    if len(raw) > MOST_BYTES:
        raise Unfit(said=f"{what} is too long", expected=f"at most {MOST_BYTES:,} characters")
    if not raw.isprintable():
        raise Unfit(said=f"{what} holds a line end, or another character that cannot be printed")
    return raw

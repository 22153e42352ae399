"""What a sink is: it takes letters in their order, or says which it did not take, and whether it is worth asking again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from edgewright.clock import Clock
from edgewright.errors import HostError
from edgewright.printable import printable
from edgewright.run.letter import Letter
from edgewright.run.secrets import HIDDEN, Address, Secret, hide_credentials

SHOWN = 300  # characters of a reason
LEAST_SECRET = 3  # shorter ones would star out half of every sentence


class SinkError(HostError):
    """`delivered`: so many letters from the front were taken all the same."""

    def __init__(self, what: str, *, delivered: int = 0) -> None:
        super().__init__(what)
        self.delivered = delivered


class UndeliveredError(SinkError):
    """Not now: ask again, after `retry_after_s` at the earliest where that is known."""

    def __init__(self, what: str, *, delivered: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(what, delivered=delivered)
        self.retry_after_s = retry_after_s


class RefusedError(SinkError):
    """The letter behind the delivered ones will never be taken."""


class Sink(Protocol):
    """One place where letters go. It is used by one thread at a time, and may be asked again after any error.

    `on_disk`: what it takes goes to this machine's disk. `gather_s`: how long letters may wait for others, because many at once cost it as
    much as one. `most_records`: no more than these in one delivery.
    """

    @property
    def on_disk(self) -> bool: ...

    @property
    def gather_s(self) -> float: ...

    @property
    def most_records(self) -> int: ...

    def deliver(self, letters: Sequence[Letter]) -> None:
        """Returns when all of them are taken. None of them: be ready, look after what has become old; asked every few seconds.

        Raises:
            UndeliveredError: try again later.
            RefusedError: one of them is never going to be taken.
        """
        ...

    def close(self) -> None:
        """What is open is closed, in a second or two; once more changes nothing, and a delivery opens it again."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """What a sink is told of the service around it. `wrote` takes the bytes that went to the disk."""

    state: Path
    service: str
    cameras: tuple[str, ...]
    clock: Clock
    wrote: Callable[[int], object]


def secrets_of(settings: Any) -> tuple[str, ...]:
    """Every text of the settings that must not be seen: passwords, tokens, and what an address carries of them; the longest first."""
    found: set[str] = set()
    for field in fields(settings) if is_dataclass(settings) else ():
        value = getattr(settings, field.name)
        if isinstance(value, Secret):
            found.add(value.reveal())
        elif isinstance(value, Address):
            found |= _credentials_in(value.reveal())
    return tuple(sorted((text for text in found if len(text) >= LEAST_SECRET), key=len, reverse=True))


def shown(reason: str, secrets: tuple[str, ...] = ()) -> str:
    """A reason as it may be shown: one line, without credentials, of at most 300 characters."""
    for secret in secrets:
        reason = reason.replace(secret, HIDDEN)
    return printable(hide_credentials(reason), SHOWN)


def _credentials_in(address: str) -> set[str]:
    try:
        parts = urlsplit(address)
        user, password = parts.username, parts.password
    except ValueError:
        return set()
    texts = {text for text in (user, password) if text}
    texts |= {value for _, value in parse_qsl(parts.query)} | ({parts.query} if parts.query else set())
    return texts | {unquote(text) for text in texts}

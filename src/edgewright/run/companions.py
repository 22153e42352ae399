"""Processes beside the pipeline, which hear what it says and are no part of it: the HTTP front is one.

The service advances them, counts their memory and ends them; whatever becomes of one, no frame waits for it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from edgewright.run.records import Record

Status: TypeAlias = Callable[[], dict[str, Any]]


class Companion(Protocol):
    """One of them, from the start of a service to its end."""

    name: str

    @property
    def pid(self) -> int | None: ...

    @property
    def used_bytes(self) -> Mapping[str, int]:
        """What processes of its own take, by their names in the budget."""
        ...

    def start(self) -> None:
        """Raises HostError: what it needs is more than the budget."""

    def offer(self, record: Record) -> None:
        """Never waits, never fails."""

    def advance(self, now_s: float) -> None: ...

    def finish(self, within_s: float) -> None:
        """Take nothing new, and be done by then."""

    @property
    def has_finished(self) -> bool: ...

    def end(self) -> None:
        """For good, and at once."""


@dataclass(slots=True)
class Companions:
    """All of one service's."""

    _all: list[Companion] = field(default_factory=list)

    def join(self, companion: Companion) -> None:
        """Before the service starts."""
        self._all.append(companion)

    def __iter__(self) -> Iterator[Companion]:
        return iter(self._all)

    @property
    def pids(self) -> dict[str, int | None]:
        return {each.name: each.pid for each in self._all}

    @property
    def used_bytes(self) -> dict[str, int]:
        return {part: count for each in self._all for part, count in each.used_bytes.items()}

    @property
    def have_finished(self) -> bool:
        return all(each.has_finished for each in self._all)

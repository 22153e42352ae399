"""How a long job tells what it is doing; the command line draws it, tests and scripts may stay silent."""

from typing import Protocol


class Watch(Protocol):
    """Told of each stage, its steps and what is worth a line."""

    def stage(self, name: str) -> None:
        """A stage begins."""
        ...

    def advance(self, done: int, total: int) -> None:
        """Steps of the present stage."""
        ...

    def note(self, text: str) -> None:
        """Something the user will want to know."""
        ...

    def figure(self, text: str) -> None:
        """The figure that the present stage is about, as it is now."""
        ...


class Silent:
    """Says nothing."""

    def stage(self, name: str) -> None: ...

    def advance(self, done: int, total: int) -> None: ...

    def note(self, text: str) -> None: ...

    def figure(self, text: str) -> None: ...

"""How a long step says how far it is: a callable that is told (done, total)."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]


def unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""

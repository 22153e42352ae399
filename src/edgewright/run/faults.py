"""Faults of our own: an exception that nobody expected, where no child process and no camera is to blame.

Some day in the weeks that a service runs, a rule or an output meets what nobody thought of. That costs the frame it happens over, is
counted under where it happened, and told of, ever less often; the service goes on.

    with faults.met("rule gate"):
        event = rule.look(answer)
"""

import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from edgewright.printable import printable
from edgewright.run.secrets import hide_credentials

SHOWN_CALLS: Final = 10  # the innermost ones
LONGEST_MESSAGE: Final = 300  # characters


class Faults:
    """`tell`: the words and figures of an event."""

    def __init__(self, tell: Callable[[str, Mapping[str, Any]], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._tell = tell
        self._is_telling = False

    def met(self, where: str) -> "_Met":
        """What is done within may fail; then what follows after it is done all the same."""
        return _Met(self, where)

    def note(self, where: str, error: Exception) -> None:
        """It failed there: for the 1st, 2nd, 4th, 8th, ... time it is told of. A failure to tell is counted, and told of no further."""
        self.counts[where] += 1
        if self._is_telling or self.counts[where].bit_count() > 1:
            return
        message = printable(hide_credentials(str(error)), LONGEST_MESSAGE)
        text = f"a fault of edgewright's own, with {where}: {type(error).__name__}: {message}; it goes on"
        self._is_telling = True
        try:
            self._tell(text, {"where": where, "count": self.counts[where], "last_words": _calls(error)})
        finally:
            self._is_telling = False


@dataclass(frozen=True, slots=True)
class _Met:
    faults: Faults
    where: str

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self.faults.note(self.where, error)
        return True


def _calls(error: Exception) -> list[str]:
    """Where in our code it was, innermost last; file names without the folders of this machine."""
    found = traceback.extract_tb(error.__traceback__)[-SHOWN_CALLS:]
    return [f"{Path(call.filename).name}:{call.lineno} in {call.name}" for call in found]

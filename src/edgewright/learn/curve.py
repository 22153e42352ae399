"""How a student comes nearer to its teacher on frames that it does not learn from, and when it has come as near as it will."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgewright.regular_file import read_regular
from edgewright.whole_file import write_whole

PATIENCE = 3  # checks without a better one, after which an exercise ends
WORSE = 0.002  # of agreement, that is no chance
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """A look at the held-out frames: after how many steps, agreement with the teacher (0..1), mAP50 and mAP50-95 where there are labels."""

    step: int
    agreement: float
    map50: float | None = None
    map50_95: float | None = None


def best_of(checks: Sequence[Check]) -> Check:
    """The last of those that are as good as the best: more training on the way to the same agreement does no harm."""
    most = max(check.agreement for check in checks)
    return [check for check in checks if check.agreement >= most - WORSE][-1]


@dataclass(slots=True)
class Curve:
    """The checks of an exercise so far, and the seconds that they took."""

    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Curve":
        """What an interrupted exercise had seen; nothing where that cannot be read."""
        try:
            found = json.loads(read_regular(path, MOST_BYTES))
            return cls(checks_of(found["checks"]), float(found["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return cls()

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        write_whole(path, json.dumps({"checks": [asdict(check) for check in self.checks], "seconds": self.seconds}).encode())

    def has(self, step: int) -> bool:
        """Whether that step has been looked at."""
        return any(check.step == step for check in self.checks)

    @property
    def is_over(self) -> bool:
        """Whether the last checks brought nothing."""
        return bool(self.checks) and len(self.checks) - 1 - self.checks.index(best_of(self.checks)) >= PATIENCE


def checks_of(rows: Any) -> list[Check]:
    """Checks as `asdict` wrote them.

    Raises:
        ValueError, TypeError, KeyError: they are none.
    """
    checks = [Check(int(row["step"]), float(row["agreement"]), _figure(row["map50"]), _figure(row["map50_95"])) for row in rows]
    if not all(0 <= check.agreement <= 1 for check in checks):
        raise ValueError("no agreement")
    return checks


def _figure(value: Any) -> float | None:
    return None if value is None else float(value)

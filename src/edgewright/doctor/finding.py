"""What a check comes back with: a `Finding`, or None where there is nothing to say."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from edgewright.doctor.machine import Machine

Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that this machine lacks, hides or does wrong.

    `error`: edgewright cannot do its work, or not as measured, until it is mended. `warning`: it will bite. `info`: good to know. `fix`:
    lines for a shell; none where nothing helps but other hardware, which `what` then says. `source`: where one can read it.
    """

    code: str
    severity: Severity
    what: str
    why_it_matters: str
    fix: tuple[str, ...]
    source: str

    def to_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "what": self.what,
            "why_it_matters": self.why_it_matters,
            "fix": list(self.fix),
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A question put to a machine; `look` changes nothing on it and raises nothing."""

    name: str
    look: Callable[[Machine], Finding | None]

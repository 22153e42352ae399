r"""Every check there is, and what they find on a machine.

report = examine(Machine())
for finding in report.findings:
    print(finding.severity, finding.what, *finding.fix, sep="\n  ")
"""

from dataclasses import dataclass
from typing import Any

from edgewright.doctor import hidden, power, rights, software, space
from edgewright.doctor.finding import SEVERITIES, Check, Finding
from edgewright.doctor.machine import Machine
from edgewright.doctor.unproven import Unproven, unproven_on

CHECKS: tuple[Check, ...] = (*software.CHECKS, *hidden.CHECKS, *power.CHECKS, *space.CHECKS, *rights.CHECKS)


@dataclass(frozen=True, slots=True)
class Report:
    """What was found, the worst first; `looked`: the names of all checks; `unproven`: what nobody has tried on such a machine."""

    findings: tuple[Finding, ...]
    looked: tuple[str, ...]
    unproven: tuple[Unproven, ...]

    @property
    def is_well(self) -> bool:
        """Nothing stops edgewright from doing its work here."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "well": self.is_well,
            "findings": [finding.to_json() for finding in self.findings],
            "looked": list(self.looked),
            "unproven": [{"what": line.what, "unknown": line.unknown} for line in self.unproven],
        }


def examine(machine: Machine) -> Report:
    """Put every check to the machine."""
    found = [finding for check in CHECKS if (finding := check.look(machine)) is not None]
    ordered = sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(tuple(ordered), tuple(check.name for check in CHECKS), unproven_on(machine))

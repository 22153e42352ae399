"""What is noticed about a model."""

from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed: what it is, where, and the way out. An error is what no one should run."""

    code: str
    severity: Severity
    where: str
    what: str
    fix: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def error(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "error", where, what, fix)


def warning(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "warning", where, what, fix)


def info(code: str, where: str, what: str, fix: str) -> Finding:
    return Finding(code, "info", where, what, fix)

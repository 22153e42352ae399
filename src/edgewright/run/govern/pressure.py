"""Memory runs short: what a service gives up, one thing after the other, and when it takes them back.

Queues become shorter, then models that nobody waits for pause, then the smaller artifact is run. The kernel's own word is pressure stall
information: the share of time in which something (`some`) or everything (`full`) waited for memory, averaged over ten seconds (Linux,
Documentation/accounting/psi.rst). Many boards have it switched off, so it is one witness of three: the other two are what is left in the
machine, and what our processes take of their budget.

A step down needs two observations in a row, or one that is dire; a step back up a calm minute, and twice as long after each relapse, so
that a hog that comes and goes does not make the service dance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from edgewright.run.memory import ALARM_SHARE, CALM_SHARE, MIB
from edgewright.run.records import Severity


class Relief(IntEnum):
    """What is given up; each includes those before it."""

    NONE = 0
    SHORT_QUEUES = 1
    BEST_EFFORT_PAUSED = 2
    SMALLER_ARTIFACT = 3


SAID = {
    Relief.NONE: "everything runs again",
    Relief.SHORT_QUEUES: "queues are kept short",
    Relief.BEST_EFFORT_PAUSED: "best-effort models pause",
    Relief.SMALLER_ARTIFACT: "the smaller artifact runs",
}
BACK = {
    Relief.NONE: "queues are as long as before",
    Relief.SHORT_QUEUES: "best-effort models go on",
    Relief.BEST_EFFORT_PAUSED: "the larger artifact runs again",
}


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """`budget_bytes`: what our processes may take together (None: no budget). Shares are of the budget, or of the machine's memory; of the
    budget they are those of the service's alarm (`memory.Alarm`), which says when it goes on and off.

    PSI of 10 % `some` is the order at which others act: systemd-oomd kills at 60 % (`DefaultMemoryPressureLimit`), and we want to be long
    done by then.
    """

    budget_bytes: int | None = None
    short_share: float = ALARM_SHARE
    dire_share: float = 0.97
    calm_share: float = CALM_SHARE
    short_left: float = 0.10  # of the machine's memory
    dire_left: float = 0.04
    calm_left: float = 0.15
    short_some: float = 10.0  # percent of the last ten seconds
    dire_full: float = 5.0
    calm_some: float = 2.0


@dataclass(frozen=True, slots=True)
class MemorySeen:
    """What is known once a second; None: not to be read.

    `some_percent`, `full_percent`: `avg10` of /proc/pressure/memory, or of the cgroup's memory.pressure.
    """

    time_s: float
    used_bytes: int | None = None  # by our processes together (PSS, or the cgroup's)
    available_bytes: int | None = None  # MemAvailable, or what the cgroup leaves if that is less
    total_bytes: int | None = None
    some_percent: float | None = None
    full_percent: float | None = None


@dataclass(frozen=True, slots=True)
class MemoryEvent:
    """A step, or that there is none left."""

    text: str
    severity: Severity
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MemoryDecision:
    """What to give up from now on, and why."""

    relief: Relief
    reason: str
    changed: bool
    event: MemoryEvent | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """`level`: 0 calm, 1 neither, 2 short, 3 dire."""

    level: int
    why: str


CALM, BETWEEN, SHORT, DIRE = range(4)
STEP_AFTER_S = 2.0
NEXT_STEP_AFTER_S = 10.0  # what a step frees shows in PSI's ten seconds
NEXT_DIRE_AFTER_S = 3.0
CALM_FOR_S, MOST_CALM_S = 60.0, 960.0
RELAPSE_WITHIN_S = 300.0


class MemoryGovernor:
    """Fed once a second; `step` decides. It keeps no time of its own."""

    def __init__(self, limits: MemoryLimits | None = None, *, most: Relief = Relief.SMALLER_ARTIFACT) -> None:
        """`most`: the furthest step there is, without a smaller artifact `BEST_EFFORT_PAUSED`."""
        self._limits = limits or MemoryLimits()
        self._most = most
        self._relief = Relief.NONE
        self._reason = "memory is not short"
        self._short_since_s = math.inf
        self._calm_since_s = math.inf
        self._stepped_s = -math.inf
        self._eased_s = -math.inf
        self._calm_for_s = CALM_FOR_S
        self._held_out = False

    def step(self, seen: MemorySeen) -> MemoryDecision:
        judged, before, event = self._judge(seen), self._relief, None
        self._note(seen.time_s, judged.level)
        if judged.level >= SHORT:
            event = self._give_up(seen, judged)
        elif judged.level == CALM:
            event = self._take_back(seen)
        return MemoryDecision(self._relief, self._reason, self._relief != before, event)

    def _judge(self, seen: MemorySeen) -> _Judged:
        """The worst of the three witnesses."""
        witnesses = [self._of_budget(seen), self._of_machine(seen), self._of_stalls(seen)]
        known = [each for each in witnesses if each is not None]
        return max(known, key=lambda each: each.level, default=_Judged(BETWEEN, ""))

    def _of_budget(self, seen: MemorySeen) -> _Judged | None:
        budget = self._limits.budget_bytes
        if budget is None or seen.used_bytes is None:
            return None
        share, limits = seen.used_bytes / budget, self._limits
        why = f"{seen.used_bytes / MIB:.0f} of {budget / MIB:.0f} MiB of the budget are taken"
        return _Judged(_level(share, limits.calm_share, limits.short_share, limits.dire_share), why)

    def _of_machine(self, seen: MemorySeen) -> _Judged | None:
        if seen.available_bytes is None or not seen.total_bytes:
            return None
        left, limits = seen.available_bytes / seen.total_bytes, self._limits
        why = f"{seen.available_bytes / MIB:.0f} of {seen.total_bytes / MIB:.0f} MiB are left in the machine"
        return _Judged(_level(-left, -limits.calm_left, -limits.short_left, -limits.dire_left), why)

    def _of_stalls(self, seen: MemorySeen) -> _Judged | None:
        some, full, limits = seen.some_percent, seen.full_percent, self._limits
        if some is None:
            return None
        if full is not None and full >= limits.dire_full:
            return _Judged(DIRE, f"everything waited for memory for {full:.0f} % of the last ten seconds")
        why = f"programs waited for memory for {some:.0f} % of the last ten seconds"
        return _Judged(_level(some, limits.calm_some, limits.short_some, math.inf), why)

    def _note(self, time_s: float, level: int) -> None:
        self._short_since_s = min(self._short_since_s, time_s) if level >= SHORT else math.inf
        self._calm_since_s = min(self._calm_since_s, time_s) if level == CALM else math.inf

    def _give_up(self, seen: MemorySeen, judged: _Judged) -> MemoryEvent | None:
        dire = judged.level == DIRE
        waited = seen.time_s - self._stepped_s >= (NEXT_DIRE_AFTER_S if dire else NEXT_STEP_AFTER_S)
        if not waited or not (dire or seen.time_s - self._short_since_s >= STEP_AFTER_S):
            return None
        if self._relief >= self._most:
            return self._hold_out(judged)
        if seen.time_s - self._eased_s < RELAPSE_WITHIN_S:
            self._calm_for_s = min(self._calm_for_s * 2, MOST_CALM_S)
            self._eased_s = -math.inf  # counted once
        self._relief = Relief(self._relief + 1)
        self._stepped_s = seen.time_s
        return self._say(f"{SAID[self._relief]}, because {judged.why}", "warning")

    def _hold_out(self, judged: _Judged) -> MemoryEvent | None:
        if judged.level < DIRE or self._held_out:
            return None
        self._held_out = True
        text = f"memory is still short: {judged.why}, and there is nothing left to give up; stop other programs, or lower the load"
        return MemoryEvent(text, "error", {"relief": int(self._relief)})

    def _take_back(self, seen: MemorySeen) -> MemoryEvent | None:
        calm_s = seen.time_s - max(self._calm_since_s, self._stepped_s)
        if self._relief == Relief.NONE:
            if calm_s > MOST_CALM_S:
                self._calm_for_s = CALM_FOR_S
            return None
        if calm_s < self._calm_for_s:
            return None
        self._relief = Relief(self._relief - 1)
        self._stepped_s = self._eased_s = seen.time_s
        self._held_out = False
        return self._say(f"{BACK[self._relief]}: memory has not been short for {calm_s:.0f} s", "info")

    def _say(self, text: str, severity: Severity) -> MemoryEvent:
        self._reason = text
        return MemoryEvent(text, severity, {"relief": int(self._relief), "what": SAID[self._relief]})


def _level(value: float, calm: float, short: float, dire: float) -> int:
    if value >= dire:
        return DIRE
    if value >= short:
        return SHORT
    return CALM if value <= calm else BETWEEN

"""What a service said of itself, taken apart. Nothing of it is believed: what is missing, or not what it should be, is None or left out.

Names and sentences come out printable and short, figures finite, lists bounded, so that whoever shows them need not think of it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeVar

from edgewright.printable import printable

T = TypeVar("T")
MOST_CAMERAS: Final = 64
MOST_MODELS: Final = 64
MOST_OUTPUTS: Final = 64
MOST_REASONS: Final = 16  # of drops, of each camera
MOST_PARTS: Final = 256  # of memory
MOST_BUCKETS: Final = 128
MOST_FLAGS: Final = 8
LONGEST_NAME: Final = 64
LONGEST_SENTENCE: Final = 300
LARGEST: Final = 1e15  # what is more is no count of ours, and no time
STAGES: Final = ("wait", "preprocess", "model", "postprocess", "service")

Buckets = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairSaid:
    """Of a camera and a model. `age`, `stages`: how many answers in each bucket, since the service began; empty where nobody told."""

    answered: int | None
    dropped: Mapping[str, int]
    age: Buckets = ()
    stages: Mapping[str, Buckets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CameraSaid:
    name: str
    state: str | None
    captured: int | None
    dropped: Mapping[str, int]
    fps_cap: float | None
    restarts: int | None
    reader: str | None
    size_wh: tuple[int, int] | None
    why: str | None
    models: Mapping[str, PairSaid]


@dataclass(frozen=True, slots=True)
class ModelSaid:
    name: str
    state: str | None
    engine: str | None
    waiting: int | None
    restarts: int | None
    why: str | None


@dataclass(frozen=True, slots=True)
class OutputSaid:
    """`lost`: refused, overflowed, turned away, spared or damaged. `kept_bytes`: of what waits."""

    name: str
    delivered: int | None
    waiting: int | None
    kept_bytes: int | None
    lost: int | None
    failing_since_s: float | None
    why: str | None


@dataclass(frozen=True, slots=True)
class FilmSaid:
    """An output that records video. `missed`: frames it was offered and did not take."""

    name: str
    recorded: int | None
    missed: int | None
    is_paused: bool
    restarts: int | None


@dataclass(frozen=True, slots=True)
class GovernorSaid:
    rung: str | None
    at: int | None  # the rung's number, from 0
    rungs: int
    fps_cap: float | None
    temp_c: float | None
    limit_c: float | None
    time_to_throttle_s: float | None
    sustainable_fps: float | None
    is_infeasible: bool
    relief: str | None
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoardSaid:
    """`hottest_c`: of its zones. `throttled`: the flags that are up; None where the board has none to read."""

    hottest_c: float | None
    throttled: tuple[str, ...] | None
    power_w: float | None


@dataclass(frozen=True, slots=True)
class MemorySaid:
    budget_bytes: float | None
    promised: Mapping[str, float]
    used: Mapping[str, float]
    alarm: bool


@dataclass(frozen=True, slots=True)
class DiskSaid:
    day_bytes: float | None
    bytes_a_day: float | None


@dataclass(frozen=True, slots=True)
class Said:
    """One status. `wall_s`: the service's clock for people; `uptime_s`: the one that nobody sets. `bounds_s`: of all buckets."""

    name: str
    is_ready: bool
    uptime_s: float | None
    wall_s: float | None
    bounds_s: tuple[float, ...]
    cameras: tuple[CameraSaid, ...]
    models: tuple[ModelSaid, ...]
    outputs: tuple[OutputSaid, ...]
    films: tuple[FilmSaid, ...]
    governor: GovernorSaid | None
    board: BoardSaid | None
    memory: MemorySaid
    disk: DiskSaid | None


@dataclass(frozen=True, slots=True)
class Happened:
    """An event."""

    id: str
    time_s: float
    kind: str
    name: str
    text: str
    severity: str


def said(document: Any) -> Said | None:
    """The status; None of what is no status at all."""
    if not isinstance(document, dict) or not isinstance(document.get("cameras"), dict):
        return None
    return Said(
        name=_word(document.get("name")) or "-",
        is_ready=document.get("ready") is True,
        uptime_s=_number(document.get("uptime_s")),
        wall_s=_number(document.get("wall_s")),
        bounds_s=_bounds(document.get("bounds_s")),
        cameras=_each(document.get("cameras"), _camera, MOST_CAMERAS),
        models=_each(document.get("models"), _model, MOST_MODELS),
        outputs=_outputs(document.get("outputs")),
        films=_each(document.get("recorders"), _film, MOST_OUTPUTS),
        governor=_governor(document.get("governor")),
        board=_board(document.get("board")),
        memory=_memory(_mapping(document.get("memory"))),
        disk=_disk(document.get("disk")),
    )


def happened(document: Any, most: int) -> tuple[Happened, ...]:
    """The events of a page of them, the latest `most`."""
    events = document.get("events") if isinstance(document, dict) else document
    if not isinstance(events, list):
        return ()
    return tuple(event for each in events[-most:] if (event := _event(each)) is not None)


def _event(value: Any) -> Happened | None:
    if not isinstance(value, dict):
        return None
    identity, time_s = _word(value.get("id")), _number(value.get("time_s"))
    text = _word(value.get("text"), LONGEST_SENTENCE)
    if identity is None or time_s is None or text is None:
        return None
    kind, severity = _word(value.get("kind")) or "-", _word(value.get("severity")) or "info"
    return Happened(identity, time_s, kind, _word(value.get("name")) or "-", text, severity)


# --- the parts of a status ----------------------------------------------------------------------------------------------------------------


def _camera(name: str, value: Mapping[str, Any]) -> CameraSaid:
    return CameraSaid(
        name=name,
        state=_word(value.get("state")),
        captured=_count(value.get("captured")),
        dropped=_counts(value.get("dropped")),
        fps_cap=_number(value.get("fps_cap")),
        restarts=_count(value.get("restarts")),
        reader=_word(value.get("reader")),
        size_wh=_size(value.get("size_wh")),
        why=_word(value.get("why"), LONGEST_SENTENCE),
        models=dict(_named(value.get("models"), MOST_MODELS, _pair)),
    )


def _pair(_name: str, value: Mapping[str, Any]) -> PairSaid:
    stages = _mapping(value.get("stages"))
    return PairSaid(
        answered=_count(value.get("answered")),
        dropped=_counts(value.get("dropped")),
        age=_buckets(value.get("age")),
        stages={stage: _buckets(stages.get(stage)) for stage in STAGES},
    )


def _model(name: str, value: Mapping[str, Any]) -> ModelSaid:
    return ModelSaid(
        name=name,
        state=_word(value.get("state")),
        engine=_word(value.get("engine")),
        waiting=_count(value.get("waiting")),
        restarts=_count(value.get("restarts")),
        why=_word(value.get("why"), LONGEST_SENTENCE),
    )


def _outputs(value: Any) -> tuple[OutputSaid, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(_output(each) for each in value[:MOST_OUTPUTS] if isinstance(each, dict))


def _output(value: Mapping[str, Any]) -> OutputSaid:
    gone = [_count(value.get(key)) for key in ("refused", "overflowed", "turned_away", "spared", "damaged")]
    known = [count for count in gone if count is not None]
    return OutputSaid(
        name=_word(value.get("name")) or "-",
        delivered=_count(value.get("delivered")),
        waiting=_count(value.get("waiting_records")),
        kept_bytes=_count(value.get("waiting_bytes")),
        lost=sum(known) if known else None,
        failing_since_s=_number(value.get("failing_since_s")),
        why=_word(value.get("last_error"), LONGEST_SENTENCE),
    )


def _film(name: str, value: Mapping[str, Any]) -> FilmSaid:
    offered, recorded = _count(value.get("offered")), _count(value.get("recorded"))
    missed = None if offered is None or recorded is None else max(0, offered - recorded)
    return FilmSaid(name, recorded, missed, value.get("paused") is True, _count(value.get("restarts")))


def _governor(value: Any) -> GovernorSaid | None:
    if not isinstance(value, dict):
        return None
    rungs = [_word(each) for each in _list(value.get("rungs"), MOST_PARTS)]
    rung = _word(value.get("rung"))
    return GovernorSaid(
        rung=rung,
        at=rungs.index(rung) if rung is not None and rung in rungs else None,
        rungs=len(rungs),
        fps_cap=_number(value.get("fps_cap")),
        temp_c=_number(value.get("temp_c")),
        limit_c=_number(value.get("limit_c")),
        time_to_throttle_s=_number(value.get("time_to_throttle_s")),
        sustainable_fps=_number(value.get("sustainable_fps")),
        is_infeasible=value.get("infeasible") is True,
        relief=_word(value.get("relief")),
        faults=_words(value.get("faults")),
    )


def _board(value: Any) -> BoardSaid | None:
    if not isinstance(value, dict):
        return None
    zones, flags = _numbers(value.get("zones_c")), _mapping(value.get("throttled"))
    throttled = _words([flag for flag, is_up in flags.items() if is_up is True]) if flags else None
    return BoardSaid(max(zones.values(), default=None), throttled, _number(value.get("power_w")))


def _memory(value: Mapping[str, Any]) -> MemorySaid:
    return MemorySaid(
        budget_bytes=_number(value.get("budget_bytes")),
        promised=_numbers(value.get("promised_bytes")),
        used=_numbers(value.get("used_bytes")),
        alarm=value.get("alarm") is True,
    )


def _disk(value: Any) -> DiskSaid | None:
    return DiskSaid(_number(value.get("day_bytes")), _number(value.get("bytes_a_day"))) if isinstance(value, dict) else None


# --- values -------------------------------------------------------------------------------------------------------------------------------


def _number(value: Any) -> float | None:
    """A finite number that something of ours can be."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        return None
    return value if isinstance(value, int) or math.isfinite(value) else None


def _count(value: Any) -> int | None:
    found = _number(value)
    return None if found is None or found < 0 else int(found)


def _word(value: Any, most: int = LONGEST_NAME) -> str | None:
    return printable(value, most) if isinstance(value, str) and value else None


def _list(value: Any, most: int) -> list[Any]:
    return value[:most] if isinstance(value, list) else []


def _words(value: Any) -> tuple[str, ...]:
    return tuple(word for each in _list(value, MOST_FLAGS) if (word := _word(each)) is not None)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(value: Any, most: int, read: Callable[[str, Mapping[str, Any]], T]) -> list[tuple[str, T]]:
    """The first `most` tables of a table, each with its name."""
    found: list[tuple[str, T]] = []
    for name, each in _mapping(value).items():
        if len(found) == most:
            break
        if isinstance(each, dict) and (word := _word(name)) is not None:
            found.append((word, read(word, each)))
    return found


def _each(value: Any, read: Callable[[str, Mapping[str, Any]], T], most: int) -> tuple[T, ...]:
    return tuple(found for _, found in _named(value, most, read))


def _counts(value: Any) -> Mapping[str, int]:
    found = ((_word(name), _count(each)) for name, each in list(_mapping(value).items())[:MOST_REASONS])
    return {name: count for name, count in found if name is not None and count is not None}


def _numbers(value: Any) -> Mapping[str, float]:
    found = ((_word(name), _number(each)) for name, each in list(_mapping(value).items())[:MOST_PARTS])
    return {name: number for name, number in found if name is not None and number is not None}


def _buckets(value: Any) -> Buckets:
    """How many are in each; nothing where one of them is no count."""
    counts = value.get("counts") if isinstance(value, dict) else value
    if not isinstance(counts, list) or len(counts) > MOST_BUCKETS:
        return ()
    found = tuple(_count(each) for each in counts)
    return tuple(each for each in found if each is not None) if None not in found else ()


def _bounds(value: Any) -> tuple[float, ...]:
    """Of buckets, rising; none where they are not."""
    if not isinstance(value, list) or len(value) >= MOST_BUCKETS:
        return ()
    found = [each for each in map(_number, value) if each is not None]
    return tuple(found) if len(found) == len(value) and all(low < high for low, high in pairwise([0.0, *found])) else ()


def _size(value: Any) -> tuple[int, int] | None:
    sides = [_count(each) for each in _list(value, 2)]
    return (sides[0], sides[1]) if len(sides) == 2 and sides[0] is not None and sides[1] is not None else None

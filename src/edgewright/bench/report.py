"""The report of a fit: one HTML file that needs nothing else, for the person who decides whether the model ships.

It holds no script and asks for nothing over the network (its own content security policy forbids both), so it can be mailed,
archived and opened anywhere. All text is escaped; class names and metadata come from model files, which anyone may have written.
"""

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from edgewright.bench.charts import Point, Role, accuracy_against_latency, interval_strip, latency_distributions, visible
from edgewright.bench.differences import Example, Pictured, difference, pictured

__all__ = ["Example", "ReportMaterial", "ThreadRow", "difference", "render_report"]

TEMPLATE = "report.html.j2"
MOST_EXAMPLES = 12
ROWS_SHOWN = 12  # of a long list; the rest folds away
WIDE_PX, NARROW_PX = 960, 340  # each chart is drawn for a desk and for a phone
POINTS = 100.0
DASH = "\u2013"  # en dash: no figure
MINUS = "\u2212"  # as wide as a plus


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """What a model costs at some number of threads."""

    name: str
    engine: str
    precision: str
    threads: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    cpu_percent: float
    peak_mib: float
    load_ms: float
    first_ms: float
    size_mb: float


@dataclass(frozen=True, slots=True)
class ReportMaterial:
    """What the report shows. `evidence` is the document of evidence.json; average precisions are 0..1, None where there is no figure."""

    title: str
    evidence: Mapping[str, Any]
    latency_samples_ms: Mapping[str, Sequence[float]]
    thread_rows: Sequence[ThreadRow]
    per_class: Sequence[tuple[str, float | None, float | None]]
    per_size: Sequence[tuple[str, float | None, float | None]]
    examples: Sequence[Example]
    command: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A line of the budget. `used` is measured / allowed, None where one of the two is unknown."""

    name: str
    unit: str
    measured: str
    allowed: str
    used: float | None
    state: str  # kept, broken, none (no limit set), unknown


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after; `better` is True, False, or None where it is neither or unknown."""

    name: str
    unit: str
    before: str
    after: str
    change: str
    better: bool | None


@dataclass(frozen=True, slots=True)
class Drop:
    """Average precision of a class or size before and after, and the change in points."""

    name: str
    before: float | None
    after: float | None
    points: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the page shows it."""

    name: str
    difference: float
    sides: tuple[tuple[str, Pictured, str], tuple[str, Pictured, str]]  # title, picture, data URI


def render_report(material: ReportMaterial) -> str:
    """The whole HTML document."""
    evidence = material.evidence
    page = {
        "title": material.title,
        "evidence": evidence,
        "verdict": str(evidence.get("verdict") or "refuse"),
        "fitted_title": fitted_title(evidence),
        "measure": measure_of(evidence),
        "limits": list(limits(evidence)),
        "changes": list(changes(evidence)),
        "certainty": certainty(evidence),
        "strip": Markup(_strip(evidence)),  # noqa: S704 - built as a tree, which escapes
        "scatter": _both_widths(lambda width: _scatter(evidence, width)),
        "distributions": _both_widths(lambda width: latency_distributions(material.latency_samples_ms, width=width)),
        "candidates": list(candidate_rows(evidence)),
        "thread_rows": sorted(material.thread_rows, key=lambda row: row.threads),
        "per_class": drops(material.per_class),
        "per_size": drops(material.per_size),
        "rows_shown": ROWS_SHOWN,
        "examples": [_shown(example, fitted_title(evidence)) for example in most_different(material.examples)],
        "provenance": [(name, list(flat(evidence.get(key)))) for name, key in PROVENANCE if evidence.get(key)],
        "command": material.command,
    }
    return _environment().get_template(TEMPLATE).render(page)


PROVENANCE = (("Host", "host"), ("Calibration", "calibration"), ("Lineage", "lineage"))


# --- what the page says -----------------------------------------------------------------------------------------------------------------


def fitted_title(evidence: Mapping[str, Any]) -> str:
    """What the second model is called: on a refusal nothing was fitted, and the nearest candidate stands there."""
    return "nearest candidate" if evidence.get("verdict") == "refuse" else "fitted"


def measure_of(evidence: Mapping[str, Any]) -> str:
    """What accuracy means here: without labels it is agreement with the float model."""
    return "agreement" if at(evidence, "baseline", "map50_95") is None else "mAP50-95"


def certainty(evidence: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the accuracy is proven, in a word and in a sentence."""
    allowed, estimate = number(evidence, "budget", "max_drop"), number(evidence, "delta", "map50_95", "estimate")
    if estimate is None:
        return "not measured", "there is no figure to judge."
    if evidence.get("accuracy_proven"):
        return "proven", "the whole 95 % interval lies within the allowed drop."
    if allowed is not None and estimate < -allowed:
        return "not kept", "the estimate itself lies below the allowed drop."
    needed = evidence.get("images_needed")
    settle = f" About {needed:,} images would settle it." if isinstance(needed, int) else ""
    return "not proven", f"the estimate lies within the allowed drop, the lower end of its interval does not.{settle}"


def limits(evidence: Mapping[str, Any]) -> Iterator[Limit]:
    """The budget line by line: allowed against measured."""
    change = number(evidence, "delta", "map50_95", "estimate")
    lost = None if change is None else -change
    for constraint, name, key, unit, measured, digits in (
        ("accuracy", f"Drop in {measure_of(evidence)}", "max_drop", "points", lost, 2),
        ("latency", "Latency, p50", "max_latency_ms", "ms", number(evidence, "fitted", "latency_ms", "p50"), 1),
        ("memory", "Peak memory", "max_memory_mib", "MiB", number(evidence, "fitted", "peak_mib"), 0),
        ("size", "Model size", "max_size_mb", "MB", number(evidence, "fitted", "size_mb"), 2),
    ):
        allowed = number(evidence, "budget", key)
        state = _state(measured, allowed, binding=constraint in (evidence.get("binding") or ()))
        used = None if measured is None or not allowed else max(0.0, measured / allowed)
        yield Limit(name, unit, fixed(measured, digits), fixed(allowed, digits), used, state)


def _state(measured: float | None, allowed: float | None, *, binding: bool) -> str:
    if binding:
        return "broken"
    if allowed is None:
        return "none"
    if measured is None:
        return "unknown"
    return "kept" if measured <= allowed else "broken"


def changes(evidence: Mapping[str, Any]) -> Iterator[Change]:
    """Baseline and fitted, figure by figure."""
    for name, unit, path, digits, more_is_better in (
        ("mAP50", "0 to 1", ("map50",), 4, True),
        ("mAP50-95", "0 to 1", ("map50_95",), 4, True),
        ("Latency, p50", "ms", ("latency_ms", "p50"), 2, False),
        ("Latency, p90", "ms", ("latency_ms", "p90"), 2, False),
        ("Latency, p99", "ms", ("latency_ms", "p99"), 2, False),
        ("Peak memory", "MiB", ("peak_mib",), 1, False),
        ("Model size", "MB", ("size_mb",), 2, False),
    ):
        before, after = number(evidence, "baseline", *path), number(evidence, "fitted", *path)
        yield Change(name, unit, fixed(before, digits), fixed(after, digits), *_changed(before, after, more_is_better=more_is_better))


def _changed(before: float | None, after: float | None, *, more_is_better: bool) -> tuple[str, bool | None]:
    """The change as people say it (accuracy in points, cost in percent), and whether it is for the better."""
    if before is None or after is None:
        return DASH, None
    better = None if after == before else (after > before) == more_is_better
    if more_is_better:
        return f"{signed((after - before) * POINTS, 2)} points", better
    return (f"{signed((after / before - 1) * 100, 0)} %" if before else DASH), better


def candidate_rows(evidence: Mapping[str, Any]) -> Iterator[tuple[int, Role, Mapping[str, Any]]]:
    """Number, role (baseline, chosen, other) and row of every candidate."""
    chosen = at(evidence, "fitted", "name")
    rows = evidence.get("candidates") or ()
    for position, row in enumerate(rows, 1):
        is_chosen = row.get("name") == chosen if chosen is not None else row.get("verdict") in ("ship", "provisional")
        yield position, "chosen" if is_chosen else "baseline" if row.get("name") == "baseline" else "other", row


def drops(rows: Sequence[tuple[str, float | None, float | None]]) -> list[Drop]:
    """Largest drop first; what has no figure last."""
    known = [
        Drop(name, before, after, None if before is None or after is None else (after - before) * POINTS) for name, before, after in rows
    ]
    return sorted(known, key=lambda drop: math.inf if drop.points is None else drop.points)


def most_different(examples: Sequence[Example]) -> list[Example]:
    """A dozen examples, those first on which the models differ most."""
    return sorted(examples, key=lambda example: -example.difference)[:MOST_EXAMPLES]


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested document as lines of name and text."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix} {key}".strip().replace("_", " "))
    elif isinstance(value, list | tuple):
        yield prefix, ", ".join(map(str, value)) or DASH
    else:
        yield prefix, DASH if value is None else str(value)


# --- charts and pictures ----------------------------------------------------------------------------------------------------------------


def _strip(evidence: Mapping[str, Any]) -> str:
    change = at(evidence, "delta", "map50_95")
    estimate = number(change, "estimate")
    if estimate is None:
        return ""
    low, high = number(change, "low"), number(change, "high")
    limit = number(evidence, "budget", "max_drop")
    return interval_strip(
        estimate, -math.inf if low is None else low, math.inf if high is None else high, limit=None if limit is None else -limit
    )


def _scatter(evidence: Mapping[str, Any], width: int) -> str:
    rows = list(candidate_rows(evidence))
    measure = "map50_95" if any(number(row, "map50_95") is not None for _, _, row in rows) else "agreement"
    points = [
        Point(position, str(row.get("name")), latency_ms, accuracy, role)
        for position, role, row in rows
        if (latency_ms := number(row, "p50_ms")) is not None and (accuracy := number(row, measure)) is not None
    ]
    before = next((point.accuracy for point in points if point.name == "baseline"), number(evidence, "baseline", "map50_95"))
    drop = number(evidence, "budget", "max_drop")
    return accuracy_against_latency(
        points,
        width=width,
        measure="mAP50-95" if measure == "map50_95" else measure,
        latency_limit_ms=number(evidence, "budget", "max_latency_ms"),
        accuracy_floor=None if before is None or drop is None else before - drop / POINTS,
    )


def _both_widths(chart: Callable[[int], str]) -> tuple[Markup, Markup] | None:
    wide, narrow = Markup(chart(WIDE_PX)), Markup(chart(NARROW_PX))  # noqa: S704 - charts are built as trees, which escape
    return (wide, narrow) if wide else None


def _shown(example: Example, title: str) -> Shown:
    baseline, fitted = pictured(example)
    return Shown(example.name, example.difference, (("baseline", baseline, _data_uri(baseline)), (title, fitted, _data_uri(fitted))))


def _data_uri(picture: Pictured) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode("ascii")


# --- words and figures ------------------------------------------------------------------------------------------------------------------


def at(document: Any, *path: str) -> Any:
    """What lies at a path of a nested document; None where the path ends early."""
    for key in path:
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def number(document: Any, *path: str) -> float | None:
    """The finite number at a path, or None."""
    value = at(document, *path)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def fixed(value: Any, digits: int = 0) -> str:
    """A number with so many decimals, thousands apart; an en dash for none."""
    known = number({"value": value}, "value")
    return DASH if known is None else f"{known:,.{digits}f}".replace("-", MINUS)


def signed(value: Any, digits: int = 2) -> str:
    """The same, always with its sign."""
    known = number({"value": value}, "value")
    return DASH if known is None else f"{known:+,.{digits}f}".replace("-", MINUS)


def _text(value: Any) -> Any:
    """Everything the template prints passes here, and is escaped after."""
    if value is None or isinstance(value, jinja2.Undefined):
        return DASH
    return value if isinstance(value, Markup) else visible(str(value))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": fixed, "signed": signed}
    environment.globals |= {"at": at, "number": number}
    return environment

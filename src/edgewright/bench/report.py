"""The report of a fit: one HTML file that needs nothing else, for the person who decides whether the model ships.

It holds no script and asks for nothing over the network (its own content security policy forbids both), so it can be mailed,
archived and opened anywhere. All text is escaped; class names and metadata come from model files, which anyone may have written.
Every number in it is one of evidence.json (`bench.figures`), but for what the pictures of examples show.
"""

import base64
import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

import jinja2
from markupsafe import Markup

from edgewright.bench.charts import (
    NAMED,
    SHAPES,
    Flag,
    Point,
    Role,
    Timed,
    accuracy_against_latency,
    accuracy_range,
    interval_strip,
    latency_distributions,
    line_key,
    mark_key,
    two_fronts,
)
from edgewright.bench.differences import Example, Pictured, difference, pictured
from edgewright.bench.exploration_charts import LayerBar, LookBar, layer_strip, look_bars
from edgewright.bench.figures import DASH, MINUS, POINTS, Document, Figure, Name, Path, Words, how_many, ordinal, visible, written
from edgewright.bench.recovery import CHANGED_SHAPE, WITH, WITHOUT, curves, front_points, recovery_words, stage_paths
from edgewright.bench.recovery_charts import learning_curves
from edgewright.bench.story import (
    candidate_paths,
    engines,
    front_paths,
    integers_alone,
    layer_paths,
    layers_kept_float,
    measure_of,
    measure_on_selection,
    overtaken_paths,
    region_paths,
    tell_story,
)

__all__ = ["DASH", "MINUS", "Example", "ReportMaterial", "difference", "render_report"]

TEMPLATE = "report.html.j2"
MOST_EXAMPLES = 12
ROWS_SHOWN = 12  # of a long list; the rest folds away
WIDE_PX, NARROW_PX = 960, 340  # each chart is drawn for a desk and for a phone
ROOM_FOR_INTERVALS = 1.3  # times the largest change: intervals of classes with few boxes would flatten all others, and run off instead


@dataclass(frozen=True, slots=True)
class ReportMaterial:
    """What the report shows. `evidence` is the document of evidence.json."""

    title: str
    evidence: Mapping[str, Any]
    latency_samples_ms: Mapping[str, Sequence[float]]
    examples: Sequence[Example]
    command: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A line of the budget. `used` is measured / allowed, None where one of the two is unknown."""

    name: str
    unit: str
    measured: Figure
    allowed: Figure
    used: float | None
    state: str  # kept, broken, none (no limit set), unknown


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after; `better` is True, False, or None where it is neither or unknown."""

    name: str
    unit: str
    before: Figure
    after: Figure
    change: Figure
    change_unit: str
    better: bool | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of the candidates, its role, its number, and whether no other beats it in both speed and accuracy."""

    at: int
    number: Figure
    role: Role
    front: bool
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """What a class or size lost: average precision before and after (0..100), the change in points with its interval, and of how many.

    `span` is the interval and `dot` the estimate, in percent of the room for a bar; None where there is no figure.
    """

    name: str
    before: Figure
    after: Figure
    change: Figure
    low: Figure
    high: Figure
    true_boxes: Figure
    images: Figure
    distinguishable: bool | None
    span: tuple[float, float] | None
    dot: float | None

    @property
    def word(self) -> str:
        """Whether the change is more than chance, as one would say it."""
        if self.distinguishable is None or self.change.value is None:
            return ""
        if not self.distinguishable:
            return "may be chance"
        return "a real loss" if self.change.value < 0 else "a real gain"

    @property
    def tone(self) -> str:
        """How loud it is shown."""
        return {"a real loss": "broken", "a real gain": "kept"}.get(self.word, "plain")


@dataclass(frozen=True, slots=True)
class Shown:
    """An example as the page shows it."""

    name: str
    difference: float
    sides: tuple[tuple[str, Pictured, str], tuple[str, Pictured, str]]  # title, picture, data URI


def render_report(material: ReportMaterial) -> str:
    """The whole HTML document."""
    evidence = {key: value for key, value in material.evidence.items() if value is not None}
    document = Document(evidence)
    points = _points(document)
    fronts = front_points(document, {each.at: each.role for each in candidates(document)})
    page = {
        "title": material.title,
        "evidence": evidence,
        "document": document,
        "verdict": str(evidence.get("verdict") or "refuse"),
        "fitted_title": fitted_title(document),
        "measure": measure_of(document),
        "limits": list(limits(document)),
        "changes": list(changes(document)),
        "certainty": certainty(document),
        "story": tell_story(document),
        "strip": Markup(_strip(document)),  # noqa: S704 - built as a tree, which escapes
        "looks": _both_widths(lambda width: look_bars(_look_bars(document), width=width)),
        "layers": (layers := list(_layer_bars(document))),
        "regions": region_paths(document),
        "layer_strip": _both_widths(lambda width: layer_strip(layers, width=width)),
        "scatter": _both_widths(lambda width: _scatter(document, points, width)),
        "distributions": _both_widths(lambda width: latency_distributions(material.latency_samples_ms, _quantiles(document), width=width)),
        "candidates": list(candidates(document)),
        "overtaken": overtaken_paths(document),
        "varying": varying(document),
        "legend": list(_legend(document, points)),
        "stages": stage_paths(document),
        "recovery_words": recovery_words(document),
        "fronts": _both_widths(lambda width: two_fronts(fronts[WITHOUT], fronts[WITH], width=width, measure=measure_of(document))),
        "fronts_legend": list(_fronts_legend(document, fronts)),
        "curves": _both_widths(lambda width: learning_curves(curves(document), width=width)),
        "has_why": any(document.at(*path, "why") is not None for path in candidate_paths(document)),
        "says_precision": any(document.at(*path, "computes_in") is not None for path in document.paths("measurements")),
        "computes_in": {kind: computes_in(document, kind) for kind in ("baseline", "fitted")},
        "per_class": (per_class := drops(document, "per_class")),
        "per_size": (per_size := drops(document, "per_size")),
        "chance_alone": {drop.distinguishable for drop in (*per_class, *per_size)} == {False},
        "more_classes": how_many(document.paths("regressions", "per_class")[ROWS_SHOWN:]),
        "rows_shown": ROWS_SHOWN,
        "names_shown": NAMED,
        "measurements": sorted(document.paths("measurements"), key=lambda path: document.number(*path, "threads") or 0),
        "threshold_classes": [("threshold", "per_class", str(name)) for name in document.at("threshold", "per_class") or ()],
        "examples": [_shown(example, fitted_title(document)) for example in most_different(material.examples)],
        "provenance": [(name, list(flat(document, key))) for name, key in PROVENANCE if evidence.get(key)],
        "command": material.command,
    }
    return _environment(document).get_template(TEMPLATE).render(page)


PROVENANCE = (("Host", "host"), ("Board", "board"), ("Calibration", "calibration"), ("Lineage", "lineage"))
TOLD_ELSEWHERE = ("audit",)  # has a section of its own


# --- what the page says -----------------------------------------------------------------------------------------------------------------


def fitted_title(document: Document) -> str:
    """What the second model is called: on a refusal nothing was fitted, and the nearest candidate stands there."""
    return "nearest candidate" if document.at("verdict") == "refuse" else "fitted"


def certainty(document: Document) -> tuple[str, Words]:
    """Whether the accuracy is proven, in a word and in a sentence."""
    allowed, estimate = document.number("budget", "max_drop"), document.number("delta", "map50_95", "estimate")
    if estimate is None:
        return "not measured", ("there is no figure to judge.",)
    if document.at("accuracy_proven"):
        return "proven", ("the whole 95 % interval lies within the allowed drop.",)
    if allowed is not None and estimate < -allowed:
        return "not kept", ("the estimate itself lies below the allowed drop.",)
    low = document.number("delta", "map50_95", "low")
    if allowed is not None and low is not None and low > -allowed:
        return "not proven", ("the whole 95 % interval lies within the allowed drop, but not all was measured where the model will run.",)
    needed = document.figure("fixed 0", "images_needed")
    settle: Words = () if needed.value is None else (" About ", needed, " images would settle it.")
    return "not proven", ("the estimate lies within the allowed drop, the lower end of its interval does not.", *settle)


def limits(document: Document) -> Iterator[Limit]:
    """The budget line by line: allowed against measured."""
    for constraint, name, key, unit, rule, path in (
        ("accuracy", f"Drop in {measure_of(document)}", "max_drop", "points", "negated, fixed 2", ("delta", "map50_95", "estimate")),
        ("latency", "Latency, p50", "max_latency_ms", "ms", "fixed 1", ("fitted", "latency_ms", "p50")),
        ("memory", "Peak memory", "max_memory_mib", "MiB", "fixed 0", ("fitted", "peak_mib")),
        ("size", "Model size", "max_size_mb", "MB", "fixed 2", ("fitted", "size_mb")),
    ):
        measured, allowed = document.figure(rule, *path), document.figure(rule.removeprefix("negated, "), "budget", key)
        state = _state(measured.value, allowed.value, binding=constraint in (document.at("binding") or ()))
        used = None if measured.value is None or not allowed.value else max(0.0, measured.value / allowed.value)
        yield Limit(name, unit, measured, allowed, used, state)


def _state(measured: float | None, allowed: float | None, *, binding: bool) -> str:
    if binding:
        return "broken"
    if allowed is None:
        return "none"
    if measured is None:
        return "unknown"
    return "kept" if measured <= allowed else "broken"


def changes(document: Document) -> Iterator[Change]:
    """Baseline and fitted, figure by figure: accuracy changes in points, cost in percent."""
    for name, unit, path, rule, more_is_better in (
        ("mAP50", "0 to 1", ("map50",), "fixed 4", True),
        ("mAP50-95", "0 to 1", ("map50_95",), "fixed 4", True),
        ("Latency, p50", "ms", ("latency_ms", "p50"), "fixed 2", False),
        ("Latency, p90", "ms", ("latency_ms", "p90"), "fixed 2", False),
        ("Latency, p99", "ms", ("latency_ms", "p99"), "fixed 2", False),
        ("Peak memory", "MiB", ("peak_mib",), "fixed 1", False),
        ("Model size", "MB", ("size_mb",), "fixed 2", False),
    ):
        before, after = document.figure(rule, "baseline", *path), document.figure(rule, "fitted", *path)
        change_rule, change_unit = ("change in points, signed 2", "points") if more_is_better else ("change in percent, signed 0", "%")
        change = document.derived(change_rule, ("baseline", *path), ("fitted", *path))
        better = None if not change.value else (change.value > 0) == more_is_better
        yield Change(name, unit, before, after, change, "" if change.value is None else change_unit, better)


def candidates(document: Document) -> Iterator[Candidate]:
    """Every candidate's number, role (baseline, chosen, other) and row."""
    chosen, front = document.at("fitted", "name"), front_paths(document)
    for path in candidate_paths(document):
        row = document.at(*path)
        is_chosen = row.get("name") == chosen if chosen is not None else row.get("verdict") in ("ship", "provisional")
        role: Role = "chosen" if is_chosen else "baseline" if row.get("name") == "baseline" else "other"
        yield Candidate(int(path[1]), ordinal(path), role, path in front, row)


def varying(document: Document) -> Collection[str]:
    """In what the points that were timed differ; where they do not, the page says it once."""
    rows = [document.at(*path) for path in (*candidate_paths(document), *overtaken_paths(document))]
    whats = {key: {str(row.get(key)) for row in rows} for key in ("engine", "precision", "threads")}
    whats["size"] = {str(row.get("size_wh") or row.get("imgsz")) for row in rows}
    return {key for key, values in whats.items() if len(values) > 1}


def input_size(document: Document, *path: str | int) -> Words:
    """The pictures that a row's model takes; documents of the first versions name one side, because all were square."""
    wide, high = (document.figure("plain", *path, "size_wh", side) for side in (0, 1))
    if wide.value is None or high.value is None:
        return (document.figure("plain", *path, "imgsz"),)
    return (wide, " × ", high)  # noqa: RUF001 - the multiplication sign


def computes_in(document: Document, kind: str) -> str | None:
    """What the engine says that it ran the baseline or the fitted model in; it need not be what was asked for."""
    name = document.at("fitted", "name") if kind == "fitted" else kind
    rows = [document.at(*path) for path in document.paths("measurements")]
    told = (row.get("computes_in") for row in rows if isinstance(row, Mapping) and row.get("name") == name)
    return next((str(each) for each in told if each is not None), None)


def drops(document: Document, kind: str) -> list[Drop]:
    """The regressions of classes or of sizes, in the order of the document: worst first."""
    every = [*document.paths("regressions", "per_class"), *document.paths("regressions", "per_size")]
    widest = ROOM_FOR_INTERVALS * max((abs(document.number(*path, "change", "estimate") or 0.0) for path in every), default=0.0)
    return [_drop(document, path, widest) for path in every if path[1] == kind]


def _drop(document: Document, path: Path, widest: float) -> Drop:
    change, low, high = (document.figure("signed 1", *path, "change", key) for key in ("estimate", "low", "high"))
    known = change.value is not None and widest > 0
    span = (_share(low.value, -1.0, widest), _share(high.value, 1.0, widest)) if known and "low" in document.at(*path, "change") else None
    distinguishable = document.at(*path, "distinguishable")
    return Drop(
        name=str(document.at(*path, "name")),
        before=document.figure("points, fixed 1", *path, "before"),
        after=document.figure("points, fixed 1", *path, "after"),
        change=change,
        low=low,
        high=high,
        true_boxes=document.figure("fixed 0", *path, "true_boxes"),
        images=document.figure("fixed 0", *path, "images"),
        distinguishable=distinguishable if isinstance(distinguishable, bool) else None,
        span=span,
        dot=_share(change.value, 0.0, widest) if known else None,
    )


def _share(value: float | None, otherwise: float, widest: float) -> float:
    """Where a value lies between -widest and widest, 0..100; what is unbounded lies at that end."""
    return 50 + 50 * min(max(otherwise if value is None else value / widest, -1.0), 1.0)


def most_different(examples: Sequence[Example]) -> list[Example]:
    """A dozen examples, those first on which the models differ most."""
    return sorted(examples, key=lambda example: -example.difference)[:MOST_EXAMPLES]


def flat(document: Document, *path: str) -> Iterator[tuple[str, Words]]:
    """What lies at a path, however nested, as lines of name and text."""
    value = document.at(*path)
    if isinstance(value, Mapping):
        for key in value:
            if key not in TOLD_ELSEWHERE:
                yield from flat(document, *path, str(key))
    else:
        yield " ".join(path[1:] or path).replace("_", " "), _fact(document, path, value)


def _fact(document: Document, path: tuple[str, ...], value: Any) -> Words:
    if isinstance(value, list | tuple):
        return (", ".join(map(str, value)) or DASH,)
    if isinstance(value, bool) or document.number(*path) is None:
        return (DASH if value is None else str(value),)
    return (document.figure("plain", *path),)


# --- charts and pictures ----------------------------------------------------------------------------------------------------------------


def _strip(document: Document) -> str:
    change, low, high = (document.figure("signed 2", "delta", "map50_95", key) for key in ("estimate", "low", "high"))
    return interval_strip(change, low, high, document.figure("negated, signed 2", "budget", "max_drop"))


def _look_bars(document: Document) -> list[LookBar]:
    return [
        LookBar(str(document.at(*path, "name")), document.figure("fixed 4", *path, "error"), document.at(*path, "chosen") is True)
        for path in document.paths("exploration", "ranges")
    ]


def _layer_bars(document: Document) -> Iterator[LayerBar]:
    kept = layers_kept_float(document)
    for path in layer_paths(document):
        gain, charge = document.figure("points, signed 1", *path, "gain"), document.figure("points, signed 1", *path, "charge")
        yield LayerBar(ordinal(path), str(document.at(*path, "layer")), gain, charge, path in kept)


def _points(document: Document) -> list[Point]:
    measure = measure_on_selection(document)
    layers, shapes = _float_layers(document), {engine: at for at, engine in enumerate(engines(document))}
    return [
        Point(
            number=each.number,
            name=(name := str(each.row.get("name"))),
            latency=latency,
            shown_accuracy=accuracy,
            role=each.role,
            float_layers=layers.get(name),
            engine=(engine := str(each.row.get("engine") or "")),
            shape=shapes.get(engine, 0),
            front=each.front,
        )
        for each in candidates(document)
        if (latency := document.figure("fixed 2", "candidates", each.at, "p50_ms")).value is not None
        and (accuracy := document.figure("fixed 4", "candidates", each.at, measure)).value is not None
    ]


def _scatter(document: Document, points: Sequence[Point], width: int) -> str:
    measure = measure_on_selection(document)
    return accuracy_against_latency(
        points,
        list(_timed(document)),
        width=width,
        measure="mAP50-95" if measure == "map50_95" else measure,
        latency_limit_ms=document.number("budget", "max_latency_ms"),
        accuracy_floor=_accuracy_floor(document, points),
    )


def _accuracy_floor(document: Document, points: Sequence[Point]) -> float | None:
    """The accuracy on the selection split that the budget allows."""
    before = next((point.accuracy for point in points if point.name == "baseline"), document.number("baseline", "map50_95"))
    drop = document.number("budget", "max_drop")
    return None if before is None or drop is None else before - drop / POINTS


def _timed(document: Document) -> Iterator[Timed]:
    for path in overtaken_paths(document):
        latency = document.figure("fixed 2", *path, "p50_ms")
        name, why, engine = (str(document.at(*path, key) or "") for key in ("name", "why", "engine"))
        if latency.value is not None:
            yield Timed(ordinal(path), name, latency, why, engine)


def _legend(document: Document, points: Sequence[Point]) -> Iterator[tuple[Markup, str]]:
    """The signs of the scatter chart that stand on it, each with its words."""
    where = engines(document)
    refused = document.at("verdict") == "refuse"
    chosen = next((point.shape for point in points if point.role == "chosen"), 0)
    signs = [(mark_key("baseline"), "baseline: the model as given"), (mark_key("chosen", chosen), "nearest" if refused else "chosen")]
    if len(where) > 1:
        named = where if len(where) <= SHAPES else [*where[: SHAPES - 1], "other engines"]
        signs += [(mark_key("other", at), engine) for at, engine in enumerate(named)]
    else:
        signs.append((mark_key("other"), "other candidates"))
    signs.append((line_key("front"), "front: nothing is both faster and more accurate"))
    if sum(point.float_layers is not None for point in points) > 1:
        signs.append((line_key("path"), "from integers alone through larger and larger sets of layers in float"))
    if overtaken_paths(document):
        signs.append((line_key("rug"), "timed, not judged: listed below"))
    values = [point.accuracy for point in points]
    if values and min(values) < accuracy_range(values, _accuracy_floor(document, points))[0]:
        signs.append((line_key("below"), "below the axis"))
    yield from ((Markup(sign), words) for sign, words in signs)  # noqa: S704 - built as trees, which escape


def _fronts_legend(document: Document, fronts: Mapping[str, Sequence[Point]]) -> Iterator[tuple[Markup, str]]:
    """The signs of the chart of two fronts that stand on it, each with its words."""
    points = [*fronts[WITHOUT], *fronts[WITH]]
    chosen = next((point for point in points if point.role == "chosen"), None)
    signs = [(mark_key("baseline"), "baseline: the model as given")] if any(point.role == "baseline" for point in points) else []
    if chosen is not None:
        signs.append((mark_key("chosen", chosen.shape), "nearest" if document.at("verdict") == "refuse" else "chosen"))
    signs += [
        (mark_key("other"), "of the given network"),
        (mark_key("other", CHANGED_SHAPE), "of a changed network"),
        (line_key("front before"), "front without the changed networks"),
        (line_key("front"), "front with them"),
    ]
    yield from ((Markup(sign), words) for sign, words in signs)  # noqa: S704 - built as trees, which escape


def _float_layers(document: Document) -> dict[str, int]:
    """How many layers each set among the candidates keeps in float; integers alone keep none."""
    sets = document.paths("exploration", "float_sets")
    layers = {str(document.at(*path, "name")): int(document.number(*path, "layers") or 0) for path in sets}
    return {str(integers_alone(document)): 0, **layers} if layers else {}


def _quantiles(document: Document) -> dict[str, list[Flag]]:
    labels = ("p50", "p90", "p99")
    return {name: [(label, document.figure("fixed 1", name, "latency_ms", label)) for label in labels] for name in ("baseline", "fitted")}


def _both_widths(chart: Callable[[int], str]) -> tuple[Markup, Markup] | None:
    wide, narrow = Markup(chart(WIDE_PX)), Markup(chart(NARROW_PX))  # noqa: S704 - charts are built as trees, which escape
    return (wide, narrow) if wide else None


def _shown(example: Example, title: str) -> Shown:
    baseline, fitted = pictured(example)
    return Shown(example.name, example.difference, (("baseline", baseline, _data_uri(baseline)), (title, fitted, _data_uri(fitted))))


def _data_uri(picture: Pictured) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode("ascii")


# --- the template -----------------------------------------------------------------------------------------------------------------------


def _text(value: Any) -> Any:
    """Everything the template prints passes here, and is escaped after."""
    if value is None or isinstance(value, jinja2.Undefined):
        return DASH
    return value if isinstance(value, Markup | Figure | Name) else visible(str(value))


def _environment(document: Document) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(File(__file__).parent),
        autoescape=True,
        finalize=_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "at": document.at,
        "number": document.number,
        "figure": document.figure,
        "derived": document.derived,
        "rows": document.rows,
        "how_many": how_many,
        "input_size": functools.partial(input_size, document),
        "written": written,
    }
    return environment

"""A dashboard for Grafana, of the figures that /metrics shows: one document, written by `edgewright export grafana`.

The document is Grafana's dashboard model (grafana/grafana, kinds/dashboard/dashboard_kind.cue; the npm package @grafana/schema).
Panels are a table below: a row, and in it what is asked of Prometheus. `$instance`, `$camera` and `$model` choose whose figures are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

UID: Final = "edgewright"
SCHEMA_VERSION: Final = 39  # Grafana 10.4's; later ones bring it up to theirs when they load it
WIDE: Final = 24  # columns of Grafana's grid
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
OF: Final = 'instance=~"$instance"'
CAMERA: Final = f'{OF}, camera=~"$camera"'
PAIR: Final = f'{CAMERA}, model=~"$model"'
MODEL: Final = f'{OF}, model=~"$model"'
EVERY: Final = "[$__rate_interval]"
STAGE: Final = "edgewright_stage_duration_seconds"
GOOD, BAD, WARN = "green", "red", "orange"


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel: its queries as (PromQL, legend). `limits`: colour from that value on; `words`: a value in a word and a colour."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    wide: int = 8
    stacked: bool = False
    limits: Sequence[tuple[float | None, str]] = ((None, GOOD),)
    words: Sequence[tuple[float, str, str]] = field(default_factory=tuple)
    text: str = ""


def _quantiles(name: str, of: str, by: str = "") -> list[tuple[str, str]]:
    label = f"{by}, " if by else ""
    legend = "".join(f"{{{{{each.strip()}}}}} " for each in by.split(",") if each)
    return [
        (f"histogram_quantile({share}, sum by ({label}le) (rate({name}_bucket{{{of}}}{EVERY})))", f"{legend}{title}")
        for share, title in ((0.5, "p50"), (0.99, "p99"))
    ]


def _mean_us(stage: str) -> tuple[str, str]:
    per_request = f"rate(nv_inference_{stage}_duration_us{{{MODEL}}}{EVERY}) / rate(nv_inference_request_success{{{MODEL}}}{EVERY})"
    return f"sum by (model) ({per_request})", f"{{{{model}}}} {stage.replace('_', ' ')}"


UP_OR_DOWN: Final = ((0, "down", BAD), (1, "up", GOOD))
NO_OR_YES: Final = ((0, "no", GOOD), (1, "yes", BAD))
ROWS: Final[Sequence[tuple[str, Sequence[Shown]]]] = (
    (
        "Overview",
        (
            Shown(
                "Ready", [(f"min(edgewright_ready{{{OF}}})", "")], kind="stat", wide=3, words=((0, "not ready", BAD), (1, "ready", GOOD))
            ),
            Shown(
                "Cameras up",
                [(f"sum(edgewright_camera_up{{{OF}}})", "up"), (f"count(edgewright_camera_up{{{OF}}})", "of")],
                kind="stat",
                wide=4,
            ),
            Shown("Answered", [(f'sum(rate(edgewright_frames_total{{{PAIR}, result="answered"}}{EVERY}))', "")], "reqps", "stat", 4),
            Shown(
                "Age of an answer",
                _quantiles("edgewright_frame_age_seconds", PAIR),
                "s",
                "stat",
                5,
                limits=((None, GOOD), (0.5, WARN), (2, BAD)),
            ),
            Shown(
                "Not answered",
                [(f'sum(rate(edgewright_frames_total{{{PAIR}, result!="answered"}}{EVERY})) or vector(0)', "")],
                "reqps",
                "stat",
                4,
                text="Frames that no model was asked about, or whose answer came too late, whatever the reason; some are so on purpose.",
            ),
            Shown("Running for", [(f"min(edgewright_uptime_seconds{{{OF}}})", "")], "s", "stat", 4),
        ),
    ),
    (
        "Cameras",
        (
            Shown("Cameras", [(f"edgewright_camera_up{{{CAMERA}}}", "{{camera}}")], kind="state-timeline", wide=12, words=UP_OR_DOWN),
            Shown(
                "Camera processes replaced",
                [(f"sum by (camera) (increase(edgewright_camera_restarts_total{{{CAMERA}}}{EVERY}))", "{{camera}}")],
                wide=12,
            ),
            Shown("Captured", [(f"sum by (camera) (rate(edgewright_frames_captured_total{{{CAMERA}}}{EVERY}))", "{{camera}}")], "reqps"),
            Shown(
                "Answered",
                [
                    (
                        f'sum by (camera, model) (rate(edgewright_frames_total{{{PAIR}, result="answered"}}{EVERY}))',
                        "{{camera}} {{model}}",
                    )
                ],
                "reqps",
            ),
            Shown(
                "Not answered, by reason",
                [(f'sum by (result) (rate(edgewright_frames_total{{{PAIR}, result!="answered"}}{EVERY}))', "{{result}}")],
                "reqps",
                stacked=True,
            ),
            Shown("Age of an answer", _quantiles("edgewright_frame_age_seconds", PAIR, "camera, model"), "s", wide=24),
        ),
    ),
    (
        "Stages",
        (
            Shown(
                "Where a frame's age goes, mean",
                [
                    (" / ".join(f"sum by (stage) (rate({STAGE}_{part}{{{PAIR}}}{EVERY}))" for part in ("sum", "count")), "{{stage}}"),
                ],
                "s",
                wide=12,
                stacked=True,
            ),
            Shown("By stage", _quantiles(STAGE, PAIR, "stage"), "s", wide=12),
        ),
    ),
    (
        "Models",
        (
            Shown(
                "State",
                [(f"max by (model, state) (edgewright_live_model_state{{{MODEL}}}) == 1", "{{model}} {{state}}")],
                kind="state-timeline",
                wide=12,
                words=((1, "so", GOOD),),
            ),
            Shown(
                "Model processes replaced",
                [(f"sum by (model) (increase(edgewright_worker_restarts_total{{{MODEL}}}{EVERY}))", "{{model}}")],
                wide=12,
            ),
            Shown(
                "Requests over HTTP",
                [
                    (f"sum by (model) (rate(nv_inference_request_success{{{MODEL}}}{EVERY}))", "{{model}} answered"),
                    (f"sum by (model, reason) (rate(nv_inference_request_failure{{{MODEL}}}{EVERY}))", "{{model}} {{reason}}"),
                ],
                "reqps",
            ),
            Shown("Mean of a request", [_mean_us(stage) for stage in ("queue", "compute_input", "compute_infer", "compute_output")], "µs"),
            Shown("By stage, p50 and p99", _quantiles("edgewright_inference_duration_seconds", MODEL, "model, stage"), "s"),
            Shown("Waiting requests", [(f"edgewright_model_waiting_requests{{{MODEL}}}", "{{model}}")]),
            Shown(
                "HTTP, by page and status",
                [(f"sum by (page, status) (rate(edgewright_http_requests_total{{{OF}}}{EVERY}))", "{{page}} {{status}}")],
                "reqps",
            ),
            Shown(
                "Connections",
                [
                    (f"edgewright_http_connections{{{OF}}}", "open"),
                    (f"sum(increase(edgewright_http_connections_refused_total{{{OF}}}{EVERY}))", "refused"),
                ],
            ),
        ),
    ),
    (
        "Memory",
        (
            Shown(
                "Used, and the budget",
                [
                    (f"sum by (part) (edgewright_memory_used_bytes{{{OF}}})", "{{part}}"),
                    (f"sum(edgewright_memory_budget_bytes{{{OF}}})", "budget"),
                ],
                "bytes",
                wide=12,
            ),
            Shown(
                "Promised, by part",
                [(f"sum by (part) (edgewright_memory_promised_bytes{{{OF}}})", "{{part}}")],
                "bytes",
                wide=8,
                stacked=True,
            ),
            Shown("Nearly used up", [(f"max(edgewright_memory_alarm{{{OF}}})", "more than 90 %")], kind="stat", wide=4, words=NO_OR_YES),
        ),
    ),
    (
        "Heat",
        (
            Shown("Temperature", [(f"edgewright_temperature_celsius{{{OF}}}", "{{instance}} {{zone}}")], "celsius", wide=12),
            Shown(
                "Throttled",
                [(f"edgewright_throttled{{{OF}}}", "{{instance}} {{reason}}")],
                kind="state-timeline",
                wide=12,
                words=NO_OR_YES,
            ),
            Shown(
                "Frames a second: allowed, and for which the board can shed the heat",
                [
                    (f"edgewright_governor_fps_cap{{{OF}}}", "{{instance}} allowed"),
                    (f"edgewright_sustainable_fps{{{OF}}}", "{{instance}} sustainable"),
                ],
                "reqps",
            ),
            Shown("Way to run, 0 the first", [(f"edgewright_governor_rung{{{OF}}}", "{{instance}}")]),
            Shown("Until it throttles, at this pace", [(f"edgewright_time_to_throttle_seconds{{{OF}}}", "{{instance}}")], "s"),
        ),
    ),
    (
        "Outputs",
        (
            Shown("Delivered", [(f"sum by (output) (rate(edgewright_output_delivered_total{{{OF}}}{EVERY}))", "{{output}}")], "reqps"),
            Shown("Waiting on the disk", [(f"sum by (output) (edgewright_output_spooled_bytes{{{OF}}})", "{{output}}")], "bytes"),
            Shown("Lost", [(f"sum by (output) (increase(edgewright_output_lost_total{{{OF}}}{EVERY}))", "{{output}}")]),
            Shown("Written in a day", [(f"edgewright_disk_day_bytes{{{OF}}}", "{{instance}}")], "bytes", wide=12),
            Shown(
                "Events",
                [(f"sum by (kind, severity) (increase(edgewright_events_total{{{OF}}}{EVERY}))", "{{kind}} {{severity}}")],
                wide=12,
                stacked=True,
            ),
        ),
    ),
)
EVENTS: Final = f'sum by (instance, kind, severity) (increase(edgewright_events_total{{{OF}, severity!="info"}}{EVERY})) > 0'
HIGH: Final = {"stat": 4}


def dashboard() -> dict[str, Any]:
    """The document."""
    return {
        "uid": UID,
        "title": "edgewright",
        "description": "Cameras, models, memory, heat and outputs of edgewright services.",
        "tags": ["edgewright"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "10s",
        "schemaVersion": SCHEMA_VERSION,
        "templating": {"list": list(_variables())},
        "annotations": {"list": [_events()]},
        "links": [],
        "panels": list(_panels()),
    }


def expressions() -> Iterator[str]:
    """All that is asked of Prometheus."""
    yield EVENTS
    for _, panels in ROWS:
        for panel in panels:
            yield from (expression for expression, _ in panel.queries)


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "skipUrlSync": False}
    for name, query in (
        ("instance", "label_values(edgewright_ready, instance)"),
        ("camera", f"label_values(edgewright_camera_up{{{OF}}}, camera)"),
        ("model", f'label_values({{__name__=~"edgewright_live_model_state|edgewright_model_ready", {OF}}}, model)'),
    ):
        yield {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",  # of frames that no model was asked about, the model is empty
            "current": {"text": "All", "value": "$__all"},
            "hide": 0,
            "skipUrlSync": False,
        }


def _events() -> dict[str, Any]:
    return {
        "name": "Warnings and errors",
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": WARN,
        "titleFormat": "{{kind}}",
        "textFormat": "{{instance}}",
        "tagKeys": "severity",
        "target": {"expr": EVENTS, "refId": "events"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, at_y = 1, 0
    for title, panels in ROWS:
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": _place(0, at_y, WIDE, 1), "panels": []}
        number, at_y, at_x = number + 1, at_y + 1, 0
        high = 0
        for panel in panels:
            if at_x + panel.wide > WIDE:
                at_x, at_y, high = 0, at_y + high, 0
            high = max(high, HIGH.get(panel.kind, 8))
            yield _panel(panel, number, _place(at_x, at_y, panel.wide, HIGH.get(panel.kind, 8)))
            number, at_x = number + 1, at_x + panel.wide
        at_y += high


def _place(x: int, y: int, wide: int, high: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": wide, "h": high}


def _panel(shown: Shown, number: int, place: dict[str, int]) -> dict[str, Any]:
    options = {str(value): {"text": text, "color": colour, "index": at} for at, (value, text, colour) in enumerate(shown.words)}
    defaults: dict[str, Any] = {
        "unit": shown.unit,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in shown.limits]},
        "mappings": [{"type": "value", "options": options}] if options else [],
        "color": {"mode": "palette-classic" if shown.kind == "timeseries" else "thresholds"},
        "custom": _custom(shown),
    }
    return {
        "id": number,
        "type": shown.kind,
        "title": shown.title,
        "description": shown.text,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expression, "legendFormat": legend or "__auto"}
            for at, (expression, legend) in enumerate(shown.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": _budget_line(shown)},
        "options": _options(shown.kind),
    }


def _custom(shown: Shown) -> dict[str, Any]:
    if shown.kind != "timeseries":
        return {}
    stacking = {"mode": "normal" if shown.stacked else "none", "group": "A"}
    return {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 25 if shown.stacked else 5, "showPoints": "never", "stacking": stacking}


def _budget_line(shown: Shown) -> list[dict[str, Any]]:
    """The budget is a limit, not a part."""
    if "budget" not in (legend for _, legend in shown.queries):
        return []
    drawn = [{"id": "custom.fillOpacity", "value": 0}, {"id": "custom.lineWidth", "value": 2}, {"id": "color", "value": _fixed(BAD)}]
    return [{"matcher": {"id": "byName", "options": "budget"}, "properties": drawn}]


def _fixed(colour: str) -> dict[str, str]:
    return {"mode": "fixed", "fixedColor": colour}


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        calculated = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        return {"reduceOptions": calculated, "colorMode": "value", "graphMode": "area", "textMode": "auto", "orientation": "auto"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    if kind == "state-timeline":
        return {"legend": {**legend, "showLegend": False}, "showValue": "never", "mergeValues": True, "rowHeight": 0.8}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}

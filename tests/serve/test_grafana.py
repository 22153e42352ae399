"""The dashboard for Grafana asks for nothing but what /metrics shows, in queries that Prometheus understands."""

import json
import re
import shutil
import subprocess
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgewright.clock import SystemClock
from edgewright.serve.exposition import exposed
from edgewright.serve.grafana import dashboard, expressions
from edgewright.serve.live_view import LiveView
from edgewright.serve.metrics import HttpFigures, families
from edgewright.serve.model_figures import ModelFigures
from live_status import a_status

COMMITTED = Path(__file__).parents[2] / "docs" / "grafana" / "edgewright.json"
SAMPLE = re.compile(r"([a-z_]+)(?:\{(.*)\})? \S+")
LABEL = re.compile(r'([a-z_]+)="')
SELECTOR = re.compile(r"\b((?:edgewright|nv)_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'([a-z_]+)(?:=~|!=|=|!~)"')
GROUPED = re.compile(r"\bby \(([a-z_, ]+)\)")
ADDED_BY_PROMETHEUS = {"instance"}
# Of "Range vectors and functions" and "Aggregation operators" in Prometheus's documentation, those that are used.
WORDS = {"sum", "min", "max", "count", "by", "rate", "increase", "histogram_quantile", "or", "vector"}


def page(folder):
    """All of /metrics, of a service that has everything."""
    figures = ModelFigures()
    figures.answered(10, (1, 2, 3, 4), 5.0)
    figures.failed("BACKEND", 10)
    host = SimpleNamespace(
        figures={"people": figures}, workers={"people": SimpleNamespace(state="ready", taken_bytes=1, waiting=0, restarts=0)}
    )
    http = HttpFigures()
    http.answered("/detect", 200, 0.1)
    view = LiveView(SystemClock())
    view.hear_status(a_status(folder))
    return exposed(families(host, http, ready=True, live=view))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Metric -> labels that its samples have."""
    found = defaultdict(set)
    for line in page(tmp_path_factory.mktemp("service")).splitlines():
        if not line.startswith("#"):
            name, labels = SAMPLE.fullmatch(line).groups()
            found[name] |= set(LABEL.findall(labels or ""))
    return found


@pytest.mark.parametrize("expression", list(expressions()))
def test_what_is_asked_for_is_shown(expression, shown):
    asked = SELECTOR.findall(expression)
    assert asked
    known = set.intersection(*(shown[name] for name, _ in asked)) | ADDED_BY_PROMETHEUS
    for name, matchers in asked:
        assert name in shown, f"/metrics has no {name}"
        assert set(MATCHER.findall(matchers)) <= shown[name] | ADDED_BY_PROMETHEUS, name
    for labels in GROUPED.findall(expression):
        assert set(labels.replace(",", " ").split()) <= known


def test_counters_are_asked_for_their_rate_and_gauges_for_their_value():
    for expression in expressions():
        for name, _ in SELECTOR.findall(expression):
            counts = name.endswith(("_total", "_bucket", "_sum", "_count")) or re.search(r"nv_inference_(request|queue|compute)", name)
            rated = re.search(rf"\b(rate|increase)\({name}\b", expression) is not None
            assert rated == bool(counts), expression


def test_every_expression_is_made_of_words_that_prometheus_has():
    for expression in expressions():
        bare = SELECTOR.sub("metric", expression)
        assert set(re.findall(r"\b[a-z_]{2,}\b", re.sub(r"by \([^)]*\)|\[\$__rate_interval\]", "", bare))) - {"metric"} <= WORDS, bare
        for opening, closing in ("()", "[]", "{}"):
            assert expression.count(opening) == expression.count(closing), expression


def test_prometheus_itself_understands_every_expression(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    rules = [
        {"record": f"asked:{at}", "expr": re.sub(r"\$(instance|camera|model)\b", ".*", expression).replace("$__rate_interval", "1m")}
        for at, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_committed_file_is_what_the_command_writes():
    assert json.loads(COMMITTED.read_text()) == json.loads(json.dumps(dashboard())), "run: edgewright export grafana --out " + str(
        COMMITTED
    )


def test_panels_lie_side_by_side_and_every_variable_is_known():
    """Limits: #GridPos and #VariableModel of dashboard_kind.cue."""
    document = dashboard()
    places = {panel["id"]: panel["gridPos"] for panel in document["panels"]}
    assert len(places) == len(document["panels"])
    for place in places.values():
        assert 0 <= place["x"] < 24
        assert 0 < place["w"] <= 24 - place["x"]
        assert place["h"] > 0
    for one, other in combinations(places.values(), 2):
        apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart_x or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    variables = {variable["name"] for variable in document["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(document))) - {"__rate_interval"}
    assert used <= variables

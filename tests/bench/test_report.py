"""The report: told for each verdict, safe from what model files say, complete when figures are missing."""

import copy
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.bench.charts import Point, accuracy_against_latency, interval_strip, latency_distributions
from edgewright.bench.report import DASH, MINUS, Example, ReportMaterial, ThreadRow, difference, render_report
from edgewright.detections import Detections

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202eevil\ud800 & \'"'
VOID = {"meta", "img", "br", "link", "input", "hr"}


def found(*boxes, class_ids=None, classes=("cat", "dog")):
    count = len(boxes)
    ids = np.zeros(count, np.int64) if class_ids is None else np.array(class_ids, np.int64)
    return Detections(np.array(boxes, np.float32).reshape(count, 4), np.linspace(0.9, 0.5, count, dtype=np.float32), ids, classes)


def example(name, apart):
    return Example(name, np.full((30, 40, 3), 80, np.uint8), found([5, 5, 20, 20]), found(), apart)


def block(**changed):
    figures = {"map50": 0.591, "map50_95": 0.43, "latency_ms": {"p50": 25.4, "p90": 26.0, "p99": 30.0}, "peak_mib": 161.0, "size_mb": 12.8}
    return {"engine": "onnxruntime", "precision": "float32", "threads": 2, **figures, **changed}


def candidate(name, **changed):
    row = {"name": name, "engine": "onnxruntime", "precision": "int8", "scheme": "static", "threads": 2, "imgsz": 640}
    return {**row, "map50_95": 0.43, "p50_ms": 12.0, "peak_mib": 118.0, "verdict": "fits", **changed}


def evidence(**changed):
    document = {
        "schema": 1,
        "verdict": "ship",
        "binding": [],
        "reason": "int8 is 2.1 times as fast",
        "accuracy_proven": False,
        "images_needed": 1236,
        "budget": {"max_drop": 1.0, "max_latency_ms": 20.0, "max_memory_mib": None, "max_size_mb": None},
        "host": {
            "cpu": "A CPU",
            "cores": 2,
            "isa": ["avx2"],
            "memory_mib": 8000,
            "os": "Linux",
            "python": "3.11",
            "versions": {"edgewright": "1.2.3"},
        },
        "board": "host",
        "baseline": block(),
        "fitted": block(name="int8", precision="int8", map50_95=0.4258, latency_ms={"p50": 12.1, "p90": 12.6, "p99": 15.7}, size_mb=3.57),
        "delta": {
            "map50": {"estimate": -0.6, "low": -1.4, "high": 0.2},
            "map50_95": {"estimate": -0.42, "low": -1.21, "high": 0.35},
            "images": 128,
        },
        "speedup": {"p50": {"estimate": 2.11, "low": 2.07, "high": 2.14}},
        "candidates": [
            candidate("baseline", p50_ms=25.4),
            candidate("int8", verdict="ship"),
            candidate("tutorial", map50_95=0.0, verdict="refuse"),
        ],
        "calibration": {"digest": "sha256:cafe", "images": 64},
        "lineage": {"source_digest": "sha256:beef"},
        "warnings": [],
        "elapsed_s": 12.3,
    }
    return {**document, **changed}


def material(**changed):
    whole = ReportMaterial(
        title="pcb",
        evidence=evidence(),
        latency_samples_ms={"baseline": [25.0, 25.5, 26.0, 40.0], "fitted": [12.0, 12.1, 12.5]},
        thread_rows=[
            ThreadRow("int8", "onnxruntime", "int8", threads, 21.0, 22.0, 25.0, 97.0, 118.0, 120.0, 40.0, 3.57) for threads in (2, 1)
        ],
        per_class=[("cat", 0.5, 0.51), ("dog", 0.4, 0.3), ("cow", None, None)],
        per_size=[("small", 0.2, 0.19), ("large", 0.6, None)],
        examples=[example("near.jpg", 0.1), example("far.jpg", 0.9)],
        command="edgewright fit pcb.onnx --data data.yaml --out fitted",
    )
    return replace(whole, **changed)


class Page(HTMLParser):
    """The page's tags and text; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def page_of(**changed):
    return Page(render_report(material(**changed)))


def svgs(html):
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


# --- verdicts -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("ship", "Ship Every limit of the budget is kept"), ("provisional", "Provisional"), ("refuse", "Refuse Nothing is released")],
)
def test_says_the_verdict_in_words_and_colour(verdict, said):
    page = page_of(evidence=evidence(verdict=verdict, reason="because of this"))

    assert said in page.text
    assert "because of this" in page.text
    assert ("section", {"class": f"verdict {verdict}", "aria-labelledby": "verdict"}) in page.tags


def test_tells_the_key_figures():
    text = page_of().text

    for figure in (
        f"{MINUS}0.42 points",
        f"95 % interval {MINUS}1.21 to +0.35",
        "2.11 \u00d7",
        "2.07 to 2.14",
        "12.1 ms of 25.4 ms before",
        "3.6 MB of 12.8 MB before",
    ):
        assert figure in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accuracy_proven": True, "images_needed": None}, "Accuracy proven : the whole 95 % interval"),
        (
            {},
            "Accuracy not proven : the estimate lies within the allowed drop, the lower end of its interval does not. About 1,236 images",
        ),
        (
            {"images_needed": None},
            "Accuracy not proven : the estimate lies within the allowed drop, the lower end of its interval does not.",
        ),
        ({"budget": {"max_drop": 0.1}, "images_needed": None}, "Accuracy not kept : the estimate itself lies below"),
        ({"delta": None}, "Accuracy not measured"),
    ],
)
def test_is_honest_about_how_sure_the_accuracy_is(changed, said):
    assert said in page_of(evidence=evidence(**changed)).text


def test_holds_the_budget_against_what_was_measured():
    broken = evidence(verdict="refuse", binding=["latency"], budget={**evidence()["budget"], "max_latency_ms": 10.0})
    text = page_of(evidence=broken).text

    assert "Drop in mAP50-95 (points) 0.42 1.00 kept" in text
    assert "Latency, p50 (ms) 12.1 10.0 broken" in text
    assert f"Model size (MB) 3.57 {DASH} no limit" in text
    assert "In the way: latency" in text
    assert "nearest candidate" in text, "on a refusal nothing is called fitted"


def test_speaks_of_agreement_where_there_are_no_labels():
    unlabelled = evidence(baseline=block(map50=None, map50_95=None), fitted=block(map50=None, map50_95=None), verdict="provisional")

    assert "Change in agreement" in page_of(evidence=unlabelled).text


def test_shows_warnings():
    assert "the interval is wide" in page_of(evidence=evidence(warnings=["the interval is wide"])).text


# --- hostile and missing --------------------------------------------------------------------------------------------------------------


def test_escapes_everything_that_a_model_file_may_say():
    hostile = json.loads(
        json.dumps(evidence()).replace("onnxruntime", "@").replace("sha256:beef", "@").replace("int8 is", "@").replace('"int8"', '"@"')
    )
    hostile = poisoned(hostile)
    boxes = found([5, 5, 20, 20], classes=(HOSTILE,))
    html = render_report(
        material(
            title=HOSTILE,
            evidence={**hostile, "warnings": [HOSTILE]},
            latency_samples_ms={HOSTILE: [1.0, 2.0]},
            per_class=[(HOSTILE, 0.5, 0.4)],
            per_size=[(HOSTILE, 0.5, 0.4)],
            examples=[Example(HOSTILE, np.zeros((30, 40, 3), np.uint8), boxes, Detections.none(), 1.0)],
            command=HOSTILE,
        )
    )

    tags = [tag for tag, _ in Page(html).tags]
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attributes in Page(html).tags for name in attributes)
    assert not set(html) & set("\x1b\u202e\ud800")
    assert html.count("&lt;script&gt;") > 10
    assert "␛[31m" in html, "a control character is shown, not obeyed"
    html.encode("utf-8")


def poisoned(value):
    """Every '@' becomes hostile text."""
    if isinstance(value, dict):
        return {key: poisoned(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner) for inner in value]
    return value.replace("@", HOSTILE) if isinstance(value, str) else value


def test_holds_everything_it_needs():
    html = render_report(material())

    for tag, attributes in Page(html).tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert attributes.get("src", "data:").startswith("data:image/jpeg;base64,") or "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert re.search(r"url\(", html) is None
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "missing", ["fitted", "delta", "speedup", "host", "candidates", "calibration", "lineage", "images_needed", "elapsed_s", "reason"]
)
@pytest.mark.parametrize("how", ["null", "absent"])
def test_is_whole_when_a_part_is_missing(missing, how):
    document = evidence(verdict="refuse", **{missing: None})
    if how == "absent":
        del document[missing]

    text = page_of(evidence=document).text

    assert "None" not in text
    assert "Refuse" in text


def leaves(document, path=()):
    for key, value in document.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))


@pytest.mark.parametrize(
    "path",
    [path for part in ("budget", "baseline", "fitted", "delta", "speedup") for path in leaves(evidence()[part], (part,))],
    ids=".".join,
)
def test_shows_a_dash_where_a_figure_is_null(path):
    document = copy.deepcopy(evidence())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = None

    text = page_of(evidence=document).text

    assert DASH in text
    assert not re.search(r"\b(None|nan|inf)\b", text)


def test_is_whole_without_charts_and_pictures():
    page = page_of(
        latency_samples_ms={},
        thread_rows=[],
        per_class=[],
        per_size=[],
        examples=[],
        evidence=evidence(candidates=[], fitted=None, delta=None, speedup=None),
    )

    assert "No candidate was made." in page.text
    assert "img" not in [tag for tag, _ in page.tags]


def test_an_unbounded_interval_is_drawn_and_told():
    document = evidence()
    document["delta"]["map50_95"] = {"estimate": -0.4, "low": float("-inf"), "high": float("inf")}

    assert f"95 % interval {DASH} to {DASH}" in page_of(evidence=document).text


# --- order and shape ------------------------------------------------------------------------------------------------------------------


def test_shows_a_dozen_pictures_the_most_different_first():
    page = page_of(examples=[example(f"{n}.jpg", n / 20) for n in range(20)])

    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert len(alts) == 24
    assert alts[:4] == ["19.jpg, baseline: 1 cat", "19.jpg, fitted: nothing", "18.jpg, baseline: 1 cat", "18.jpg, fitted: nothing"]


def test_lists_the_largest_drops_first_and_folds_long_lists():
    rows = [(f"class {n}", 0.5, 0.5 + n / 100) for n in (1, -3, 2, *range(10, 30))]
    page = page_of(per_class=[("unknown", None, 0.5), *rows])

    order = re.findall(r"class -?\d+|unknown", page.text.split("By class")[1])
    assert order[:3] == ["class -3", "class 1", "class 2"]
    assert order[-1] == "unknown"
    assert "12 more classes" in page.text


def test_bounds_the_size_of_pictures():
    large = np.random.default_rng(0).integers(0, 255, (1000, 3000, 3), np.uint8)
    page = page_of(examples=[Example("large.jpg", large, found([100, 100, 900, 900]), found([100, 100, 900, 900]), 0.0)])

    assert [(a["width"], a["height"]) for tag, a in page.tags if tag == "img"] == [("640", "213")] * 2


def test_orders_headings_and_names_columns():
    page = page_of()

    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1
    assert all("scope" in attributes or "aria-hidden" in attributes for tag, attributes in page.tags if tag == "th")
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if tag == "a"} <= set(ids)


# --- charts ---------------------------------------------------------------------------------------------------------------------------


def test_draws_well_formed_svg_with_words_for_those_who_do_not_see_it():
    charts = [svg for svg in svgs(render_report(material())) if svg.get("role") == "img"]

    assert len(charts) == 5, "an interval; two charts, each for a desk and a phone"
    for svg in charts:
        assert svg.findtext("title")
        assert svg.findtext("desc")


@pytest.mark.parametrize("width", [340, 960])
def test_marks_baseline_chosen_and_budget(width):
    points = [Point(1, "baseline", 25.0, 0.43, "baseline"), Point(2, "int8", 12.0, 0.425, "chosen"), Point(3, "bad", 40.0, 0.0, "other")]

    svg = ET.fromstring(accuracy_against_latency(points, width=width, measure="mAP50-95", latency_limit_ms=20, accuracy_floor=0.42))

    marks = {mark.get("class"): mark for mark in svg.iter("g")}
    assert marks["mark baseline"].find("rect") is not None
    assert len(marks["mark chosen"].findall("circle")) == 2
    assert marks["mark other"].find("path") is not None, "far below the others: drawn at the edge"
    assert len([line for line in svg.iter("line") if line.get("class") == "limit"]) == 2
    assert "int8 (chosen): 12.0 ms" in svg.findtext("desc")


@pytest.mark.parametrize(
    "points",
    [
        [Point(1, "one", 0.0, 0.0, "baseline")],
        [Point(n, "same place", 10.0, 0.4, "other") for n in range(30)],
        [Point(1, "a" * 500, 1e6, 1.0, "chosen"), Point(2, HOSTILE, 1e-6, 0.999, "other")],
    ],
    ids=["single at zero", "all in one place", "extreme"],
)
@pytest.mark.parametrize("width", [340, 960])
def test_draws_any_candidates(points, width):
    svg = ET.fromstring(accuracy_against_latency(points, width=width, measure="mAP50-95"))

    for text in svg.iter("text"):
        assert -5 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= float(svg.get("height"))


@pytest.mark.parametrize(
    "samples",
    [
        {"baseline": [1.0]},
        {"a": [5.0] * 100, "b": [5.0]},
        {"a": [0.0, 0.0]},
        {"a": [float("nan"), 1.0], "b": []},
        {HOSTILE: np.arange(1, 1e4)},
    ],
    ids=["one run", "no spread", "zero", "holes", "many"],
)
def test_draws_any_latencies(samples):
    svg = ET.fromstring(latency_distributions(samples, width=340))

    assert len([line for line in svg.iter("line") if (line.get("class") or "").startswith("flag")]) == 3 * sum(
        any(np.isfinite(v)) for v in samples.values()
    )


@pytest.mark.parametrize(("low", "high", "limit"), [(-1, 1, -2.0), (0, 0, 0.0), (float("-inf"), float("inf"), None)])
def test_draws_any_interval(low, high, limit):
    assert ET.fromstring(interval_strip(0.0, low, high, limit=limit)).find("circle") is not None


# --- difference -----------------------------------------------------------------------------------------------------------------------

A, A_MOVED, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("baseline", "fitted", "expected"),
    [
        (found(), found(), 0.0),
        (found(A), found(), 1.0),
        (found(), found(A), 1.0),
        (found(A), found(A), 0.0),
        (found(A), found(A_MOVED), 0.0),
        (found(A), found(FAR), 1.0),
        (found(A, class_ids=[0]), found(A, class_ids=[1]), 1.0),
        (found(A, FAR), found(A), 1 / 3),
        (found(A, A), found(A), 1 / 3),  # a box pairs once
        (found([5, 5, 5, 5]), found([5, 5, 5, 5]), 1.0),  # no area, no overlap
    ],
)
def test_difference(baseline, fitted, expected):
    assert difference(baseline, fitted) == pytest.approx(expected)


corners = st.integers(0, 6)
boxes = st.tuples(corners, corners, st.integers(0, 6), st.integers(0, 6), st.integers(0, 1))
some_found = st.lists(boxes, max_size=6).map(
    lambda rows: found(*[[x, y, x + w, y + h] for x, y, w, h, _ in rows], class_ids=[c for *_, c in rows])
)


@settings(max_examples=150, deadline=None)
@given(a=some_found, b=some_found)
def test_difference_is_symmetric_and_between_none_and_all(a, b):
    assert 0 <= difference(a, b) <= 1
    assert difference(a, b) == difference(b, a)

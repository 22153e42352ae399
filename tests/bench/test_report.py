"""The report: told for each verdict, safe from what model files say, complete when figures are missing."""

import copy
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from fit_evidence import block, evidence
from page import Page

from edgewright.bench.report import DASH, MINUS, Example, ReportMaterial, ThreadRow, render_report
from edgewright.detections import Detections

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202eevil\ud800 & \'"'


def found(*boxes, class_ids=None, classes=("cat", "dog")):
    count = len(boxes)
    ids = np.zeros(count, np.int64) if class_ids is None else np.array(class_ids, np.int64)
    return Detections(np.array(boxes, np.float32).reshape(count, 4), np.linspace(0.9, 0.5, count, dtype=np.float32), ids, classes)


def example(name, apart):
    return Example(name, np.full((30, 40, 3), 80, np.uint8), found([5, 5, 20, 20]), found(), apart)


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
        "2.11\u00d7",
        "2.07 to 2.14",
        "12.1 ms of 25.4 ms before",
        "3.6 MB of 12.8 MB before",
    ):
        assert figure in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"accuracy_proven": True, "images_needed": None}, "Accuracy proven: the whole 95 % interval"),
        (
            {},
            "Accuracy not proven: the estimate lies within the allowed drop, the lower end of its interval does not. About 1,236 images",
        ),
        (
            {"images_needed": None},
            "Accuracy not proven: the estimate lies within the allowed drop, the lower end of its interval does not.",
        ),
        ({"budget": {"max_drop": 0.1}, "images_needed": None}, "Accuracy not kept: the estimate itself lies below"),
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

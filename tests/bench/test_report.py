"""The report: told for each verdict, safe from what model files say, complete when figures are missing."""

import copy
import re
import unicodedata
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from fit_evidence import (
    FOUND,
    PRUNED,
    SWAPPED,
    WINNER,
    audit,
    block,
    evidence,
    form,
    long_evidence,
    measurement,
    ranked,
    recovered_evidence,
    recovery,
    searched_evidence,
    threshold,
    whole_evidence,
)
from report_page import Page

from edgewright.bench.report import DASH, MINUS, Example, ReportMaterial, render_report
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
    boxes = found([5, 5, 20, 20], classes=(HOSTILE,))
    hostile = poisoned(recovered_evidence(threshold=threshold(per_class={"cat": 0.3})))
    html = render_report(
        material(
            title=HOSTILE,
            evidence=hostile,
            latency_samples_ms={HOSTILE: [1.0, 2.0]},
            examples=[Example(HOSTILE, np.zeros((30, 40, 3), np.uint8), boxes, Detections.none(), 1.0)],
            command=HOSTILE,
        )
    )

    tags = [tag for tag, _ in Page(html).tags]
    assert "script" not in tags
    assert not any(name.startswith("on") for _, attributes in Page(html).tags for name in attributes)
    assert not set(html) & set("\x1b\u202e\ud800")
    assert html.count("&lt;script&gt;") > 200
    assert "␛[31m" in html, "a control character is shown, not obeyed"
    html.encode("utf-8")


def poisoned(value, name=HOSTILE):
    """Every text becomes hostile, and so do the names of classes."""
    if isinstance(value, dict):
        return {name if key == "cat" else key: poisoned(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, name) for inner in value]
    return name if isinstance(value, str) else value


STRANGE = {
    "a script": "</title></style></script><script>document.title='owned'</script>",
    "an image": "<img src=x onerror=alert(1)><svg/onload=alert(1)><iframe src=javascript:alert(1)>",
    "out of an attribute": "\" onmouseover=alert(1) style=background:url(//example.org) x='' autofocus onfocus=alert(1) '",
    "out of a comment": "--><!-- ]]><![CDATA[ <?xml ?>",
    "out of a style": "}</style><style>*{display:none}",
    "entities": "&lt;script&gt; &#60;script&#62; &quot; &nbsp &",
    "a template": "{{ 7 * 7 }}{% raw %}{# #}${7*7}",
    "an address": "javascript:alert(1) data:text/html,<b> https://example.org",
    "controls": "\0\x07\x08\x0c\x1b[31m\x7f\x85\x9b5m\r",
    "a page turned round": "\u202egpj.exe\u2066\u2067\u200f",
    "no characters": "\ud800\udfff\ufffe\uffff\ufdd0\U0010ffff",
    "lines": "a\u2028b\u2029c\nd\te",
}
OURS = ("class", "id", "href", "style", "role", "scope", "tabindex", "content", "http-equiv", "name", "aria-labelledby", "data-rule")


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("made", [whole_evidence, searched_evidence, recovered_evidence])
def test_a_strange_name_makes_no_tag_and_no_attribute(made, name):
    def rendered(called):
        boxes = found([5, 5, 20, 20], classes=(called,))
        document = poisoned(made(threshold=threshold(per_class={"cat": 0.3})), called)
        del document["exploration"]["sensitivity"]["layers"][5:]  # like the first ones
        return render_report(
            material(
                title=called,
                evidence={**document, "verdict": "ship", "binding": ["latency"]},
                latency_samples_ms={called: [1.0, 2.0], "baseline": [3.0, 3.1]},
                examples=[Example(called, np.zeros((30, 40, 3), np.uint8), boxes, Detections.none(), 1.0)],
                command=called,
            )
        )

    html, like = rendered(name), rendered("x" * len(name))  # of one length: charts make room for a name
    page, plain = Page(html), Page(like)

    assert [(tag, list(has)) for tag, has in page.tags] == [(tag, list(has)) for tag, has in plain.tags]
    assert ours(page) == ours(plain)
    sources = [has["src"] for _, has in page.tags if "src" in has]
    assert all(re.fullmatch("data:image/jpeg;base64,[A-Za-z0-9+/=]+", source) for source in sources)
    assert len(svgs(html)) == len(svgs(like)), "every chart is well-formed"
    assert all(c in "\n\t" or unicodedata.category(c)[0] != "C" for c in html)
    assert html.count("<style>") == 1


def ours(page):
    """The attributes that make a page do things; none of them holds a stranger's word."""
    return [(tag, name, has[name]) for tag, has in page.tags for name in OURS if name in has]


def test_a_megabyte_of_name_is_cut():
    html = render_report(material(title="x" * 1_000_000, command="y" * 1_000_000, evidence=evidence(warnings=["z" * 1_000_000])))

    assert len(html) < 200_000


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


def test_keeps_the_order_of_losses_and_folds_long_lists():
    document = whole_evidence()
    like = document["regressions"]["per_class"][0]
    names = [f"class {n}" for n in range(24)]
    document["regressions"]["per_class"] = [{**like, "name": name} for name in names]
    page = page_of(evidence=document)

    assert list(dict.fromkeys(re.findall(r"class \d+", page.text.split("By class")[1]))) == names
    assert "12 more classes" in page.text


NEW_PARTS = ["exploration", "regressions", "threshold", "rules", "measurements", "overtaken"]
LISTS = ("measurements", "overtaken")


@pytest.mark.parametrize("missing", NEW_PARTS)
@pytest.mark.parametrize("how", ["null", "absent", "empty"])
def test_is_whole_without_what_older_documents_lack(missing, how):
    document = searched_evidence(**{missing: None if how != "empty" else [] if missing in LISTS else {}})
    if how == "absent":
        del document[missing]

    text = page_of(evidence=document).text

    assert not re.search(r"\b(None|nan|inf)\b", text)
    assert text.startswith("Ship: pcb · edgewright edgewright · fit report pcb onnxruntime float32, 2 threads")


def test_tells_real_losses_from_chance():
    text = page_of(evidence=whole_evidence()).text

    assert f"dining table {MINUS}6.4 {MINUS}10.3 to {MINUS}2.5 a real loss 28.7 22.3 61 44" in text
    assert f"class 0 {MINUS}8.3 {MINUS}23.1 to +4.7 may be chance 31.0 22.7 3 2" in text
    assert "kite +5.9 +1.1 to +10.1 a real gain" in text
    assert "12 more classes" in text
    assert text.index("dining table") < text.index("class 0") < text.index("class 1")


def test_says_where_nothing_stands_out_from_chance():
    document = whole_evidence()
    for row in (*document["regressions"]["per_class"], *document["regressions"]["per_size"]):
        row["distinguishable"] = False

    assert "is called real; none does here." in page_of(evidence=document).text
    assert "none does here" not in page_of(evidence=whole_evidence()).text
    assert "none does here" not in page_of().text, "an older document does not know"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {},
            ["Boxes above 0.243 are shown instead of those above 0.250", f"judging split (not seen) 128 0.6272 0.6154 0.6232 {MINUS}0.40"],
        ),
        ({"score": 0.25}, ["Boxes above 0.250 are shown, as with the float model"]),
        ({"per_class": {"cat": 0.2}}, ["1 class has a threshold of its own.", "Per class Class Threshold cat 0.200"]),
        ({"per_class": {"cat": 0.2, "dog": 0.31}}, ["2 classes have a threshold of their own."]),
        ({"judging": None}, [f"judging split (not seen) {DASH} {DASH} {DASH} {DASH} {DASH}"]),
    ],
    ids=["moved", "kept", "one class", "two classes", "not judged"],
)
def test_tells_what_the_threshold_is_worth(changed, said):
    text = page_of(evidence=whole_evidence(threshold=threshold(**changed))).text

    for sentence in said:
        assert sentence in text


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        (
            audit()["findings"],
            "Warning: 3 pairs of the set look the same, for example 0011.jpg and 0012.jpg: one adds nothing to the other.",
        ),
        ([], "The audit of the calibration set found nothing to mend"),
    ],
)
def test_shows_what_the_audit_of_the_calibration_set_found(findings, said):
    calibration = {"images": 64, "audit": {"findings": findings}}

    assert said in page_of(evidence=whole_evidence(calibration=calibration)).text


def test_draws_what_was_looked_at_and_lists_it():
    html = render_report(material(evidence=whole_evidence()))
    charts = [svg.findtext("title") for svg in svgs(html) if svg.get("role") == "img"]

    assert charts.count("Disagreement with the float model, by how ranges are read") == 2, "for a desk and for a phone"
    assert charts.count("Every layer in float: what it gains, and what it takes") == 2
    listed = Page(html).text.split("Every layer No. Layer")[1]
    asked = whole_evidence()["exploration"]["sensitivity"]["layers"]
    assert [f"{at} {each['layer']} " in listed for at, each in enumerate(asked, 1)] == [True] * 63
    assert "the first 3 layers, together +18.7" in listed
    assert f"{WINNER} 8 +37.1 +7.9 {MINUS}0.81 kept" in listed


# --- a search over engines and sizes ----------------------------------------------------------------------------------------------------


def as_at_a_desk(document):
    """The words of the page but for those that only a phone shows."""
    return Page(re.sub(r'<small class="narrow soft">.*?</small>', "", render_report(material(evidence=document)))).text


def test_a_phone_has_the_reasons_under_the_names():
    html = render_report(material(evidence=searched_evidence()))
    rows = [*searched_evidence()["candidates"], *searched_evidence()["overtaken"]]

    assert re.findall(r'<small class="narrow soft">(.*?)</small>', html) == [
        row["why"] for row in sorted(rows, key=lambda row: row["p50_ms"] if "by" in row else 0) if row["why"]
    ]
    assert html.count('<td class="why wide">') == len(rows)


def test_says_of_every_candidate_what_it_is_and_why_it_did_not_win():
    table = as_at_a_desk(searched_evidence()).split("Numbers as in the table", 1)[1]
    assert (
        "No. Candidate Change points p50 ms Verdict Why it did not win Engine Precision Input px "
        "mAP50-95 0 to 1 Agreement 0 to 1 Peak MiB Size MB" in table
    )
    assert f"2 int8 {MINUS}0.97 12.21 fits 1.54x the time of {FOUND} onnxruntime int8 static 640 × 640 0.4224 0.9113 118 3.57" in table  # noqa: RUF001
    assert f"6 {FOUND}chosenfront {MINUS}0.41 7.94 ship openvino int8 static 640 × 640" in table, "the winner needs no reason"  # noqa: RUF001
    assert f"8 openvino float32, 640x384 {MINUS}1.13 9.13 refuse loses 1.13 points of 1.00 openvino float32 640 × 384" in table  # noqa: RUF001


def test_marks_the_front_in_the_table():
    html = render_report(material(evidence=searched_evidence()))

    assert re.findall(r'<th scope="row">([^<]*)(?:<span class="tag chosen">chosen</span>)?<span class="tag front">', html) == [
        "openvino float32",
        "openvino bfloat16",
        "openvino int8, zero points",
        FOUND,
        "mnn float16",
        "openvino int8, float stem, 640x384",
        "openvino int8, float stem, 3 layers float",
    ]


def test_lists_what_was_timed_and_not_judged_the_fastest_first():
    text = as_at_a_desk(searched_evidence())
    table = text.split("Timed, not judged Point p50 ms Speed-up × Why it was left behind Engine Precision Input px", 1)[1]  # noqa: RUF001

    assert table.lstrip().startswith(
        "openvino int8, 640x384 5.93 4.29 openvino int8, float stem, 640x384 computes at least as exactly and ran 1.19x as fast "
        "openvino int8 static 640 × 384"  # noqa: RUF001
    )
    ordered = sorted(searched_evidence()["overtaken"], key=lambda each: each["p50_ms"])
    starts = [table.index(f"{each['name']} {each['p50_ms']:.2f} {each['speedup']:.2f} {each['why']}") for each in ordered]
    assert starts == sorted(starts)


def test_folds_a_long_list_of_what_was_not_judged():
    text = page_of(evidence=long_evidence(timed=15)).text

    assert "3 more, slower still" in text
    assert "more, slower still" not in page_of(evidence=long_evidence(timed=12)).text


@pytest.mark.parametrize(
    ("engine", "size_wh", "said", "unsaid"),
    [
        ("onnxruntime", (640, 640), "All ran in onnxruntime at 2 threads on pictures of 640 × 640 pixels.", ["Engine", "Input px"]),  # noqa: RUF001
        ("openvino", (640, 640), "All ran at 2 threads on pictures of 640 × 640 pixels.", ["Input px"]),  # noqa: RUF001
        ("onnxruntime", (512, 288), "All ran in onnxruntime at 2 threads.", ["Engine"]),
        ("openvino", (512, 288), "All ran at 2 threads.", []),
    ],
    ids=["nothing", "engines", "sizes", "both"],
)
def test_has_columns_for_what_varies_and_says_the_rest_once(engine, size_wh, said, unsaid):
    rows = [
        ranked("baseline", 0.0, 25.4, 1.0, **form("onnxruntime", "float32")),
        ranked("x", 0.0, 9.1, 1.0, **form(engine, "int8", size_wh)),
    ]
    text = page_of(evidence=searched_evidence(candidates=rows, overtaken=[], measurements=[])).text
    section = text.split("Every candidate", 1)[1].split("Latency Every single run")[0]

    assert said in section
    heads = section.split("No. Candidate")[1]
    assert [word for word in unsaid if f" {word} " in heads] == []


def test_an_older_document_s_pictures_have_one_side():
    assert "All ran in onnxruntime at 2 threads on pictures of 640 pixels." in page_of(evidence=whole_evidence()).text
    assert "Why it did not win" not in page_of(evidence=whole_evidence()).text


@pytest.mark.parametrize(
    ("engines", "words"),
    [
        (["onnxruntime"], ["other candidates"]),
        (["onnxruntime", "mnn"], ["onnxruntime", "mnn"]),
        (["a", "b", "c", "d", "e", "f"], ["a", "b", "c", "other engines"]),
    ],
    ids=["one", "two", "more than there are shapes"],
)
def test_the_legend_names_the_engines_in_words(engines, words):
    rows = [ranked(f"of {each}", 0.0, 9.0 + at, 1.0, **form(each, "int8")) for at, each in enumerate(engines)]
    html = render_report(material(evidence=searched_evidence(candidates=rows, overtaken=[])))
    legend = re.findall(r"<li>(<svg.*?</svg>) (.*?)</li>", re.search(r'<ul class="legend">(.*?)</ul>', html).group(1))

    assert [word for _, word in legend][2:-1] == words
    assert len({sign for sign, _ in legend}) == len(legend), "no sign stands for two things"
    assert legend[-1][1] == "front: nothing is both faster and more accurate"


def test_says_what_the_engines_say_they_compute_in():
    rows = [measurement("baseline", 2, 25.4, computes_in="float32"), measurement(FOUND, 2, 8.0, engine="openvino", computes_in="bfloat16")]
    text = page_of(evidence=searched_evidence(measurements=rows)).text

    assert "Computes in (says the engine) float32 bfloat16" in text
    assert f"{FOUND} openvino int8 bfloat16 2 8.00" in text
    assert "Computes" not in page_of(evidence=whole_evidence()).text


SEARCHED_KEYS = [
    *(("candidates", key) for key in ("why", "engine", "precision", "scheme", "size_wh", "threads", "imgsz", "p50_ms", "binding")),
    *(("overtaken", key) for key in ("why", "by", "p50_ms", "speedup", "engine", "precision", "size_wh", "name")),
    *(("measurements", key) for key in ("computes_in", "engine", "name")),
]


@pytest.mark.parametrize(("part", "key"), SEARCHED_KEYS, ids=".".join)
@pytest.mark.parametrize("how", ["null", "absent"])
def test_a_search_is_told_whole_when_a_key_is_missing(part, key, how):
    document = searched_evidence()
    for row in document[part]:
        if how == "absent":
            del row[key]
        else:
            row[key] = None

    text = page_of(evidence=document).text

    assert not re.search(r"\b(nan|inf)\b", text)
    assert "Ship" in text


# --- networks that have learned ---------------------------------------------------------------------------------------------------------


def section_of(document):
    """The words of the section on recovery; nothing where there is none."""
    html = render_report(material(evidence=document))
    found = re.search(r'<section aria-labelledby="recovery">.*?</section>', html, re.DOTALL)
    assert ('href="#recovery"' in html) == (found is not None)
    return "" if found is None else Page(found.group()).text


def test_says_what_each_change_bought_and_cost():
    text = section_of(recovered_evidence())

    assert "2 changes were made to the network, one upon the other" in text
    assert f"swap 36.9 0.894 {MINUS}0.53 {SWAPPED} 6.71 3.79 {MINUS}0.87 1.10" in text
    assert f"prune=0.4 {MINUS}40 % multiply-adds 50.3 0.853 {MINUS}1.31 {PRUNED} 4.43 5.74 {MINUS}1.73 2.29" in text
    assert "the front has 5 candidates, with them 6; 2 of these are of changed networks." in text
    assert "Points: change in mAP50-95 against the given model" in text
    assert "no labels" not in text


def test_says_that_accuracy_is_agreement_where_nobody_labelled():
    rows = [{**row, "map50_95": None} for row in recovered_evidence()["candidates"]]
    text = section_of(recovered_evidence(candidates=rows, baseline=block(map50=None, map50_95=None)))

    assert "There are no labels: accuracy here is agreement with the given model, no mAP." in text
    assert "Points: change in agreement against the given model" in text
    assert "mAP50-95 against" not in text


def test_draws_both_fronts_and_a_curve_a_change():
    html = render_report(material(evidence=recovered_evidence()))
    charts = [svg for svg in svgs(html) if svg.get("role") == "img"]
    titles = [svg.findtext("title") for svg in charts]

    assert titles.count("Accuracy against latency, without and with the changed networks") == 2, "for a desk and for a phone"
    assert titles.count("Agreement with the teacher, while each network learned") == 2
    (fronts, _) = [svg for svg in charts if "without and with" in svg.findtext("title")]
    assert {path.get("class") for path in fronts.iter("path") if path.get("class")} == {"front", "front before"}
    assert f"front with them: {PRUNED} 4.43 ms, {MINUS}1.73 points; {SWAPPED} 6.71 ms" in fronts.findtext("desc")
    section = html[html.index('id="recovery"') :]
    legend = re.findall(r"<li>(<svg.*?</svg>) (.*?)</li>", re.search(r'<ul class="legend">(.*?)</ul>', section).group(1))
    assert [words for _, words in legend] == [
        "chosen",
        "of the given network",
        "of a changed network",
        "front without the changed networks",
        "front with them",
    ]
    assert len({sign for sign, _ in legend}) == len(legend), "no sign stands for two things"


def test_marks_the_change_that_won():
    won = recovered_evidence(fitted={**recovered_evidence()["fitted"], "name": SWAPPED})
    tables = [
        render_report(material(evidence=each)).partition('id="recovery"')[2].partition("</table>")[0]
        for each in (won, recovered_evidence())
    ]

    assert [re.findall(r'<tr class="chosen"><th scope="row">([\w=.]+)', table) for table in tables] == [["swap"], []]


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        [],
        "learned",
        7,
        {"stages": None},
        {"stages": []},
        {"stages": {"change": "swap"}},
        {"stages": ["swap", None, 3, ["swap"]]},
        {"front": {"without": ["int8"], "with": ["int8"]}},
    ],
    ids=repr,
)
def test_there_is_no_such_section_where_nothing_was_taught(found):
    assert section_of(recovered_evidence(recovery=found)) == ""
    assert section_of(searched_evidence()) == ""


STAGE_KEYS = sorted(recovery()["stages"][0])
GARBLED = {
    "null": None,
    "text": "much",
    "list": [1, [2]],
    "object": {"a": {"b": None}},
    "true": True,
    "endless": float("inf"),
    "number": -7,
}


@pytest.mark.parametrize("key", STAGE_KEYS)
@pytest.mark.parametrize("put", [*GARBLED.values(), "absent"], ids=[*GARBLED, "absent"])
def test_a_change_is_told_whole_when_a_key_is_missing_or_garbled(key, put):
    document = recovered_evidence()
    for each in document["recovery"]["stages"]:
        if put == "absent":
            del each[key]
        else:
            each[key] = put

    text = section_of(document)

    assert not re.search(r"\b(nan|inf)\b", text) or key in ("change", "fastest")
    assert "What each change bought and cost" in text


@pytest.mark.parametrize("put", GARBLED.values(), ids=GARBLED)
@pytest.mark.parametrize(
    "path", [("front",), ("front", "without"), ("front", "with"), ("stages", 0, "checks", 0), ("stages", 0, "checks", 0, "step")]
)
def test_charts_take_what_they_can(path, put):
    document = recovered_evidence()
    inner = document["recovery"]
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = put

    assert "What each change bought and cost" in section_of(document)


def test_a_front_names_whom_it_will():
    names = [HOSTILE, {"name": "int8"}, None, "nobody", FOUND]
    text = section_of(recovered_evidence(recovery=recovery(front={"without": names, "with": names})))

    assert "front with them" in text
    assert "none of these is of a changed network." in text


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

"""Every number in the report is one of evidence.json, by the rule it names; and a number that is not would be found.

The rules are written down here a second time, so that the page is not held against itself.
"""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from fit_evidence import (
    block,
    evidence,
    exploration,
    long_evidence,
    ranked,
    recovered_evidence,
    searched_evidence,
    threshold,
    whole_evidence,
)

from edgewright.bench.differences import Example
from edgewright.bench.report import ReportMaterial, render_report
from edgewright.detections import Detections

# Names of measures and the like: the only words with digits that the page may hold of its own.
WORDS = ("mAP50-95", "mAP50", "precision 50-95", "p50", "p90", "p99", "95 %", "F1 at IoU 0.5", "32 × 32", "96 × 96")  # noqa: RUF001
SCALES = ("0 to 100", "0 to 1", "0 is none, 2 the most", "below 0", "batch 1")
VOID = {"meta", "img", "br"}


# --- the check --------------------------------------------------------------------------------------------------------------------------


def complaints(html, document, *known):
    """What is wrong with the numbers of a page; `known` are texts that come from beside the document (a title, the command)."""
    reader = Reader(html)
    names = sorted({*WORDS, *SCALES, *known, *named(document)}, key=len, reverse=True)
    return [each for text, origins, rules in reader.texts for each in wrong(text, origins, rules, document, names)]


def wrong(text, origins, rules, document, names):
    left = "" if text.strip() in names or text.strip() in versions(document) else without_cut_names(text, names)
    for name in names:
        left = left.replace(name, "")
    assert len(origins) == len(rules)
    for pointers, rule in zip(origins, rules, strict=True):
        expected = by_rule(rule, pointers, document)
        if expected not in left:
            yield f"{text!r} is not {expected!r}, which {rule!r} makes of {pointers}"
        left = left.replace(expected, "", 1)
    if re.search(r"\d", left):
        yield f"{text!r} holds a number that is not the document's"


def without_cut_names(text, names):
    """A long name may be cut short beside a mark; what is left of it is still the document's."""
    kept = []
    for part in (parts := text.split("…"))[:-1]:
        longest = max(at for name in names for at in range(len(name) + 1) if part.endswith(name[:at]))
        kept.append(part[: len(part) - longest])
    return "".join([*kept, parts[-1]])


class Reader(HTMLParser):
    """Texts of the page that hold words for people, with the origins and rules of the figures in them."""

    def __init__(self, html):
        super().__init__()
        self.texts, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        # Ticks are the chart's scale; what is counted on pictures is on the pictures, which are no part of the document.
        is_tick = tag == "text" and attributes["class"] == "tick" and "data-from" not in attributes
        on_pictures = any(inner.get("aria-labelledby") == "examples" for _, inner in self.open)
        if tag != "style" and not is_tick and not on_pictures:
            split = [attributes[name].split("; ") if name in attributes else [] for name in ("data-from", "data-rule")]
            self.texts.append((data, [each.split() for each in split[0]], split[1]))


def named(value):
    """Every text of the document that is more than a number, and the keys, which may be names of classes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, key.replace("_", " ")) if re.search("[a-z]", key, re.IGNORECASE) else ()
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)
    elif isinstance(value, str) and re.search("[a-z]", value, re.IGNORECASE):
        yield value


def versions(document):
    """Texts of the document that look like numbers: they count only where they stand alone."""
    if isinstance(document, dict):
        return {text for inner in document.values() for text in versions(inner)}
    return {document} if isinstance(document, str) else set()


def by_rule(rule, pointers, document):
    *derivation, form = rule.split(", ")
    if rule == "how many":
        assert all(resolved(document, pointer) is not None for pointer in pointers)
        return str(len(set(pointers)))
    if rule == "ordinal":
        assert resolved(document, pointers[0]) is not None
        return str(int(pointers[0].rpartition("/")[2]) + 1)
    values = [resolved(document, pointer) for pointer in pointers]
    if None in values:
        return "–"  # noqa: RUF001
    if form == "plain":
        return str(values[0])
    value = {
        (): lambda: values[0],
        ("negated",): lambda: -values[0] if values[0] else 0.0,
        ("points",): lambda: 100 * values[0],
        ("change in points",): lambda: 100 * (values[1] - values[0]),
        ("change in percent",): lambda: 100 * values[1] / values[0] - 100,
        ("percent above one",): lambda: 100 * values[0] - 100,
        ("minutes",): lambda: values[0] / 60,
    }[tuple(derivation)]()
    kind, digits = form.split()
    text = format(abs(value), f",.{digits}f")
    sign = "−" if value < 0 else "+" if kind == "signed" else ""  # noqa: RUF001
    return (sign if kind == "signed" or float(text.replace(",", "")) else "") + text


def resolved(document, pointer):
    """RFC 6901: what a JSON Pointer in a URI fragment points at; None where it points at nothing."""
    assert pointer.startswith("#/")
    for step in unquote(pointer[2:], errors="strict").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        try:
            document = document[int(key)] if isinstance(document, list) else document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


# --- what is checked --------------------------------------------------------------------------------------------------------------------

TITLE, COMMAND = "pcb-320", "edgewright fit pcb-320.onnx --data data.yaml --out fitted --images 64"


def page_of(document):
    rng = np.random.default_rng(0)
    box = Detections(np.array([[5, 5, 20, 20]], np.float32), np.array([0.9], np.float32), np.array([0]), ("cat",))
    samples = {"baseline": rng.normal(25.4, 0.3, 200).tolist(), "fitted": rng.normal(13.6, 0.2, 300).tolist()}
    picture = Example("0001.jpg", np.full((30, 40, 3), 80, np.uint8), box, Detections.none(), 0.61)
    return render_report(ReportMaterial(TITLE, document, samples, [picture], COMMAND))


def read_back(document):
    """As a script reads it from the file."""
    return json.loads(json.dumps(document))


UNLABELLED = whole_evidence(
    verdict="provisional",
    baseline=block(map50=None, map50_95=None),
    fitted=block(name="int8", precision="int8", map50=None, map50_95=None),
    candidates=[{**ranked("baseline", 0.0, 25.4, 1.0), "map50_95": None}, {**ranked("int8", -3.1, 12.3, 0.9), "map50_95": None}],
    board={"name": "rpi5", "cores": 4, "machine": "aarch64", "cpu": "Cortex-A76", "isa": ["dotprod"], "memory_mib": 8192},
)
DOCUMENTS = {
    "whole": whole_evidence(),
    "first version": evidence(),
    "refused": whole_evidence(
        verdict="refuse", binding=["accuracy"], delta={"map50_95": {"estimate": -2.71, "low": -4.13, "high": -1.19}, "images": 1280}
    ),
    "without labels, for another board": UNLABELLED,
    "told what to try": whole_evidence(exploration={"images": 0, "ranges": [], "sensitivity": None, "float_sets": []}),
    "nothing measured": evidence(fitted=None, delta=None, speedup=None, candidates=[], baseline={}),
    "thresholds per class": whole_evidence(threshold=threshold(per_class={"a/b ~c d": 0.31234, "dog %": 0.27191}, score=0.25)),
    "a single layer": whole_evidence(
        exploration=exploration(sensitivity={"error": 0.05, "layers": [{"layer": "a", "nodes": ["a"], "gain": 1.2345, "charge": -0.0}]})
    ),
    "a search over engines and sizes": searched_evidence(),
    "a search in which nothing was overtaken": searched_evidence(overtaken=[]),
    "a search without labels": searched_evidence(candidates=[{**row, "map50_95": None} for row in searched_evidence()["candidates"]]),
    "a search that was long": long_evidence(),
    "networks that have learned": recovered_evidence(),
    "networks that have learned without labels": recovered_evidence(
        baseline=block(map50=None, map50_95=None), candidates=[{**row, "map50_95": None} for row in recovered_evidence()["candidates"]]
    ),
    "thousands of images": whole_evidence(images_needed=1234567, elapsed_s=98765.4),
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_number_of_the_report_is_the_document_s(document):
    document = read_back(document)

    assert complaints(page_of(document), document, TITLE, COMMAND) == []


def test_there_are_figures_of_every_part():
    document = read_back(whole_evidence())
    parts = {step for pointers in re.findall(r'data-from="([^"]+)"', page_of(document)) for step in re.findall(r"#/(\w+)", pointers)}

    figured = {"delta", "baseline", "fitted", "speedup", "budget", "candidates", "exploration", "regressions", "threshold", "measurements"}
    assert parts >= figured | {"calibration", "host", "elapsed_s", "images_needed", "rules"}


def test_every_candidate_and_every_overtaken_point_has_its_figures():
    document = read_back(long_evidence())
    html = page_of(document)

    for part, keys in (
        ("candidates", ("p50_ms", "delta_points", "size_wh/0", "size_wh/1")),
        ("overtaken", ("p50_ms", "speedup", "size_wh/0")),
    ):
        for at in range(len(document[part])):
            assert [key for key in keys if f'data-from="#/{part}/{at}/{key}"' not in html] == []


def test_every_change_has_its_figures():
    document = read_back(recovered_evidence())
    html = page_of(document)

    shown = ("seconds", "agreement", "float_delta_points", "p50_ms", "speedup", "delta_points", "bought_ms")
    for at, stage in enumerate(document["recovery"]["stages"]):
        assert [key for key in shown if f'data-from="#/recovery/stages/{at}/{key}"' not in html] == []
        checks = [f"#/recovery/stages/{at}/checks/{check}/agreement" for check in range(len(stage["checks"]))]
        assert [check for check in checks if check not in html] == []


@pytest.mark.parametrize(
    ("found", "put"),
    [
        ('<h2 id="budget">', '<p>It is 2.1 times as fast.</p><h2 id="budget">'),
        (">−0.67</data>", ">−0.68</data>"),  # noqa: RUF001
        (">13.57</data>", ">13.6</data>"),
        ("#/speedup/p50/estimate", "#/speedup/p50/low"),
        ("points, fixed 1", "fixed 1"),
        ("<title>", "<title>12 "),
        ("</desc>", " 7</desc>"),
        ("No.", "No. 1"),
    ],
    ids=[
        "typed",
        "another number",
        "other digits",
        "another place",
        "another rule",
        "typed in the title",
        "typed in a chart",
        "in a heading",
    ],
)
def test_a_number_from_elsewhere_is_found(found, put):
    document = read_back(whole_evidence())
    html = page_of(document)
    assert found in html

    assert complaints(html.replace(found, put, 1), document, TITLE, COMMAND)


def numeric_leaves(value, path=()):
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numeric_leaves(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


@pytest.mark.parametrize("made", [whole_evidence, searched_evidence, recovered_evidence])
def test_another_document_s_numbers_are_found(made):
    """Whichever shown number of the document changes, the page no longer fits it."""
    document = read_back(made())
    html = page_of(document)
    shown = set(re.findall(r"#[^\s;\"]+", " ".join(re.findall(r'data-from="([^"]+)"', html))))
    held = {"#" + "".join("/" + str(key).replace("/", "~1") for key in path): path for path in numeric_leaves(document)}
    both = sorted(shown & held.keys())
    assert len(both) > 300

    for at in range(0, len(both), 40):
        changed = read_back(document)
        *outer, last = held[both[at]]
        inner = changed
        for key in outer:
            inner = inner[key]
        inner[last] += 3
        assert complaints(html, changed, TITLE, COMMAND), both[at]

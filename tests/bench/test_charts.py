"""The charts: well-formed whatever they are given, and saying in words and shapes what they show."""

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from edgewright.bench.charts import Point, Timed, accuracy_against_latency, interval_strip, latency_distributions, two_fronts
from edgewright.bench.exploration_charts import LayerBar, LookBar, layer_strip, look_bars
from edgewright.bench.figures import Document, ordinal
from edgewright.bench.recovery_charts import Check, Curve, learning_curves

HOSTILE = '<script>alert("x")</script>\x1b[31m\u202eevil\ud800 & \'"'
WIDTHS = pytest.mark.parametrize("width", [340, 960])


def figure(value, rule="fixed 2"):
    return Document([value]).figure(rule, 0)


def point(number, name, latency_ms, accuracy, role, **more):
    return Point(ordinal((number - 1,)), name, figure(latency_ms), figure(accuracy, "fixed 4"), role, **more)


def drawn(svg):
    """The chart, nothing of it outside its frame."""
    root = ET.fromstring(svg)
    assert root.findtext("title")
    assert root.findtext("desc")
    _, _, width, height = map(float, root.get("viewBox").split())
    for text in root.iter("text"):
        assert -5 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height
    for shape in root.iter("rect"):
        assert float(shape.get("x")) >= -0.1
        assert float(shape.get("width")) >= 0
        assert float(shape.get("x")) + float(shape.get("width")) <= width + 0.1
        assert float(shape.get("height")) >= 0
    return root


# --- accuracy against latency -----------------------------------------------------------------------------------------------------------


@WIDTHS
def test_marks_baseline_chosen_and_budget(width):
    points = [point(1, "baseline", 25.0, 0.43, "baseline"), point(2, "int8", 12.0, 0.425, "chosen"), point(3, "bad", 40.0, 0.0, "other")]

    svg = drawn(accuracy_against_latency(points, width=width, measure="mAP50-95", latency_limit_ms=20, accuracy_floor=0.42))

    marks = {mark.get("class"): mark for mark in svg.iter("g")}
    assert marks["mark baseline"].find("rect") is not None
    assert len(marks["mark chosen"].findall("circle")) == 2
    assert marks["mark other"].find("path") is not None, "far below the others: drawn at the edge"
    assert len([line for line in svg.iter("line") if line.get("class") == "limit"]) == 2
    assert "int8 (chosen): 12.00 ms" in svg.findtext("desc")
    assert svg.find("polyline") is None


@WIDTHS
def test_each_engine_has_a_shape_and_a_word(width):
    points = [point(at + 1, f"point {at}", 10.0 + 5 * at, 0.43, "other", engine=f"engine {at}", shape=at) for at in range(6)]

    svg = drawn(accuracy_against_latency(points, width=width, measure="mAP50-95"))

    marks = [mark for mark in svg.iter("g") if mark.get("class") == "mark other"]
    outlines = ["disc" if mark.find("circle") is not None else mark.find("path").get("d").partition("m")[2] for mark in marks]
    assert len(set(outlines[:4])) == 4, "told apart without colour"
    assert outlines[3] == outlines[4] == outlines[5], "there are four shapes; the last one stands for all others"
    assert [mark.findtext("title").split(":")[0] for mark in marks] == [f"point {at} in engine {at}" for at in range(6)]


@WIDTHS
def test_the_front_goes_in_steps_from_the_fastest_to_the_most_accurate(width):
    points = [
        point(1, "baseline", 25.0, 0.43, "baseline", front=True),
        point(2, "beaten", 14.0, 0.41, "other"),
        point(3, "int8", 12.0, 0.42, "chosen", front=True),
        point(4, "small", 8.0, 0.40, "other", front=True),
    ]

    svg = drawn(accuracy_against_latency(points, width=width, measure="mAP50-95"))

    (front,) = [path.get("d") for path in svg.iter("path") if path.get("class") == "front"]
    across = [float(step) for step in re.findall(r"H([\d.]+)", front)]
    heights = [float(step) for step in re.findall(r"V([\d.]+)", front)]
    assert len(across) == 4, "one a point, and on to the edge"
    assert across == sorted(across)
    assert heights == sorted(heights, reverse=True)
    assert "int8 (chosen, on the front): 12.00 ms" in svg.findtext("desc")
    assert "beaten: 14.00 ms" in svg.findtext("desc")


@WIDTHS
def test_what_was_only_timed_stands_on_the_axis(width):
    points = [point(1, "baseline", 25.0, 0.43, "baseline"), point(2, "int8", 12.0, 0.425, "chosen")]
    timed = [
        Timed(ordinal((at,)), f"timed {at}", figure(ms), "int8 is faster", "mnn") for at, ms in enumerate((13.0, 24.0, 31.0, 60.0, 900.0))
    ]

    svg = drawn(accuracy_against_latency(points, timed, width=width, measure="mAP50-95"))

    *ticks, beyond = (group for group in svg.iter("g") if group.get("class") == "rug")
    assert [tick.findtext("title") for tick in ticks] == [
        f"timed {at} in mnn: {ms:.2f} ms, not judged: int8 is faster" for at, ms in enumerate((13.0, 24.0, 31.0))
    ]
    lines = [tick.find("line") for tick in ticks]
    assert len({line.get("y2") for line in lines}) == 1
    assert [float(line.get("x1")) for line in lines] == sorted(float(line.get("x1")) for line in lines)
    assert "timed 3 in mnn: 60.00 ms" in beyond.findtext("title")
    assert "timed 4 in mnn: 900.00 ms" in beyond.findtext("title")
    assert beyond.findtext("text") == "2 slower", "what is far off does not stretch the axis"
    assert "timed 4 (timed, not judged): 900.00 ms" in svg.findtext("desc")


@pytest.mark.parametrize(("count", "named"), [(12, 12), (13, 3)])
def test_of_many_candidates_only_those_that_matter_bear_names(count, named):
    rows = [point(at + 1, f"name {at}", 10.0 + at, 0.4 + at / 1000, "other", front=at == 3) for at in range(count - 2)]
    points = [*rows, point(count - 1, "name b", 30.0, 0.43, "baseline"), point(count, "name c", 12.0, 0.42, "chosen")]

    svg = drawn(accuracy_against_latency(points, width=960, measure="mAP50-95"))

    assert sum("name" in (text.text or "") for text in svg.iter("text")) == named
    numbers = [text for text in svg.iter("text") if (text.get("class") or "").startswith("name ")]
    assert len(numbers) == count, "each bears its number"


@WIDTHS
def test_below_the_axis_a_mark_keeps_its_shape(width):
    points = [
        point(1, "good", 10.0, 0.43, "chosen"),
        point(2, "broken", 8.0, 0.0, "other", shape=1),
        point(3, "lost", 9.0, 0.0, "baseline"),
    ]

    svg = drawn(accuracy_against_latency(points, width=width, measure="mAP50-95"))

    below = [mark for mark in svg.iter("g") if any(path.get("class") == "below" for path in mark.iter("path"))]
    assert [(mark.get("class"), len(mark.findall("path")), len(mark.findall("rect"))) for mark in below] == [
        ("mark other", 2, 0),
        ("mark baseline", 1, 1),
    ]


@pytest.mark.parametrize(
    "points",
    [
        [point(1, "one", 0.0, 0.0, "baseline")],
        [point(n + 1, "same place", 10.0, 0.4, "other") for n in range(30)],
        [point(1, "a" * 500, 1e6, 1.0, "chosen"), point(2, HOSTILE, 1e-6, 0.999, "other")],
    ],
    ids=["single at zero", "all in one place", "extreme"],
)
@WIDTHS
def test_draws_any_candidates(points, width):
    timed = [Timed(ordinal((at,)), HOSTILE, figure(ms), HOSTILE) for at, ms in enumerate((0.0, 1e-6, 10.0, 1e9))]

    drawn(accuracy_against_latency(points, timed, width=width, measure="mAP50-95"))
    drawn(accuracy_against_latency([replace(each, front=True) for each in points], width=width, measure="mAP50-95"))


def test_joins_the_sets_of_float_layers_from_the_smallest_to_the_largest():
    points = [
        point(1, "int8, 9 layers float", 15.0, 0.43, "other", float_layers=9),
        point(2, "int8", 12.0, 0.41, "other", float_layers=0),
        point(3, "baseline", 25.0, 0.43, "baseline"),
        point(4, "int8, 3 layers float", 13.0, 0.42, "other", float_layers=3),
    ]

    svg = drawn(accuracy_against_latency(points, width=960, measure="mAP50-95"))

    across = [float(corner.split(",")[0]) for corner in svg.find("polyline").get("points").split()]
    assert len(across) == 3
    assert across == sorted(across)


# --- two fronts -------------------------------------------------------------------------------------------------------------------------


@WIDTHS
def test_two_fronts_go_in_steps_of_their_own(width):
    given, learned = point(1, "int8", 12.0, -0.4, "chosen", front=True), point(3, "swap: int8", 9.0, -0.9, "other", shape=1, front=True)
    beaten = point(2, "small", 10.0, -2.1, "other")

    svg = drawn(two_fronts([beaten, given], [learned, given], width=width, measure="mAP50-95"))

    fronts = {path.get("class"): path.get("d") for path in svg.iter("path") if "front" in (path.get("class") or "")}
    assert {css: d.count("V") for css, d in fronts.items()} == {"front before": 2, "front": 2}
    assert len([mark for mark in svg.iter("g") if (mark.get("class") or "").startswith("mark ")]) == 3, "one that is on both stands once"
    assert svg.findtext("desc") == (
        "Front without the changed networks: small 10.00 ms, \u22122.1000 points; int8 12.00 ms, \u22120.4000 points; "
        "front with them: swap: int8 9.00 ms, \u22120.9000 points; int8 12.00 ms, \u22120.4000 points; "
    )
    assert any((text.text or "") == "change in mAP50-95, points" for text in svg.iter("text"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.0], []),
        ([], [-3.1]),
        ([-43.0, -0.3], [-1.0, -0.3]),
        ([-100.0, 100.0], [0.0]),
        ([-0.1 * at for at in range(40)], [0.1 * at for at in range(40)]),
    ],
    ids=["one", "nothing before", "broken", "extreme", "many"],
)
@WIDTHS
def test_draws_any_two_fronts(before, after, width):
    fronts = [
        [point(at + 1 + 50 * which, HOSTILE, 5.0 + at, change, "other", shape=which) for at, change in enumerate(changes)]
        for which, changes in enumerate((before, after))
    ]

    assert HOSTILE not in two_fronts(*fronts, width=width, measure="agreement")
    drawn(two_fronts(*fronts, width=width, measure="agreement"))


# --- curves -----------------------------------------------------------------------------------------------------------------------------


def check(step, agreement, map50_95=None):
    return Check(figure(step, "fixed 0"), figure(agreement, "fixed 3"), figure(map50_95, "fixed 3"))


@WIDTHS
def test_a_curve_a_change_its_best_look_with_its_figure(width):
    curves = [Curve("swap", (check(100, 0.7), check(200, 0.9, 0.41), check(300, 0.88))), Curve("qat", (check(50, 0.93),))]

    svg = drawn(learning_curves(curves, width=width))

    lines = [line.get("points").split() for line in svg.iter("polyline")]
    assert [len(corners) for corners in lines] == [3, 1]
    across = [float(corner.split(",")[0]) for corner in lines[0]]
    assert across == sorted(across)
    assert [group.findtext("title") for group in svg.iter("g") if group.get("class") == "look chosen"] == [
        "swap, step 200: agreement 0.900, mAP50-95 0.410",
        "qat, step 50: agreement 0.930",
    ]
    assert [text.text for text in svg.iter("text") if text.get("class") == "name chosen"] == ["0.900", "0.930"]
    assert [text.text for text in svg.iter("text") if text.get("class") == "row-name"] == ["swap", "qat"]


@pytest.mark.parametrize(
    "looks",
    [
        [(0, 0.0)],
        [(10, 1.0), (20, 1.0), (30, 1.0)],
        [(10, None), (None, 0.3), (30, 0.4)],
        [(-5, 0.3), (10, 7.0), (1e300, 0.5), (30, 0.4)],
        [(30, 0.4), (10, 0.2), (20, 0.3)],
        [(at, (at * 7 % 11) / 11) for at in range(400)],
    ],
    ids=["at zero", "flat", "holes", "absurd", "not in order", "many"],
)
@pytest.mark.parametrize("count", [1, 2, 3, 16])
@WIDTHS
def test_draws_any_curves(looks, count, width):
    curves = [Curve(HOSTILE * 3, tuple(check(*look) for look in looks)) for _ in range(count)]

    assert len(list(drawn(learning_curves(curves, width=width)).iter("polyline"))) == count


# --- latencies --------------------------------------------------------------------------------------------------------------------------


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
@WIDTHS
def test_draws_any_latencies(samples, width):
    sound = {name: values for name, values in samples.items() if np.isfinite(values).any()}
    quantiles = {name: [(f"p{at}", figure(float(np.nanpercentile(sound[name], at)))) for at in (50, 90, 99)] for name in sound}

    svg = ET.fromstring(latency_distributions(samples, quantiles, width=width))

    assert len([line for line in svg.iter("line") if (line.get("class") or "").startswith("flag")]) == 3 * len(sound)


def test_raises_no_flag_where_the_document_has_no_figure():
    svg = ET.fromstring(latency_distributions({"a": [1.0, 2.0]}, {"a": [("p50", figure(None)), ("p90", figure(1.9))]}, width=960))

    assert [line.get("class") for line in svg.iter("line") if "flag" in line.get("class")] == ["flag p90"]


# --- an interval ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high", "limit"), [(-1, 1, -2.0), (0, 0, 0.0), (float("-inf"), float("inf"), None), (None, None, -1)])
def test_draws_any_interval(low, high, limit):
    assert drawn(interval_strip(figure(0.0), figure(low), figure(high), figure(limit))).find("circle") is not None


def test_draws_no_interval_without_an_estimate():
    assert interval_strip(figure(None), figure(-1), figure(1), figure(-1)) == ""


# --- what was looked at -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors", [[0.05, 0.2, 0.06], [0.0], [0.0, 2.0], [None, 0.1], [0.001] * 40], ids=["some", "none apart", "extreme", "hole", "many"]
)
@WIDTHS
def test_draws_a_bar_a_look_the_chosen_one_apart(errors, width):
    looks = [LookBar(HOSTILE if at else "int8, percentile, bias corrected", figure(error), at == 1) for at, error in enumerate(errors)]

    svg = drawn(look_bars(looks, width=width))

    bars = [(group.get("class"), float(group.find("rect").get("width"))) for group in svg.iter("g")]
    known = [error for error in errors if error is not None]
    assert len(bars) == len(known)
    assert [css for css, _ in bars].count("look chosen") == (len(errors) > 1)
    assert np.argsort([wide for _, wide in bars])[-1] == np.argsort(known)[-1] or len(set(known)) == 1


def test_a_look_is_called_by_its_whole_name_and_bars_keep_their_room():
    name = "int8, percentile, float stem, bias corrected"
    svg = drawn(look_bars([LookBar("int8, entropy", figure(0.4), False), LookBar(name, figure(0.02), True)], width=960))

    said = [text.text for text in svg.iter("text")]
    assert name in said
    assert "0.02 (chosen)" in said
    assert max(float(bar.get("width")) for bar in svg.iter("rect")) > 400


@pytest.mark.parametrize("count", [5, 63, 120, 300, 1200])
@WIDTHS
def test_numbers_over_the_bars_do_not_touch(count, width):
    layers = [layer(at, 9.0 - abs(at - count // 2), 1.0) for at in range(count)]

    svg = drawn(layer_strip(layers, width=width))

    numbers = sorted((float(text.get("x")), len(text.text)) for text in svg.iter("text") if text.get("class") == "tick number")
    assert numbers
    for (left, letters), (right, more_letters) in pairwise(numbers):
        assert right - left >= (letters + more_letters) / 2 * 8 + 2


def layer(at, gain, charge, *, kept_float=False):
    return LayerBar(ordinal((at,)), f"/model.{at}/conv/Conv", figure(gain, "signed 1"), figure(charge, "signed 1"), kept_float)


@pytest.mark.parametrize(
    "figures",
    [
        [(8.0, -4.0), (0.1, 1.0), (-0.3, 2.0)],
        [(0.0, 0.0)],
        [(1.0, None), (None, 1.0), (-5.0, -5.0)],
        [(float(at % 7) - 2, float(at % 5) - 2) for at in range(300)],
    ],
    ids=["some", "nothing", "holes", "many"],
)
@WIDTHS
def test_draws_every_layer_in_order_with_a_word_for_the_pointer(figures, width):
    layers = [layer(at, *pair, kept_float=at == 0) for at, pair in enumerate(figures)]

    svg = drawn(layer_strip(layers, width=width))

    groups = list(svg.iter("g"))
    known = [(at, pair) for at, pair in enumerate(figures) if pair[0] is not None]
    assert [group.findtext("title").split(".")[0] for group in groups] == [str(at + 1) for at, _ in known]
    assert [group.find("circle") is not None for group in groups] == [at == 0 for at, _ in known]
    lefts = [float(group.find("rect").get("x")) for group in groups]
    assert lefts == sorted(lefts)
    assert all(" %" in group.findtext("title") for group in groups)


def test_draws_nothing_of_nothing():
    assert accuracy_against_latency([], width=960, measure="mAP50-95") == ""
    assert latency_distributions({}, {}, width=960) == ""
    assert look_bars([], width=960) == ""
    assert layer_strip([], width=960) == ""
    assert two_fronts([], [], width=960, measure="mAP50-95") == ""
    assert learning_curves([], width=960) == ""
    assert learning_curves([Curve("swap", ()), Curve("qat", (check(None, 0.5),))], width=960) == ""

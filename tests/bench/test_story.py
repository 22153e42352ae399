"""What a fit tried and why the winner won, told truly in each case."""

import pytest
from fit_evidence import (
    WINNER,
    block,
    evidence,
    exploration,
    float_set,
    form,
    layers,
    left_behind,
    long_evidence,
    ranked,
    searched_evidence,
    whole_evidence,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.bench.figures import MINUS, Document, plain_text
from edgewright.bench.story import ABOUT_AS_FAST, INTEGERS_ALONE, Story, front_paths, tell_story
from edgewright.compress import recipes
from edgewright.fit import choose as rules
from edgewright.fit.budget import Budget
from edgewright.fit.choose import Figures

FLOAT = {"precision": "float32", "scheme": None}
PARTS = ("ranges", "layers", "survey", "float_sets", "candidates", "choice")


def told(document):
    """Each part as a text, minus signs as one types them."""
    story = tell_story(Document(document))
    return {part: " ".join(map(plain_text, getattr(story, part))).replace(MINUS, "-") for part in PARTS}


def fit(winner, *rows, **changed):
    """A fit among these candidates; the winner's judging figures are those of the selection split."""
    fitted = block(name=winner, precision=next(row["precision"] for row in rows if row["name"] == winner))
    return whole_evidence(fitted=fitted, candidates=list(rows), **changed)


BASE = ranked("baseline", 0.0, 25.4, 1.0, **FLOAT)
CUT = ranked("float32, head cut", 0.0, 24.9, 0.9993, **FLOAT)
INT8 = ranked("int8", -0.7, 12.0, 0.89)
SET = ranked("int8, 2 layers float", -0.5, 12.4, 0.91)
HEAD = ranked("int8, float head", -0.6, 12.3, 0.90)
SLOW_SET = ranked("int8, 8 layers float", -0.2, 14.0, 0.95)
LOST = ranked("int8", -1.9, 12.0, 0.89, binding=["accuracy"])
NO_LABELS = {"baseline": block(map50=None, map50_95=None)}

CHOICES = {
    "integers alone, nothing else as fast": (
        fit("int8", BASE, INT8, SLOW_SET),
        ["Of those within the budget int8 is the fastest (12.00 ms). No other is about as fast (within 6 %), so it was taken."],
    ),
    "integers alone, agreeing most of those as fast": (
        fit("int8", BASE, {**INT8, "agreement": 0.92}, SET),
        [
            "Also about as fast (within 6 %) is int8, 2 layers float (agreement 0.9100). Of these int8 agrees most",
            "(agreement 0.9200), so it was taken.",
        ],
    ),
    "the closest of those as fast, where that is known": (
        fit("int8, 2 layers float", BASE, {**INT8, "disagreement": 0.06}, {**SET, "disagreement": 0.04, "agreement": 0.5}),
        ["is about as fast (within 6 %) and is closest to the float model (disagreement 0.0400 against 0.0600)"],
    ),
    "one that is not known": (
        fit("int8, 2 layers float", BASE, INT8, {**SET, "disagreement": 0.9}),
        ["agrees most with the float model (agreement 0.9100 against 0.8900)"],
    ),
    "a set of layers in float, agreeing more than the fastest": (
        fit("int8, 2 layers float", BASE, INT8, SET, HEAD, SLOW_SET),
        [
            "Of those within the budget int8 is the fastest (12.00 ms).",
            "int8, 2 layers float (12.40 ms) is about as fast (within 6 %) and agrees most with the float model (agreement 0.9100",
            "against 0.8900)",
            "Also about as fast: int8, float head (agreement 0.9000).",
        ],
    ),
    "a float model in place of integers that failed the judging split": (
        fit("float32, head cut", BASE, INT8, CUT),
        [
            "int8 is the fastest",
            "int8 did not keep the accuracy budget on the judging split.",
            "The fastest float candidate within the budget took its place: float32, head cut.",
        ],
    ),
    "the model as given": (
        fit("baseline", BASE, LOST, CUT),
        ["Nothing within the budget is faster than the model as given by more than a little, so the model as given stays."],
    ),
    "none within the budget": (
        fit("int8", {**BASE, "binding": ["latency", "memory"]}, {**INT8, "binding": ["accuracy"]}, verdict="refuse", binding=["accuracy"]),
        [
            "int8 comes nearest: it breaks fewest of the limits (accuracy) and is the fastest that breaks so few (12.00 ms).",
            "That breaks the budget on accuracy, so nothing is released. There was no float candidate within the budget to fall back on.",
        ],
    ),
    "refused on the judging split, and the float model after it": (
        fit("int8", BASE, INT8, CUT, verdict="refuse", binding=["accuracy"]),
        ["float32, head cut, the fastest float candidate within the budget, was tried after it and did not keep it either."],
    ),
    "refused for its memory on the judging split": (
        fit("int8", BASE, INT8, CUT, verdict="refuse", binding=["memory"]),
        ["That breaks the budget on memory, so nothing is released."],
    ),
    "a float model refused": (
        fit("float32, head cut", {**CUT, "p50_ms": 20.0}, {**LOST, "p50_ms": 30.0}, BASE, verdict="refuse", binding=["accuracy"]),
        ["float32, head cut is the fastest (20.00 ms).", "on accuracy, so nothing is released."],
    ),
    "without labels": (
        fit("int8", BASE, INT8, SLOW_SET, verdict="provisional", **NO_LABELS),
        [
            "int8 changes agreement by -0.67 points",
            "no labels: accuracy here is agreement with the float model, which may itself be wrong.",
        ],
    ),
    "another board": (
        fit("int8", BASE, INT8, SLOW_SET, verdict="provisional", board={"name": "rpi5"}),
        ["Everything was measured on this machine, not on rpi5."],
    ),
    "judged": (
        fit("int8", BASE, INT8, SLOW_SET),
        ["On the judging split, which no choice was made on, int8 changes mAP50-95 by -0.67 points (-1.00 allowed); it runs 1.87 times"],
    ),
    "a winner the rules do not explain": (fit("int8, 8 layers float", BASE, INT8, SLOW_SET), ["is the one that met the judging split."]),
}


@pytest.mark.parametrize(("document", "said"), CHOICES.values(), ids=CHOICES)
def test_tells_why_this_one(document, said):
    text = told(document)["choice"]

    for sentence in said:
        assert sentence in text


@pytest.mark.parametrize("case", ["refused for its memory on the judging split", "a float model refused", "judged"])
def test_speaks_of_no_second_try_where_there_was_none(case):
    text = told(CHOICES[case][0])["choice"]

    assert "tried after it" not in text
    assert "fall back" not in text


# --- before the choice ------------------------------------------------------------------------------------------------------------------


def sensitivity(*figures, regions=(), start=None):
    rows = [
        [{"layer": f"{kind} {at}", "nodes": [f"{kind} {at}"], "gain": gain, "charge": charge} for at, (gain, charge) in enumerate(each)]
        for kind, each in (("layer", figures), ("region", regions))
    ]
    return {"sensitivity": {"error": 0.05, "layers": rows[0], "regions": rows[1], "start": start}}


def explored(**changed):
    return whole_evidence(exploration=exploration(**changed))


def among(*rows, **changed):
    return whole_evidence(candidates=list(rows), exploration=exploration(**changed))


def look(name, error, *, chosen=False):
    return {"name": name, "error": error, "chosen": chosen}


STEPS = {
    "ways of reading ranges": (
        explored(),
        "ranges",
        [
            "6 were tried on 16 pictures, by how far the integer model then disagrees with the float model.",
            "Closest was int8, percentile, bias corrected (0.0537); furthest off was int8, plain min-max (0.1873).",
            "So the integer candidates are made as it is.",
        ],
    ),
    "one way": (explored(ranges=[look("int8, entropy", 0.1, chosen=True)], images=1), "ranges", ["1 was tried on 1 picture, by"]),
    "made as another than the closest": (
        explored(ranges=[look("a", 0.1), look("b", 0.2, chosen=True)]),
        "ranges",
        [
            "The integer candidates are made as b (0.2000) is.",
        ],
    ),
    "told what to try": (
        whole_evidence(exploration={"images": 0, "ranges": [], "sensitivity": None, "float_sets": []}),
        "ranges",
        [
            "No ways of reading ranges and no single layers were compared beforehand:",
            "the candidates below are all that was tried.",
        ],
    ),
    "layers that hurt most": (
        explored(**sensitivity((0.01, 0.02), (0.2, 0.05), (0.1, -0.01), (-0.3, 0.0), (0.15, 0.04), regions=[(0.05, -0.02)])),
        "layers",
        [
            "Quantization hurts most in layer 1 (20.0 % of the disagreement, for +5.0 % of the time), layer 4 (15.0 % of",
            "for +4.0 % of the time) and layer 2 (10.0 % of the disagreement, for -1.0 % of the time).",
        ],
    ),
    "layers are asked by themselves where no region is free": (
        explored(**sensitivity((0.1, -0.01), (0.2, 0.03), regions=[(0.3, 0.5), (0.4, 0.1)])),
        "layers",
        ["All in integers the network is 0.0500 from the float model. 2 layers were asked:"],
    ),
    "a region that costs next to nothing comes first": (
        explored(**sensitivity((0.1, -0.01), (0.2, 0.03), regions=[(0.3, 0.0), (0.4, 0.1)], start="region 0")),
        "layers",
        [
            "2 groups were timed together.",
            "region 0 (30.0 % of the disagreement, for +0.0 % of the time) is worth most,",
            "so it was in float while the other layers were timed.",
        ],
    ),
    "scales that were mended": (
        explored(scales=[{"where": "Concat_9", "ratio": 707.2, "mended": "cut off with the head"}]),
        "ranges",
        ["Concat_9 would force one scale on ranges 707 times apart, in which the smaller one drowns; it is cut off with the head."],
    ),
    "layers without gain": (explored(**sensitivity((-0.1, 0.2), (0.0, 0.0))), "layers", ["None of them alone brings the two closer."]),
    "layers kept in float": (whole_evidence(), "layers", ["The fitted model keeps 8 of these layers in float."]),
    "integers alone are enough": (
        among(INT8, SET, float_sets=[float_set(2, 0.18, -0.05, -0.5, within=True)]),
        "float_sets",
        [
            "Integers alone keep the accuracy budget (-0.70 points on the selection split).",
            "So only sets of layers that cost next to nothing were worth trying, to agree with the float model more closely.",
            "1 set was tried, and it keeps the accuracy budget.",
        ],
    ),
    "integers alone are enough and no set is cheap": (
        among(INT8, float_sets=[]),
        "float_sets",
        [
            "No set of layers was cheap enough to be worth trying beside them.",
        ],
    ),
    "sets until one keeps the budget": (
        whole_evidence(),
        "float_sets",
        [
            "Integers alone do not keep the accuracy budget (-1.87 points on the selection split, -1.00 allowed).",
            "So layers went back into float:",
            "first what costs no time there, then more and more of those that gain most for their time. 4 sets were tried;",
            "2 of them keep the accuracy budget. The smallest that does is int8, 8 layers float: -0.81 points,",
            "for an expected +7.9 % of the time.",
        ],
    ),
    "sets of which none keeps the budget": (
        among(LOST, float_sets=[float_set(2, 0.18, -0.05, -1.7, within=False), float_set(9, 0.3, 0.11, -1.2, within=False)]),
        "float_sets",
        [
            "2 sets were tried; none of them keeps the accuracy budget.",
            "Closest to it came int8, 9 layers float: -1.20 points, for an expected +11.0 % of the time.",
        ],
    ),
    "no set to try": (among(LOST, float_sets=[]), "float_sets", ["No set of layers was tried."]),
    "candidates out": (
        whole_evidence(),
        "candidates",
        [
            "12 candidates, the model as given among them, met the 256 pictures of the selection split. 9 are out:",
            "on latency baseline, float32, head cut and int8 dynamic;",
            "on accuracy int8, plain min-max, int8, int8, QOperator, int8, float head, int8, 2 layers float and int8, 5 layers float.",
        ],
    ),
    "no candidate out": (among(BASE, INT8), "candidates", ["All of them are within the budget."]),
    "every candidate out": (
        among({**BASE, "binding": ["latency", "size"]}, LOST),
        "candidates",
        [
            "None is within the budget. Out on latency and size baseline; on accuracy int8.",
        ],
    ),
}


def searched_without(*parts, **changed):
    return {key: value for key, value in searched_evidence(**changed).items() if key not in parts}


ONE_ENGINE = [row for row in searched_evidence()["candidates"] if row["engine"] == "onnxruntime"]
STEPS |= {
    "points timed in several engines": (
        searched_evidence(),
        "survey",
        [
            "18 points were timed, 5 in onnxruntime, 8 in openvino, 4 in mnn and 1 in ncnn.",
            "8 were not judged, because another that computes at least as exactly, on no smaller a picture, is clearly faster:",
            "4 behind openvino float32, 1 behind openvino int8, float stem, 640x384, 1 behind openvino float32, 640x384 and",
            "2 behind others.",
            "so it drives out none that is more exact.",
        ],
    ),
    "nothing left behind": (
        searched_evidence(overtaken=[]),
        "survey",
        [
            "10 points were timed, 2 in onnxruntime, 7 in openvino and 1 in mnn.",
            "Nothing was clearly slower than another that computes at least as exactly, so all of them were judged.",
        ],
    ),
    "one point left behind in one engine": (
        searched_evidence(candidates=ONE_ENGINE, overtaken=[left_behind("slow", "int8", 30.0, 12.2, **form("onnxruntime", "int8"))]),
        "survey",
        ["3 points were timed, all in onnxruntime.", "1 was not judged,", "clearly faster: 1 behind int8."],
    ),
    "points of nobody knows which engine": (
        searched_evidence(candidates=[{"name": "a"}], overtaken=[{"name": "b"}]),
        "survey",
        ["2 points were timed. 1 was not judged,"],
    ),
    "sets of layers in another engine's integers": (
        searched_evidence(),
        "float_sets",
        ["Integers alone keep the accuracy budget (-0.41 points on the selection split)."],
    ),
    "several engines and no set": (
        searched_evidence(exploration=exploration(float_sets=[])),
        "float_sets",
        ["No set of layers was tried."],
    ),
    "many candidates out for one reason": (
        long_evidence(),
        "candidates",
        [
            "11 are out: on latency baseline; on accuracy 10 of them.",
            "On the front, where none of the others is at once as fast and as accurate, are",
        ],
    ),
    "a long front": (searched_evidence(), "candidates", ["as accurate, stand 7 of them."]),
}


@pytest.mark.parametrize(("document", "part", "said"), STEPS.values(), ids=STEPS)
def test_tells_what_was_tried(document, part, said):
    text = told(document)[part]

    for sentence in said:
        assert sentence in text


def test_tells_nothing_that_an_older_document_does_not_hold():
    story = told(evidence())

    assert (story["ranges"], story["layers"], story["float_sets"]) == ("", "", "")
    assert "budget" not in story["candidates"]
    assert story["choice"].startswith("On the judging split")


@pytest.mark.parametrize(
    "document",
    [whole_evidence(), evidence(), searched_without("overtaken"), searched_evidence(candidates=ONE_ENGINE, overtaken=[])],
    ids=["before there was a search", "first version", "without the key", "one engine"],
)
def test_speaks_of_no_survey_where_there_was_none(document):
    assert told(document)["survey"] == ""


# --- the front --------------------------------------------------------------------------------------------------------------------------


def front_of(*figures, measure="map50_95"):
    rows = [{"name": f"{at}", "p50_ms": p50_ms, measure: accuracy} for at, (p50_ms, accuracy) in enumerate(figures)]
    return [path[1] for path in front_paths(Document({"candidates": rows}))]


@pytest.mark.parametrize(
    ("figures", "front"),
    [
        ([(25.0, 0.43), (12.0, 0.42), (14.0, 0.41)], [1, 0]),
        ([(10.0, 0.4)], [0]),
        ([(10.0, 0.4), (10.0, 0.4)], [0, 1]),
        ([(10.0, 0.4), (10.0, 0.41), (12.0, 0.41)], [1]),
        ([(None, 0.9), (10.0, None), (11.0, 0.1)], [2]),
        ([(3.0, 0.1), (2.0, 0.2), (1.0, 0.3)], [2]),
        ([], []),
    ],
    ids=["one beaten", "alone", "equal in both", "equal in one", "unknown", "one beats all", "none"],
)
@pytest.mark.parametrize("measure", ["map50_95", "agreement"])
def test_the_front_is_what_none_beats(figures, front, measure):
    assert front_of(*figures, measure=measure) == front


@given(st.lists(st.tuples(st.integers(1, 6).map(float), st.integers(0, 5).map(float)), max_size=9))
def test_whatever_is_not_on_the_front_is_beaten_by_one_that_is(figures):
    front = front_of(*figures)

    for at, (p50_ms, accuracy) in enumerate(figures):
        beaten_by = [
            each for each in front if figures[each][0] <= p50_ms and figures[each][1] >= accuracy and figures[each] != (p50_ms, accuracy)
        ]
        assert (at in front) == (not beaten_by)


@pytest.mark.parametrize(
    "empty",
    [
        {},
        {"exploration": None, "candidates": [None, 3, {}]},
        {"fitted": {"name": "x"}, "candidates": [{}]},
        {"candidates": [{}], "overtaken": [None, 3, {}]},
    ],
)
def test_stands_a_document_of_nothing(empty):
    assert isinstance(tell_story(Document(empty)), Story)


# --- the rules it speaks of -------------------------------------------------------------------------------------------------------------


def test_speaks_of_the_rules_that_fit_goes_by():
    assert ABOUT_AS_FAST == rules.ABOUT_AS_FAST
    assert recipes.INT8.name == INTEGERS_ALONE
    assert rules.BASELINE == "baseline"


apart = st.none() | st.floats(0, 2)
some = st.tuples(st.floats(-3, 1), st.floats(5, 7), st.floats(0, 1), st.booleans(), st.floats(100, 200), apart)


@settings(deadline=None)
@given(st.lists(some, min_size=1, max_size=7))
def test_explains_whomever_the_rule_chooses(drawn):
    budget = Budget(max_drop=1.0, max_memory_mib=150)
    names = [rules.BASELINE, *(f"candidate {at}" for at in range(1, len(drawn)))]
    figures = [
        Figures(name, "float32" if is_float else "int8", 0.4, points, agreement, p50_ms, peak_mib, 3.0, disagreement)
        for name, (points, p50_ms, agreement, is_float, peak_mib, disagreement) in zip(names, drawn, strict=True)
    ]
    rows = [
        {
            **ranked(each.name, each.delta_points, each.p50_ms, each.agreement, precision=each.precision),
            "binding": list(rules.violated(each, budget)),
            "disagreement": each.disagreement,
        }
        for each in figures
    ]
    winner = rules.choose(figures, budget)

    text = told(fit(winner.name, *rows, verdict="refuse" if rules.violated(winner, budget) else "ship"))["choice"]

    assert "is the one that met the judging split" not in text, "the rule was followed, so the story has the reason"
    assert "did not keep the accuracy budget" not in text
    assert winner.name in text


def test_the_winner_of_the_whole_document_is_told_as_chosen():
    assert f"{WINNER} is the fastest" in told(whole_evidence())["choice"]
    assert len(layers()) == 63

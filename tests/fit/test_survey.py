"""Who is left behind before anybody's accuracy is known: rules over a rank of exactness and a first look at speed."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.artifact import Artifact, ArtifactFile, HeadOutput, HeadSpec, InputSpec
from edgewright.fit.survey import ROUNDS, Overtaken, Point, exactness, overtaken

SQUARE = 640 * 640


@pytest.mark.parametrize(
    ("points", "left"),
    [
        pytest.param([("float", 3, 50), ("half", 2, 20), ("int8", 1, 30)], {"int8": "half"}, id="halves end slower integers"),
        pytest.param([("float", 3, 50), ("half", 2, 20), ("int8", 1, 10)], {}, id="integers end nothing that is more exact"),
        pytest.param([("a", 1, 20), ("b", 1.003, 20.5)], {}, id="nobody goes for a few percent"),
        pytest.param(
            [("a", 1, 20), ("b", 1, 30), ("c", 1.002, 15)], {"a": "c", "b": "c"}, id="the fastest of those that overtake is named"
        ),
        pytest.param([("float", 3, 50), ("other float", 3, 20)], {"float": "other float"}, id="equals in exactness compare by speed"),
    ],
)
def test_who_is_left_behind(points, left):
    found = overtaken([Point(name, "", rank, SQUARE, p50_ms) for name, rank, p50_ms in points], 1.12)
    assert {name: other.name for name, other in found.items()} == left


def test_fewer_pixels_end_nothing_at_full_size():
    small, large = Point("small", "", 3, 320 * 320, 5.0), Point("large", "", 1, SQUARE, 20.0)
    assert overtaken([small, large], 1.12) == {}
    assert overtaken([replace(small, p50_ms=30.0), large], 1.12) == {}  # and what is more exact is not ended by pixels alone


@given(st.lists(st.tuples(st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.sampled_from([100, 200]), st.floats(1, 100)), min_size=1, max_size=12))
def test_the_front_is_never_left_behind(drawn):
    points = [Point(str(at), "", *each) for at, each in enumerate(drawn)]
    for _, _, slower in ROUNDS:
        left = overtaken(points, slower)
        assert min(points, key=lambda point: point.p50_ms).name not in left
        for name, other in left.items():
            point = next(each for each in points if each.name == name)
            assert other.exactness >= point.exactness
            assert other.pixels >= point.pixels
            assert other.name not in left or overtaken(points, slower)[other.name].p50_ms < other.p50_ms


def test_the_reason_names_who_was_faster_and_by_how_much():
    lost = Overtaken("int8", "openvino bfloat16", p50_ms=30.0, by_p50_ms=20.0, baseline_p50_ms=60.0)
    assert lost.why == "openvino bfloat16 computes at least as exactly and ran 1.50x as fast"
    assert lost.to_json() == {"name": "int8", "by": "openvino bfloat16", "p50_ms": 30.0, "speedup": 2.0, "why": lost.why}


def artifact(precision, *, float_nodes=0, symmetric=True):
    scheme = None if precision != "int8" else {"encoding": {"symmetric": symmetric}, "float_nodes": ["a"] * float_nodes}
    return Artifact(
        name="tiny",
        engine="onnxruntime",
        precision=precision,
        files=(ArtifactFile("model.onnx", "0" * 64, 1),),
        input=InputSpec("images", (1, 3, 64, 64)),
        head=HeadSpec("yolov8", (8,), 4, (HeadOutput("output0", "decoded"),)),
        classes=("red",),
        folder=Path(),
        scheme=scheme,
    )


def test_exactness_ranks_bits_first_then_layers_in_float_then_levels():
    ranked = [
        artifact("int8"),
        artifact("int8", symmetric=False),
        artifact("int8", float_nodes=1),
        artifact("int8", float_nodes=60, symmetric=False),
        artifact("bfloat16"),
        artifact("float32"),
    ]
    ranks = [exactness(each) for each in ranked]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
    assert exactness(artifact("float16")) == exactness(artifact("bfloat16"))

"""A fit that may choose among runtimes and input sizes."""

import json
from collections import Counter

import pytest

import edgewright as ew
from edgewright.artifact import Artifact
from edgewright.board.profile import Board
from edgewright.compress.recipes import INT8, deployed, recipes_of
from edgewright.errors import EngineError, InputError
from edgewright.fit import Budget, FitRequest, fit, search, workshop
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

ENGINES = ("onnxruntime", "openvino", "mnn", "ncnn")
SIDE = 128


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A tiny detector that takes squares of 128 pixels, and data it is good at."""
    folder = tmp_path_factory.mktemp("material")
    return save_tiny_detector(folder / "tiny.onnx", size=SIDE), write_tiny_dataset(folder / "data", train=20, val=6)


def request_for(material, out, **options):
    return FitRequest(*material, out, Budget(max_drop=100), threads=1, images=8, **options)


@pytest.fixture(scope="module")
def searched(material, tmp_path_factory):
    """What a fit over every engine and the shape of a wide camera has left behind."""
    out = tmp_path_factory.mktemp("searched") / "out"
    fit(request_for(material, out, engines=ENGINES, frame_wh=(1280, 720)))
    return out, json.loads((out / "evidence.json").read_text())


def test_every_engine_was_timed_and_every_point_says_why_it_lost(searched):
    _, evidence = searched
    points = evidence["candidates"] + evidence["overtaken"]
    assert {point["engine"] for point in points} == set(ENGINES)
    assert {tuple(point["size_wh"]) for point in points} == {(SIDE, SIDE), (SIDE, 96)}
    winner = evidence["fitted"]["name"]
    assert all(point["why"] for point in points if point["name"] != winner)
    assert {point["precision"] for point in points} >= {"float32", "int8"}
    assert len({point["name"] for point in points}) == len(points)
    assert {"openvino", "MNN", "ncnn"} <= evidence["host"]["versions"].keys()


def test_what_ran_says_what_it_computed_in(searched):
    _, evidence = searched
    told = {row["name"]: row["computes_in"] for row in evidence["measurements"]}
    assert told["baseline"] == "float32"
    assert set(told.values()) <= {"float32", "float16", "bfloat16", "int8"}


def test_the_artifact_holds_the_engine_s_own_files_and_runs(searched, material):
    out, evidence = searched
    artifact = Artifact.load(out)
    assert artifact.engine == evidence["fitted"]["engine"]
    assert {file.path for file in artifact.files} <= {path.name for path in out.iterdir()}
    assert len({file.path.partition(".")[0] for file in artifact.files}) == 1
    with ew.open(out) as detector:
        assert len(detector(next((material[1].parent / "images/val").iterdir())))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_each_engine_s_model_ships_and_finds_what_the_given_one_finds(material, tmp_path, engine, precision, monkeypatch):
    recipes = {each.precision: each for each in recipes_of(engine, ("float32",), Board.detect().isa, INT8)}
    if precision not in recipes:
        pytest.skip(f"{engine} has no {precision}")
    # Whichever is faster today: the one that was asked for wins.
    monkeypatch.setattr(search, "choose", lambda ranking, _: next(each for each in ranking if each.name != "baseline"))
    evidence = fit(request_for(material, tmp_path / "out", engines=(engine,), recipes=(deployed(recipes[precision]),)))
    assert evidence.ships
    artifact = Artifact.load(tmp_path / "out")
    assert (artifact.engine, artifact.precision) == (engine, precision)
    picture = next((material[1].parent / "images/val").iterdir())
    with ew.open(tmp_path / "out") as detector, ew.open(material[0]) as given:
        found, expected = Counter(detector(picture).names), Counter(given(picture).names)
    astray = (found - expected).total() + (expected - found).total()
    assert astray == 0 if precision == "float32" else astray <= expected.total() / 2


def test_a_converter_that_fails_is_named_and_ends_nothing(material, tmp_path, monkeypatch):
    def refuse(engine, source, folder, *, precision):
        raise EngineError(f"the converter of {engine} died of {source.name}", got="exit status -6")

    monkeypatch.setattr(workshop, "convert", refuse)
    evidence = fit(request_for(material, tmp_path / "out", engines=("onnxruntime", "openvino")))
    assert evidence.ships
    assert any("openvino int8 was left out: the converter of openvino died" in warning for warning in evidence.warnings)


def test_an_unknown_engine_is_refused_before_anything_is_made(material, tmp_path):
    with pytest.raises(InputError, match="there is no engine 'warp'; expected one of onnxruntime"):
        fit(request_for(material, tmp_path / "out", engines=("onnxruntime", "warp")))


def test_a_size_that_the_grids_do_not_divide_is_left_out_by_name(material, tmp_path):
    evidence = fit(request_for(material, tmp_path / "out", engines=("onnxruntime",), sizes_wh=((100, 100),)))
    assert any("100x100 was left out: 100x100 is no input size for this model" in warning for warning in evidence.warnings)

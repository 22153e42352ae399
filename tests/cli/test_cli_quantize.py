"""`edgewright quantize`: one configuration, as told, into an artifact."""

import json

import onnx
import pytest

import edgewright as ew
from tiny_detector import save_tiny_detector

CASES = {
    "as it comes": ([], 0.3),
    "entropy, biases corrected": (["--ranges", "entropy", "--bias-correction"], 2),
    "layers in float": (["--float", "stem", "--float", "head"], 0.3),
    "integer operators": (["--container", "qoperator"], 0.3),
    "decode kept": (["--keep-decode"], 0.3),
    "no floors": (["--no-floors", "--ranges", "min-max"], 0.5),
    "for TensorRT": (["--scheme", "tensorrt"], 0.3),
    "for another board": (["--board", "rpi5"], 0.3),
    "through a camera": (["--camera", "cheap-usb"], 2),
}


@pytest.mark.parametrize("case", CASES)
def test_makes_what_it_is_told(case, edgewright, tiny_model, tiny_data, tmp_path):
    options, most_apart = CASES[case]
    ran = edgewright("quantize", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--images", 4, "--json", "-", *options)
    assert ran.exit_code == 0, ran.err
    assert ran.json["proven"] is False
    assert 0 <= ran.json["disagreement"] <= most_apart
    artifact = ew.Artifact.load(tmp_path / "out")
    assert artifact.precision == "int8"
    assert json.loads(json.dumps(artifact.to_json())) == ran.json["artifact"]
    with ew.open(tmp_path / "out") as detector:
        detector(str(tiny_data.parent / "images/val/0000.png"))


def test_without_pictures_only_dynamic_ranges_can_be_had(edgewright, tiny_model, tmp_path):
    edgewright("quantize", tiny_model, "--out", tmp_path / "out").assert_refused(2, "no --data", "--mode dynamic")
    assert not (tmp_path / "out").exists()
    ran = edgewright("quantize", tiny_model, "--out", tmp_path / "out", "--mode", "dynamic")
    assert ran.exit_code == 0
    assert "not judged" in ran.out


@pytest.mark.parametrize(("batch", "first"), [("4", 4), ("any", "batch")])
def test_takes_several_pictures_at_once(batch, first, edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("quantize", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--images", 4, "--batch", batch, "--json", "-")
    assert ran.exit_code == 0, ran.err
    model = onnx.load(tmp_path / "out" / ran.json["artifact"]["files"][0]["path"])
    axis = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (axis.dim_value or axis.dim_param) == first
    pictures = [str(path) for path in sorted((tiny_data.parent / "images/val").iterdir())]
    edgewright("quantize", tiny_model, "--data", tiny_data, "--out", tmp_path / "single", "--images", 4)
    with ew.open(tmp_path / "out") as stacked, ew.open(tmp_path / "single") as single:
        for together, alone in zip(stacked(pictures), single(pictures), strict=True):
            assert together.names == alone.names


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheme", "int3"], "there is no scheme 'int3'"),
        (["--board", "abacus"], "abacus"),
        (["--float", "no such node"], "no layer 'no such node'"),
        (["--batch", "0"], "--batch 0"),
        (["--batch", "many"], "a number from 1 to 64"),
        (["--camera", "obscura"], "no camera 'obscura'"),
        (["--container", "qoperator", "--scheme", "tensorrt"], "qdq"),
    ],
)
def test_refuses_in_a_sentence_and_leaves_nothing(options, said, edgewright, tiny_model, tiny_data, tmp_path):
    ran = edgewright("quantize", tiny_model, "--data", tiny_data, "--out", tmp_path / "out", "--images", 4, "--quiet", *options)
    ran.assert_refused(2, said)
    assert not (tmp_path / "out").exists()


def test_a_result_is_replaced_and_anything_else_left_alone(edgewright, tiny_model, tmp_path):
    for _ in range(2):
        assert edgewright("quantize", tiny_model, "--out", tmp_path / "out", "--mode", "dynamic").exit_code == 0
    assert len(list((tmp_path / "out").glob("model-*.onnx"))) == 1
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.txt").write_text("years of work")
    refused = edgewright("quantize", tiny_model, "--out", tmp_path / "thesis", "--mode", "dynamic", "--quiet")
    refused.assert_refused(2, "edgewright did not write")
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.txt"]
    assert json.loads((tmp_path / "out/artifact.json").read_text())["precision"] == "int8"


def test_rows_that_the_network_sorts_are_not_compared_cell_by_cell(edgewright, tiny_data, tmp_path):
    model = save_tiny_detector(tmp_path / "end2end.onnx", family="end2end")
    words = ("quantize", model, "--data", tiny_data, "--out", tmp_path / "out", "--images", 4, "--json", "-")
    assert edgewright(*words).json["disagreement"] is not None
    assert edgewright(*words, "--keep-decode").json["disagreement"] is None

"""`edgewright inspect`: any model described, the ones nobody should run refused."""

import json

import pytest

CONTRACT = {"family", "input", "outputs", "classes", "parameters", "macs", "opset", "precision", "findings"}
REFUSED_BY_CONTRACT = {
    "200_random_bytes",
    "all_zero_weights",
    "conv_wrong_channels",
    "cycle",
    "dangling_input",
    "empty",
    "external_data_absolute_path",
    "external_data_path_traversal",
    "inf_weights",
    "input_without_shape",
    "nan_weights",
    "no_outputs",
    "not_topologically_sorted",
    "text",
    "truncated_50pct",
    "zip_header",
}
SOUND_BY_CONTRACT = {"hostile_metadata", "hostile_names", "dynamic_all_axes"}


def test_json_is_all_there_is_on_standard_output(edgewright, tiny_model):
    ran = edgewright("inspect", tiny_model, "--json", "-")
    assert ran.exit_code == 0
    assert set(ran.json) >= CONTRACT
    assert (ran.json["family"], ran.json["classes"], ran.json["precision"]) == ("yolov8", ["red", "green", "blue"], "float32")


def test_json_into_a_file_leaves_the_table_on_standard_output(edgewright, tiny_model, tmp_path):
    ran = edgewright("inspect", tiny_model, "--json", tmp_path / "a.json")
    assert ran.exit_code == 0
    assert "yolov8" in ran.out
    assert json.loads((tmp_path / "a.json").read_text())["opset"] == 17


def test_quiet_says_nothing(edgewright, tiny_model):
    ran = edgewright("inspect", tiny_model, "--quiet")
    assert (ran.exit_code, ran.out, ran.err) == (0, "", "")


def test_a_quantized_model_is_described(edgewright, quantized_model):
    ran = edgewright("inspect", quantized_model, "--json", "-")
    assert (ran.exit_code, ran.json["family"]) == (0, "yolov8")
    assert "int8" in ran.json["precision"]


def test_broken_and_hostile_models(edgewright, test_data):
    codes = {}
    for path in sorted((test_data / "bad/onnx").glob("*.onnx")):
        ran = edgewright("inspect", path, "--json", "-")
        codes[path.stem] = ran.exit_code
        if ran.exit_code == 0:
            assert set(ran.json) >= CONTRACT, path.stem
            assert not any(ord(sign) < 32 and sign != "\n" for sign in ran.out), f"{path.stem} controls the terminal"
        else:
            ran.assert_refused(2)
    assert {name for name in REFUSED_BY_CONTRACT if codes[name] != 2} == set()
    assert {name for name in SOUND_BY_CONTRACT if codes[name] != 0} == set()
    assert set(codes.values()) == {0, 2}


@pytest.mark.parametrize("name", ["hostile_names", "hostile_metadata", "dynamic_all_axes"])
def test_hostile_text_does_not_reach_the_terminal(edgewright, test_data, name):
    ran = edgewright("inspect", test_data / f"bad/onnx/{name}.onnx")
    assert ran.exit_code == 0
    assert "\x1b" not in ran.out + ran.err


def test_findings_are_shown(edgewright, test_data):
    ran = edgewright("inspect", test_data / "bad/onnx/dynamic_all_axes.onnx", "--json", "-")
    assert ran.json["findings"]
    assert set(ran.json["findings"][0]) >= {"code", "severity", "where", "what", "fix"}


def test_other_families_are_named_too(edgewright, test_data):
    ran = edgewright("inspect", test_data / "models/yolox_nano.onnx", "--json", "-")
    assert (ran.exit_code, ran.json["family"]) == (0, "yolox")

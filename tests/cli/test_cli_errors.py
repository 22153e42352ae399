"""Whatever goes wrong: an exit code, one sentence, and never a traceback."""

import re
import sys

import onnx
import pytest
from onnx import TensorProto, helper

from edgewright import cli
from edgewright.door import admission
from tiny_detector import build_tiny_detector

ALWAYS = ("fit", "calibrate", "quantize", "bench", "eval", "inspect", "detect")  # what needs no PyTorch
VERBS = ("board", "fit", "calibrate", "recover", *ALWAYS[2:], "serve", "watch", "record", "doctor")


def words_for(verb, model, data, out):
    return {
        "fit": (verb, model, "--engines", "onnxruntime", "--data", data, "--out", out),
        "calibrate": (verb, data, "--out", out, "--model", model),
        "quantize": (verb, model, "--data", data, "--out", out, "--images", 2),
        "bench": (verb, model),
        "eval": (verb, model, "--data", data),
        "inspect": (verb, model),
        "detect": (verb, model, data.parent / "images/val"),
    }[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example_that_names_the_verb(edgewright, verb):
    ran = edgewright(verb, "--help")
    assert ran.exit_code == 0
    assert "Example" in ran.out
    assert f"edgewright {verb} " in ran.out.split("Example", 1)[1]
    options = ("--json", "--quiet")
    assert all(option in ran.out for option in options)


def test_help_lists_every_verb_in_the_order_of_the_flow(edgewright):
    ran = edgewright("--help")
    assert ran.exit_code == 0
    places = [re.search(rf"\b{verb}\b\s+[A-Z]", ran.out) for verb in VERBS]
    assert None not in places
    assert [place.start() for place in places] == sorted(place.start() for place in places)


def test_the_version_is_the_package_s(edgewright):
    import edgewright as package

    assert edgewright("--version").out.strip() == f"edgewright {package.__version__}"


@pytest.mark.parametrize(
    "words", [("teleport",), ("inspect",), ("inspect", "--no-such"), ("bench", "a.onnx", "--rounds", "many"), ("fit", "a.onnx")]
)
def test_a_command_that_is_mistyped_is_exit_2_and_one_sentence(edgewright, words):
    edgewright(*words).assert_refused(2, "--help")


def test_no_words_at_all_show_the_help(edgewright):
    ran = edgewright()
    assert (ran.exit_code, ran.err) == (2, "")
    assert "Commands" in ran.out


@pytest.mark.parametrize("verb", ALWAYS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.onnx", "there is no file"),
        ("best.pt", "yolo export model="),
        ("words.onnx", "is not an ONNX model"),
        ("notes.txt", "not named as an ONNX file"),
    ],
)
def test_a_wrong_model_is_exit_2_in_every_verb(edgewright, tiny_data, tmp_path, verb, name, said):
    if not name.startswith("none"):
        (tmp_path / name).write_text("words")
    ran = edgewright(*words_for(verb, tmp_path / name, tiny_data, tmp_path / "out"), "--quiet")
    ran.assert_refused(2, said)


@pytest.mark.parametrize("verb", ALWAYS)
@pytest.mark.parametrize("place", ["no/such.json", "."])
def test_json_that_cannot_be_written_is_refused_before_the_work(edgewright, tiny_model, tiny_data, tmp_path, verb, place):
    ran = edgewright(*words_for(verb, tiny_model, tiny_data, tmp_path / "out"), "--quiet", "--json", tmp_path / place)
    ran.assert_refused(2, "--json", "cannot be written")
    assert not (tmp_path / "out").exists()


def test_an_already_quantized_model_is_not_fitted_and_the_float_one_is_asked_for(edgewright, quantized_model, tiny_data, tmp_path):
    ran = edgewright("fit", quantized_model, "--data", tiny_data, "--out", tmp_path / "out", "--quiet")
    ran.assert_refused(2, "quantized", "float")
    assert not (tmp_path / "out/artifact.json").exists()


def test_a_model_of_another_family_is_refused_by_what_it_is(edgewright, tiny_data, tmp_path):
    model = build_tiny_detector()
    model.graph.output.append(helper.make_tensor_value_info(model.graph.node[0].output[0], TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "masks.onnx")
    for verb in ("fit", "eval", "detect"):
        ran = edgewright(*words_for(verb, tmp_path / "masks.onnx", tiny_data, tmp_path / "out"), "--quiet")
        ran.assert_refused(2, "a YOLO segmentation head", "expected a YOLO detector")


@pytest.mark.parametrize("verb", ["eval", "detect"])
def test_a_missing_engine_is_exit_3_and_says_how_to_install_it(edgewright, tiny_model, tiny_data, tmp_path, verb, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    edgewright(*words_for(verb, tiny_model, tiny_data, tmp_path), "--quiet").assert_refused(3, "not installed", "pip install")


def failing(error):
    def inspect_model(*_words, **_more):
        raise error

    return inspect_model


@pytest.mark.parametrize(
    ("error", "exit_code", "said"),
    [
        (OSError(28, "No space left on device", "/full/disk"), 3, ("cannot write /full/disk", "no space left", "free space there")),
        (PermissionError(13, "Permission denied", "/locked"), 3, ("Permission denied (/locked)",)),
        (KeyboardInterrupt(), 130, ("stopped", "--resume")),
    ],
)
def test_what_the_machine_or_the_user_does_is_said(edgewright, tiny_model, monkeypatch, error, exit_code, said):
    monkeypatch.setattr(admission, "inspect_model_safely", failing(error))
    edgewright("inspect", tiny_model).assert_refused(exit_code, *said)


def test_a_mistake_of_ours_is_not_hidden(edgewright, tiny_model, monkeypatch):
    monkeypatch.setattr(admission, "inspect_model_safely", failing(RuntimeError("our mistake")))
    with pytest.raises(RuntimeError, match="our mistake"):
        edgewright("inspect", tiny_model)


def test_verbs_that_are_not_built_do_not_exist():
    assert {command.name for command in cli.command_line().registered_commands} == set(VERBS)

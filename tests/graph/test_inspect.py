"""Reading a stranger's file, and saying what is in it."""

import hashlib
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewright.errors import InputError, ModelError
from edgewright.graph.inspect import inspect_model, precision_of
from edgewright.graph.load import load_model, model_digest
from graph.small_models import initializer, model_of, random, replace_initializer, sound_model, tensor, value

CONTRACT = {"family", "input", "outputs", "classes", "parameters", "macs", "opset", "precision", "findings"}


def save(model, folder, name="net.onnx"):
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def test_says_what_a_sound_model_is(tmp_path):
    model = sound_model()
    helper.set_model_props(model, {"names": "{0: 'ok', 1: 'scratch'}", "imgsz": "[16, 16]"})
    path = save(model, tmp_path)

    said = inspect_model(path, recognise=lambda _: "toy").to_json()

    assert set(said) >= CONTRACT
    assert said["family"] == "toy"
    assert said["input"] == {"name": "image", "shape": (1, 3, 16, 16), "dtype": "float32"}
    assert said["outputs"] == ({"name": "scores", "shape": (1, 10), "dtype": "float32"},)
    assert said["classes"] == ("ok", "scratch")
    assert said["parameters"] == 314
    assert said["macs"] == 16 * 16 * 8 * 27 + 80
    assert (said["opset"], said["precision"], said["findings"]) == (17, "float32", ())
    assert said["nodes"]["Conv"] == 1
    assert said["bytes"] == path.stat().st_size
    assert said["digest"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert json.loads(json.dumps(said))["image_size_wh"] == [16, 16]


def test_a_model_that_is_no_detector_has_no_family(tmp_path):
    def refuse(_):
        raise ModelError("this model is not a detector")

    path = save(sound_model(), tmp_path)

    assert inspect_model(path, recognise=refuse).family is None
    assert inspect_model(path).family is None


def test_free_axes_leave_the_work_uncounted(tmp_path):
    model = sound_model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    found = inspect_model(save(model, tmp_path))

    assert found.macs is None
    assert found.input.shape == (1, 3, "height", 16)
    assert {finding.code for finding in found.findings} == {"dynamic-axes", "macs-unknown"}


def test_a_weight_shared_by_two_nodes_counts_once(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    model = model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], [random("w", 4, 4)])

    found = inspect_model(save(model, tmp_path))

    assert (found.parameters, found.macs) == (16, 32)


@pytest.mark.parametrize(
    ("nodes", "macs"),
    [
        ([helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])], 4 * 36 * 5 * 4),
        ([helper.make_node("Conv", ["x", "w"], ["y"], group=2)], 4 * 25 * 2 * 4),
    ],
)
def test_macs_of_convolutions(tmp_path, nodes, macs):
    shape = (4, 5, 2, 2) if nodes[0].op_type == "ConvTranspose" else (4, 2, 2, 2)
    model = model_of(nodes, [value("x", [1, 4, 6, 6])], [value("y", None)], [random("w", *shape)])

    assert inspect_model(save(model, tmp_path)).macs == macs


def dequantized(*extra):
    nodes = [*extra, helper.make_node("DequantizeLinear", ["q", "s"], ["w"]), helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = [tensor("q", np.arange(16).reshape(4, 4), np.int8), tensor("s", 0.1)]
    return model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], weights)


def test_precision_is_read_from_the_operators():
    float_model = sound_model()
    assert precision_of(float_model) == "float32"

    half = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [1, 4], TensorProto.FLOAT16)],
        [value("y", [1, 4], TensorProto.FLOAT16)],
        [tensor("w", np.eye(4), np.float16)],
    )
    assert precision_of(half) == "float16"

    cases = {
        "int8 (weights)": dequantized(),
        "int8 (QDQ)": dequantized(helper.make_node("QuantizeLinear", ["x", "s"], ["xq"])),
        "int8 (dynamic)": dequantized(helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "b", "c"])),
        "int8 (QOperator)": dequantized(helper.make_node("QLinearMatMul", ["x"] * 8, ["a"])),
    }
    for precision, model in cases.items():
        assert precision_of(model) == precision


def test_quantized_weights_are_parameters(tmp_path):
    assert inspect_model(save(dequantized(), tmp_path)).parameters == 16


def test_everything_said_about_hostile_names_is_printable(tmp_path):
    model = sound_model()
    for held in (*model.graph.node[0].input[:1], model.graph.input[0].name):
        assert held == "image"
    model.graph.input[0].name = model.graph.node[0].input[0] = "\x1b[31m" + "i" * 500

    found = inspect_model(save(model, tmp_path))

    assert found.input.name.isprintable()
    assert len(found.input.name) <= 200
    assert "hostile-name" in {finding.code for finding in found.findings}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".PT"])
def test_a_checkpoint_is_refused_unopened(tmp_path, suffix):
    path = tmp_path / f"my net{suffix}"  # does not exist: opening it would be another error

    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert f"yolo export model='{path}' format=onnx" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x80\x02ccollections", "pickle"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"hello\nworld\n", "text: hello\\nworld"),
        (b"\x08\x07\x3a\xff\xff\xff\xff\x0f", "claims 4294967295 bytes in a file of 8"),
        (b"\x08\x07\x3a\x7f\x00", "cut short"),
        (b"\x08\x07\x3a\x02\xff\xff", "corrupt"),
        (b"\x08\x07\x12\x02\xff\xfe", "not UTF-8"),
    ],
)
def test_what_is_not_onnx_is_named(tmp_path, content, reason):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_name_deep_inside_that_is_not_text_is_refused(tmp_path):
    model = sound_model()
    model.graph.node[0].name = "AAAA"
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString().replace(b"AAAA", b"\xff\xfeAA"))

    with pytest.raises(ModelError, match="a name that is not UTF-8"):
        load_model(path)


def test_missing_files_folders_and_pipes(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        load_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="not named as an ONNX file"):
        load_model(tmp_path / "net.tflite")

    (tmp_path / "folder.onnx").mkdir()
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("folder.onnx", "pipe.onnx"):
        with pytest.raises(ModelError, match=r"not a regular file|is a directory"):
            load_model(tmp_path / name)
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path / "nul\x00.onnx")


def keep_outside(model, **said):
    """Move the weight `w` out of the model; returns its bytes."""
    held = initializer(model, "w")
    data = held.raw_data
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "w.bin", "offset": "4", "length": str(len(data)), **said}.items():
        held.external_data.add(key=key, value=text)
    return data


def test_data_beside_the_model_is_loaded_and_part_of_the_digest(tmp_path):
    model = sound_model()
    data = keep_outside(model)
    path = save(model, tmp_path)
    (tmp_path / "w.bin").write_bytes(b"skip" + data)

    loaded = initializer(load_model(path), "w")
    before = model_digest(path)
    (tmp_path / "w.bin").write_bytes(b"Skip" + data)

    assert loaded.raw_data == data
    assert loaded.data_location == TensorProto.DEFAULT
    assert not loaded.external_data
    assert inspect_model(path).parameters == 314
    assert model_digest(path) != before


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"location": "/etc/hostname"}, "outside the model's folder"),
        ({"location": "../w.bin"}, "outside the model's folder"),
        ({"location": "a/../../w.bin"}, "outside the model's folder"),
        ({"location": "..\\w.bin"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "w\x00.bin"}, "outside the model's folder"),
        ({"location": "x" * 5000}, "outside the model's folder"),
        ({"location": "y" * 300}, "is missing"),
        ({"location": "none.bin"}, "is missing"),
        ({"location": "folder"}, "is missing"),
        ({"location": "link.bin"}, "outside the model's folder; got a link"),
        ({"location": "loop.bin"}, "is missing"),
        ({"offset": "5"}, "does not fit"),
        ({"offset": "-1"}, "does not fit"),
        ({"offset": "1e9"}, "does not fit"),
        ({"length": "8"}, "does not fit"),
        ({"length": "9" * 5000}, "does not fit"),
    ],
)
def test_data_elsewhere_or_of_another_size_is_refused(tmp_path, said, reason):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "folder").mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    (folder / "loop.bin").symlink_to(folder / "loop.bin")
    model = sound_model()
    data = keep_outside(model, **said)
    for place in (tmp_path, folder):
        (place / "w.bin").write_bytes(b"skip" + data)
    path = save(model, folder)

    for read in (load_model, model_digest):
        with pytest.raises(ModelError) as caught:
            read(path)
        assert reason in str(caught.value)
        assert str(caught.value).isprintable()


def test_external_data_with_impossible_dims_is_refused_before_it_is_read(tmp_path):
    model = sound_model()
    keep_outside(model)
    initializer(model, "w").dims[0] = 2**40
    (tmp_path / "w.bin").write_bytes(b"")

    with pytest.raises(ModelError, match=r"more than 2\^31"):
        load_model(save(model, tmp_path))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_file_with_any_bytes_changed_is_described_or_refused(tmp_path, changes):
    model = sound_model()
    replace_initializer(model, tensor("w", np.ones((8, 3, 1, 1))))
    replace_initializer(model, tensor("m", np.ones((8, 2))))
    replace_initializer(model, tensor("c", np.ones(2)))
    content = bytearray(model.SerializeToString())
    for where, byte in changes:
        content[int(where * len(content))] = byte
    path = tmp_path / "net.onnx"
    path.write_bytes(bytes(content))

    try:
        said = json.dumps(inspect_model(path).to_json())
    except InputError as refusal:
        said = str(refusal)
    assert said.isprintable()


def test_yolov8n_has_the_parameters_and_the_work_its_authors_state(test_data):
    found = inspect_model(test_data / "models" / "yolov8n.onnx")

    assert found.parameters == 3_151_904
    assert found.macs == pytest.approx(4.35e9, rel=0.01)
    assert (found.precision, found.opset, len(found.classes), found.stride) == ("float32", 17, 80, 32)
    assert found.outputs[0].shape == (1, 84, 8400)


def test_the_quantized_export_does_the_same_work(test_data):
    found = inspect_model(test_data / "models" / "yolov8n_int8_lamri.onnx")

    assert found.precision == "int8 (dynamic)"
    assert found.macs == inspect_model(test_data / "models" / "yolov8n.onnx").macs


def test_work_is_counted_through_contributed_operators(tmp_path):
    scale, zero = tensor("s", 0.1), tensor("z", 0, np.uint8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearSigmoid", ["q", "s", "z", "s", "z"], ["g"], domain="com.microsoft"),
        helper.make_node("QLinearMul", ["q", "s", "z", "g", "s", "z", "s", "z"], ["p"], domain="com.microsoft"),
        helper.make_node("QLinearConcat", ["s", "z", "p", "s", "z", "q", "s", "z"], ["c"], domain="com.microsoft", axis=1),
        helper.make_node("QLinearConv", ["c", "s", "z", "w", "s", "z", "s", "z"], ["y"]),
    ]
    weight = tensor("w", np.arange(24).reshape(4, 6, 1, 1), np.uint8)
    inputs, outputs = [value("x", [1, 3, 8, 8])], [value("y", None, TensorProto.UINT8)]
    model = model_of(nodes, inputs, outputs, [scale, zero, weight], domains=["com.microsoft"])

    found = inspect_model(save(model, tmp_path))

    assert (found.precision, found.macs, found.findings) == ("int8 (QOperator)", 8 * 8 * 24, ())
    assert found.outputs[0].shape == (1, 4, 8, 8)

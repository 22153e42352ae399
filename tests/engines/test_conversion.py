"""From ONNX to a runtime's own format in a child process: what comes out says the same, and what goes wrong stays outside."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from cut_detector import TINY, cut_tiny, drawn, letterboxed, outputs_of
from edgewright.compress.placement import place_pairs
from edgewright.compress.schemes import OPENVINO
from edgewright.engines import conversion, open_engine
from edgewright.engines.conversion import convert
from edgewright.errors import EngineError, HostError, InputError
from edgewright.graph.camera_input import take_camera_frames
from tiny_detector import build_tiny_detector, save_tiny_detector

IMAGE = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}


@pytest.fixture
def model(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx")


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Stand a program of one's own in the place of the converter's process."""

    def stand_in(source):
        (tmp_path / "stand_in.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(conversion, "CHILD", "stand_in")

    return stand_in


@pytest.mark.parametrize("engine", ["onnxruntime", "reference"])
def test_an_engine_that_reads_onnx_gets_a_copy(model, made, engine):
    assert convert(engine, model, made, precision="float32") == [made / "model.onnx"]
    assert (made / "model.onnx").read_bytes() == model.read_bytes()


def test_an_unknown_engine_lists_the_known_ones(model, made):
    with pytest.raises(InputError, match="there is no engine 'warp'; expected one of onnxruntime"):
        convert("warp", model, made, precision="float32")
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("options", TINY.values(), ids=TINY.keys())
def test_openvino_s_files_say_what_the_onnx_file_says(tmp_path, made, options):
    pytest.importorskip("openvino")
    cut = cut_tiny(tmp_path, **options)
    files = convert("openvino", tmp_path / "cut.onnx", made, precision="float32")
    assert files == [made / "model.xml", made / "model.bin"]
    assert sorted(made.iterdir()) == sorted(files), "and nothing else is left"
    feed = cut.feed(drawn(cut.input.size_wh))
    for expected, found in zip(outputs_of(cut.model, feed), open_engine("openvino", files[0], threads=1).run(feed), strict=True):
        assert np.abs(expected - found).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_weights_are_halved_for_halves_alone(model, tmp_path):
    pytest.importorskip("openvino")
    sizes = {}
    for precision in ("float32", "float16", "bfloat16"):
        (tmp_path / precision).mkdir()
        sizes[precision] = convert("openvino", model, tmp_path / precision, precision=precision)[1].stat().st_size
    assert sizes["float16"] == sizes["bfloat16"] < 0.7 * sizes["float32"]
    [expected], [found] = (
        outputs_of(build_tiny_detector(), IMAGE),
        open_engine("openvino", tmp_path / "float16/model.xml", threads=1).run(IMAGE),
    )
    assert np.abs(expected[:, 4:] - found[:, 4:]).max() <= 0.01


def test_an_integer_network_for_frames_is_the_same_in_openvino_s_files(tmp_path, made):
    pytest.importorskip("openvino")
    cut = cut_tiny(tmp_path)
    placed = place_pairs(cut.model, cut.ranges, (), OPENVINO)
    onnx.save(take_camera_frames(placed, cut.input, integers="as rounded floats").model, tmp_path / "camera.onnx")
    files = convert("openvino", tmp_path / "camera.onnx", made, precision="int8")
    feed = {cut.input.name: letterboxed(drawn((64, 64)), cut.input)}
    before, after = (open_engine("openvino", path, threads=1) for path in (tmp_path / "camera.onnx", files[0]))
    assert after.describe().precision == before.describe().precision
    assert after.describe().inputs == before.describe().inputs
    for expected, found in zip(before.run(feed), after.run(feed), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("content", [b"", b"words", b"\x08\x08" + bytes(50)])
def test_a_model_that_the_converter_refuses_is_one_sentence_and_leaves_nothing(tmp_path, made, content):
    pytest.importorskip("openvino")
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(EngineError, match=r"the converter of openvino .*bad\.onnx") as caught:
        convert("openvino", tmp_path / "bad.onnx", made, precision="float32")
    assert "\n" not in str(caught.value)
    assert caught.value.fix == "use another engine"
    assert list(made.iterdir()) == []


def test_an_engine_that_is_not_installed_is_said_by_the_child(model, made, tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(conversion.__file__).parents[2]}")
    with pytest.raises(EngineError, match="OpenVINO is not installed") as caught:
        convert("openvino", model, made, precision="float32")
    assert "pip install" in caught.value.fix
    assert list(made.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os; os.abort()", r"exit status -6; its last words: nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"exit status -9; its last words: nothing"),
        ("raise SystemExit(3)", r"exit status 3; its last words: nothing"),
        ("import sys; sys.exit('no room left')", r"exit status 1; its last words: no room left"),
        ("print('all went well')", r"exit status 0; its last words: nothing"),
        ("import sys; sys.exit('\\x1b[31mred')", r"exit status 1; its last words: \\x1b\[31mred"),
    ],
    ids=["aborts", "is killed", "exits", "says why", "prints something else", "writes escapes"],
)
def test_a_converter_that_dies_is_told_with_its_last_words(model, made, child, source, said):
    child(source)
    with pytest.raises(EngineError, match=rf"the converter of openvino died of tiny\.onnx; got {said}"):
        convert("openvino", model, made, precision="float32")
    assert list(made.iterdir()) == []


def test_half_a_file_of_a_converter_that_died_is_not_kept(model, made, child):
    child("import os, sys; open(os.path.join(sys.argv[-1], 'model.xml'), 'w').write('<half'); os.abort()")
    with pytest.raises(EngineError, match="died of"):
        convert("openvino", model, made, precision="float32")
    assert list(made.iterdir()) == []


def test_a_converter_that_finds_no_end_is_ended(model, made, child, monkeypatch):
    child("import threading; threading.Event().wait()")
    monkeypatch.setattr(conversion, "LONGEST_S", 1.0)
    with pytest.raises(EngineError, match=r"the converter of openvino finds no end on tiny\.onnx; got more than 1 s"):
        convert("openvino", model, made, precision="float32")
    assert list(made.iterdir()) == []


def test_a_host_that_starts_no_process_is_told(model, made, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(made / "python"))
    with pytest.raises(HostError, match="a converter cannot be started here"):
        convert("openvino", model, made, precision="float32")


def test_what_lies_in_the_folder_one_works_in_is_not_imported(model, made, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    for name in ("numpy", "openvino", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger')")
        (made / f"{name}.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    convert("openvino", Path(model.name), made, precision="float32")
    assert (made / "model.xml").exists()


def test_a_file_whose_name_looks_like_an_option_is_a_file(model, made):
    pytest.importorskip("openvino")
    path = model.rename(model.with_name("--help"))
    assert convert("openvino", path, made, precision="float32")[0].exists()


def test_a_path_that_is_not_utf_8_is_a_file_too(model, made):
    pytest.importorskip("openvino")
    path = model.rename(model.with_name("\udcff.onnx"))
    assert convert("openvino", path, made, precision="float32")[0].exists()


def test_files_of_an_earlier_conversion_are_replaced(model, made, tmp_path):
    pytest.importorskip("openvino")
    convert("openvino", save_tiny_detector(tmp_path / "other.onnx", size=128), made, precision="float32")
    [xml, _] = convert("openvino", model, made, precision="float32")
    assert open_engine("openvino", xml, threads=1).describe().inputs[0].shape == (1, 3, 64, 64)

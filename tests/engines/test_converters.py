"""A converter may do what it likes: what comes of it is files, or one sentence."""

import textwrap
from pathlib import Path

import pytest

import edgewright
from edgewright.engines import conversion, open_engine
from edgewright.engines.conversion import convert
from edgewright.errors import EdgewrightError, EngineError
from tiny_detector import save_tiny_detector

pytest.importorskip("openvino")  # a board has one engine; test_conformance says that none is left out elsewhere
pytest.importorskip("MNN")
pytest.importorskip("ncnn")

CONVERTERS = ("openvino", "mnn", "ncnn")


@pytest.fixture
def model(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx", activation="relu")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    return made


@pytest.fixture
def converter_does(tmp_path, monkeypatch):
    """Puts a converter of our own in OpenVINO's place, in the child alone."""

    def put(body):
        lines = [
            "import os, sys, time, types",
            "def convert(source, folder, precision):",
            textwrap.indent(textwrap.dedent(body), "    "),
            "fake = types.ModuleType('edgewright.engines.openvino')",
            "fake.convert = convert",
            "sys.modules[fake.__name__] = fake",
        ]
        folder = tmp_path / "in the child"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text("\n".join(lines), "utf-8")
        monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(edgewright.__file__).parents[1]}")

    return put


@pytest.mark.parametrize("engine", CONVERTERS)
def test_what_it_writes_lies_in_the_folder_and_opens(engine, model, folder):
    first, *rest = convert(engine, cut(model), folder, precision="float32")
    assert {first, *rest} == set(folder.iterdir())
    assert {path.name.partition(".")[0] for path in folder.iterdir()} == {"model"}
    described = open_engine(engine, first, threads=1).describe()
    assert (described.name, described.precision, [spec.name for spec in described.inputs]) == (engine, "float32", ["images"])


def test_what_it_prints_is_no_answer(model, folder, converter_does, capfd):
    converter_does(
        """
        print('{"files": []}', flush=True)
        os.write(1, b"more")
        (folder / "model.xml").write_text("x")
        return [folder / "model.xml"]
        """
    )
    assert convert("openvino", model, folder, precision="float32") == [folder / "model.xml"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("os.write(2, b'terminate called\\n'); os.abort()", r"died of tiny\.onnx; got exit status -6; its last words: terminate called"),
        ("os.kill(os.getpid(), 11)", r"died of tiny\.onnx; got exit status -11; its last words: nothing"),
        ("os._exit(0)", r"died of tiny\.onnx; got exit status 0"),
        ("raise ValueError('\\x1b[5m')", r"cannot take tiny\.onnx; got ValueError: \\x1b\[5m"),
        ("return [folder / 'model.xml']", r"wrote nothing for tiny\.onnx; got nothing in model\.xml"),
        ("(folder / 'a').touch(); return [folder / 'a']", r"wrote nothing for tiny\.onnx; got nothing in a"),
        ("return []", r"wrote nothing for tiny\.onnx; got no file"),
        ("return [source]", r"cannot take tiny\.onnx"),
    ],
)
def test_a_converter_that_fails_is_one_sentence_and_leaves_nothing(body, said, model, folder, converter_does):
    converter_does(body)
    with pytest.raises(EngineError, match=said) as caught:
        convert("openvino", model, folder, precision="float32")
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []


def test_a_converter_that_finds_no_end_is_ended(model, folder, converter_does, monkeypatch):
    monkeypatch.setattr(conversion, "LONGEST_S", 2.0)
    converter_does("(folder / 'half').write_text('x'); time.sleep(600)")
    with pytest.raises(EngineError, match=r"finds no end on tiny\.onnx; got more than 2 s"):
        convert("openvino", model, folder, precision="float32")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("engine", CONVERTERS)
@pytest.mark.parametrize("content", [b"words", b"\x08\x08" + bytes(50)])
def test_garbage_is_refused_by_every_converter_and_leaves_nothing(engine, content, tmp_path, folder, capfd):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(content)
    with pytest.raises(EdgewrightError):
        convert(engine, bad, folder, precision="float32")
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def cut(model: Path) -> Path:
    """The form that candidates are made from."""
    from edgewright.compress.candidates import prepare_float_forms
    from edgewright.graph.describe import describe_detector

    folder = model.parent / "forms"
    folder.mkdir()
    return prepare_float_forms(describe_detector(model), folder).cut

"""Whatever a file does to the process that examines it, ours gets an answer: admitted, or one sentence."""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgewright.artifact import FILE_NAME, Artifact, describe_file
from edgewright.demo import demo_model
from edgewright.door import admission
from edgewright.door.admission import admit_artifact, admit_detector, admit_model, inspect_model_safely
from edgewright.errors import ArtifactError, HostError, InputError, ModelError
from edgewright.graph.describe import describe_detector
from edgewright.graph.head import family_of
from edgewright.graph.inspect import inspect_model
from tiny_detector import build_tiny_detector, save_tiny_detector

TESTS = Path(__file__).parents[1]


@pytest.fixture
def tiny(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx")


@pytest.fixture
def hostile(monkeypatch):
    """The child is the one that misbehaves as the file's name says."""
    monkeypatch.setattr(admission, "CHILD", "door.hostile_child")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))


def file_named(folder: Path, name: str) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(b"\x08\x08")
    return path


def save(folder: Path, nodes, inputs, outputs, initializers=()) -> Path:
    graph = helper.make_graph(nodes, "net", inputs, outputs, list(initializers))
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def laid_down(artifact: Artifact, folder: Path) -> Path:
    (folder / FILE_NAME).write_text(json.dumps(artifact.to_json()))
    return folder


# --- what is sound comes through unchanged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["yolov8", "yolov5", "yolox"])
def test_a_sound_detector_comes_back_as_it_was_described_inside(tmp_path, family):
    path = save_tiny_detector(tmp_path / "tiny.onnx", family=family)
    assert admit_detector(path) == describe_detector(path)


def test_an_inspection_comes_back_whole(tiny):
    assert inspect_model_safely(tiny) == json.loads(json.dumps(inspect_model(tiny, recognise=family_of).to_json()))
    assert admit_model(tiny) == inspect_model_safely(tiny)


def test_an_artifact_whose_files_are_its_own_is_admitted(tiny):
    folder = laid_down(admit_detector(tiny), tiny.parent)
    assert admit_artifact(folder) == Artifact.load(folder)


def test_the_errors_inside_keep_their_kind_and_their_words(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        admit_detector(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match=r"empty\.onnx is empty; got 0 bytes; expected an ONNX model"):
        admit_detector(tmp_path / "empty.onnx")


# --- what is not sound dies there, not here -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "sentence"),
    [
        ("crash", r"crash\.onnx crashes what reads it; got SIGSEGV while it was read; do not use it"),
        ("hang", r"hang\.onnx takes too long to examine; got more than 1 s while it was read"),
        ("devour", r"devour\.onnx asks for too much memory; got more than 512 MiB while it was read"),
        ("write", r"write\.onnx .*; got (SIGXFSZ|OSError) while it was read"),
        ("quit_at_once", r"quit_at_once\.onnx crashes what reads it; got exit status 7; its last words: nothing while it was read"),
        ("chatter", r"chatter\.onnx could not be examined; got KeyError while it was read: '\\x1b\[31mlost"),
    ],
)
def test_what_happens_to_the_child_is_a_refusal(hostile, tmp_path, monkeypatch, does, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=f"^{sentence}") as refusal:
        inspect_model_safely(file_named(tmp_path, does))
    said = str(refusal.value)
    assert said.isprintable()
    assert len(said) < 500
    assert not (tmp_path / "stolen").exists() or (tmp_path / "stolen").stat().st_size == 0


def test_an_answer_without_end_is_not_listened_to(hostile, tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "MOST_ANSWER_BYTES", 1 << 18)
    with pytest.raises(ModelError, match=r"babble\.onnx has too much to be told about it; got more than 0 MiB of names"):
        inspect_model_safely(file_named(tmp_path, "babble"))


def test_no_child_is_left_behind(hostile, tmp_path):
    with pytest.raises(ModelError):
        inspect_model_safely(file_named(tmp_path, "hang"))
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text() == ""


def test_the_child_dies_with_whoever_asked(hostile, tmp_path):
    """Else a killed fit would leave a process that turns round for ever."""
    asks = f"""
from pathlib import Path
from edgewright.door import admission, limits
admission.CHILD = "door.hostile_child"
admission.inspect_model_safely(Path({str(file_named(tmp_path, "hang"))!r}))
"""
    environment = os.environ | {"PYTHONPATH": os.environ["PYTHONPATH"]}
    asking = subprocess.Popen([sys.executable, "-c", asks], env=environment, stderr=subprocess.PIPE)
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
    while not (child := children.read_text().split()):
        assert asking.poll() is None
    descriptor = os.pidfd_open(int(child[0]))
    while not has_begun(int(child[0])):
        assert asking.poll() is None
    asking.kill()
    asking.wait()
    asking.stderr.close()
    # A pidfd becomes readable when its process ends.
    assert select.select([descriptor], [], [], 60)[0]
    os.close(descriptor)


def has_begun(pid: int) -> bool:
    """Its files are limited after its imports, with the wish to die with its parent."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return any(line.startswith("Max file size") and line.split()[3] == "0" for line in limits)


def test_a_machine_where_nothing_starts_is_not_the_files_fault(monkeypatch, tiny):
    monkeypatch.setattr(admission, "CHILD", "door.there_is_no_such_module")
    with pytest.raises(HostError, match=r"models cannot be examined here; got a process that died at its start: .*No module named"):
        admit_detector(tiny)


def test_data_beside_a_model_give_it_more_room(tiny):
    model = onnx.load(tiny)
    onnx.save(model, tiny, save_as_external_data=True, location="weights.bin", size_threshold=0)
    weights = tiny.with_name("weights.bin")
    with weights.open("ab") as stream:
        stream.truncate(1 << 30)  # sparse: nothing but its size is ever looked at
    command = [sys.executable, "-m", admission.CHILD, f"--began={time.monotonic()}", "inspect", str(tiny)]
    said = [json.loads(line) for line in subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.splitlines()]
    assert [line.get("mib", 0) for line in said] == [512, 512 + 8 * 1024, 0]
    assert said[1]["seconds"] > said[0]["seconds"] + 200
    assert said[-1]["admitted"]["family"] == "yolov8"


def test_modules_that_lie_where_we_are_called_are_not_imported(tiny, tmp_path, monkeypatch):
    for name in ("numpy", "json", "onnx", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger was here')")
    monkeypatch.chdir(tmp_path)
    assert admit_detector(tiny).classes


# --- what only running it shows -----------------------------------------------------------------------------------------------------------


def number(value, kind=np.float32, name="k"):
    return numpy_helper.from_array(np.array(value, kind), name)


def test_a_size_that_only_running_shows_is_refused_for_its_memory(tmp_path):
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    nodes = [
        helper.make_node("Exp", ["x"], ["at least one"]),
        helper.make_node("Mul", ["at least one", "k"], ["many"]),
        helper.make_node("Cast", ["many"], ["size"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["size"], ["y"]),
    ]
    with pytest.raises(ModelError, match=r"model\.onnx asks for too much memory; got more than \d+ MiB while it was run once"):
        admit_model(save(tmp_path, nodes, [x], [y], [number([1e11])]))


def test_work_without_an_end_is_refused_for_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "CHILD", "door.hostile_child")  # its patience is short; for this errand it does what the real one does
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go on"]), helper.make_node("Add", ["a", "a"], ["b"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("go on", TensorProto.BOOL, []), helper.make_tensor_value_info("b", TensorProto.FLOAT, [1])],
    )
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    nodes = [
        helper.make_node("Exp", ["x"], ["at least one"]),
        helper.make_node("Mul", ["at least one", "k"], ["many"]),
        helper.make_node("Cast", ["many"], ["counts"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["counts"], ["count"]),
        helper.make_node("Loop", ["count", "yes", "x"], ["y"], body=body),
    ]
    path = save(tmp_path, nodes, [x], [y], [number([1e17]), number(True, np.bool_, "yes")])
    with pytest.raises(ModelError, match=r"model\.onnx takes too long to examine; got more than 1 s while it was run once"):
        admit_model(path)


def test_a_detector_that_answers_nan_is_refused(tmp_path):
    model = build_tiny_detector()
    last = model.graph.node[-1]
    made = last.output[0]
    last.output[0] = "before"
    # 0 * inf, which no rule about weights can see.
    model.graph.initializer.extend([number(0.0, name="none"), number(1e38, name="huge")])
    model.graph.node.extend(
        [
            helper.make_node("Mul", ["huge", "huge"], ["endless"]),
            helper.make_node("Mul", ["endless", "none"], ["nothing"]),
            helper.make_node("Add", ["before", "nothing"], [made]),
        ]
    )
    path = tmp_path / "nan.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="nan answers a picture of noise with NaN; expected numbers"):
        admit_detector(path)


def test_an_artifact_that_describes_another_head_is_refused(tiny):
    described = admit_detector(tiny).to_json()
    described["head"] |= {"family": "yolov5", "anchors": None}
    (tiny.parent / FILE_NAME).write_text(json.dumps(described))
    with pytest.raises(ModelError, match=r"tiny does not answer as a yolov5 detector of \d classes; got outputs of \[1, "):
        admit_artifact(tiny.parent)


@pytest.mark.parametrize(
    ("forged", "sentence"),
    [
        ({"name": "another"}, "does not run on noise of the shape it declares; got .*another"),
        ({"shape": [1, 3, 32, 96]}, "does not run on noise of the shape it declares"),
        ({"layout": "NHWC", "shape": [1, 64, 64, 3]}, "does not run on noise of the shape it declares"),
        ({"dtype": "uint8", "scale": 1}, "does not run on noise of the shape it declares"),
    ],
)
def test_an_artifact_that_describes_another_input_is_refused(tiny, forged, sentence):
    described = admit_detector(tiny).to_json()
    described["input"] |= forged
    (tiny.parent / FILE_NAME).write_text(json.dumps(described))
    with pytest.raises(ModelError, match=sentence):
        admit_artifact(tiny.parent)


def test_an_artifact_of_sound_digests_and_broken_weights_is_refused(tmp_path):
    model = onnx.load(demo_model())
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    sound = describe_detector(demo_model())
    onnx.save(model, tmp_path / "model.onnx")
    forged = replace(sound, files=(describe_file(tmp_path / "model.onnx", tmp_path),), folder=tmp_path)
    with pytest.raises(ModelError, match=r"the model is unsound: tensor .* NaN"):
        admit_artifact(laid_down(forged, tmp_path))


def test_a_changed_artifact_never_reaches_the_child(tiny, monkeypatch):
    folder = laid_down(admit_detector(tiny), tiny.parent)
    monkeypatch.setattr(admission, "CHILD", "door.there_is_no_such_module")
    tiny.write_bytes(tiny.read_bytes()[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="is not the file that was fitted"):
        admit_artifact(folder)


def test_a_model_that_wants_text_cannot_be_fed(tmp_path):
    x, y = helper.make_tensor_value_info("x", TensorProto.STRING, [1]), helper.make_tensor_value_info("y", TensorProto.STRING, [1])
    with pytest.raises(ModelError, match="input x cannot be fed; got string; expected a tensor of numbers"):
        admit_model(save(tmp_path, [helper.make_node("Identity", ["x"], ["y"])], [x], [y]))

"""`edgewright export triton`: what is written is what Triton takes, and what its clients are told is true."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import yaml
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgewright.artifact import Artifact, HeadOutput, HeadSpec, describe_file
from edgewright.detector import open_detector, to_tensor
from edgewright.engines import is_installed
from edgewright.errors import DiskError, EdgewrightError, InputError, ModelError
from edgewright.graph.batch import set_batch
from edgewright.graph.describe import describe_detector
from edgewright.serve import triton_repository
from edgewright.serve.binary import to_bytes
from edgewright.serve.triton_config import ModelConfig, Tensor, is_sealed, quoted
from edgewright.serve.triton_papers import Subject, papers
from edgewright.serve.triton_repository import ExportRequest, export_triton
from edgewright.vision.heads import decode
from model_config_schema import model_config, parsed
from model_server import ask, served
from tiny_detector import build_tiny_detector, save_tiny_detector

PAPERS = {"README.md", "config.pbtxt", "edgewright.json", "kserve.yaml", "labels.txt"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A detector that takes any number of pictures."""
    path = tmp_path_factory.mktemp("model") / "free.onnx"
    onnx.save(set_batch(build_tiny_detector(), "batch").model, path)
    return path


@pytest.fixture
def artifact(tiny, tmp_path):
    """`artifact(**changed)`: the folder of an artifact of the tiny detector."""

    def write(**changed):
        folder = tmp_path / "fitted"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(tiny.read_bytes())
        described = replace(describe_detector(folder / "model.onnx"), **changed)
        (folder / "artifact.json").write_text(json.dumps(described.to_json()))
        return folder

    return write


@pytest.fixture
def door(monkeypatch):
    """The door in this process: what it lets in is not the question here, and a child for each model takes a second."""
    monkeypatch.setattr(triton_repository, "admit_detector", describe_detector)
    monkeypatch.setattr(triton_repository, "admit_artifact", Artifact.load)
    monkeypatch.setattr(triton_repository, "admit_model", lambda _: {"precision": "float32"})


def export(model, out, **more):
    return export_triton(ExportRequest(model, out, **more))


def config_in(folder):
    return parsed((folder / "config.pbtxt").read_text())


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def save_model(path, shape, out_shape, *, names=("x", "y"), nodes=None, kind=TensorProto.FLOAT):
    nodes = nodes or [helper.make_node("Identity", [names[0]], [names[1]])]
    given, found = (helper.make_tensor_value_info(name, kind, dims) for name, dims in zip(names, (shape, out_shape), strict=True))
    graph = helper.make_graph(nodes, "g", [given], [found])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.usefixtures("door")
def test_a_detector_becomes_a_repository_that_the_schema_takes(tiny, tmp_path):
    exported = export(tiny, tmp_path / "models", threads=3)
    folder = tmp_path / "models" / "tiny"
    assert files_in(tmp_path / "models") == {f"tiny/{name}" for name in (*PAPERS, "1/model.onnx")}
    assert (folder / "1" / "model.onnx").read_bytes() == tiny.read_bytes()
    config = config_in(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("tiny", "onnxruntime", 0)
    assert [(each.name, each.data_type, list(each.dims)) for each in config.input] == [("images", 11, [1, 3, 64, 64])]
    assert [(each.name, each.data_type, list(each.dims)) for each in config.output] == [("output0", 11, [1, 7, 84])]
    assert list(config.version_policy.specific.versions) == [1]
    assert [(each.kind, each.count) for each in config.instance_group] == [(2, 1)]
    assert {key: value.string_value for key, value in config.parameters.items()} == {"intra_op_thread_count": "3"}
    assert not config.HasField("dynamic_batching")
    assert exported.to_json()["files"] == sorted(PAPERS | {"1/model.onnx"})


@pytest.mark.usefixtures("door")
def test_what_clients_are_told(tiny, tmp_path):
    folder = export(tiny, tmp_path, name="finder.v2").folder
    told = json.loads((folder / "edgewright.json").read_text())
    described = describe_detector(tiny)
    assert told["detector"]["input"] == json.loads(json.dumps(described.input.to_json()))
    assert told["detector"]["classes"] == (folder / "labels.txt").read_text().splitlines() == ["red", "green", "blue"]
    assert told["outputs"] == [{"name": "output0", "datatype": "FP32", "shape": [1, 7, 84]}]
    assert told["source"]["sha256"] == describe_file(tiny, tiny.parent).sha256
    words = (folder / "README.md").read_text()
    for said in ("min(64 / w, 64 / h)", "filled with 114", "`pixel / 255`", "it eats RGB", "above 0.25", "IoU above 0.7", "NCHW"):
        assert said in words, said
    service = yaml.safe_load((folder / "kserve.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", service["metadata"]["name"])
    assert service["spec"]["predictor"]["model"]["protocolVersion"] == "v2"
    assert service["spec"]["predictor"]["model"]["modelFormat"] == {"name": "triton"}


@pytest.mark.usefixtures("door")
def test_a_client_that_does_as_the_words_say_feeds_what_edgewright_feeds(tiny, tmp_path):
    """The steps of README.md under 'Before', done by hand for a picture that needs no shrinking."""
    spec = json.loads((export(tiny, tmp_path).folder / "edgewright.json").read_text())["detector"]["input"]
    picture = np.random.default_rng(0).integers(0, 256, (31, 64, 3), np.uint8)
    high, wide = spec["shape"][2:]
    top = round((high - 31) / 2 - 0.1)
    canvas = np.full((high, wide, 3), spec["letterbox"]["value"], np.uint8)
    canvas[top : top + 31] = picture
    tensor = (canvas.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(to_tensor(picture, describe_detector(tiny)), tensor, rtol=1e-6)


def test_our_own_server_answers_with_the_exported_model_what_the_detector_answers(tiny, artifact, tmp_path):
    exported = export(artifact(), tmp_path / "models", name="fitted")
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    with open_detector(tmp_path / "fitted", threads=1) as detector:
        tensor = to_tensor(picture, detector.artifact)
        expected = detector.engine.run({"images": tensor})
    header = json.dumps(
        {
            "inputs": [{"name": "images", "shape": tensor.shape, "datatype": "FP32", "parameters": {"binary_data_size": tensor.nbytes}}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    # A version's folder is a folder of models to our server: model.onnx in it is the model called `model`.
    with served(folder=exported.folder / "1", at_start=("model",)) as server:
        sent = {"Inference-Header-Content-Length": str(len(header))}
        status, headers, content = ask(server, "/v2/models/model/infer", header + bytes(to_bytes(tensor)), sent)
    assert status == 200
    found = content[int(headers["Inference-Header-Content-Length"]) :]
    np.testing.assert_array_equal(np.frombuffer(found, np.float32).reshape(expected[0].shape), expected[0])


@pytest.mark.usefixtures("door")
def test_an_artifact_brings_the_threads_it_was_fitted_for(artifact, tmp_path):
    folder = export(artifact(target={"isa": [], "threads": 2}), tmp_path / "models").folder
    assert config_in(folder).parameters["intra_op_thread_count"].string_value == "2"
    assert not config_in(export(tmp_path / "fitted", tmp_path / "models", threads=0).folder).parameters


@pytest.mark.skipif(not is_installed("openvino"), reason="needs openvino")
@pytest.mark.usefixtures("door")
def test_an_openvino_artifact_keeps_its_two_files(tiny, tmp_path):
    from edgewright.engines import openvino

    folder = tmp_path / "fitted"
    folder.mkdir()
    files = openvino.convert(tiny, folder, "float32")
    named = [path.rename(folder / f"model-0123456789ab{path.suffix}") for path in files]
    made = replace(
        describe_detector(tiny),
        engine="openvino",
        files=tuple(describe_file(path, folder) for path in named),
        target={"isa": [], "threads": 1},
    )
    (folder / "artifact.json").write_text(json.dumps(made.to_json()))
    exported = export(folder, tmp_path / "models")
    assert files_in(exported.folder) == PAPERS | {"1/model.xml", "1/model.bin"}
    config = config_in(exported.folder)
    assert (config.backend, config.max_batch_size) == ("openvino", 0)
    assert [(each.name, list(each.dims)) for each in config.output] == [("output0", [1, 7, 84])]
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": "1",
    }
    assert "cannot be told to compute in float32" in (exported.folder / "README.md").read_text()


@pytest.mark.parametrize("engine", ["ncnn", "mnn"])
@pytest.mark.usefixtures("door")
def test_engines_that_triton_has_no_backend_for_are_refused(engine, artifact, tmp_path):
    folder = artifact(engine=engine)
    with pytest.raises(InputError, match=f"no backend for {engine}; expected an artifact of onnxruntime or openvino"):
        export(folder, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.usefixtures("door")
def test_a_model_for_any_number_of_pictures_is_batched(free, tmp_path):
    config = config_in(export(free, tmp_path).folder)
    assert config.max_batch_size == 8
    assert config.HasField("dynamic_batching")
    assert [list(each.dims) for each in (*config.input, *config.output)] == [[3, 64, 64], [7, 84]]
    config = config_in(export(free, tmp_path, max_batch=0).folder)
    assert (config.max_batch_size, [list(each.dims) for each in config.input]) == (0, [[-1, 3, 64, 64]])
    assert not config_in(export(free, tmp_path, max_batch=1).folder).HasField("dynamic_batching")


@pytest.mark.usefixtures("door")
def test_a_batch_that_the_model_does_not_take_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match=r"first axis is fixed, or no batch.*quantize --batch any"):
        export(tiny, tmp_path / "models", max_batch=4)


@pytest.mark.usefixtures("door")
def test_a_free_first_axis_that_counts_something_else_is_no_batch(tmp_path):
    """Sizes of the picture in, as many rows out: what an exported suppression looks like."""
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Transpose", ["places"], ["y"])]
    path = save_model(tmp_path / "m.onnx", ["n", 2], ["found", 2], nodes=[*nodes[:1], nodes[1]])
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, path)
    config = config_in(export(path, tmp_path / "models").folder)
    assert (config.max_batch_size, list(config.output[0].dims)) == (0, [-1, 2])


@pytest.mark.usefixtures("door")
def test_a_model_that_is_no_detector_is_exported_without_a_story(tmp_path):
    exported = export(save_model(tmp_path / "copy.onnx", [2, 3], [2, 3]), tmp_path / "models")
    assert "no detector that edgewright decodes" in (exported.folder / "README.md").read_text()
    assert json.loads((exported.folder / "edgewright.json").read_text())["detector"] is None
    assert (exported.folder / "labels.txt").read_text() == ""


@pytest.mark.usefixtures("door")
def test_an_output_without_axes_is_refused(tmp_path):
    path = save_model(tmp_path / "sum.onnx", [2, 3], [], nodes=[helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)])
    with pytest.raises(ModelError, match="y cannot be declared to Triton; got no axes"):
        export(path, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.usefixtures("door")
def test_weights_beside_the_file_are_refused(tmp_path):
    model = build_tiny_detector()
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelError, match="keeps weights in files beside it"):
        export(tmp_path / "m.onnx", tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.usefixtures("door")
def test_names_of_strangers_stay_names(tmp_path):
    name = 'x" }\n# \x1b[31m`|é'
    path = save_model(tmp_path / "m.onnx", [1], [1], names=(name, "y"))
    folder = export(path, tmp_path / "models").folder
    assert config_in(folder).input[0].name == name
    assert "\x1b" not in (folder / "README.md").read_text()


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_every_name_comes_back_from_the_text(name):
    config = ModelConfig("m", "onnxruntime", 1, (Tensor(name, "FP32", "TYPE_FP32", (1,)),), (), 0, {"key": name})
    found = parsed(config.to_text(), SCHEMA)
    assert (found.input[0].name, found.parameters["key"].string_value) == (name, name)
    assert is_sealed(config.to_text().encode())


SCHEMA = model_config()


def test_the_schema_refuses_what_it_does_not_know():
    with pytest.raises(text_format.ParseError):
        parsed("max_batches: 1")
    with pytest.raises(text_format.ParseError):
        parsed('instance_group { kind: "KIND_CPU" }')
    assert quoted('"\\\n') == '"\\042\\134\\012"'


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", ".hidden", "-x", "x\0", "é", "x" * 101, "a b"])
@pytest.mark.usefixtures("door")
def test_names_that_could_be_paths_are_refused(name, tiny, tmp_path):
    with pytest.raises(InputError, match=r"no name for a model.*--name"):
        export(tiny, tmp_path / "models", name=name)
    assert not (tmp_path / "models").exists()


@pytest.mark.usefixtures("door")
def test_the_next_export_is_the_next_version_and_the_old_one_goes(tiny, free, tmp_path):
    export(tiny, tmp_path, name="m")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    exported = export(free, tmp_path, name="m")
    assert exported.config.version == 2
    assert files_in(tmp_path / "m") == PAPERS | {"2/model.onnx", "notes.txt"}
    assert not (tmp_path / "m" / "1").exists()
    assert list(config_in(tmp_path / "m").version_policy.specific.versions) == [2]
    assert json.loads((tmp_path / "m" / "edgewright.json").read_text())["version"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "other"]


@pytest.mark.usefixtures("door")
def test_what_is_not_ours_is_not_overwritten(tiny, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.pbtxt").write_text('name: "tiny"\n')
    with pytest.raises(InputError, match="did not write"):
        export(tiny, tmp_path)
    assert files_in(tmp_path) == {"tiny/config.pbtxt"}
    (folder / "config.pbtxt").unlink()
    export(tiny, tmp_path)  # an empty folder is nobody's
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 2"))
    with pytest.raises(InputError, match="changed by hand"):
        export(tiny, tmp_path)
    assert (folder / "1" / "model.onnx").exists()
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    with pytest.raises(InputError, match="did not write"):
        export(tiny, tmp_path)
    (tmp_path / ".export").symlink_to(elsewhere)
    with pytest.raises(InputError, match="is a link or a file"):
        export(tiny, tmp_path, name="second")


def lay(staging, version, said):
    """A staged model of that version, each file of which holds what was said."""
    folder = staging / "m"
    (folder / str(version)).mkdir(parents=True)
    for name in (*PAPERS - {"config.pbtxt"}, f"{version}/model.onnx"):
        (folder / name).write_text(said)
    (folder / "config.pbtxt").write_text(ModelConfig("m", "onnxruntime", version, (), ()).to_text())
    return folder


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_a_whole_model_is_served_and_the_next_run_finishes(step, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "m"
    folder.parent.mkdir()
    triton_repository._publish(lay(tmp_path / "first", 1, "first"), folder, 1)
    left = [step]

    class Killed(BaseException):
        pass

    def dying(real):
        def call(*args, **more):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*args, **more)

        return call

    with monkeypatch.context() as patch:
        for owner, name in ((os, "rename"), (os, "replace"), (triton_repository, "sync_folder"), (triton_repository, "remove")):
            patch.setattr(owner, name, dying(getattr(owner, name)))
        with pytest.raises(Killed):
            triton_repository._publish(lay(tmp_path / "second", 2, "second"), folder, 2)
    [version] = config_in(folder).version_policy.specific.versions
    assert (folder / str(version) / "model.onnx").read_text() == {1: "first", 2: "second"}[version]
    following = triton_repository._next_version(folder)
    triton_repository._publish(lay(tmp_path / "third", following, "third"), folder, following)
    assert files_in(folder) == PAPERS | {f"{following}/model.onnx"}
    assert {(folder / name).read_text() for name in files_in(folder) - {"config.pbtxt"}} == {"third"}


@pytest.mark.usefixtures("door")
def test_what_a_killed_run_left_is_swept_away(tiny, tmp_path):
    (tmp_path / ".export" / "m" / "1").mkdir(parents=True)
    export(tiny, tmp_path, name="m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.usefixtures("door")
def test_a_full_disk_leaves_what_was_there(tiny, free, tmp_path, monkeypatch):
    export(tiny, tmp_path, name="m")
    before = {name: (tmp_path / "m" / name).read_bytes() for name in files_in(tmp_path / "m")}

    def full(path, data, **_):
        raise DiskError(f"cannot write {path}")

    monkeypatch.setattr(triton_repository, "write_whole", full)
    with pytest.raises(DiskError):
        export(free, tmp_path, name="m")
    assert {name: (tmp_path / "m" / name).read_bytes() for name in files_in(tmp_path / "m")} == before
    with pytest.raises(DiskError):
        export(free, tmp_path / "new", name="m")
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("door")
def test_no_such_model(tmp_path):
    with pytest.raises(EdgewrightError):
        export(tmp_path / "gone.onnx", tmp_path / "models")
    assert not (tmp_path / "models").exists()


HEADS = {
    "yolov8 cut": HeadSpec("yolov8", (8, 16), 16, tuple(HeadOutput(f"{role}{s}", role, s) for s in (8, 16) for role in ("box", "class"))),
    "plain distances": HeadSpec("yolov8", (8,), 1, (HeadOutput("b", "box", 8, 0.1, 3), HeadOutput("c", "class", 8))),
    "yolov5 cut": HeadSpec("yolov5", (8,), None, (HeadOutput("o", "combined", 8),), (((10.0, 13.0), (16.0, 30.0)),)),
    "yolox cut": HeadSpec("yolox", (8,), None, tuple(HeadOutput(role, role, 8) for role in ("box", "objectness", "class"))),
    "yolox undecoded": HeadSpec("yolox", (8, 16), None, (HeadOutput("o", "undecoded"),)),
    "end2end": HeadSpec("end2end", (), None, (HeadOutput("o", "decoded"),)),
    "end2end cut": HeadSpec("end2end", (8,), 16, (HeadOutput("b", "box", 8), HeadOutput("c", "class", 8))),
    "yolov5": HeadSpec("yolov5", (), None, (HeadOutput("o", "decoded"),)),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_every_head_has_its_words(head, tiny):
    described = replace(describe_detector(tiny), head=head)
    subject = Subject("m", "onnxruntime", "float32", described.files, "1", described)
    words = papers(subject, ModelConfig("m", "onnxruntime", 1, (), ()))["README.md"]
    assert all(f"`{output.name}`" in words for output in head.outputs)
    assert ("No suppression" in words) == (head.family == "end2end")
    assert ("each is worth `(integer - 3) * 0.1`" in words) == any(output.scale for output in head.outputs)
    assert ("10 x 13, 16 x 30" in words) == (head.anchors is not None)


def test_boxes_by_the_words_are_the_boxes_of_the_decode(tiny):
    """'After' of the decoded family, done by hand on the tiny detector's answer."""
    described = describe_detector(tiny)
    with open_detector(tiny, threads=1) as detector:
        picture = np.full((64, 64, 3), 114, np.uint8)
        picture[20:44, 20:44] = (220, 40, 40)
        [output] = detector.engine.run({"images": to_tensor(picture, described)})
    cells = output[0].T
    kept = cells[cells[:, 4:].max(axis=1) > 0.25]
    boxes = np.concatenate([kept[:, :2] - kept[:, 2:4] / 2, kept[:, :2] + kept[:, 2:4] / 2], axis=1)
    expected, scores, _ = decode(described.head, [output], 0.25, size_wh=(64, 64))
    assert len(boxes)
    np.testing.assert_allclose(boxes, expected, rtol=1e-6)
    np.testing.assert_allclose(kept[:, 4:].max(axis=1), scores)

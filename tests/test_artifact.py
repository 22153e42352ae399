"""An artifact is read back as it was written, or refused in one sentence."""

import copy
import json
import os
from dataclasses import replace

import pytest

from edgewright import artifact as artifact_module
from edgewright.artifact import FILE_NAME, Artifact, HeadOutput, HeadSpec, Threshold, describe_file, sha256_of
from edgewright.detector import artifact_of_model
from edgewright.errors import ArtifactError
from tiny_detector import save_tiny_detector


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    """Of a real model, with every optional field in use."""
    found = artifact_of_model(save_tiny_detector(tmp_path / "model.onnx"))
    return replace(
        found,
        threshold=Threshold(0.4, 0.6, {"red": 0.5}),
        scheme={"recipe": {"mode": "static"}},
        target={"isa": ["avx2", "vnni"]},
        lineage={"source_digest": "sha256:00", "calibration_digest": None, "tools": {"edgewright": "0"}},
    )


def write(artifact, document=None):
    text = document if isinstance(document, str) else json.dumps(document or artifact.to_json())
    (artifact.folder / FILE_NAME).write_text(text)
    return artifact.folder


def test_what_is_written_is_read_back(artifact):
    assert Artifact.load(write(artifact)) == artifact


def test_a_raw_head_too(artifact):
    outputs = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride in (8, 16, 32) for role in ("box", "class"))
    raw = replace(artifact, head=HeadSpec("yolov8", (8, 16, 32), 4, outputs), threshold=Threshold(), scheme=None)
    assert Artifact.load(write(raw)) == raw
    assert raw.head.is_raw
    assert not artifact.head.is_raw


def test_the_document_has_the_contract_s_keys(artifact):
    document = json.loads(json.dumps(artifact.to_json()))
    assert set(document) == {
        "schema",
        "name",
        "task",
        "digest",
        "engine",
        "precision",
        "files",
        "input",
        "head",
        "classes",
        "threshold",
        "scheme",
        "target",
        "lineage",
    }
    assert set(document["input"]) == {"name", "shape", "layout", "dtype", "colour", "scale", "mean", "letterbox"}
    assert document["input"]["letterbox"] == {"value": 114, "centred": True}
    assert set(document["head"]) == {"family", "strides", "reg_max", "outputs"}
    assert set(document["threshold"]) == {"score", "iou", "per_class"}
    assert set(document["files"][0]) == {"path", "sha256", "bytes"}


def paths_of(document, at=()):
    """The path of every key of the contract; what is inside scheme, target and lineage is the tools' own."""
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(document, dict):
            yield (*at, key)
        if isinstance(value, dict | list) and key not in ("scheme", "target", "lineage", "per_class"):
            yield from paths_of(value, (*at, key))


def at_path(document, path):
    for key in path:
        document = document[key]
    return document


def test_every_missing_key_is_one_clear_sentence(artifact):
    whole = json.loads(json.dumps(artifact.to_json()))
    paths = list(paths_of(whole))
    assert len(paths) > 30
    for path in paths:
        document = copy.deepcopy(whole)
        del at_path(document, path[:-1])[path[-1]]
        with pytest.raises(ArtifactError) as caught:
            Artifact.load(write(artifact, document))
        assert path[-1] in str(caught.value), path
        assert "\n" not in str(caught.value)


HARMLESS = {("name",), ("task",), ("engine",), ("precision",), ("scheme",), ("target",), ("lineage",), ("classes",), ("input", "name")}
NULLABLE = {
    "dtype",
    "family",
    "per_class",
    "reg_max",
    "stride",
    "strides",
    "name",
    "scale",
    "score",
    "iou",
}  # or their range is the engine's


@pytest.mark.parametrize("wrong", [None, "words", -1, [], {}, [None], "\0", 1e999, True], ids=repr)
def test_a_garbled_value_is_refused_or_harmless_but_never_a_traceback(artifact, wrong):
    whole = json.loads(json.dumps(artifact.to_json()))
    for path in paths_of(whole):
        document = copy.deepcopy(whole)
        at_path(document, path[:-1])[path[-1]] = wrong
        folder = write(artifact, document)
        try:
            Artifact.load(folder)
        except ArtifactError:
            continue
        assert path in HARMLESS or wrong is True or path[-1] in NULLABLE, path


@pytest.mark.parametrize(
    "text", ["", "words", "[]", "null", '{"schema": 2}', '{"schema": "1"}', '{"schema": 1}', '{"schema": 1, "files": []}', "[" * 100_000]
)
def test_json_that_is_no_artifact_is_refused(artifact, text):
    with pytest.raises(ArtifactError):
        Artifact.load(write(artifact, text or " "))


def test_bytes_that_are_no_text_are_refused(artifact):
    (artifact.folder / FILE_NAME).write_bytes(b"\xff\xfe{}")
    with pytest.raises(ArtifactError, match="is not JSON"):
        Artifact.load(artifact.folder)


def test_a_document_too_large_is_not_read(artifact, monkeypatch):
    monkeypatch.setattr(artifact_module, "MOST_JSON_BYTES", 10)
    with pytest.raises(ArtifactError, match="is too large"):
        Artifact.load(write(artifact))


def test_a_folder_without_json_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match=r"no artifact\.json in it; expected a folder that `edgewright fit` wrote"):
        Artifact.load(tmp_path)


@pytest.mark.parametrize("place", ["../outside.onnx", "/etc/hostname", "sub/../../outside.onnx", "link.onnx"])
def test_a_file_outside_the_folder_is_never_opened(artifact, tmp_path_factory, place):
    outside = artifact.folder.parent / "outside.onnx"
    outside.write_bytes(b"outside")
    (artifact.folder / "sub").mkdir()
    (artifact.folder / "link.onnx").symlink_to(outside)
    document = artifact.to_json()
    document["files"][0]["path"] = place
    document["digest"] = replace(artifact, files=(replace(artifact.files[0], path=place),)).digest
    with pytest.raises(ArtifactError, match="a file outside its folder"):
        Artifact.load(write(artifact, document))


def test_changed_bytes_are_refused(artifact):
    folder = write(artifact)
    data = bytearray(artifact.model_path.read_bytes())
    data[len(data) // 2] ^= 1
    artifact.model_path.write_bytes(data)
    with pytest.raises(ArtifactError, match="is not the file that was fitted"):
        Artifact.load(folder)


def test_a_cut_or_missing_file_is_refused(artifact):
    folder = write(artifact)
    os.truncate(artifact.model_path, 100)
    with pytest.raises(ArtifactError, match="is not the file that was fitted"):
        Artifact.load(folder)
    artifact.model_path.unlink()
    with pytest.raises(ArtifactError, match=r"is missing; expected \d+ bytes; copy the whole folder"):
        Artifact.load(folder)


def test_another_digest_than_the_files_is_refused(artifact):
    document = artifact.to_json()
    document["digest"] = "sha256:" + "0" * 64
    with pytest.raises(ArtifactError, match="digest"):
        Artifact.load(write(artifact, document))


def test_a_raw_head_needs_a_box_and_a_class_output_for_each_stride(artifact):
    outputs = tuple(HeadOutput(f"{role}8", role, 8) for role in ("box", "class"))
    with pytest.raises(ArtifactError, match="outputs"):
        Artifact.load(write(replace(artifact, head=HeadSpec("yolov8", (8, 16, 32), 4, outputs))))


def test_the_digest_names_the_bytes_and_the_size_is_theirs(artifact):
    assert artifact.digest.startswith("sha256:")
    assert replace(artifact, name="other").digest == artifact.digest
    assert replace(artifact, files=(replace(artifact.files[0], sha256="0" * 64),)).digest != artifact.digest
    assert artifact.size_bytes == artifact.model_path.stat().st_size
    described = describe_file(artifact.model_path, artifact.folder)
    assert described == artifact.files[0]
    assert described.sha256 == sha256_of(artifact.model_path)

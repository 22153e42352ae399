"""An artifact is read back as it was written, or refused in one sentence."""

import copy
import json
import os
from dataclasses import replace

import pytest

from edgewright import artifact as artifact_module
from edgewright.artifact import FILE_NAME, Artifact, ArtifactFile, HeadOutput, HeadSpec, Threshold, describe_file, sha256_of
from edgewright.errors import ArtifactError
from edgewright.graph.describe import describe_detector
from tiny_detector import save_tiny_detector


@pytest.fixture
def artifact(tmp_path) -> Artifact:
    """Of a real model, with every optional field in use."""
    found = describe_detector(save_tiny_detector(tmp_path / "model.onnx"))
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


ANCHORS = (((10.0, 13.0), (16.0, 30.5)), ((116.0, 90.0),))


def head_of(family, roles, strides=(8, 16), **more):
    outputs = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride in strides for role in roles)
    return HeadSpec(family, strides, more.get("reg_max"), outputs, more.get("anchors"))


HEADS = {
    "yolov8": head_of("yolov8", ("box", "class"), reg_max=16),
    "end2end": head_of("end2end", ("box", "class"), reg_max=1),
    "yolov5": head_of("yolov5", ("combined",), anchors=ANCHORS),
    "yolox": head_of("yolox", ("box", "objectness", "class")),
    "undecoded": HeadSpec("yolox", (8, 16), None, (HeadOutput("rows", "undecoded"),)),
    "rows": HeadSpec("end2end", (8, 16), 16, (HeadOutput("rows", "decoded"),)),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_head_of_every_family_comes_back(artifact, head):
    changed = replace(artifact, head=head)
    assert Artifact.load(write(changed)).head == head
    assert head.needs_nms == (head.family != "end2end")


@pytest.mark.parametrize("name", ["yolov8", "yolox", "rows"])
def test_an_artifact_older_than_anchors_still_loads(artifact, name):
    document = json.loads(json.dumps(replace(artifact, head=HEADS[name]).to_json()))
    del document["head"]["anchors"]
    assert Artifact.load(write(artifact, document)).head == HEADS[name]


@pytest.mark.parametrize(
    "head",
    [
        replace(HEADS["yolov8"], family="yolov9000"),
        replace(HEADS["yolov8"], family=None),
        replace(HEADS["yolov8"], family=["yolov8"]),
        replace(HEADS["yolov8"], reg_max=None),
        replace(HEADS["yolov8"], reg_max=0),
        replace(HEADS["yolov8"], reg_max=100_000),
        replace(HEADS["yolov8"], family="yolox"),
        replace(HEADS["yolov8"], strides=(8, 32)),
        replace(HEADS["yolov8"], strides=(8,)),
        replace(HEADS["yolov8"], strides=(0, -8)),
        replace(HEADS["undecoded"], family="yolov8"),
        replace(HEADS["undecoded"], strides=()),
        replace(HEADS["yolov5"], anchors=None),
        replace(HEADS["yolov5"], anchors=ANCHORS[:1]),
        replace(HEADS["yolov5"], anchors=(((10.0, -1.0),), ((1.0, 1.0),))),
        replace(HEADS["yolov5"], anchors=(((10.0,),), ((1.0, 1.0),))),
        replace(HEADS["yolov5"], anchors=(((float("nan"), 1.0),), ((1.0, 1.0),))),
        replace(HEADS["yolov5"], anchors=((), ())),
        replace(HEADS["yolov5"], anchors=(((1.0, 1.0),) * 10_000, ((1.0, 1.0),))),
        replace(HEADS["yolov5"], anchors=("words", "words")),
        head_of("yolox", ("box", "objectness", "class"), strides=tuple(range(1, 40))),
    ],
    ids=lambda head: f"{head.family} {head.strides} {head.reg_max} {head.anchors}"[:60],
)
def test_a_head_that_no_decode_could_take_apart_is_refused(artifact, head):
    with pytest.raises(ArtifactError, match=r"lacks or garbles a field|not JSON that we read") as caught:
        Artifact.load(write(replace(artifact, head=head)))
    assert len(str(caught.value)) < 1000


def test_a_class_needs_its_own_score_or_the_common_one():
    assert Threshold(0.4, 0.6, {"cat": 0.9, "unknown": 0.1}).of_classes(("dog", "cat")) == (0.4, 0.9)
    assert Threshold(0.4).of_classes(("dog", "cat")) == (0.4, 0.4)


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
    assert set(document["head"]) == {"family", "strides", "reg_max", "outputs", "anchors"}
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
    newer = {"anchors", "scale", "zero_point"}  # of the head: older artifacts lack them
    paths = [path for path in paths_of(whole) if path[0] != "head" or path[-1] not in newer]
    assert len(paths) > 30
    for path in paths:
        document = copy.deepcopy(whole)
        del at_path(document, path[:-1])[path[-1]]
        with pytest.raises(ArtifactError) as caught:
            Artifact.load(write(artifact, document))
        assert path[-1] in str(caught.value), path
        assert "\n" not in str(caught.value)


# What a reader only shows or looks up may be any text; these may be null, and so may lists of anything be empty.
HARMLESS = {
    ("name",): (str,),
    ("engine",): (str,),
    ("precision",): (str,),
    ("input", "name"): (str,),
    ("head", "outputs", 0, "scale"): (type(None),),
    ("head", "outputs", 0, "zero_point"): (int,),
    ("input", "scale"): (int,),
    ("head", "strides"): (list,),
    ("head", "anchors"): (type(None), list),
    ("head", "reg_max"): (type(None),),
    ("head", "outputs", 0, "name"): (str,),
    ("head", "outputs", 0, "stride"): (type(None),),
    ("threshold", "per_class"): (type(None), dict),
    ("scheme",): (type(None),),
    ("target",): (dict,),
    ("lineage",): (dict,),
}


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
        assert (isinstance(wrong, HARMLESS.get(path, ())) and wrong is not True) or path[-1] == "centred", path


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
    with pytest.raises(ArtifactError, match="cannot be read; got more than 10 bytes"):
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


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": ["a"] * 70_000}, "classes is a list of 70000, no list of at most 65536"),
        ({"classes": ["a" * 1001]}, "no text of at most 1000 characters"),
        ({"classes": ["a", 7]}, "classes hold 7"),
        ({"classes": []}, "classes are none"),
        ({"name": "n" * 1001}, "no text of at most 1000 characters"),
        ({"engine": "e" * 41}, "no text of at most 40 characters"),
        ({"task": "segment"}, "task is 'segment', none of detect"),
        ({"scheme": {"recipe": "static"}}, "recipe is 'static', no mapping"),
        ({"scheme": {"recipe": {"mode": ["static"]}}}, "mode is a list of 1, no text"),
        ({"threshold": {"score": 1.5, "iou": 0.5, "per_class": None}}, "score is 1.5, not from 0 to 1"),
        ({"threshold": {"score": 0.5, "iou": -0.5, "per_class": None}}, "iou is -0.5, not from 0 to 1"),
        ({"threshold": {"score": 0.5, "iou": 0.5, "per_class": {"a\x1b[31m": 2}}}, r"per_class 'a\x1b[31m' is 2.0"),
        ({"files": [{"path": "model.onnx", "sha256": "A" * 64, "bytes": 1}]}, "sha256 'AAAA"),
        ({"files": [{"path": "model.onnx", "sha256": "0" * 64, "bytes": 1.0}]}, "bytes is 1.0, no whole number"),
        ({"files": [{"path": "p" * 256, "sha256": "0" * 64, "bytes": 1}]}, "no text of at most 255 characters"),
        ({"files": ["model.onnx"]}, "lacks or garbles a field"),
    ],
)
def test_every_field_is_typed_and_bounded(artifact, change, said):
    with pytest.raises(ArtifactError) as caught:
        Artifact.load(write(artifact, artifact.to_json() | change))
    assert said in str(caught.value)
    assert str(caught.value).isprintable()


def nested(depth):
    found = "deep"
    for _ in range(depth):
        found = {"a": [found]}
    return found


@pytest.mark.parametrize("field", ["scheme", "target", "lineage"])
def test_what_the_tools_wrote_may_be_nested_but_not_without_end(artifact, field):
    sound = artifact.to_json()[field]
    assert getattr(Artifact.load(write(artifact, artifact.to_json() | {field: sound | {"more": nested(5)}})), field)["more"]
    with pytest.raises(ArtifactError, match=f"{field} is nested more than 16 deep"):
        Artifact.load(write(artifact, artifact.to_json() | {field: sound | {"more": nested(20)}}))


def test_files_together_are_bounded(artifact):
    big = {"sha256": "0" * 64, "bytes": 3 << 30}
    files = [{"path": "model.onnx", **big}, {"path": "data.bin", **big}]
    digest = replace(artifact, files=tuple(ArtifactFile(**file) for file in files)).digest
    with pytest.raises(ArtifactError, match="is too large; got 6442450944 bytes"):
        Artifact.load(write(artifact, artifact.to_json() | {"files": files, "digest": digest}))


def test_text_that_could_not_be_written_again_is_refused(artifact):
    for text in (
        '{"schema": 1, "a": NaN}',
        '{"schema": 1, "a": 1e999}',
        r'{"schema": 1, "a": "\ud800"}',
        '{"schema": 1, "a": ' + "1" * 5000 + "}",
    ):
        with pytest.raises(ArtifactError, match="is not JSON that we read"):
            Artifact.load(write(artifact, text))


def test_a_link_to_the_folder_and_a_link_inside_it_are_followed(artifact, tmp_path_factory):
    folder = write(artifact)
    (folder / "model.onnx").rename(folder / "weights.onnx")
    (folder / "model.onnx").symlink_to("weights.onnx")
    link = tmp_path_factory.mktemp("links") / "fitted"
    link.symlink_to(folder)
    assert Artifact.load(link).digest == artifact.digest

"""A model that was admitted is not examined again, as long as nothing that its admission rested on has changed."""

import json
import os
from dataclasses import replace

import onnx
import pytest

from edgewright.artifact import FILE_NAME, describe_file
from edgewright.door import admission, remembered
from edgewright.door.admission import admit_artifact, admit_detector
from edgewright.errors import HostError, ModelError
from tiny_detector import save_tiny_detector


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "admitted"


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "models").mkdir()
    return save_tiny_detector(tmp_path / "models" / "tiny.onnx")


@pytest.fixture
def nobody_at_the_door(monkeypatch):
    """From the call on, whoever asks is told that nobody is there."""
    return lambda: monkeypatch.setattr(admission, "CHILD", "door.there_is_no_such_module")


def laid_down(artifact, folder):
    (folder / FILE_NAME).write_text(json.dumps(artifact.to_json()))
    return folder


def is_asked(admit, path):
    try:
        admit(path)
    except HostError as error:
        return "models cannot be examined here" in str(error)
    return False


def test_the_same_bytes_are_admitted_without_the_child(cache, tiny, nobody_at_the_door):
    first = admit_detector(tiny)
    folder = laid_down(first, tiny.parent)
    artifact = admit_artifact(folder)
    nobody_at_the_door()
    assert admit_detector(tiny) == first
    assert admit_artifact(folder) == artifact
    assert len(list(cache.iterdir())) == 2


def test_other_bytes_under_the_same_name_are_examined(cache, tiny, nobody_at_the_door):
    admit_detector(tiny)
    save_tiny_detector(tiny, activation="relu")
    nobody_at_the_door()
    assert is_asked(admit_detector, tiny)


def test_the_same_bytes_under_another_name_are_another_detector(cache, tiny, nobody_at_the_door):
    admit_detector(tiny)
    other = tiny.rename(tiny.with_name("other.onnx"))
    assert admit_detector(other).name == "other"
    nobody_at_the_door()
    assert admit_detector(other).files[0].path == "other.onnx"


def test_another_description_of_the_same_bytes_is_examined(cache, tiny, nobody_at_the_door):
    described = admit_detector(tiny)
    folder = laid_down(described, tiny.parent)
    admit_artifact(folder)
    nobody_at_the_door()
    for changed in (replace(described, head=replace(described.head, family="yolov5")), replace(described, precision="int8")):
        assert is_asked(admit_artifact, laid_down(changed, folder))
    assert not is_asked(admit_artifact, laid_down(described, folder))


@pytest.mark.parametrize(
    ("what", "value"), [("__version__", "9.9"), ("_processor", lambda: ["another"])], ids=["another edgewright", "another processor"]
)
def test_what_else_the_verdict_rests_on_may_not_have_changed(cache, tiny, nobody_at_the_door, monkeypatch, what, value):
    admit_detector(tiny)
    nobody_at_the_door()
    monkeypatch.setattr(remembered, what, value)
    assert is_asked(admit_detector, tiny)


def test_another_engine_version_asks_again(cache, tiny, nobody_at_the_door, monkeypatch):
    admit_detector(tiny)
    nobody_at_the_door()
    monkeypatch.setattr("onnxruntime.__version__", "0.0")
    assert is_asked(admit_detector, tiny)


def test_what_was_refused_is_refused_again(cache, tiny):
    tiny.write_bytes(b"\x08\x08 no model")
    for _ in range(2):
        with pytest.raises(ModelError):
            admit_detector(tiny)
    assert not cache.exists()


def test_a_model_whose_data_lie_elsewhere_is_always_examined(cache, tiny, nobody_at_the_door):
    """The digest of the model says nothing about them."""
    onnx.save(onnx.load(tiny), tiny, save_as_external_data=True, location="weights.bin", size_threshold=100)
    described = admit_detector(tiny)
    nobody_at_the_door()
    assert is_asked(admit_detector, tiny)
    assert is_asked(admit_artifact, laid_down(described, tiny.parent))


def test_an_artifact_that_does_not_list_its_weights_is_always_examined(cache, tiny, nobody_at_the_door, monkeypatch):
    described = admit_detector(tiny)
    for name in ("model.xml", "model.bin"):
        (tiny.parent / name).write_bytes(b"<net/>")
    xml, weights = (describe_file(tiny.parent / name, tiny.parent) for name in ("model.xml", "model.bin"))
    monkeypatch.setattr(admission, "_ask", lambda _errand, folder: json.loads((folder / FILE_NAME).read_text()))
    admit_artifact(laid_down(replace(described, engine="openvino", files=(xml,)), tiny.parent))
    admit_artifact(laid_down(replace(described, engine="openvino", files=(xml, weights)), tiny.parent))
    monkeypatch.undo()
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(cache.parent))
    nobody_at_the_door()
    assert not is_asked(admit_artifact, tiny.parent)
    assert is_asked(admit_artifact, laid_down(replace(described, engine="openvino", files=(xml,)), tiny.parent))


# --- whose word it is ---------------------------------------------------------------------------------------------------------------------


def test_records_are_for_our_eyes_and_hands_only(cache, tiny):
    admit_detector(tiny)
    [record] = cache.iterdir()
    assert (record.stat().st_mode & 0o777, cache.stat().st_mode & 0o777, cache.parent.stat().st_mode & 0o777) == (0o600, 0o700, 0o700)


def others_may_write_the_record(cache):
    next(cache.iterdir()).chmod(0o666)


def others_may_write_the_folder(cache):
    cache.chmod(0o777)


def a_link_has_its_name(cache):
    [record] = cache.iterdir()
    moved = record.rename(cache.parent / "elsewhere.json")
    record.symlink_to(moved)


def a_link_is_the_folder(cache):
    moved = cache.rename(cache.parent / "moved")
    cache.symlink_to(moved)


def a_pipe_has_its_name(cache):
    [record] = cache.iterdir()
    record.unlink()
    os.mkfifo(record, 0o600)


def words(cache):
    next(cache.iterdir()).write_text("words")


def nested_without_end(cache):
    next(cache.iterdir()).write_text("[" * 100_000)


def another_file_s_description(cache):
    record = next(cache.iterdir())
    known = json.loads(record.read_text())
    known["files"][0]["sha256"] = "0" * 64
    record.write_text(json.dumps(known))


def half_a_description(cache):
    record = next(cache.iterdir())
    known = json.loads(record.read_text())
    del known["head"]
    record.write_text(json.dumps(known))


@pytest.mark.parametrize(
    "spoil",
    [
        others_may_write_the_record,
        others_may_write_the_folder,
        a_link_has_its_name,
        a_link_is_the_folder,
        a_pipe_has_its_name,
        words,
        nested_without_end,
        another_file_s_description,
        half_a_description,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_record_that_may_be_a_stranger_s_is_not_believed(cache, tiny, nobody_at_the_door, monkeypatch, spoil):
    described = admit_detector(tiny)
    spoil(cache)
    with monkeypatch.context() as absent:
        absent.setattr(admission, "CHILD", "door.there_is_no_such_module")
        assert is_asked(admit_detector, tiny)
    assert admit_detector(tiny) == described


def test_another_owner_s_record_is_not_believed(cache, tiny, nobody_at_the_door, monkeypatch):
    admit_detector(tiny)
    monkeypatch.setattr(remembered.os, "geteuid", lambda: 12345)
    nobody_at_the_door()
    assert is_asked(admit_detector, tiny)


# --- where, and how many ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["off", "", "OFF"])
def test_it_can_be_turned_off(cache, tiny, nobody_at_the_door, monkeypatch, value):
    admit_detector(tiny)
    monkeypatch.setenv("EDGEWRIGHT_CACHE", value)
    nobody_at_the_door()
    assert is_asked(admit_detector, tiny)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"XDG_CACHE_HOME": "{}/xdg", "HOME": "{}/home"}, "xdg/edgewright/admitted"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "{}/home"}, "home/.cache/edgewright/admitted"),
        ({"HOME": "{}/home"}, "home/.cache/edgewright/admitted"),
    ],
)
def test_it_lies_where_caches_lie(tiny, tmp_path, monkeypatch, environment, place):
    for name in ("EDGEWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    admit_detector(tiny)
    assert len(list((tmp_path / place).iterdir())) == 1


@pytest.mark.parametrize("place", ["/dev/null/cache", "/proc/cache"])
def test_a_place_that_cannot_be_written_is_no_error(tiny, monkeypatch, place):
    monkeypatch.setenv("EDGEWRIGHT_CACHE", place)
    assert admit_detector(tiny) == admit_detector(tiny)


def test_the_oldest_records_go_and_what_is_not_ours_stays(cache, tiny, monkeypatch):
    monkeypatch.setattr(remembered, "MOST_RECORDS", 3)
    cache.mkdir(parents=True, mode=0o700)
    for age, name in enumerate(("b.json", "a.part", "c.json", "notes.txt")):
        (cache / name).write_text("{}")
        os.utime(cache / name, (1000 + age, 1000 + age))
    admit_detector(tiny)
    left = {path.name for path in cache.iterdir()}
    assert {"a.part", "c.json", "notes.txt"} < left
    assert "b.json" not in left
    assert len(left) == 4

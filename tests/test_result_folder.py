"""Files appear in a result's folder together, whatever was planted there. Kills and full disks: scenarios/test_every_write.py."""

import json
import shutil

import pytest

from edgewright.artifact import Artifact, sha256_of
from edgewright.errors import InputError
from edgewright.fit import Budget, FitRequest, fit
from edgewright.fit.workspace import workspace
from edgewright.result_folder import CALIBRATE, FIT, INTENT, QUANTIZE, RECOVER, STAGED, publish, staging, working_folder
from edgewright.whole_file import write_whole
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

OLD, NEW = "model-000000000000.onnx", "model-111111111111.onnx"


def stage(out, files, name=FIT):
    with working_folder(out, name) as work:
        staged = staging(work)
        for file, content in files.items():
            write_whole(staged / file, content)
        publish(staged, out)


def result_in(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_the_model_that_is_no_longer_named_goes_and_other_files_stay(tmp_path):
    stage(tmp_path, {OLD: b"old", "artifact.json": b"1", "evidence.json": b"1"})
    (tmp_path / "model-final.onnx").write_bytes(b"the user's own")
    stage(tmp_path, {NEW: b"new", "artifact.json": b"2"})
    assert result_in(tmp_path) == {NEW: b"new", "artifact.json": b"2", "evidence.json": b"1", "model-final.onnx": b"the user's own"}
    stage(tmp_path, {"evidence.json": b"3"})
    assert result_in(tmp_path)[NEW] == b"new"


@pytest.mark.parametrize("moved", [(), (NEW,), (NEW, "artifact.json")])
@pytest.mark.parametrize("killed_in", [FIT, QUANTIZE, CALIBRATE, RECOVER])
def test_a_killed_publication_is_finished_by_the_next_run_of_any_verb(tmp_path, moved, killed_in):
    stage(tmp_path, {OLD: b"old", "artifact.json": b"1"})
    pending(tmp_path, {NEW: b"new", "artifact.json": b"2", "report.html": b"2"}, moved, killed_in)
    with working_folder(tmp_path, QUANTIZE):
        pass
    assert result_in(tmp_path) == {NEW: b"new", "artifact.json": b"2", "report.html": b"2"}
    assert not list(tmp_path.rglob(INTENT))
    assert not list(tmp_path.rglob(STAGED))


@pytest.mark.parametrize(("name", "kept"), [(FIT, True), (RECOVER, True), (QUANTIZE, False), (CALIBRATE, False)])
def test_what_a_killed_run_had_finished_is_there_for_those_who_go_on_with_it(tmp_path, name, kept):
    with working_folder(tmp_path, name) as work:
        (work / "stages").mkdir()
        (work / "stages/01-swap.onnx").write_bytes(b"an hour of learning")
    for _ in range(2):
        with working_folder(tmp_path, name):
            pass
    assert (tmp_path / name / "stages/01-swap.onnx").exists() == kept


def pending(out, files, moved=(), name=FIT):
    """As a kill leaves it, with some files moved already."""
    work = out / name
    staged = work / STAGED
    staged.mkdir(parents=True)
    for file, content in files.items():
        (staged / file).write_bytes(content)
    (work / INTENT).write_text(json.dumps({file: sha256_of(staged / file) for file in files}))
    for file in moved:
        (staged / file).rename(out / file)


def test_one_whose_files_are_not_what_they_were_is_dropped_with_what_was_moved_of_it(tmp_path):
    stage(tmp_path, {OLD: b"old", "artifact.json": b'{"path": "model-000000000000.onnx"}'})
    before = result_in(tmp_path)
    pending(tmp_path, {NEW: b"new", "artifact.json": b"2"}, moved=[NEW])
    (tmp_path / FIT / STAGED / "artifact.json").write_bytes(b"torn")
    with working_folder(tmp_path, FIT) as work:
        assert list(work.iterdir()) == []
    assert result_in(tmp_path) == before


INTENTS = {
    "not json": b"{",
    "no object": b"[1]",
    "other types": b'{"artifact.json": 1}',
    "no digest": b'{"artifact.json": "x"}',
    "another name": b'{"notes.txt": "' + b"0" * 64 + b'"}',
    "a way out": b'{"../victim": "' + b"0" * 64 + b'"}',
    "an absolute way out": b'{"/etc/passwd": "' + b"0" * 64 + b'"}',
    "deep": b"[" * 60_000,
    "not UTF-8": b"\xff\xfe{",
    "large": b" " * (1 << 17),
}


@pytest.mark.parametrize("intent", INTENTS)
def test_an_intent_that_is_none_of_ours_moves_nothing(tmp_path, intent):
    out = tmp_path / "out"
    (tmp_path / "victim").write_bytes(b"precious")
    stage(out, {"artifact.json": b"1"})
    (out / "notes.txt").write_bytes(b"the user's")
    before = result_in(out)
    (out / FIT / STAGED).mkdir()
    (out / FIT / STAGED / "notes.txt").write_bytes(b"")
    (out / FIT / INTENT).write_bytes(INTENTS[intent])
    with working_folder(out, FIT) as work:
        assert list(work.iterdir()) == []
    assert result_in(out) == before
    assert (tmp_path / "victim").read_bytes() == b"precious"


# --- links --------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path):
    """A folder outside, whose bytes must not change."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("artifact.json", "evidence.json", "report.html", "journal.jsonl", INTENT, OLD):
        (folder / name).write_bytes(f"precious {name}".encode())
    before = result_in(folder)
    yield folder
    assert result_in(folder) == before
    assert len(list(folder.rglob("*"))) == len(before)


def test_the_folder_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    stage(tmp_path / "out", {NEW: b"new", "artifact.json": b"1"})
    assert result_in(tmp_path / "disk") == {NEW: b"new", "artifact.json": b"1"}


@pytest.mark.parametrize("name", [FIT, QUANTIZE, CALIBRATE])
def test_a_working_folder_that_is_a_link_is_refused(tmp_path, victim, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(victim)
    with pytest.raises(InputError, match="is a link or a file"), working_folder(tmp_path / "out", name):
        pytest.fail("worked in a folder outside")


def test_links_of_the_names_that_are_published_are_replaced(tmp_path, victim):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("artifact.json", "evidence.json", "report.html", OLD):
        (out / name).symlink_to(victim / name)
    stage(out, {NEW: b"new", "artifact.json": b"1", "evidence.json": b"1", "report.html": b"1"})
    assert not any(path.is_symlink() for path in out.iterdir())
    assert result_in(out) == {NEW: b"new", "artifact.json": b"1", "evidence.json": b"1", "report.html": b"1"}


@pytest.mark.parametrize("resume", [True, False])
def test_links_in_the_working_folder_are_removed_and_not_followed(tmp_path, victim, resume):
    work = tmp_path / "out" / FIT
    work.mkdir(parents=True)
    for name in ("candidates", "float", STAGED):
        (work / name).symlink_to(victim)
    for name in ("journal.jsonl", INTENT):
        (work / name).symlink_to(victim / name)
    with workspace(tmp_path / "out", resume=resume):
        assert list(work.iterdir()) == []


def test_a_fit_among_planted_links_writes_nothing_through_them(tmp_path, victim):
    out, data = tmp_path / "out", write_tiny_dataset(tmp_path / "data", train=8, val=4)
    work = out / FIT
    work.mkdir(parents=True)
    for name in ("candidates", "float", STAGED):
        (work / name).symlink_to(victim)
    (work / "journal.jsonl").hardlink_to(victim / "journal.jsonl")
    for name in ("artifact.json", "evidence.json", "report.html", OLD):
        (out / name).symlink_to(victim / name)
    request = FitRequest(
        save_tiny_detector(tmp_path / "tiny.onnx"),
        data,
        out,
        Budget(max_drop=100),
        threads=1,
        images=4,
        resume=True,
        recipes=(),
        engines=("onnxruntime",),
    )
    fit(request)
    assert Artifact.load(out).model_path.is_file()
    assert not any(path.is_symlink() for path in out.rglob("*"))


@pytest.mark.parametrize("name", ["artifact.json", "report.html"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_the_work(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="is a folder"), working_folder(tmp_path, FIT):
        pytest.fail("worked for nothing")


def test_a_folder_whose_first_run_was_killed_is_ours(tmp_path):
    with working_folder(tmp_path, QUANTIZE):
        pass
    shutil.rmtree(tmp_path / FIT, ignore_errors=True)
    with workspace(tmp_path, resume=False):
        pass

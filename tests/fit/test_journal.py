"""A finished step is never done twice, and never believed for other inputs."""

import contextlib
import json
import os
import resource

import pytest

from edgewright.errors import DiskError, InputError
from edgewright.fit.journal import MOST_BYTES, MOST_LINES, Journal, digest_of


def _counted(results):
    """Work that notes each time it is done."""
    done = []

    def work():
        done.append(len(done))
        return results, []

    return work, done


def test_recalls_a_step_done_by_an_earlier_process(tmp_path):
    work, done = _counted({"map": 0.5})
    first = Journal(tmp_path).step("select", {"seed": 0}, work, dict)
    again = Journal(tmp_path).step("select", {"seed": 0}, work, dict)
    assert done == [0]
    assert again == first


def test_does_a_step_again_for_other_inputs_and_keeps_both(tmp_path):
    work, done = _counted({})
    journal = Journal(tmp_path)
    journal.step("select", {"seed": 0}, work, dict)
    journal.step("select", {"seed": 1}, work, dict)
    Journal(tmp_path).step("select", {"seed": 0}, work, dict)
    assert len(done) == 2


def test_does_a_step_again_when_its_file_is_gone_or_changed(tmp_path):
    target = tmp_path / "model.onnx"
    done = []

    def work():
        done.append(1)
        target.write_bytes(b"model")
        return {}, [target]

    Journal(tmp_path).step("compress", {}, work, dict)
    Journal(tmp_path).step("compress", {}, work, dict)
    assert len(done) == 1
    target.write_bytes(b"other")
    Journal(tmp_path).step("compress", {}, work, dict)
    assert (len(done), target.read_bytes()) == (2, b"model")
    target.unlink()
    Journal(tmp_path).step("compress", {}, work, dict)
    assert len(done) == 3


def test_cuts_off_a_line_that_was_torn_by_a_power_cut(tmp_path):
    work, done = _counted({})
    Journal(tmp_path).step("calibrate", {}, work, dict)
    whole = (tmp_path / "journal.jsonl").read_bytes()
    (tmp_path / "journal.jsonl").write_bytes(whole + b'{"step": "sele')
    Journal(tmp_path).step("calibrate", {}, work, dict)
    assert done == [0]
    assert (tmp_path / "journal.jsonl").read_bytes() == whole
    Journal(tmp_path).step("select", {}, work, dict)
    assert [json.loads(line)["step"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()] == ["calibrate", "select"]


def test_a_step_that_fails_leaves_no_line(tmp_path):
    def fail():
        raise RuntimeError("disk full")

    journal = Journal(tmp_path)
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            journal.step("compress", {}, fail, dict)
    assert not (tmp_path / "journal.jsonl").exists()


def test_counts_the_seconds_of_every_process(tmp_path):
    ticks = iter([0.0, 2.0])
    Journal(tmp_path, clock=lambda: next(ticks)).step("select", {}, lambda: ({}, []), dict)
    later = Journal(tmp_path, clock=lambda: next(iter([])))
    later.step("select", {}, lambda: ({}, []), dict)
    later.step("select", {}, lambda: ({}, []), dict)  # asked for twice, it took its time once
    assert later.seconds == 2.0


# --- what an earlier run left is not simply believed -------------------------------------------------------------------------------------


def _line(**changed):
    """A line of the journal as we write it, but for what is changed after its digest was made or, with `digest=None`, before."""
    fields = {"step": "select", "inputs": digest_of({}), "result": {"map": 0.5}, "files": {}, "seconds": 1.0}
    forged = "digest" in changed
    changed.pop("digest", None)
    digest = digest_of({**fields, **(changed if forged else {})})[:16]
    return json.dumps({**fields, **changed, "digest": digest}).encode() + b"\n"


def test_a_line_of_ours_is_recalled(tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(_line())
    work, done = _counted({})
    assert Journal(tmp_path).step("select", {}, work, dict) == {"map": 0.5}
    assert done == []


STRANGE = {
    "no JSON": b"{\n",
    "no object": b"[1, 2]\n",
    "a number": b"5\n",
    "a text": b'"select"\n',
    "nothing": b"\n",
    "another key": _line(more=1),
    "a figure that turned": _line(result={"map": 0.9}),
    "a forged step": _line(step=5, digest=None),
    "a forged step of a great length": _line(step="x" * 10_000, digest=None),
    "a forged result": _line(result=[1], digest=None),
    "a forged list of files": _line(files=["journal.jsonl"], digest=None),
    "a forged digest of a file": _line(files={"a": 1}, digest=None),
    "a file above": _line(files={"../victim": "0" * 64}, digest=None),
    "a file at the root": _line(files={"/etc/passwd": "0" * 64}, digest=None),
    "a file with a null": _line(files={"a\0b": "0" * 64}, digest=None),
    "no file": _line(files={"": "0" * 64}, digest=None),
    "seconds that are none": _line(seconds="1", digest=None),
    "endless seconds": _line(seconds=float("inf"), digest=None),
    "seconds back in time": _line(seconds=-1.0, digest=None),
    "not UTF-8": b'{"step": "\xff\xfe"}\n',
    "nested beyond reading": b"[" * 200_000 + b"\n",
    "a number of ten thousand digits": b'{"seconds": ' + b"9" * 10_000 + b"}\n",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_line_that_is_none_of_ours_is_dropped_and_said(tmp_path, strange):
    (tmp_path / "journal.jsonl").write_bytes(STRANGE[strange] + _line(step="calibrate", digest=None))
    journal = Journal(tmp_path)
    assert journal.lost == 1
    work, done = _counted({})
    journal.step("select", {}, work, dict)
    assert journal.step("calibrate", {}, work, dict) == {"map": 0.5}
    assert done == [0]
    assert Journal(tmp_path).lost == 0, "what was dropped is out of the file"


@pytest.mark.parametrize("what", ["a folder", "a link", "a pipe", "too many bytes", "too many lines"])
def test_what_can_be_no_journal_is_refused_in_one_sentence(tmp_path, what):
    path = tmp_path / "journal.jsonl"
    if what == "a folder":
        path.mkdir()
    elif what == "a link":
        (tmp_path / "other").write_bytes(_line())
        path.symlink_to(tmp_path / "other")
    elif what == "a pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(b"")
        os.truncate(path, MOST_BYTES + 1)
        if what == "too many lines":
            path.write_bytes(b"\n" * (MOST_LINES + 1))
    with pytest.raises(InputError, match="without --resume"):
        Journal(tmp_path)


def test_a_result_that_cannot_be_read_is_made_again(tmp_path):
    (tmp_path / "journal.jsonl").write_bytes(_line(result={"map": "much"}, digest=None))
    work, done = _counted({"map": 0.7})
    assert Journal(tmp_path).step("select", {}, work, lambda result: result["map"] + 0.0) == 0.7
    assert done == [0]
    assert Journal(tmp_path).step("select", {}, work, lambda result: result["map"] + 0.0) == 0.7
    assert done == [0]


def test_a_file_that_became_a_link_does_not_count(tmp_path):
    work = tmp_path / "work"
    work.mkdir()

    def make():
        (work / "model.onnx").write_bytes(b"model")
        return {}, [work / "model.onnx"]

    Journal(work).step("compress", {}, make, dict)
    (work / "model.onnx").rename(tmp_path / "elsewhere")
    (work / "model.onnx").symlink_to(tmp_path / "elsewhere")
    asked, done = _counted({})
    Journal(work).step("compress", {}, asked, dict)
    assert done == [0]


def test_a_backup_of_hard_links_keeps_the_journal_it_has(tmp_path):
    work, _ = _counted({})
    Journal(tmp_path).step("select", {}, work, dict)
    (tmp_path / "backup").hardlink_to(tmp_path / "journal.jsonl")
    held = (tmp_path / "backup").read_bytes()
    Journal(tmp_path).step("measure", {}, work, dict)
    assert (tmp_path / "backup").read_bytes() == held
    assert len((tmp_path / "journal.jsonl").read_bytes()) > len(held)


def test_a_line_the_disk_had_no_room_for_is_not_left_half(tmp_path):
    work, _ = _counted({"long": "x" * 100_000})
    journal = Journal(tmp_path)
    journal.step("select", {}, lambda: ({}, []), dict)
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = (tmp_path / "journal.jsonl").read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, held[1]))
    try:
        with pytest.raises(DiskError, match="may not grow that large"):
            journal.step("measure", {}, work, dict)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert (tmp_path / "journal.jsonl").read_bytes() == before


def test_results_come_back_alike_from_this_run_and_from_an_earlier_one(tmp_path):
    result = {"pairs": [(1, 2.5)], "by number": {2: "two", 10: "ten"}}
    now = Journal(tmp_path).step("audit", {}, lambda: (result, []), dict)
    assert (
        Journal(tmp_path).step("audit", {}, lambda: ({}, []), dict) == now == {"pairs": [[1, 2.5]], "by number": {"2": "two", "10": "ten"}}
    )

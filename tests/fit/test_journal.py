"""A finished step is never done twice, and never believed for other inputs."""

import contextlib
import json

from edgewright.fit.journal import Journal


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

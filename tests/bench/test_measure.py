"""Measured in real child processes, on a model of a few kilobytes."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bench.contract import ROW_KEYS
from edgewright.artifact import FILE_NAME, describe_file
from edgewright.bench import measure as measure_module
from edgewright.bench import process as process_module
from edgewright.bench.jobs import job_for, jobs_for
from edgewright.bench.measure import Job, Measurement, measure, ratio
from edgewright.engines import TensorSpec
from edgewright.engines.conversion import convert
from edgewright.engines.noise import invent
from edgewright.errors import EngineError, InputError, ModelError
from edgewright.graph.cost import mac_count
from edgewright.graph.describe import describe_detector
from tiny_detector import save_tiny_detector

THEIRS = """
import json, sys

print(json.dumps({"load_ms": 1, "first_ms": 2, "version": "9", "computes_in": "float32", "peak_mib": 3}), flush=True)
for line in sys.stdin:
    print(json.dumps({"samples_ms": [2.5] * json.loads(line)["runs"], "wall_s": 1, "cpu_s": 1, "peak_mib": 3}), flush=True)
"""


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measure_module, "BLOCK_MS", 10.0)


@pytest.fixture
def job(tmp_path):
    return Job("tiny", save_tiny_detector(tmp_path / "tiny.onnx"), "onnxruntime", "float32", threads=1)


def children() -> list[int]:
    """Processes of ours that live, or that nobody has buried."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def instead_of_python(tmp_path, monkeypatch, script):
    """Children run this shell script in place of the interpreter."""
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


def test_rows_have_the_contract_s_keys_and_sense_in_them(job, tmp_path):
    other = replace(job, name="same", path=save_tiny_detector(tmp_path / "same.onnx", activation="relu"))
    seen = []
    before = children()
    measurements = measure([job, other], rounds=3, progress=lambda done, total: seen.append((done, total)))
    assert children() == before
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for measured in measurements:
        row = json.loads(json.dumps(measured.row()))
        assert set(row) == ROW_KEYS
        assert row["name"] == measured.job.name
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["fps"] == pytest.approx(1000 / row["p50_ms"], rel=0.01)
        assert row["load_ms"] > 0 < row["first_ms"]
        assert row["cpu_percent"] > 0
        assert row["size_mb"] == pytest.approx(measured.job.path.stat().st_size / 1e6, abs=1e-3)
        assert (row["threads"], row["batch"], row["energy_j"]) == (1, 1, None)
        assert len(measured.rounds_ms) == 3
        assert all(len(block) >= 3 for block in measured.rounds_ms)
    faster = ratio(*measurements)
    assert 0 < faster.low <= faster.estimate <= faster.high


def test_a_measurement_survives_the_journal(job):
    [measured] = measure([job], rounds=2)
    assert Measurement.from_json(json.loads(json.dumps(measured.to_json()))) == measured


def test_peak_memory_is_the_child_s_own(job):
    ballast = np.ones(300 << 17)  # 300 MiB, touched
    [measured] = measure([job], rounds=2)
    assert ballast[-1] == 1
    assert 20 < measured.peak_mib < 250


def test_a_model_that_does_not_run_is_the_engine_s_error(job, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"words")
    before = children()
    with pytest.raises(EngineError, match=r"bad does not run: ONNX Runtime refuses .*bad\.onnx"):
        measure([job, replace(job, name="bad", path=tmp_path / "bad.onnx")], rounds=2)
    assert children() == before


def test_a_child_that_dies_at_once_is_quoted(job, tmp_path, monkeypatch):
    instead_of_python(tmp_path, monkeypatch, "echo first words >&2; echo out of luck >&2; exit 7")
    before = children()
    with pytest.raises(EngineError, match="the process that ran tiny died; got exit status 7; its last words: out of luck"):
        measure([job], rounds=2)
    assert children() == before


def test_a_child_that_is_killed_in_the_middle_takes_no_other_with_it_and_leaves_none(job):
    before = children()

    def kill_one(done, _total):
        if done == 1:
            os.kill(min(set(children()) - set(before)), signal.SIGKILL)

    with pytest.raises(EngineError, match="the process that ran tiny died; got exit status -9"):
        measure([job, replace(job, name="other")], rounds=4, progress=kill_one)
    assert children() == before


def test_the_first_run_of_a_block_is_not_counted(job, tmp_path, monkeypatch):
    opened = '{"load_ms": 1, "first_ms": 2, "version": "0", "computes_in": "float32", "peak_mib": 3}'
    answer = '{"samples_ms": [99, 1, 2], "wall_s": 2, "cpu_s": 1, "peak_mib": 5}'
    instead_of_python(tmp_path, monkeypatch, f"echo '{opened}'; while read -r line; do echo '{answer}'; done")
    [measured] = measure([job], rounds=3)
    assert measured.rounds_ms == ((1, 2),) * 3
    assert (measured.load_ms, measured.first_ms, measured.cpu_percent, measured.peak_mib) == (1, 2, 50.0, 5)


def test_a_child_that_says_nothing_is_given_up_and_killed(job, tmp_path, monkeypatch):
    instead_of_python(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; exec sleep 600")
    monkeypatch.setattr(process_module, "ANSWER_S", 0.3)
    with pytest.raises(EngineError, match="gives no answer"):
        measure([job], rounds=2)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_child_that_says_something_else_is_given_up(job, tmp_path):
    before = children()
    with pytest.raises(EngineError, match="gives an answer that is none; got Welcome!; expected a line of JSON"):
        measure([replace(job, command=(sys.executable, "-c", "print('Welcome!')"))], rounds=2)
    assert children() == before


def test_a_user_who_stops_the_measurement_leaves_no_child(job):
    before = children()

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([job], rounds=2, progress=stop)
    assert children() == before


def test_any_sound_model_can_be_measured(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["batch", "words"])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, None)
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "words", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "words.onnx")
    [measured] = measure([job_for(tmp_path / "words.onnx", 1)], rounds=2)
    assert measured.latency.p50 > 0


@pytest.mark.parametrize(
    ("spec", "shape", "dtype"),
    [
        (TensorSpec("x", (1, 3, 32, 32), "float32"), (1, 3, 32, 32), "float32"),
        (TensorSpec("x", (None, 3, None, None), "float32"), (1, 3, 640, 640), "float32"),
        (TensorSpec("x", (None, None), "int64"), (1, 1), "int64"),
        (TensorSpec("x", (1, 8, 8, 3), "uint8"), (1, 8, 8, 3), "uint8"),
        (TensorSpec("x", (), "float16"), (), "float16"),
        (TensorSpec("x", (), "uint8"), (), "uint8"),
        (TensorSpec("x", (4,), "bool"), (4,), "bool"),
    ],
)
def test_what_a_model_is_fed_is_seeded_noise_of_its_shape(spec, shape, dtype):
    fed = invent(spec)
    assert isinstance(fed, np.ndarray)
    assert (fed.shape, fed.dtype) == (shape, dtype)
    assert np.array_equal(fed, invent(spec))


def test_a_path_becomes_a_job(job, tmp_path):
    found = job_for(job.path, 2)
    assert found == replace(job, name=str(job.path), threads=2, macs=found.macs)
    assert found.macs == mac_count(onnx.load(job.path))
    artifact = replace(describe_detector(job.path), precision="int8", scheme={"recipe": {"mode": "static"}})
    (tmp_path / FILE_NAME).write_text(json.dumps(artifact.to_json()))
    found = job_for(tmp_path, 1)
    assert (found.path, found.precision, found.scheme, found.imgsz) == (job.path, "int8", "static", 64)
    assert found.macs == mac_count(onnx.load(job.path))


def test_an_artifact_in_another_format_does_the_work_of_the_model_it_was_made_of(job, tmp_path):
    pytest.importorskip("openvino")
    (tmp_path / "converted").mkdir()
    files = convert("openvino", job.path, tmp_path / "converted", precision="float32")
    described = describe_detector(job.path)
    artifact = replace(described, engine="openvino", files=tuple(describe_file(path, path.parent) for path in files))
    (tmp_path / "converted" / FILE_NAME).write_text(json.dumps(artifact.to_json()))
    assert job_for(tmp_path / "converted", 1).macs is None
    given, converted = jobs_for([job.path, tmp_path / "converted"], [1])
    assert converted.engine == "openvino"
    assert converted.macs == given.macs == mac_count(onnx.load(job.path))


def test_jobs_are_every_model_with_every_number_of_threads(job):
    assert [(found.path, found.threads) for found in jobs_for([job.path], [1, 2])] == [(job.path, 1), (job.path, 2)]


def test_work_a_second_is_known_where_the_work_is(job):
    [known, unknown] = measure([replace(job, macs=1_000_000), replace(job, name="unknown")], rounds=2)
    row = known.row(peak_macs_per_s=1e12)
    assert row["macs_per_s"] == pytest.approx(1e9 / row["p50_ms"], rel=1e-6)
    assert row["peak_share"] == pytest.approx(row["macs_per_s"] / 1e12, abs=1e-4)
    assert known.row()["peak_share"] is None
    assert (unknown.row(1e12)["macs_per_s"], unknown.row(1e12)["peak_share"]) == (None, None)


def test_somebody_else_s_program_is_measured_when_it_speaks_as_ours_does(job, tmp_path):
    script = tmp_path / "theirs.py"
    script.write_text(THEIRS)
    other = replace(job, name="theirs", command=(sys.executable, "-I", str(script)))
    [ours, theirs] = measure([job, other], rounds=2)
    assert (theirs.version, theirs.computes_in) == ("9", "float32")
    assert set(theirs.samples_ms) == {2.5}
    assert ratio(theirs, ours).estimate > 1
    assert Measurement.from_json(json.loads(json.dumps(theirs.to_json()))) == theirs


def test_a_path_that_is_nothing_to_measure_is_refused(tmp_path):
    (tmp_path / "words.onnx").write_text("words")
    with pytest.raises(InputError, match="there is no file"):
        job_for(tmp_path / "none.onnx", 1)
    with pytest.raises(ModelError, match="is not an ONNX model"):
        job_for(tmp_path / "words.onnx", 1)

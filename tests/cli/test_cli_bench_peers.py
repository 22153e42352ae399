"""`edgewright bench --peers`: what people use today, in a Python of its own; here one with stand-ins that have the same faces."""

import os
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from bench.contract import FRAME_KEYS, ROW_KEYS
from edgewright.bench import end_to_end
from edgewright.bench import measure as measure_module
from edgewright.bench.peers.environment import first_with, look_into
from edgewright.data.video import WebmWriter
from edgewright.errors import InputError

TUTORIAL, NNCF, ULTRALYTICS = "tutorial recipe", "OpenVINO + NNCF", "Ultralytics predict"
FAKE_ULTRALYTICS = """
import os
import onnxruntime, numpy

print("Welcome!")  # on standard output, where answers go
__version__ = "8.9"
assert os.environ["YOLO_OFFLINE"] == "true" and os.environ["YOLO_AUTOINSTALL"] == "false"


class Result:
    speed = {"preprocess": 0.25, "inference": 1.5, "postprocess": 0.125}


class YOLO:
    def __init__(self, model, task):
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        assert self.session.get_session_options().intra_op_num_threads == 1

    def predict(self, source, device, verbose, save, stream=False):
        if not stream:
            assert source.shape == (640, 640, 3)
            return [Result()]
        return iter([Result() for _ in range(5)])
"""
FAKE_TORCH = "def set_num_threads(count): assert count == 1"
FAKE_NNCF = """
import sys

assert "edgewright" not in sys.modules
try:
    import openvino_telemetry
    raise SystemExit("telemetry")
except ImportError:
    pass
__version__ = "9.9"


class Dataset:
    def __init__(self, data, transform=lambda item: item):
        self.feeds = [transform(item) for item in data]


def quantize(model, dataset, subset_size):
    assert len(dataset.feeds) == subset_size > 0
    assert all(feed.shape == (1, 3, 64, 64) and 0 <= feed.min() < feed.max() <= 1 for feed in dataset.feeds)
    return model
"""


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(measure_module, "BLOCK_MS", 10.0)
    monkeypatch.setattr(end_to_end, "BLOCK_MS", 10.0)
    monkeypatch.setattr(end_to_end, "COLD_STARTS", 1)


@pytest.fixture
def peer_python(tmp_path):
    """`peer_python(name=source, ...)`: the Python of an environment that has what ours has, and these packages."""

    def build(**packages: str) -> Path:
        venv.create(tmp_path / "peers", symlinks=True)
        [site] = (tmp_path / "peers").glob("lib/python*/site-packages")
        (site / "ours.pth").write_text(sysconfig.get_path("purelib"))
        for name, source in packages.items():
            (site / f"{name}.py").write_text(source)
        return tmp_path / "peers" / "bin" / "python"

    return build


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "belt.webm"
    with WebmWriter(path, 25.0) as writer:
        for grey in range(10):
            writer.write(np.full((48, 64, 3), 20 * grey, np.uint8))
    return path


def test_peers_are_rows_beside_ours_and_ours_is_held_against_each(edgewright, tiny_model, quantized_model, tiny_data, clip, peer_python):
    pytest.importorskip("openvino")
    python = peer_python(ultralytics=FAKE_ULTRALYTICS, torch=FAKE_TORCH, nncf=FAKE_NNCF)
    command = ("bench", tiny_model, quantized_model, "--threads", 1, "--rounds", 2, "--peers", "--data", tiny_data)
    ran = edgewright(*command, "--peer-python", python, "--end-to-end", clip, "--json", "-")
    assert ran.exit_code == 0, ran.err
    assert ran.json["left_out"] == []
    rows = {row["name"]: row for row in ran.json["rows"]}
    assert list(rows) == [str(tiny_model), str(quantized_model), TUTORIAL, NNCF, ULTRALYTICS]
    assert all(set(row) == ROW_KEYS | FRAME_KEYS for row in rows.values())
    assert (rows[ULTRALYTICS]["p50_ms"], rows[ULTRALYTICS]["version"]) == (1.5, "8.9")
    assert [rows[ULTRALYTICS][f"{stage}_ms"] for stage in ("preprocess", "model", "postprocess")] == [0.25, 1.5, 0.125]
    assert (rows[NNCF]["engine"], rows[TUTORIAL]["engine"]) == ("openvino", "onnxruntime")
    assert rows[TUTORIAL]["scheme"] == "static"
    pairs = {(ratio["a"], ratio["b"]) for ratio in ran.json["ratios"]}
    given, ours = str(tiny_model), str(quantized_model)
    assert pairs == {(given, other) for other in (ours, TUTORIAL, NNCF, ULTRALYTICS)} | {
        (peer, ours) for peer in (TUTORIAL, NNCF, ULTRALYTICS)
    }
    assert list(Path().iterdir()) == []


def test_peers_that_are_not_there_are_named_with_a_way_to_get_them(edgewright, tiny_model, peer_python):
    ran = edgewright("bench", tiny_model, "--threads", 1, "--rounds", 2, "--peers", "--peer-python", peer_python(), "--json", "-")
    assert ran.exit_code == 0
    assert [row["name"] for row in ran.json["rows"]] == [str(tiny_model)]
    left_out = {each["name"]: each["reason"] for each in ran.json["left_out"]}
    assert list(left_out) == [TUTORIAL, NNCF, ULTRALYTICS]
    assert "--data" in left_out[TUTORIAL]
    for name in (NNCF, ULTRALYTICS):
        assert "is not installed" in left_out[name]
        assert "--peer-python" in left_out[name]
    assert f"left out: {ULTRALYTICS}" in ran.err


def test_a_peer_that_breaks_is_left_out_and_the_others_are_measured(edgewright, tiny_model, tiny_data, peer_python):
    broken = {"ultralytics": "raise RuntimeError('out of luck')", "torch": FAKE_TORCH, "nncf": "import os; os.abort()"}
    command = ("bench", tiny_model, "--threads", 1, "--rounds", 2, "--peers", "--data", tiny_data, "--peer-python", peer_python(**broken))
    ran = edgewright(*command, "--json", "-")
    assert ran.exit_code == 0
    assert [row["name"] for row in ran.json["rows"]] == [str(tiny_model), TUTORIAL]
    left_out = {each["name"]: each["reason"] for each in ran.json["left_out"]}
    assert "out of luck" in left_out[ULTRALYTICS]
    assert "died" in left_out[NNCF]


def test_peers_are_asked_for_with_what_they_need(edgewright, tiny_model, tmp_path):
    edgewright("bench", tiny_model, "--data", "x", "--quiet").assert_refused(2, "add --peers")
    edgewright("bench", tiny_model, "--peers", "--data", "nowhere", "--quiet").assert_refused(2, "nowhere")
    nobody = tmp_path / "python"
    edgewright("bench", tiny_model, "--peers", "--peer-python", nobody, "--quiet").assert_refused(2, "is no Python that runs here")


def test_what_is_in_another_python_is_seen_without_importing_it(peer_python):
    python = peer_python(ultralytics="raise RuntimeError")
    assert look_into(python, ["ultralytics", "nowhere"]).packages == {"ultralytics"}
    assert first_with(["ultralytics"], [python]).python == python
    assert first_with(["nowhere"], [python]) is None
    with pytest.raises(InputError, match="is no Python"):
        look_into(Path("/bin/false"), [])


def test_the_real_ones_run(edgewright, test_data, tmp_path):
    python = os.environ.get("EDGEWRIGHT_PEER_PYTHON")
    if not python:
        pytest.skip("EDGEWRIGHT_PEER_PYTHON names no environment; benchmarks/peer_environment.py builds one")
    command = ("bench", test_data / "models/yolov8n.onnx", "--threads", 1, "--rounds", 2, "--peers", "--peer-python", python)
    ran = edgewright(*command, "--end-to-end", test_data / "video/bottle-detection.mp4", "--json", "-")
    assert ran.exit_code == 0
    assert ULTRALYTICS in {row["name"] for row in ran.json["rows"]}

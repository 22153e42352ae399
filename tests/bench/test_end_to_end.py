"""Whole frames of a real clip and of real pictures, in real child processes, on a detector of a few kilobytes."""

import json
import time

import cv2
import numpy as np
import pytest

from bench.contract import FRAME_KEYS
from edgewright.bench import end_to_end
from edgewright.bench.end_to_end import NOT_TIMED, FrameJob, FrameMeasurement, frame_ratio, measure_frames
from edgewright.bench.frames_child import Endless, WholePath
from edgewright.data.source import open_source
from edgewright.data.video import WebmWriter
from edgewright.detector import open_detector
from edgewright.engines.timed import TimedEngine
from edgewright.errors import DataError, InputError
from tiny_detector import save_tiny_detector

FRAMES = 12


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(end_to_end, "BLOCK_MS", 10.0)
    monkeypatch.setattr(end_to_end, "COLD_STARTS", 1)


@pytest.fixture
def model(tmp_path):
    return save_tiny_detector(tmp_path / "tiny.onnx")


@pytest.fixture
def clip(tmp_path):
    rng = np.random.default_rng(0)
    with WebmWriter(tmp_path / "belt.webm", 25.0) as writer:
        for _ in range(FRAMES):
            writer.write(rng.integers(0, 256, (96, 128, 3), np.uint8))
    return tmp_path / "belt.webm"


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for at in range(3):
        cv2.imwrite(str(folder / f"{at}.png"), np.full((48, 64, 3), 40 * at, np.uint8))
    return folder


def test_frames_of_a_clip_are_timed_from_the_file_to_the_boxes(model, clip):
    jobs = [FrameJob.of_ours(name, model, clip, 1) for name in ("a", "b")]
    seen = []
    measured = measure_frames(jobs, rounds=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for each in measured:
        row = json.loads(json.dumps(each.row()))
        assert set(row) == FRAME_KEYS == set(NOT_TIMED)
        assert all(row[f"{stage}_ms"] > 0 for stage in end_to_end.STAGES)
        assert 0 < row["around_share"] < 1
        assert 20 < row["detector_peak_mib"] < 400
        assert row["cold_start_ms"] > sum(row[f"{stage}_ms"] for stage in end_to_end.STAGES)
        assert len(each.rounds_ms) == 3
        assert all(len(block) >= end_to_end.LEAST_FRAMES for block in each.rounds_ms)
    faster = frame_ratio(*measured)
    assert 0 < faster.low <= faster.estimate <= faster.high


def test_frames_of_a_folder_of_pictures_are_timed_too(model, pictures):
    [measured] = measure_frames([FrameJob.of_ours("tiny", model, pictures, 1)], rounds=2)
    assert measured.fps > 0


def test_the_share_around_the_model_leaves_decode_out():
    stages = {"decode": [50.0], "preprocess": [1.0], "model": [6.0], "postprocess": [3.0]}
    row = FrameMeasurement(FrameJob("a", 1, ()), 100.0, ((60.0, 20.0), (40.0, 40.0), (50.0, 50.0)), stages, 10.0).row()
    assert row["around_share"] == 0.4
    assert row["end_to_end_fps"] == 25.0  # rounds of 40, 40 and 50 ms a frame


def test_each_stage_is_timed_where_it_happens(model, clip):
    with open_detector(model, threads=1) as detector:
        slow = SlowEngine(detector.engine)
        detector.engine = slow
        taken = WholePath(detector, open_source(clip)).staged_ms(3)
    assert {stage: len(samples) for stage, samples in taken.items()} == dict.fromkeys(end_to_end.STAGES, 3)
    assert min(taken["model"]) >= 30
    assert max(*taken["preprocess"], *taken["postprocess"]) < 30


def test_a_timed_engine_is_the_engine_it_times(model):
    with open_detector(model, threads=1) as detector:
        timed = TimedEngine(detector.engine)
        assert timed.describe() == detector.engine.describe()


def test_a_source_goes_on_from_its_beginning_and_the_first_of_each_time_does_not_count():
    opened = []

    def open_anew():
        opened.append(len(opened))
        return iter("abc")

    endless = Endless(open_anew)
    taken = [(endless.next_ms() is None, endless.last) for _ in range(7)]
    assert [letter for _, letter in taken] == list("abcabca")
    assert [first for first, _ in taken] == [True, False, False, True, False, False, True]
    assert opened == [0, 1, 2]


def test_a_source_of_one_frame_is_nothing_to_time():
    endless = Endless(lambda: iter("a"))
    endless.next_ms()
    with pytest.raises(DataError, match="a video, or a folder of pictures"):
        endless.next_ms()


def test_what_cannot_be_opened_is_said_in_the_child_s_words(model, clip, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"words")
    jobs = [FrameJob.of_ours("tiny", model, clip, 1), FrameJob.of_ours("bad", tmp_path / "bad.onnx", clip, 1)]
    with pytest.raises(InputError, match=r"bad does not run: .*bad\.onnx"):
        measure_frames(jobs, rounds=2)


class SlowEngine:
    """An engine that takes its time."""

    def __init__(self, engine):
        self._engine = engine

    def run(self, feeds):
        time.sleep(0.03)
        return self._engine.run(feeds)

    def describe(self):
        return self._engine.describe()

    def close(self):
        self._engine.close()

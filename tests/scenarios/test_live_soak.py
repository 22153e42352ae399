"""What only shows in the long run of a live service: memory that creeps, recoveries that fail once in a hundred, counts that drift.

`make soak` runs the full counts. EDGEWRIGHT_SOAK_SHARE=0.1 runs a tenth of each, to try the stories themselves.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from camera_bench import CameraBench
from edgewright.run.memory import MIB
from edgewright.stats import Interval, Latency, interval_of, resample_counts
from live_service import LiveService, assert_it_adds_up, write_blinking_clip
from tiny_detector import save_tiny_detector

SHARE = float(os.environ.get("EDGEWRIGHT_SOAK_SHARE", "1"))
WATCH_S, WARM_S = 600 * SHARE, 120 * SHARE
FAULTS = round(100 * SHARE)
BASELINE_S = max(20.0, 120 * SHARE)
CYCLES = round(200 * SHARE)
FRAMES = round(100_000 * SHARE)

BOARDS = Path(__file__).parents[2] / "src" / "edgewright" / "demo_model" / "circuit_boards.onnx"
VIDEO = "car-detection.mp4"
SIZE, FPS = (640, 360), 10
LOOK_EVERY_S, LOOKS_A_BLOCK = 1.0, 10  # looks that follow each other are much alike: blocks of them are resampled
MOST_A_MINUTE = 1 * MIB
MOST_TIMES_OLDER = 2.0
RECOVERS_WITHIN_S = 120.0  # half a minute between two tries at most, and a slow start
ANSWERS = {"answers": {"kind": "jsonl", "records": ["answers"], "most": "4 GiB"}}

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]


@pytest.fixture
def bench(test_data):
    with CameraBench(test_data) as cameras:
        yield cameras


def slope(seconds: list[float], values: list[float], seed: int = 0) -> Interval:
    """Of the least-squares line, a minute, with its interval: blocks of looks are drawn again (a block bootstrap, Kuensch 1989)."""
    blocks = len(seconds) // LOOKS_A_BLOCK
    x, y = (np.array(each[: blocks * LOOKS_A_BLOCK]).reshape(blocks, LOOKS_A_BLOCK).mean(axis=1) for each in (seconds, values))
    weights = np.concatenate([np.ones((1, blocks)), resample_counts(blocks, seed=seed)])
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    with np.errstate(invalid="ignore", divide="ignore"):  # one block drawn every time has no line
        slopes = 60 * (weights @ (x * y) / total - mean_x * mean_y) / (weights @ x**2 / total - mean_x**2)
    return interval_of(float(slopes[0]), slopes[1:])


def drops(camera: dict) -> dict[str, int]:
    """By reason, its own and those of its models."""
    found = Counter(camera["dropped"])
    for pair in camera["models"].values():
        found.update(pair["dropped"])
    return dict(found)


def test_memory_of_four_cameras_stays_where_it_is(bench, tmp_path):
    cameras = {f"line-{number}": {"source": bench.rtsp(VIDEO, SIZE, FPS).url} for number in range(4)}
    with LiveService(tmp_path, models={"boards": {"artifact": BOARDS}}, cameras=cameras, outputs=ANSWERS) as service:
        for name in cameras:
            service.wait_for("camera", name, "frames come")
        service.wait_for("worker", "boards", "is loaded")
        service.wait_until(service.answers)
        time.sleep(WARM_S)
        restarted = len(service.said("camera"))
        opened = service.descriptors()
        began_s, began_looks, pss, rss = time.monotonic(), [], [], []
        while (now_s := time.monotonic() - began_s) < WATCH_S - WARM_S:
            began_looks.append(now_s)
            pss.append(service.pss_bytes() / MIB)
            rss.append(service.rss_bytes() / MIB)
            time.sleep(LOOK_EVERY_S)
        closed = service.descriptors()
        service.stop()
        assert_it_adds_up(service.status)
    print(f"\n4 RTSP cameras, {SIZE[0]}x{SIZE[1]} at {FPS} fps, {WATCH_S:.0f} s of which {WARM_S:.0f} s to warm up")
    for name, camera in service.status["cameras"].items():
        pair = camera["models"]["boards"]
        print(f"  {name}: captured {camera['captured']}, answered {pair['answered']}, dropped {drops(camera)}, age ms {pair['age_ms']}")
    age = Latency.of([answer["age_ms"] for answer in service.answers()])
    lines = {"RSS": slope(began_looks, rss), "PSS": slope(began_looks, pss)}
    print(f"  frame age of all: p50 {age.p50:.0f} ms, p99 {age.p99:.0f} ms; {len(opened)} descriptors, then {len(closed)}")
    for (name, line), values in zip(lines.items(), (rss, pss), strict=True):
        print(f"  {name} {values[0]:.1f} MiB, then {values[-1]:.1f} MiB: {line} MiB a minute")
    assert opened == closed
    assert len(service.said("camera")) == restarted
    assert lines["RSS"].low <= 0 or lines["RSS"].high < MOST_A_MINUTE / MIB


KINDS = ("kill", "hang", "truncate", "bitflip", "close", "size")


class Saboteur(threading.Thread):
    """Breaks one camera again and again, and sees whether it comes back."""

    def __init__(self, name: str, camera, faults: range, service: LiveService) -> None:
        super().__init__(name=name, daemon=True)
        self.camera, self.faults, self.service = camera, faults, service
        self.done: Counter[str] = Counter()
        self.down_s: list[float] = []
        self.failed: str | None = None
        self._random = random.Random(name)

    def run(self) -> None:
        for number in self.faults:
            kind = KINDS[number // 3 * 5 % len(KINDS) - number % 3 * 2]  # each camera all kinds in turn, no two cameras the same at once
            self._break(kind, 1 + 4 * self._random.random())
            mended_s = time.monotonic()
            if not self._came_back():
                self.failed = f"{self.name} did not come back after fault {number}, {kind}"
                return
            self.done[kind] += 1
            self.down_s.append(time.monotonic() - mended_s)

    def _break(self, kind: str, for_s: float) -> None:
        if kind == "kill":
            self.camera.kill()
            time.sleep(for_s)
            self.camera.restart()
        elif kind == "size":
            self.camera.change_size((320, 180) if self.done["size"] % 2 == 0 else SIZE)
        else:
            self.camera.fault(kind, {"truncate": 0.7, "bitflip": 3e-3}.get(kind, 0.0))
            time.sleep(for_s)
            self.camera.fault("pass")

    def _came_back(self) -> bool:
        """Frames that were captured from now on are answered."""
        until_s, since_s = time.monotonic() + RECOVERS_WITHIN_S, time.time()
        while time.monotonic() < until_s:
            newest = [answer for answer in self.service.answers()[-400:] if answer["camera"] == self.name]
            if newest and newest[-1]["time_s"] > since_s + 0.5:
                return True
            time.sleep(0.2)
        return False


def test_a_hundred_faults_on_three_cameras_leave_the_fourth_alone(bench, tmp_path):
    model = save_tiny_detector(tmp_path / "tiny.onnx", size=320)
    cameras = {name: bench.rtsp(VIDEO, SIZE, FPS) for name in ("measured", "one", "two", "three")}
    for camera in cameras.values():
        camera.prepare((320, 180))
    tables = {name: {"source": camera.url, "stall": "3 s"} for name, camera in cameras.items()}
    with LiveService(tmp_path, models={"tiny": {"artifact": model, "threads": 1}}, cameras=tables, outputs=ANSWERS) as service:
        for name in cameras:
            service.wait_for("camera", name, "frames come")
        service.wait_until(service.answers)
        time.sleep(5)
        calm = ages_during(service, lambda: time.sleep(BASELINE_S))
        saboteurs = [Saboteur(name, cameras[name], range(at, FAULTS, 3), service) for at, name in enumerate(("one", "two", "three"))]
        troubled = ages_during(service, lambda: run_all(saboteurs))
        events = Counter(text.split(";")[0] for text in service.said("camera"))
        service.stop()
        assert_it_adds_up(service.status)
    done = sum((each.done for each in saboteurs), Counter())
    print(f"\n{done.total()} faults on three cameras: {dict(done)}")
    back_s = [each for saboteur in saboteurs for each in saboteur.down_s]
    print(f"  back after p50 {np.median(back_s):.1f} s, at most {max(back_s):.1f} s; said: {dict(events.most_common(8))}")
    print(f"  frame age of the fourth: calm {calm}, with faults {troubled}: p99 {troubled.p99 / calm.p99:.2f} times as old")
    assert not [each.failed for each in saboteurs if each.failed]
    assert service.status["cameras"]["measured"]["restarts"] == 0
    assert troubled.p99 <= MOST_TIMES_OLDER * calm.p99


def ages_during(service: LiveService, story) -> Latency:
    """Of the measured camera's frames that are answered meanwhile."""
    begin = len(service.answers())
    story()
    return Latency.of([answer["age_ms"] for answer in service.answers()[begin:] if answer["camera"] == "measured"])


def run_all(saboteurs: list[Saboteur]) -> None:
    for each in saboteurs:
        each.start()
    for each in saboteurs:
        each.join()


def test_a_model_that_comes_and_goes_leaves_no_memory_behind(tmp_path):
    model, clip = save_tiny_detector(tmp_path / "tiny.onnx"), write_blinking_clip(tmp_path / "blinking.avi")
    command = [sys.executable, Path(__file__).parents[1] / "model_loader.py", model, clip, tmp_path / "state", str(CYCLES)]
    looks = [json.loads(line) for line in subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()]
    assert len(looks) == CYCLES
    early, last = looks[CYCLES // 10 - 1], looks[-1]
    print(f"\n{CYCLES} loads and unloads: PSS {early['pss'] / MIB:.2f} MiB after {CYCLES // 10}, {last['pss'] / MIB:.2f} MiB at the end;")
    print(f"  pages of its own {early['own'] / MIB:.2f} MiB, then {last['own'] / MIB:.2f} MiB; {last['fds']} descriptors")
    assert {(look["fds"], look["children"]) for look in looks[CYCLES // 10 :]} == {(last["fds"], 2)}
    assert last["pss"] <= 1.01 * early["pss"]
    assert last["own"] <= 1.01 * early["own"]


def test_a_day_in_fast_motion_adds_up(tmp_path):
    model, clip = save_tiny_detector(tmp_path / "tiny.onnx"), write_blinking_clip(tmp_path / "blinking.avi", every=20)
    film = {"source": clip, "loop": True}
    cameras = {"every": film, "moving": {**film, "motion": True}}
    options = ("--frames", str(FRAMES // 2))
    rules = {"red": {"kind": "seen", "classes": ["red"]}}
    with LiveService(
        tmp_path,
        models={"tiny": {"artifact": model, "threads": 1}},
        cameras=cameras,
        rules=rules,
        outputs={**ANSWERS, "events": {"kind": "sqlite"}},
        options=options,
    ) as service:
        assert service.wait(6000) == 0
        assert_it_adds_up(service.status)
    every, moving = (service.status["cameras"][name] for name in cameras)
    print(f"\n{FRAMES} frames in {service.status['uptime_s']:.0f} s; of every: {drops(every)}, of moving: {drops(moving)}")
    assert every["captured"] == moving["captured"] == FRAMES // 2
    assert every["models"]["tiny"]["answered"] == FRAMES // 2
    assert moving["models"]["tiny"]["answered"] + moving["dropped"]["still"] == FRAMES // 2
    numbers = [answer["frame"] for answer in service.answers() if answer["camera"] == "every"]
    assert numbers == list(range(FRAMES // 2))
    told = [event for event in service.events if event["kind"] == "rule"]
    accounts = {each["name"]: each for each in service.status["outputs"]}
    assert accounts["answers"]["delivered"] == len(service.answers()) == FRAMES // 2 + moving["models"]["tiny"]["answered"]
    assert accounts["events"]["delivered"] == len(service.events) > len(told) > 0

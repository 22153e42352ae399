"""A fit is killed, again and again, in every stage, and goes on; what it had finished stays as it was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright.compress.recipes import RECIPES
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

STAGES = ("open", "calibrate", "explore", "question", "compress", "select", "spare", "measure", "rank", "judge", "bench", "report")
PATIENCE_S = 300


@dataclass
class Job:
    """A fit that can be started, killed and started again."""

    model: Path
    data: Path
    out: Path
    options: tuple[str, ...] = ()

    def start(self) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "edgewright",
            "fit",
            str(self.model),
            "--engines",
            "onnxruntime",
            "--data",
            str(self.data),
            "--out",
            str(self.out),
            "--resume",
        ]
        environment = {**os.environ, "COLUMNS": "200"}
        return subprocess.Popen(
            [*command, *self.options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )

    def finish(self) -> dict:
        process = self.start()
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode in (0, 1), said
        return json.loads((self.out / "evidence.json").read_text())

    def kill_in(self, stage: str, after_s: float) -> str | None:
        """Start, wait for the stage, a moment longer, then SIGKILL; the stage it was in when it died, None if it was done before."""
        process = self.start()
        reached = None
        for line in process.stderr:
            if line.strip() in STAGES:
                reached = line.strip()
            if reached == stage:
                break
        time.sleep(after_s)
        done = process.poll() is not None
        os.killpg(process.pid, signal.SIGKILL)
        later = [line.strip() for line in process.stderr if line.strip() in STAGES]
        process.wait()
        process.stderr.close()
        if done:
            return None
        return later[-1] if later else reached

    @property
    def journal(self) -> list[dict]:
        path = self.out / ".fit" / "journal.jsonl"
        if not path.exists():
            return []
        whole = path.read_bytes()
        return [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]


def kill_through(job: Job, per_stage: int, longest_s: float, rng: random.Random) -> dict[str, int]:
    """Kill `job` at least `per_stage` times in each stage, in the order of the stages; after each kill the journal only grows."""
    deaths = dict.fromkeys(STAGES, 0)
    for stage in STAGES:
        while deaths[stage] < per_stage:
            before = job.journal
            died_in = job.kill_in(stage, rng.uniform(0, longest_s))
            after = job.journal
            assert after[: len(before)] == before, f"a finished entry changed after a kill in {stage}"
            assert died_in is not None, f"the fit was done before it could be killed in {stage}"
            deaths[died_in] += 1
            longest_s = longest_s * 0.7 if died_in != stage else longest_s
    return deaths


def figures_of(evidence: dict) -> dict:
    """What must not depend on how often the fit was killed: everything but time and memory, and what follows from them.

    Which layers are tried in float follows from what they cost.
    """
    told = {recipe.name for recipe in RECIPES}
    return {
        "calibration": evidence["calibration"],
        "baseline": {key: evidence["baseline"][key] for key in ("map50", "map50_95")},
        "candidates": {c["name"]: (c["map50_95"], c["delta_points"], c["agreement"]) for c in evidence["candidates"] if c["name"] in told},
        "looks": evidence["exploration"]["ranges"],
    }


def tell_the_story(killed: Job, undisturbed: Job, per_stage: int, longest_s: float) -> dict[str, int]:
    deaths = kill_through(killed, per_stage, longest_s, random.Random(0))
    evidence = killed.finish()
    entries = killed.journal
    assert figures_of(evidence) == figures_of(undisturbed.finish())
    # The decision is a function of the journal: told the same figures, the fit says the same again.
    again = killed.finish()
    assert killed.journal[: len(entries)] == entries
    for key in ("verdict", "binding", "reason", "delta", "speedup"):
        assert again[key] == evidence[key]
    assert again["fitted"]["name"] == evidence["fitted"]["name"]
    return deaths


@pytest.fixture
def tiny(tmp_path):
    """Two jobs on the same tiny model and data: one to be killed, one to be left alone."""
    model = save_tiny_detector(tmp_path / "tiny.onnx")
    data = write_tiny_dataset(tmp_path / "data", train=40, val=16)
    options = ("--images", "12", "--max-drop", "100", "--threads", "1")
    return Job(model, data, tmp_path / "killed", options), Job(model, data, tmp_path / "undisturbed", options)


def test_a_fit_killed_in_every_stage_ends_as_if_it_had_not_been(tiny):
    deaths = tell_the_story(*tiny, per_stage=1, longest_s=0.05)
    assert min(deaths.values()) >= 1


def test_a_kill_leaves_an_older_result_whole(tiny):
    job, _ = tiny
    job.finish()
    held = {path.name: path.read_bytes() for path in job.out.iterdir() if path.is_file()}
    anew = Job(job.model, job.data, job.out, (*job.options, "--seed", "1"))
    assert anew.kill_in("judge", 0.0) is not None
    assert {path.name: path.read_bytes() for path in job.out.iterdir() if path.is_file()} == held


@pytest.mark.soak
def test_twenty_kills_on_a_real_detector(tmp_path):
    """At least three SIGKILLs in each stage, on the demo detector and drawn boards."""
    from edgewright.data.circuit_boards import write_dataset
    from edgewright.demo import demo_model

    data = write_dataset(tmp_path / "boards", train=72, val=32)
    options = ("--images", "32", "--max-drop", "5", "--threads", "1")
    jobs = [Job(demo_model(), data, tmp_path / name, options) for name in ("killed", "undisturbed")]
    deaths = tell_the_story(*jobs, per_stage=3, longest_s=1.0)
    print(f"SIGKILLs by stage: {deaths}, {sum(deaths.values())} in all")
    assert min(deaths.values()) >= 3

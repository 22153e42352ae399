"""A fit is killed, or finds the disk full, at any change it makes to a file: the older result stays, and `--resume` goes on."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright.artifact import Artifact
from edgewright.result_folder import FIT, INTENT, publish, working_folder
from scenarios.faulty_disk import FaultyDisk, How
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

SERVER = Path(__file__).with_name("fit_server.py")
KILLED = -9
FIRST, LATER = 12, 4  # the change at which the short form kills first, and how many later each time: the last step alone has forty


@dataclass
class FitServer:
    """Fits of one model to one data set, on a disk that can be told to fail."""

    disk: FaultyDisk
    process: subprocess.Popen
    model: Path
    data: Path

    def fit(self, out: Path, *, resume: bool, seed: int = 0) -> tuple[int, str]:
        """The exit code, and what was said on standard error."""
        order = {"model": str(self.model), "data": str(self.data), "out": str(out), "resume": resume, "seed": seed}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["said"]

    def failing(self, out: Path, how: How, at: int, *, resume: bool = False) -> tuple[int, str]:
        """A fit whose disk fails at its `at`-th change."""
        self.disk.arm(out, how, at)
        try:
            return self.fit(out, resume=resume)
        finally:
            changes = self.disk.changes
            self.disk.disarm()
            self.last_changes = changes


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[FitServer]:
    folder = tmp_path_factory.mktemp("server")
    disk = FaultyDisk.build(folder)
    environment = {**disk.environment, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield FitServer(disk, process, save_tiny_detector(folder / "tiny.onnx"), write_tiny_dataset(folder / "data", train=12, val=6))
        process.stdin.close()


@pytest.fixture(scope="module")
def older(server, tmp_path_factory) -> Path:
    """A finished result of another fit."""
    out = tmp_path_factory.mktemp("older") / "out"
    assert server.fit(out, resume=False, seed=1) == (0, "")
    return out


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory) -> dict:
    """What a fit says that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert server.fit(out, resume=False) == (0, "")
    return figures(out)


def figures(out: Path) -> dict:
    """All that does not hang on time or memory."""
    evidence = json.loads((out / "evidence.json").read_text())
    return {
        "calibration": evidence["calibration"]["digest"],
        "baseline": (evidence["baseline"]["map50"], evidence["baseline"]["map50_95"]),
        "candidates": {each["name"]: (each["map50_95"], each["agreement"]) for each in evidence["candidates"]},
    }


def result_in(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}


def check_old_or_new(server: FitServer, out: Path, before: dict[str, bytes]) -> None:
    """The older result, byte by byte; once publication had begun, one that is whole."""
    if result_in(out) != before:
        assert any(change.endswith(INTENT) for change in server.last_changes), "changed before anything was to be published"
        Artifact.load(out)


def check_finished(out: Path, undisturbed: dict) -> None:
    assert figures(out) == undisturbed
    artifact = Artifact.load(out)
    assert set(result_in(out)) == {"artifact.json", "evidence.json", "report.html", artifact.files[0].path}
    assert artifact.digest == json.loads((out / "evidence.json").read_text())["lineage"]["artifact_digest"]
    assert not [path for path in out.rglob("*") if path.name.endswith(".part") or path.name in (INTENT, "staged")]


def check_said_full(status: int, said: str) -> None:
    assert status == 3, said
    assert said.startswith("edgewright: cannot write "), said
    assert said.count("\n") == 1, said
    assert "no space left on the disk" in said
    assert "--resume" in said
    assert "Traceback" not in said


def disturb(server: FitServer, older: Path, out: Path, how: How, at: int, undisturbed: dict) -> bool:
    """One fit that fails at its `at`-th change, and is resumed; whether it got that far."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(older, out)
    before = result_in(out)
    status, said = server.failing(out, how, at)
    if status == 0:
        return False
    check_old_or_new(server, out, before)
    if how == How.KILL:
        assert (status, said) == (KILLED, "")
    else:
        check_said_full(status, said)
    assert server.fit(out, resume=True) == (0, "")
    check_finished(out, undisturbed)
    return True


def test_killed_again_and_again_it_goes_on_and_ends_as_if_it_had_not_been(server, older, undisturbed, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(older, out)
    before = result_in(out)
    kills = 0
    while (status := server.failing(out, How.KILL, FIRST + kills * LATER, resume=kills > 0)[0]) == KILLED:
        check_old_or_new(server, out, before)
        kills += 1
        assert kills < 30, "it does not get on"
    assert status == 0
    assert kills >= 5
    check_finished(out, undisturbed)


@pytest.mark.parametrize("at", [5, 30, 55, 80, 95])
def test_a_full_disk_is_one_sentence_and_resume_goes_on(server, older, undisturbed, tmp_path, at):
    assert disturb(server, older, tmp_path / "out", How.FULL_FROM, at, undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("how", [How.KILL, How.FULL_FROM, How.FULL_ONCE], ids=lambda how: how.name)
def test_at_every_single_change(server, older, undisturbed, tmp_path, how):
    at = 1
    while disturb(server, older, tmp_path / "out", how, at, undisturbed):
        at += 1
    print(f"{how.name}: {at - 1} changes of files, each failed once")
    assert at > 90

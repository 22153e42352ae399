"""A fit is killed, or finds the disk full, at any change it makes to a file: the older result stays, and `--resume` goes on."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from edgewright.artifact import Artifact
from edgewright.result_folder import FIT, INTENT, STAGED, working_folder
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
    changes: list[str] = field(default_factory=list)

    def fit(self, out: Path, *, resume: bool) -> tuple[int, str]:
        """The exit code, and what was said on standard error."""
        return self._told(model=str(self.model), data=str(self.data), out=str(out), resume=resume)

    def publish(self, result: Path, out: Path) -> tuple[int, str]:
        """As `fit`, of which it is the end: the files of `result` are published in `out`."""
        return self._told(result=str(result), out=str(out))

    def run_words(self, words: list[str]) -> tuple[int, str]:
        """Any verb, as a user calls it."""
        return self._told(words=words)

    def _told(self, **order: object) -> tuple[int, str]:
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["status"], answer["said"]

    @contextmanager
    def failing(self, out: Path, how: How, at: int) -> Iterator[None]:
        """Within the block the disk fails at the `at`-th change in `out`; `changes` tells of them afterwards."""
        self.disk.arm(out, how, at)
        try:
            yield
        finally:
            self.changes = self.disk.changes
            self.disk.disarm()


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
    """A finished result of another model."""
    folder = tmp_path_factory.mktemp("older")
    model = save_tiny_detector(folder / "other.onnx", activation="relu")
    assert replace(server, model=model).fit(folder / "out", resume=False) == (0, "")
    return folder / "out"


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory) -> Path:
    """What a fit leaves that nothing disturbs."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert server.fit(out, resume=False) == (0, "")
    return out


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
        assert any(change.endswith(INTENT) for change in server.changes), "changed before anything was to be published"
        Artifact.load(out)


def check_finished(out: Path, undisturbed: Path) -> None:
    assert figures(out) == figures(undisturbed)
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


def only_removals(changes: list[str]) -> bool:
    return all(change.split()[0] in ("unlink", "unlinkat", "rmdir") for change in changes)


def disturb(server: FitServer, older: Path, out: Path, how: How, at: int, undisturbed: Path) -> bool:
    """One fit whose disk fails at its `at`-th change, and which is resumed; whether it got that far."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(older, out)
    before = result_in(out)
    with server.failing(out, how, at):
        status, said = server.fit(out, resume=False)
    if len(server.changes) < at:
        return False
    check_old_or_new(server, out, before)
    # Refused once, it asked again or did not need it; or all that was left to do was to remove things, for which a full disk has room.
    if status == 0 and (how == How.FULL_ONCE or only_removals(server.changes[at - 1 :])):
        check_finished(out, undisturbed)
        return True
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
    status, kills = KILLED, 0
    while status == KILLED:
        with server.failing(out, How.KILL, FIRST + kills * LATER):
            status, _ = server.fit(out, resume=kills > 0)
        check_old_or_new(server, out, before)
        kills += 1
        assert kills < 30, "it does not get on"
    assert status == 0
    assert kills > 5
    check_finished(out, undisturbed)


@pytest.mark.parametrize("at", [5, 40])
def test_a_full_disk_is_one_sentence_and_resume_goes_on(server, older, undisturbed, tmp_path, at):
    assert disturb(server, older, tmp_path / "out", How.FULL_FROM, at, undisturbed)


@pytest.mark.parametrize("how", [How.KILL, How.FULL_FROM, How.FULL_ONCE], ids=lambda how: how.name)
def test_at_every_change_of_a_publication_there_is_an_old_or_a_new_result_and_the_next_run_makes_it_whole(
    server, older, undisturbed, tmp_path, how
):
    before, after = result_in(older), result_in(undisturbed)
    ends = []
    server.changes = []
    at = 0
    while at <= len(server.changes):
        at += 1
        out = tmp_path / str(at)
        shutil.copytree(older, out)
        with server.failing(out, how, at):
            status, said = server.publish(undisturbed, out)
        assert how == How.KILL or status == 0 or check_said_full(status, said) is None
        check_old_or_new(server, out, before)
        with working_folder(out, FIT) as work:
            left = [path.name for path in work.rglob("*")]
        assert result_in(out) in (before, after)
        assert not [name for name in left if name in (INTENT, STAGED) or name.endswith(".part")]
        ends.append(result_in(out) == after)
    # A call that is refused once may be made again, or not be needed.
    assert how == How.FULL_ONCE or ends == sorted(ends), "what was settled stays settled"
    assert 10 < ends.count(False) < at - 5  # both were seen


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("how", "every"), [(How.KILL, 1), (How.FULL_FROM, 1), (How.FULL_ONCE, 3)], ids=["killed", "full", "full once"])
def test_at_every_single_change(server, older, undisturbed, tmp_path, how, every):
    at = 1
    while disturb(server, older, tmp_path / "out", how, at, undisturbed):
        at += every
    print(f"{how.name}: of {at - 1} changes of files {(at - 1) // every} failed, each in a fit of its own")
    assert at > 90

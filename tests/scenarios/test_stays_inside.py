"""Every verb, as a user runs it, writes where it was told, and what it remembers of admitted models, and opens no socket: asked of the
C library.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scenarios.faulty_disk import FaultyDisk
from tiny_dataset import write_tiny_dataset
from tiny_detector import save_tiny_detector

HOMES = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "EDGEWRIGHT_CACHE")
ELSEWHERE = ("/dev/", "/proc/", "/memfd:")  # what is no file on a disk

VERBS = {
    "fit": "fit MODEL --engines onnxruntime --data DATA --out OUT --images 4 --max-drop 100 --threads 1 --json GIVEN/fit.json",
    "quantize": "quantize MODEL --data DATA --out OUT --images 4 --bias-correction --batch 2 --json GIVEN/made.json",
    "quantize dynamically": "quantize MODEL --out OUT --mode dynamic",
    "calibrate": "calibrate DATA --out OUT --images 4 --model MODEL --npz GIVEN/tensors.npz --json GIVEN/calibrated.json",
    "eval": "eval MODEL --data DATA --json GIVEN/eval.json",
    "bench": "bench MODEL --rounds 2 --threads 1 --json GIVEN/bench.json",
    "inspect": "inspect MODEL --json GIVEN/model.json",
    "detect": "detect MODEL PICTURES --out OUT --jsonl GIVEN/seen.jsonl --json GIVEN/seen.json",
    "export": "export triton MODEL --out OUT --json GIVEN/exported.json",
}

ADMITS = {"fit", "calibrate", "quantize", "quantize dynamically", "eval", "detect", "export"}  # a detector, and remembers it


@dataclass(frozen=True)
class Place:
    """A machine with nothing on it: every folder that programs like to write to is there, empty and noted."""

    disk: FaultyDisk
    folder: Path
    cache: str = "on"

    @property
    def environment(self) -> dict[str, str]:
        # Not the tests' own: in CI some libraries behave.
        given = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        ours = {name: value for name, value in self.disk.environment.items() if name.startswith(("LD_PRELOAD", "FAULTY", "PYTHON"))}
        homes = {name: str(self.home(name)) for name in HOMES}
        return {**given, **ours, **homes} | ({"EDGEWRIGHT_CACHE": "off"} if self.cache == "off" else {})

    def home(self, name: str) -> Path:
        folder = self.folder / "homes" / name.lower()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def run(self, *words: object) -> subprocess.CompletedProcess:
        cwd = self.folder / "homes" / "cwd"
        cwd.mkdir(parents=True, exist_ok=True)
        return subprocess.run(
            list(map(str, words)), cwd=cwd, env=self.environment, capture_output=True, text=True, check=False, timeout=280
        )

    def left_in_homes(self) -> list[str]:
        return [path.relative_to(self.folder / "homes").as_posix() for path in (self.folder / "homes").rglob("*") if not path.is_dir()]

    def written_outside(self, *inside: Path) -> set[str]:
        """What was opened for writing elsewhere than in these folders."""
        opened = {str(path) for path in self.disk.opened}
        return {path for path in opened if not path.startswith((*ELSEWHERE, *(f"{folder}/" for folder in inside)))}


@pytest.fixture
def place(tmp_path):
    (tmp_path / "library").mkdir()
    return Place(FaultyDisk.build(tmp_path / "library"), tmp_path)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    data = write_tiny_dataset(folder / "data", train=10, val=4)
    return {"MODEL": save_tiny_detector(folder / "tiny.onnx"), "DATA": data, "PICTURES": folder / "data/images/val"}


RECORD = re.compile(r"edgewright_cache/admitted/[0-9a-f]{64}\.json")


@pytest.mark.parametrize("cache", ["off", "on"])
@pytest.mark.parametrize("verb", VERBS)
def test_writes_only_what_was_asked_for_and_opens_no_socket(verb, cache, material, place):
    given, out = place.folder / "given", place.folder / "out"
    given.mkdir()
    places = {**material, "OUT": out}
    words = [str(places.get(word, word)).replace("GIVEN", str(given)) for word in VERBS[verb].split()]
    remembered = () if cache == "off" else (place.home("EDGEWRIGHT_CACHE"),)
    done = replace(place, cache=cache).run(sys.executable, "-m", "edgewright", *words)
    assert done.returncode == 0, done.stderr
    assert place.written_outside(out, given, *remembered) == set()
    assert all(RECORD.fullmatch(path) for path in place.left_in_homes())
    assert bool(place.left_in_homes()) == (cache == "on" and verb in ADMITS)
    assert {path.name for path in given.iterdir()} == {word.rpartition("/")[2] for word in VERBS[verb].split() if word.startswith("GIVEN/")}
    assert "network" not in place.disk.log.read_text()


REACH_OUT = {
    "a connection": "import socket; socket.create_connection(('192.0.2.1', 80))",
    "a name": "import socket; socket.getaddrinfo('example.invalid', 80)",
    "a datagram": "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
}


@pytest.mark.parametrize("reach", REACH_OUT)
def test_a_child_that_reaches_for_the_network_is_caught(reach, place):
    done = place.run(sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {REACH_OUT[reach]!r}])")
    assert "faulty_disk: " in done.stderr
    assert "network" in place.disk.log.read_text()


def test_children_may_speak_over_local_sockets(place):
    speak = "s.bind('s'); s.listen(); c = socket.socket(socket.AF_UNIX); c.connect('s')"
    assert place.run(sys.executable, "-c", f"import socket; s = socket.socket(socket.AF_UNIX); {speak}").returncode == 0
    assert "network" not in place.disk.log.read_text()


def test_a_file_elsewhere_is_noticed_though_it_is_removed_again(place):
    place.run(sys.executable, "-c", "import subprocess, sys; subprocess.run(['sh', '-c', 'echo > $TMPDIR/x; rm $TMPDIR/x'])")
    assert place.written_outside(place.folder / "out") == {str(place.home("TMPDIR") / "x")}

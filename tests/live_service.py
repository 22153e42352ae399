"""The real service, for stories about it: `python -m edgewright serve service.toml --log json`, watched from outside.

    with LiveService(tmp_path, models={"tiny": {"artifact": model}}, cameras={"belt": {"source": camera.url}}) as service:
        service.wait_for("camera", "belt", "frames come")
        service.children()["capture"]                       # pids, by kind
        assert service.stop() < 5
        service.status["cameras"]["belt"]["captured"]

Whatever it started is found by a mark in its environment, and is gone when the story ends, however it ends.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import pytest

from edgewright.run.memory import pss_bytes
from edgewright.serve.doors import SOCKET, short_path

WITHIN_S = 200.0  # nothing takes so long but on a machine that has no time
STARVED_CPU_S = 0.1
MARK = "EDGEWRIGHT_TEST_MARK"
KIND = re.compile(r"edgewright\.(?:run|serve)\.(capture|worker|recorder|front|model)_child$")
Sections = dict[str, dict[str, Any]]


def toml_of(service: dict[str, Any], *, http: dict[str, Any] | None = None, **sections: Sections) -> str:
    """A service.toml: `model={"tiny": {...}}` becomes a table [[model]] with that name, tables within become inline tables."""
    parts = ["[service]", *_lines(service), *([] if http is None else ["[http]", *_lines(http)])]
    for section, tables in sections.items():
        for name, table in tables.items():
            parts += [f"[[{section}]]", *_lines({"name": name, **table})]
    return "\n".join([*parts, ""])


def _lines(table: dict[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_lines(value)) + "}"
    return json.dumps(str(value) if isinstance(value, Path) else value)  # JSON's texts, numbers and lists are TOML's as well


class LiveService:
    """`environment`: on top of ours. `mounts`: shell commands that run before it in a mount namespace of its own, in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        models: Sections,
        cameras: Sections,
        rules: Sections | None = None,
        outputs: Sections | None = None,
        service: dict[str, Any] | None = None,
        http: dict[str, Any] | None = None,
        environment: dict[str, str] | None = None,
        mounts: str = "",
        options: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.events: list[dict[str, Any]] = []
        self.summaries: list[str] = []  # lines for people, which are no events
        self.other_lines: list[str] = []  # of standard error: what is no event
        self.status: dict[str, Any] | None = None  # what --json says, once it has ended
        self.exit_code: int | None = None
        settings = folder / "service.toml"
        settings.write_text(
            toml_of({"state": "state", **(service or {})}, http=http, model=models, camera=cameras, rule=rules or {}, output=outputs or {})
        )
        self._answers: dict[str, list[dict[str, Any]]] = {}
        self._read_to: dict[str, int] = {}  # bytes of each file
        self._mark = uuid.uuid4().hex
        self._said = folder / "status.json"
        self._said.unlink(missing_ok=True)
        command = [sys.executable, "-m", "edgewright", "serve", str(settings), "--log", "json", "--json", str(self._said), *options]
        if mounts:
            command = [private_mounts(), "-rm", "sh", "-c", f'set -e\n{mounts}\nexec "$@"', "sh", *command]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {}), MARK: self._mark, "PYTHONUNBUFFERED": "1"},
        )
        self._news = threading.Condition()
        self._is_silent = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # --- what is seen of it -------------------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, kind: str, name: str, words: str, *, since: int = 0, within_s: float = WITHIN_S) -> dict[str, Any]:
        """The first event from number `since` on, past or to come, of this kind and name whose text holds these words."""
        at, until_s = since, time.monotonic() + within_s
        with self._news:
            while True:
                while at < len(self.events):
                    event = self.events[at]
                    at += 1
                    if event["kind"] == kind and event["name"] == name and words in event["text"]:
                        return {**event, "number": at - 1}
                if self._is_silent or time.monotonic() > until_s:
                    return pytest.fail(f"no event {kind} {name} {words!r}; {self.shown()}")
                self._news.wait(0.1)

    def wait_until(self, is_true, *, within_s: float = WITHIN_S) -> Any:
        """What `is_true` returns, as soon as that is something."""
        until_s = time.monotonic() + within_s
        while True:
            if found := is_true():
                return found
            if time.monotonic() > until_s or not self.is_running():
                return pytest.fail(f"it does not come to pass; {self.shown()}")
            time.sleep(0.02)

    def said(self, kind: str, name: str | None = None) -> list[str]:
        """The texts of its events so far."""
        return [event["text"] for event in list(self.events) if event["kind"] == kind and name in (None, event["name"])]

    def shown(self) -> str:
        events = [f"{each['kind']} {each['name']}: {each['text']} {each['data'].get('last_words', '')}" for each in self.events[-12:]]
        return "\n".join([f"running: {self.is_running()}", *events, *self.other_lines[-30:]])

    def children(self) -> dict[str, list[int]]:
        """Pids of its child processes, by kind: capture, worker, recorder, front, and model, which are the front's."""
        found: dict[str, list[int]] = {"capture": [], "worker": [], "recorder": [], "front": [], "model": []}
        for pid in self.processes():
            if (match := KIND.search(_command(pid).rstrip("\0"))) is not None:
                found[match[1]].append(pid)
        return found

    def processes(self) -> list[int]:
        """Pids of all that it ever started, orphans too, itself included."""
        mark = f"{MARK}={self._mark}".encode()
        return [pid for pid in _pids() if mark in _bytes_of(pid, "environ").split(b"\0") and _state(pid) != "Z"]

    def commands(self) -> list[bytes]:
        """The command lines of its processes, as everybody may list them."""
        return [_bytes_of(pid, "cmdline") for pid in self.processes()]

    def pss_bytes(self) -> int:
        """What all its processes take together."""
        return sum(pss_bytes(pid) or 0 for pid in self.processes())

    def rss_bytes(self) -> int:
        """What the service's own process has in memory."""
        return int(_bytes_of(self.pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> list[str]:
        """What the service's own process has open, with the numbers of sockets and pipes left out."""
        found = []
        for path in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found.append(re.sub(r"\[\d+\]", "", str(path.readlink())))
            except FileNotFoundError:
                continue
        return sorted(found)

    def inside(self, path: Path) -> Path:
        """A path as the service sees it, with its private mounts."""
        return Path(f"/proc/{self.pid}/root{path}")

    def answers(self, output: str = "answers") -> list[dict[str, Any]]:
        """The lines of an output of kind `jsonl` that are answers, so far."""
        with self._news:
            found = self._answers.setdefault(output, [])
            for path in sorted((self.state / "outputs" / output).glob("*.jsonl")):
                with path.open("rb") as stream:
                    stream.seek(self._read_to.get(path.name, 0))
                    whole, _, unfinished = stream.read().rpartition(b"\n")
                    self._read_to[path.name] = stream.tell() - len(unfinished)
                records = [json.loads(line) for line in whole.splitlines()]
                found += [record for record in records if record["record"] == "answer"]
            return list(found)

    def ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """Of its HTTP front, through the socket in its state folder: status, headers, body."""
        asker = http.client.HTTPConnection("localhost", timeout=WITHIN_S)
        asker.sock = socket.socket(socket.AF_UNIX)
        with short_path(self.state / SOCKET) as short:
            asker.sock.connect(short)
        try:
            asker.request("GET" if body is None else "POST", path, body, headers or {})
            answer = asker.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            asker.close()

    def asked(self, path: str) -> Any:
        """The JSON of a page, as soon as it is there."""
        found = self.wait_until(lambda: (answer := self.ask(path))[0] == 200 and answer)
        return json.loads(found[2])

    # --- its end ------------------------------------------------------------------------------------------------------------------------

    def stop(self) -> float:
        """SIGTERM; how many seconds it took to end."""
        began_s = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self.wait()
        return time.monotonic() - began_s

    def wait(self, within_s: float = WITHIN_S) -> int:
        """Until it has ended by itself; its exit code."""
        try:
            self.exit_code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it does not end; {self.shown()}")
        self._reader.join(WITHIN_S)
        if self._said.exists():
            self.status = json.loads(self._said.read_bytes())
        return self.exit_code

    def kill(self) -> float:
        """SIGKILL to the service alone; how many seconds until none of its processes was left."""
        began_s = time.monotonic()
        self._process.kill()
        self._process.wait()
        while self.processes():
            assert time.monotonic() - began_s < WITHIN_S, f"these are left: {list(map(_command, self.processes()))}"
            time.sleep(0.02)
        return time.monotonic() - began_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._reader.join(WITHIN_S)
        self._process.stdout.close()
        if kind is None:
            assert not any(line.startswith("Traceback") for line in self.other_lines), self.shown()

    def _read(self) -> None:
        for line in self._process.stdout:
            event = _event_of(line)
            with self._news:
                if event is None:
                    self.other_lines.append(line.decode(errors="replace").rstrip())
                elif event["kind"] == "status":
                    self.summaries.append(event["text"])
                else:
                    self.events.append(event)
                self._news.notify_all()
        with self._news:
            self._is_silent = True
            self._news.notify_all()


def assert_it_adds_up(status: dict[str, Any]) -> None:
    """Captured = answered + dropped by reason, of every camera and model; nothing is on the way when a service has ended."""
    for name, camera in status["cameras"].items():
        offered = camera["captured"] - sum(camera["dropped"].values())
        for model, pair in camera["models"].items():
            counted = pair["answered"] + sum(pair["dropped"].values())
            assert (offered, 0) == (counted, pair["on_the_way"]), f"{name} {model}: {camera}"


def starved() -> float:
    """How many seconds a second of work takes here and now, as we are scheduled; 1 on a machine that has time for us."""
    began_s, began_cpu_s = time.monotonic(), time.thread_time()
    while time.thread_time() - began_cpu_s < STARVED_CPU_S:
        pass
    return max(1.0, (time.monotonic() - began_s) / STARVED_CPU_S)


def private_mounts() -> str:
    """The program `unshare`; skips where a process cannot have mounts of its own."""
    unshare = shutil.which("unshare")
    probe = [unshare or "", "-rm", "sh", "-c", "mount -t tmpfs none /mnt"]
    if unshare is None or subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("no private mounts here (unshare -rm)")
    return unshare


def write_blinking_clip(path: Path, *, size: tuple[int, int] = (64, 64), fps: int = 20, frames: int = 80, every: int = 4) -> Path:
    """A film (Motion JPEG) of a red square, which the tiny detector sees, there for `every` frames and away for as many."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), float(fps), size)
    for number in range(frames):
        picture = np.full((size[1], size[0], 3), 90, np.uint8)
        if number // every % 2 == 0:
            picture[size[1] // 3 : size[1] // 3 + 24, size[0] // 3 : size[0] // 3 + 24] = (40, 40, 220)
        writer.write(picture)
    writer.release()
    return path


def _event_of(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "kind" in event else None


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _bytes_of(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _command(pid: int) -> str:
    return _bytes_of(pid, "cmdline").decode(errors="replace")


def _state(pid: int) -> str:
    return _bytes_of(pid, "stat").rpartition(b") ")[2][:1].decode()

"""Ask the child at the door about a stranger's model, and believe it only when it comes back in time.

A crash, a hang or a hunger for memory is the file's fault and a refusal like any other: one sentence, no death of ours.

    artifact = admit_detector(Path("yolov8n.onnx"))     # ModelError, or a detector that has answered once
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgewright import errors
from edgewright.artifact import Artifact, sha256_of
from edgewright.door.remembered import is_all_there_is, key_of, recall, remember
from edgewright.errors import ArtifactError, EdgewrightError, HostError, ModelError
from edgewright.printable import printable

START_S = 120.0  # for the child's imports, on the slowest machine we know (an emulated one)
MOST_ANSWER_BYTES = 64 << 20
CHILD = "edgewright.door.child"
BARE_ENGINE = "onnxruntime"  # of a model that no artifact wraps
LAST_WORDS = 2000  # bytes of what a dying child wrote to standard error
LAST_BREATH_S = 5.0  # between its last word and being gone
PIECE = 1 << 16
# One thread, one heap: address space is what is limited, and each thread of a pool reserves a share of it.
QUIET_AND_SMALL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def inspect_model_safely(path: Path) -> dict[str, Any]:
    """What `edgewright inspect` says of any ONNX model, which is read and not run.

    Raises:
        InputError: there is no such file.
        ModelError: it cannot be read, or no one should run it.
    """
    return _ask("inspect", path)


def admit_model(path: Path) -> dict[str, Any]:
    """The same of a model that has been run once.

    Raises:
        InputError: as `inspect_model_safely`, or it does not run.
        EngineError: the engine is not installed.
    """
    return _ask("model", path)


def admit_detector(path: Path) -> Artifact:
    """A bare ONNX detector, described as an artifact that lies where the file lies; it, or the same bytes before, has answered noise once.

    Raises:
        InputError: as `admit_model`, or it is no detector that we can decode.
        EngineError: the engine is not installed.
    """
    digest = _digest(path)
    key = None if digest is None else key_of("detector", {"name": path.name, "sha256": digest}, BARE_ENGINE)
    if (known := recall(key)) is not None:
        with suppress(ArtifactError):  # a record is believed no more than a file
            remembered = Artifact.from_json(known, path.parent)
            if _is_about(remembered, path, digest):
                return remembered
    described = Artifact.from_json(_ask("detector", path), path.parent)
    if _is_about(described, path, digest):
        remember(key, described.to_json())
    return described


def admit_artifact(folder: Path) -> Artifact:
    """An artifact folder whose files are those it was written with, and whose model, in this folder or another, has answered noise once.

    Raises:
        ArtifactError: it is none, or was changed.
        ModelError: its model should not be run.
        EngineError: the engine is not installed.
    """
    artifact = Artifact.load(folder)  # before the child, so that nothing of a changed folder is loaded anywhere
    alone = is_all_there_is(artifact.model_path, (artifact.model_path, *artifact.beside))
    key = key_of("artifact", artifact.to_json(), artifact.engine) if alone else None
    if recall(key) is None and _ask("artifact", folder) == json.loads(json.dumps(artifact.to_json())):
        remember(key, {"name": artifact.name})
    return artifact


def _digest(path: Path) -> str | None:
    """Of the file as it is now; None where that is not all that an engine would read."""
    with suppress(OSError):
        return sha256_of(path) if is_all_there_is(path, (path,)) else None
    return None


def _is_about(described: Artifact, path: Path, digest: str | None) -> bool:
    """Whether a description is that of the file which has this digest, and of nothing else."""
    files = [(file.path, file.sha256) for file in described.files]
    return described.engine == BARE_ENGINE and described.name == path.stem and files == [(path.name, digest)]


@dataclass(slots=True)
class _Heard:
    """What the child has said so far."""

    doing: str = "was started"
    seconds: float = START_S
    mib: int = 0
    answer: dict[str, Any] | None = None
    last_words: bytes = b""
    pending: bytearray = field(default_factory=bytearray)
    total: int = 0

    def take(self, data: bytes) -> None:
        self.pending += data
        self.total += len(data)
        *lines, rest = self.pending.split(b"\n")
        self.pending = bytearray(rest)
        for line in lines:
            self._understand(json.loads(line))

    def overhear(self, data: bytes) -> None:
        """What was not meant for us, but may tell how it died."""
        self.last_words = (self.last_words + data)[-LAST_WORDS:]

    @property
    def has_begun(self) -> bool:
        return self.mib > 0

    def _understand(self, said: dict[str, Any]) -> None:
        if "doing" in said:
            self.doing, self.seconds, self.mib = said["doing"], said["seconds"], said["mib"]
        else:
            self.answer = said


def _ask(errand: str, path: Path) -> dict[str, Any]:
    """What the child at the door admits `path` with; its refusal as the error it is."""
    shown = printable(path.name or str(path))
    heard = _Heard()
    with _child(errand, path) as process:
        in_time = _listen(process, heard)
    if heard.answer is not None and "admitted" in heard.answer:
        admitted: dict[str, Any] = heard.answer["admitted"]
        return admitted
    if heard.answer is not None and "missing" in heard.answer:
        raise ModuleNotFoundError(f"no module named {heard.answer['missing']}", name=heard.answer["missing"])
    if heard.answer is not None:
        raise _error_of(heard.answer["refused"])
    if heard.total > MOST_ANSWER_BYTES:
        got = f"more than {MOST_ANSWER_BYTES >> 20} MiB of names and findings"
        raise ModelError(f"{shown} has too much to be told about it", got=got, fix="do not use it, or export it again")
    if not in_time:
        raise ModelError(
            f"{shown} takes too long to examine",
            got=f"more than {heard.seconds:.0f} s while it {heard.doing}",
            fix="do not use it, or export it again",
        )
    raise _death_of(shown, heard, process.returncode)


@contextmanager
def _child(errand: str, path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    # -P: the folder we are called in may be a stranger's, and hold a numpy.py.
    command = [sys.executable, "-P", "-m", CHILD, f"--began={time.monotonic()!r}", errand, "--", os.fspath(path)]
    process = subprocess.Popen(  # noqa: S603 - our own module
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | QUIET_AND_SMALL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _listen(process: "subprocess.Popen[bytes]", heard: _Heard) -> bool:
    """Hear the child out; False where it had to be given up."""
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for stream, hear in ((process.stdout, heard.take), (process.stderr, heard.overhear)):
            assert stream is not None  # noqa: S101 - both are pipes, opened above
            selector.register(stream, selectors.EVENT_READ, hear)
        while heard.answer is None and selector.get_map():
            ready = selector.select(max(began + heard.seconds - time.monotonic(), 0.0))
            if not ready or heard.total > MOST_ANSWER_BYTES:
                return False
            for key, _ in ready:
                data = os.read(key.fd, PIECE)
                had_begun = heard.has_begun
                key.data(data)
                if not data:
                    selector.unregister(key.fd)
                if heard.has_begun and not had_begun:
                    began = time.monotonic()  # its imports are not the file's fault
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=LAST_BREATH_S)
    return True


def _error_of(refused: dict[str, Any]) -> EdgewrightError:
    kind = getattr(errors, refused["kind"])
    error: EdgewrightError = kind(refused["what"], got=refused["got"], expected=refused["expected"], fix=refused["fix"])
    return error


def _death_of(shown: str, heard: _Heard, status: int) -> EdgewrightError:
    last = printable((heard.last_words.decode("utf-8", "replace").splitlines() or ["nothing"])[-1], 200)
    if not heard.has_begun:
        return HostError("models cannot be examined here", got=f"a process that died at its start: {last}", fix="install edgewright anew")
    said = heard.last_words.lower()
    if b"bad_alloc" in said or b"memoryerror" in said or b"out of memory" in said:
        got = f"more than {heard.mib} MiB while it {heard.doing}"
        return ModelError(f"{shown} asks for too much memory", got=got, fix="do not use it, or export it again")
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}; its last words: {last}"
    got = f"{how} while it {heard.doing}"
    return ModelError(f"{shown} crashes what reads it", got=got, fix="do not use it, or export it again")

"""A process that takes model after model as far as it gets, under limits, and outlives its own death.

    with Examiner() as examiner:
        seen = examiner.examine(path)        # Seen(step="run", refusal=None, ...)

The steps are ours (load, lint, recognise, inspect) and then the engine's (open, run).
"""

import json
import os
import resource
import select
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

OURS = ("load", "lint", "recognise", "inspect")
ADDRESS_SPACE = 2 << 30  # bytes: what the libraries map, and a gigabyte


@dataclass(frozen=True)
class Seen:
    """How far the model came, and why no further; `died` is the process's exit status, None where it lives.

    `seconds` are of the processor: a busy machine is no fault of the model.
    """

    step: str
    refusal: str | None = None
    fault: str | None = None
    died: int | None = None
    seconds: float = 0.0
    peak_mib: int = 0


class Examiner:
    """The process from outside."""

    def __init__(self, patience_s: float = 120.0) -> None:
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def examine(self, path: Path) -> Seen:
        process = self._process or self._start()
        process.stdin.write(f"{path}\n".encode())
        process.stdin.flush()
        began = time.monotonic()
        step = "load"
        heard = b""
        while select.select([process.stdout], [], [], max(began + self._patience_s - time.monotonic(), 0))[0]:
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                status = process.wait()
                self._end()
                return Seen(step, died=status)
            *lines, heard = (heard + data).split(b"\n")
            for said in map(json.loads, lines):
                step = said["step"]
                if said.pop("over"):
                    return Seen(**said)
        self._end()
        return Seen(step, fault="took too long")

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
        self._process = None


def main() -> None:
    from edgewright.errors import EngineError, InputError

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    for line in sys.stdin:
        step, over, began = "load", {}, time.process_time()

        def at(name: str) -> None:
            nonlocal step
            step = name
            print(json.dumps({"step": step, "over": False}), flush=True)

        try:
            take(Path(line.removesuffix("\n")), at)
        except (InputError, EngineError) as error:
            over = {"refusal": str(error)}
        except BaseException as error:  # noqa: BLE001 - whatever escapes is what we look for
            over = {"fault": f"{type(error).__name__}: {error}"[:2000]}
        peak_mib = _peak_mib()
        print(json.dumps({"step": step, "over": True, "peak_mib": peak_mib, "seconds": time.process_time() - began, **over}), flush=True)


def _peak_mib() -> int:
    """Not ru_maxrss: that one starts at the parent's size, across fork and exec (getrusage(2), BUGS)."""
    held = next(line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(held.split()[1]) // 1024


def take(path: Path, at) -> None:
    """Through all steps, as the door does it."""
    from edgewright.engines import open_engine
    from edgewright.engines.noise import invent
    from edgewright.errors import ModelError
    from edgewright.graph.head import family_of, recognise
    from edgewright.graph.inspect import inspect_model
    from edgewright.graph.lint import refuse_unsound
    from edgewright.graph.load import load_model

    at("load")
    model = load_model(path)
    at("lint")
    refuse_unsound(model)
    at("recognise")
    with suppress(ModelError):  # any sound model is inspected and run, detector or not
        recognise(model)
    at("inspect")
    json.dumps(inspect_model(path, recognise=family_of).to_json())
    at("open")
    with closing(open_engine("onnxruntime", path, threads=1)) as engine:
        at("run")
        engine.run({spec.name: invent(spec) for spec in engine.describe().inputs})


if __name__ == "__main__":
    main()

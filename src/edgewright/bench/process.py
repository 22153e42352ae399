"""A process that is measured: started, spoken to in JSON lines, ended.

Each line to it is a request, each line from it an answer; its first answer comes by itself, once it has done its work for the first time.
Whoever speaks this may be measured: a model of ours in an engine (`child`), the whole path from a file to boxes (`frames_child`), or
somebody else's program in somebody else's Python (`peers`).
"""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from edgewright.errors import EngineError, InputError
from edgewright.printable import printable

ANSWER_S = 300.0  # a child silent for longer hangs
LAST_BREATH_S = 5.0  # between closing its output and being gone


class MeasuredProcess:
    """A running child, called `name` in what is said about it. A context manager; it is killed at the end."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self._name = printable(name)
        # A file, because a full pipe would stall the child; in memory, because nothing is to be left on a disk. Closed in __exit__.
        self._complaints = open(os.memfd_create("complaints"), "w+", errors="replace")  # noqa: PTH123, SIM115 - a descriptor
        self._began = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603 - our own modules and scripts, by the interpreter that the user named
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )

    def first_answer(self) -> tuple[dict[str, Any], float]:
        """What it says once it is ready, and how many milliseconds after its start that was."""
        answer = self.answer()
        return answer, (time.perf_counter() - self._began) * 1e3

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            EngineError: it died, hangs, or says that it cannot.
            InputError: it says that what it was given is wrong.
        """
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line from it."""
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_S):
                raise EngineError(f"{self._name} gives no answer", got=f"{ANSWER_S:.0f} s of silence", fix="try another engine")
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            got = printable(line.strip(), 100)
            raise EngineError(f"{self._name} gives an answer that is none", got=got, expected="a line of JSON") from None
        if "error" in answer:
            kind = InputError if answer.get("exit_code") == InputError.exit_code else EngineError
            raise kind(f"{self._name} does not run: {answer['error']}")
        return answer

    def _died(self) -> EngineError:
        try:
            status = self._process.wait(timeout=LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._complaints.seek(0)
        last = printable((self._complaints.read().splitlines() or ["nothing"])[-1][:300])
        return EngineError(
            f"the process that ran {self._name} died", got=f"exit status {status}; its last words: {last}", fix="try another engine"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
        self._complaints.close()

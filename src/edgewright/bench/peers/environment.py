"""The Python that the user names for other people's programs: what is in it, and how ours start there.

`benchmarks/peer_environment.py` of the repository builds one.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewright.errors import EngineError, InputError
from edgewright.printable import printable

HERE = Path(__file__).parent
LOOK_S = 60.0
CONVERTING_S = 1800.0  # a nano model takes one minute
# Looked for, not imported: a package that breaks on import says so when it is used.
LOOK = "import importlib.util, json; print(json.dumps([n for n in {names!r} if importlib.util.find_spec(n)]))"


@dataclass(frozen=True, slots=True)
class Peer:
    """A Python, and which of the packages asked for are in it."""

    python: Path
    packages: frozenset[str]

    def has(self, *packages: str) -> bool:
        return self.packages.issuperset(packages)

    def command(self, script: str, *words: str) -> tuple[str, ...]:
        """A script of ours, run there. -I: nothing of ours, of the user's, or of the folder we are called in is on its path."""
        return (str(self.python), "-I", str(HERE / script), *words)


def look_into(python: Path, packages: Sequence[str]) -> Peer:
    """What of `packages` is in that Python.

    Raises:
        InputError: it is no Python that runs here.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            [python, "-I", "-c", LOOK.format(names=list(packages))], capture_output=True, check=True, timeout=LOOK_S
        )
        return Peer(python, frozenset(json.loads(done.stdout)))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        got = printable(f"{type(error).__name__}: {error}", 200)
        fix = "name the python of an environment, as .cache/peers/bin/python"
        raise InputError(f"{printable(str(python))} is no Python that runs here", got=got, fix=fix) from error


def first_with(packages: Sequence[str], pythons: Sequence[Path]) -> Peer | None:
    """The first of `pythons`, and after them our own, that has all of `packages`."""
    found = (look_into(python, packages) for python in (*pythons, Path(sys.executable)))
    return next((peer for peer in found if peer.has(*packages)), None)


def run_script(what: str, command: Sequence[str]) -> dict[str, object]:
    """The one answer of a script that does its work and ends.

    Raises:
        EngineError: it says that it cannot, dies, or finds no end.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=CONVERTING_S
        )
        answer: dict[str, object] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{what} finds no end", got=f"more than {CONVERTING_S:.0f} s") from error
    except ValueError:
        last = printable((done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1], 300)
        raise EngineError(f"{what} died", got=f"exit status {done.returncode}; its last words: {last}") from None
    if "error" in answer:
        raise EngineError(f"{what} cannot", got=printable(str(answer["error"]), 300))
    return answer

"""Builds and steers `faulty_disk.c`: a disk that fails at the N-th write, a kill there, a note of every file opened for writing."""

import os
import shutil
import struct
import subprocess
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("faulty_disk.c")
CONTROL = struct.Struct("qqq1000s")


class How(IntEnum):
    """What happens at the N-th change of a file; as the C file counts them."""

    COUNT = 0
    KILL = 1
    FULL_ONCE = 2
    FULL_FROM = 3


@dataclass(frozen=True)
class FaultyDisk:
    """The library and the two files by which it is told and tells."""

    library: Path
    control: Path
    log: Path

    @classmethod
    def build(cls, folder: Path) -> "FaultyDisk":
        """Compile the library into `folder`; skips the test where there is no compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler (cc) to build the faulty disk with")
        library = folder / "faulty_disk.so"
        command = [compiler, "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"]
        subprocess.run(command, check=True)
        disk = cls(library, folder / "control", folder / "log")
        disk.disarm()
        return disk

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to have this disk; bytecode beside our own sources is nobody's result."""
        told = {"LD_PRELOAD": str(self.library), "FAULTY_CONTROL": str(self.control), "FAULTY_LOG": str(self.log)}
        return {**os.environ, **told, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"}

    def arm(self, root: Path, how: How, at: int = 0) -> None:
        """From now on: count what changes under `root`, and at the count `at` do as told. The log begins anew."""
        self._tell(0, at, how, str(root.resolve()).encode())

    def disarm(self) -> None:
        self._tell(0, 0, How.COUNT, b"")

    @property
    def count(self) -> int:
        return CONTROL.unpack(self.control.read_bytes())[0]

    @property
    def changes(self) -> list[str]:
        """Every counted change: its call and its path."""
        return [line.partition(" ")[2] for line in self._lines() if line.startswith("#")]

    @property
    def opened(self) -> list[Path]:
        """Every path opened for writing, anywhere."""
        return [Path(line.partition(" ")[2]) for line in self._lines() if line.startswith("open ")]

    def _lines(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def _tell(self, *fields: object) -> None:
        # Written in place: processes that run have it mapped.
        with self.control.open("r+b" if self.control.exists() else "w+b") as stream:
            stream.write(CONTROL.pack(*fields))
        self.log.write_bytes(b"")

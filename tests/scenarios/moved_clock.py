"""Builds and sets `moved_clock.c`: a wall clock that jumps while a service runs."""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("moved_clock.c")


@dataclass(frozen=True)
class MovedClock:
    """The library, and the file by which it is told how far it is ahead."""

    library: Path
    control: Path

    @classmethod
    def build(cls, folder: Path) -> "MovedClock":
        """Compile it into `folder`; skips the test where there is no compiler."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler (cc) to build the clock with: apt-get install gcc libc6-dev")
        clock = cls(folder / "moved_clock.so", folder / "ahead")
        subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", clock.library, SOURCE], check=True)
        clock.control.write_bytes(bytes(8))
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs, on top of its own, to live by this clock."""
        return {"LD_PRELOAD": str(self.library), "MOVED_CLOCK": str(self.control)}

    def set_ahead(self, seconds: float) -> None:
        """Of the real time, from now on."""
        with self.control.open("r+b") as stream:
            stream.write(struct.pack("q", round(seconds * 1e9)))

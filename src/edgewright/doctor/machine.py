"""The machine under examination: its files below a root, and the few things that no file tells, each handed in: a folder can play it.

    machine = Machine()                                  # this one
    machine = Machine(tmp_path, engines=("ncnn",))       # a folder (edgewright.testing.boards); what was not handed in is not known

It is looked at and never changed. Every file is read once at most, and a little of it; every program that is asked has a deadline.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from edgewright.board.kernel_files import KernelFiles, Look
from edgewright.board.profile import Board
from edgewright.board.sensors import ROOT, Reading, Sensors
from edgewright.clock import Clock, SystemClock
from edgewright.engines import installed_engines
from edgewright.errors import EdgewrightError
from edgewright.run.encoders import Choice, choose_encoder, cores_here
from edgewright.run.known_encoders import is_tegra

Run: TypeAlias = Callable[[Sequence[str]], str | None]  # a program and its words -> what it prints; None: not there, or failed

LONGEST_S = 5.0
MOST_CHARACTERS = 1 << 20
MOST_LIST_BYTES = 256 << 10
MOST_TEXT_BYTES = 64 << 10
PROBED_WH, PROBED_FPS = (640, 360), 10.0  # what `serve` records as long as nobody says otherwise
PI_5 = ("Raspberry Pi 5", "Raspberry Pi Compute Module 5")
STA_UNSYNC = 0x40  # <linux/timex.h>, adjtimex(2)
TIMEX_BYTES, TIMEX_STATUS = 512, 40  # room for struct timex; where its `status` lies on 64-bit machines


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system that is mounted: proc(5), /proc/pid/mountinfo."""

    point: str
    kind: str
    device: str
    options: tuple[str, ...]


class Machine:
    """What can be known of it. `folder`: whose disk is meant (default: where the command was called). A folder in the place of a machine
    tells nothing of what is handed in: `run`, `engines`, `encoder`, `synchronised`, `glibc`.
    """

    def __init__(
        self,
        root: Path = ROOT,
        *,
        run: Run | None = None,
        folder: Path | None = None,
        engines: tuple[str, ...] | None = None,
        encoder: Choice | None = None,
        synchronised: bool | None = None,
        glibc: tuple[int, int] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.root = root
        self.folder = folder if folder is not None else Path.cwd() if root == ROOT else root
        self._is_this = root == ROOT
        self.run = run if run is not None else run_command if self._is_this else nothing
        self._engines, self._encoder, self._synchronised, self._glibc = engines, encoder, synchronised, glibc
        self.clock = clock or SystemClock()
        self._files = KernelFiles("" if self._is_this else os.fspath(root))
        self._look = Look(self._files)

    def text(self, path: str, most_bytes: int = MOST_TEXT_BYTES) -> str | None:
        """What a file says; None if it is not there, cannot be read, or is no file."""
        if not self._files.has(path):
            return None
        content = self._files.read_list(path, most_bytes).decode("utf-8", "replace").strip(" \t\r\n\0")
        # The kernel gives some files out in one piece only, whatever their size.
        return content or self._look.text(path)

    def has(self, path: str) -> bool:
        """Whether anything has that name: a file, a folder, a device."""
        try:
            return (self.root / path).exists()
        except (OSError, ValueError):
            return False

    def names(self, folder: str, beginning: str = "") -> list[str]:
        return self._files.names(folder, beginning)

    def changed_s(self, path: str) -> float | None:
        """When a file was last written, seconds since 1970."""
        try:
            return (self.root / path).stat().st_mtime
        except (OSError, ValueError):
            return None

    def field(self, path: str, key: str) -> str | None:
        """What stands behind `key:` or `key` and blanks in a file of lines."""
        for line in (self.text(path) or "").splitlines():
            name, rest = line[: len(key)], line[len(key) :]
            if name == key and rest[:1] in (":", " ", "\t"):
                return rest.lstrip(": \t").strip()
        return None

    @cached_property
    def board(self) -> Board:
        return Board.detect(self.root)

    @cached_property
    def reading(self) -> Reading:
        """What it feels now."""

        def vcgencmd(words: str) -> str | None:
            return self.run(("vcgencmd", *words.split()))

        with Sensors(self.root, folder=self.folder, vcgencmd=vcgencmd if self.is_pi else None) as sensors:
            return sensors.read()

    @cached_property
    def model(self) -> str:
        """What the board calls itself; nothing on a PC."""
        return (self.text("proc/device-tree/model") or "")[:100]

    @property
    def is_pi(self) -> bool:
        return self.model.startswith("Raspberry Pi")

    @property
    def is_pi_5(self) -> bool:
        return self.model.startswith(PI_5)

    @cached_property
    def is_jetson(self) -> bool:
        return "Jetson" in self.model or is_tegra(self.root)

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        return tuple(_mounts(self.text("proc/self/mountinfo", MOST_LIST_BYTES) or ""))

    def mount_of(self, path: str) -> Mount | None:
        """The file system that an absolute path is on, the last one mounted there."""
        holding = [mount for mount in self.mounts if path == mount.point or path.startswith(f"{mount.point.rstrip('/')}/")]
        return max(reversed(holding), key=lambda mount: len(mount.point), default=None)

    @cached_property
    def kernel(self) -> tuple[int, int] | None:
        """Its release, as far as it counts."""
        words = (self.text("proc/sys/kernel/osrelease") or "").split(".")
        if len(words) < 2 or not words[0].isdecimal():
            return None
        minor = "".join(letter for letter in words[1] if letter.isdecimal())
        return (int(words[0][:6]), int(minor[:6])) if minor.isascii() and words[0].isascii() and minor else None

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The kernel's own command line."""
        return tuple((self.text("proc/cmdline") or "").split())

    @cached_property
    def engines(self) -> tuple[str, ...] | None:
        """Those that are installed; None: not known."""
        return installed_engines() if self._engines is None and self._is_this else self._engines

    @cached_property
    def encoder(self) -> Choice | None:
        """The video encoder that proves itself on ten frames; None: nobody tried."""
        if self._encoder is not None or not self._is_this:
            return self._encoder
        try:
            return choose_encoder("auto", PROBED_WH, PROBED_FPS, cores_here())
        except (OSError, EdgewrightError):  # nowhere to write ten frames: another check says so
            return None

    @cached_property
    def synchronised(self) -> bool | None:
        """Whether something keeps the clock right; None: not known."""
        return kernel_clock_is_kept() if self._synchronised is None and self._is_this else self._synchronised

    @cached_property
    def glibc(self) -> tuple[int, int] | None:
        if self._glibc is not None or not self._is_this:
            return self._glibc
        return glibc_here()

    def close(self) -> None:
        self._files.close()


def run_command(words: Sequence[str]) -> str | None:
    """What a program of the system prints, within five seconds."""
    program = shutil.which(words[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system's, with words of ours
            [program, *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout[-MOST_CHARACTERS:].decode("utf-8", "replace") if done.returncode == 0 else None


def nothing(_words: Sequence[str]) -> str | None:
    """A machine that no program can be asked on."""
    return None


def kernel_clock_is_kept() -> bool | None:
    """What the kernel says of its clock (adjtimex(2), asked without a wish, so that nothing changes)."""
    if ctypes.sizeof(ctypes.c_long) != 8:
        return None
    asked = ctypes.create_string_buffer(TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(asked)
    except (AttributeError, OSError):
        return None
    status = int.from_bytes(asked.raw[TIMEX_STATUS : TIMEX_STATUS + 4], "little")
    return None if state < 0 else not status & STA_UNSYNC


def glibc_here() -> tuple[int, int] | None:
    """confstr(3): "glibc 2.36"; None with another C library."""
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        return None
    numbers = words[1].split(".") if len(words) == 2 and words[0] == "glibc" else []
    return (int(numbers[0]), int(numbers[1])) if len(numbers) >= 2 and all(each.isdecimal() for each in numbers[:2]) else None


def _mounts(text: str) -> list[Mount]:
    found = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if dash and len(fields) > 5 and len(tail) > 2:
            found.append(Mount(fields[4].replace("\\040", " "), tail[0], tail[1], (*fields[5].split(","), *tail[2].split(","))))
    return found

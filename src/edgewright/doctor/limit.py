"""A real limit for the memory of one child: a control group of its own, in which the kernel kills; or, where none may be made, a watch.

    limiter = choose_limiter()
    with limiter(300 * MIB) as limit:
        process = subprocess.Popen(limit.command([...]))

Version 1 (kernel, Documentation/admin-guide/cgroup-v1/memory.rst): a group below our own. Version 2 (cgroup-v2.rst): a group with processes
can have no limited groups below it, so one beside our own, or further out. Swap is not lent: a model that lives in it is as good as dead.
"""

import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edgewright.board.control_group import ControlGroups
from edgewright.board.kernel_files import KernelFiles, Look
from edgewright.board.sensors import ROOT
from edgewright.run.memory import pss_bytes

SHELL = "/bin/sh"
# It joins before the interpreter is loaded, for memory is charged to the group that a process is in when it first touches it.
JOIN = 'echo $$ > "$0" && exec "$@"'
PROCESSES = "cgroup.procs"
JOINING_S = 10.0
LEAVING_S = 2.0  # a group can be removed once the kernel has let its last process go
MOST_BYTES = (1 << 63) - 1
WATCHED = "watched from outside (proportional set size, 100 times a second): short peaks may pass unseen"


class Limit(Protocol):
    """What one child may take; a context manager, after which the limit is gone."""

    def command(self, command: Sequence[str]) -> list[str]:
        """How the child is started under it."""
        ...

    def has_passed(self, pid: int) -> bool:
        """Whether the child must be killed now; never where the kernel does that."""
        ...

    def kills(self) -> int:
        """How often the kernel has killed under it."""
        ...

    def peak_bytes(self) -> int | None:
        """The most that was taken under it; None: nobody tells."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Limiter(Protocol):
    """Makes limits; `how`, in words."""

    @property
    def how(self) -> str: ...

    def __call__(self, limit_bytes: int) -> Limit: ...


@dataclass(frozen=True, slots=True)
class _Names:
    """What the files of a version are called."""

    limit: str
    swap: str
    without_swap: int | None  # what is written there; None: the limit itself, which then holds for both together
    peak: str
    kills: str


NAMES = {
    1: _Names("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", None, "memory.max_usage_in_bytes", "memory.oom_control"),
    2: _Names("memory.max", "memory.swap.max", 0, "memory.peak", "memory.events"),
}


@dataclass(frozen=True, slots=True)
class Groups:
    """Makes groups in a folder of the kernel's."""

    parent: Path
    version: int

    @property
    def how(self) -> str:
        return f"a memory control group, version {self.version}: the kernel kills"

    def __call__(self, limit_bytes: int) -> "Group":
        return Group(self.parent / f"edgewright-oom-{os.getpid()}-{time.monotonic_ns()}", self.version, limit_bytes)


class Group:
    """One group, made when it is entered.

    Raises:
        OSError: (on entering) it may not be made here.
    """

    def __init__(self, folder: Path, version: int, limit_bytes: int) -> None:
        self._folder = folder
        self._names = NAMES[version]
        self._limit_bytes = limit_bytes

    def command(self, command: Sequence[str]) -> list[str]:
        return [SHELL, "-c", JOIN, str(self._folder / PROCESSES), *command]

    def has_passed(self, pid: int) -> bool:  # noqa: ARG002 - the kernel looks
        return False

    def kills(self) -> int:
        return next((int(count) for key, count in self._pairs() if key == "oom_kill" and count.isdecimal()), 0)

    def peak_bytes(self) -> int | None:
        with _FilesOf(self._folder) as look:
            peak = look.number(self._names.peak, 0, MOST_BYTES)
        return None if peak is None else int(peak)

    def __enter__(self) -> Self:
        self._folder.mkdir()
        try:
            self._write(self._names.limit, self._limit_bytes)
            # Kernels without accounting of swap do not have the file.
            with suppress(OSError):
                self._write(self._names.swap, self._limit_bytes if self._names.without_swap is None else self._names.without_swap)
        except BaseException:
            self._folder.rmdir()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        until_s = time.monotonic() + LEAVING_S
        while True:
            try:
                self._folder.rmdir()
            except OSError:
                if time.monotonic() > until_s:
                    return  # an empty group in the kernel's list, which the next start of the machine takes away
                time.sleep(0.01)
            else:
                return

    def _write(self, name: str, value: int) -> None:
        # No O_CREAT: what is not there is not made.
        descriptor = os.open(self._folder / name, os.O_WRONLY)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)

    def _pairs(self) -> list[list[str]]:
        with _FilesOf(self._folder) as look:
            lines = (look.text(self._names.kills) or "").splitlines()
        return [words for line in lines if len(words := line.split()) == 2]


class _FilesOf:
    """A look at the files of one folder; they are let go at the end."""

    def __init__(self, folder: Path) -> None:
        self._files = KernelFiles(os.fspath(folder))

    def __enter__(self) -> Look:
        return Look(self._files)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._files.close()


@dataclass(frozen=True, slots=True)
class Watch:
    """A limit that nobody enforces but whoever started the child, by looking."""

    limit_bytes: int

    def command(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def has_passed(self, pid: int) -> bool:
        return (pss_bytes(pid) or 0) > self.limit_bytes

    def kills(self) -> int:
        return 0

    def peak_bytes(self) -> int | None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Watches:
    """Makes them."""

    how: str = WATCHED

    def __call__(self, limit_bytes: int) -> Watch:
        return Watch(limit_bytes)


def choose_limiter(root: Path = ROOT) -> Limiter:
    """Groups, where one may be made; watches elsewhere."""
    for limiter in _possible(root):
        try:
            with limiter(MOST_BYTES // 2) as limit:
                joined = subprocess.run(limit.command(["true"]), capture_output=True, timeout=JOINING_S, check=False)  # noqa: S603 - ours
        except (OSError, subprocess.SubprocessError):
            continue
        if joined.returncode == 0:
            return limiter
    return Watches()


def _possible(root: Path) -> list[Groups]:
    """Folders in which a group for memory could be made, the nearest first."""
    prefix = "" if root == ROOT else os.fspath(root)
    with _FilesOf(root) as look:
        groups = ControlGroups(look.files)
        levels, version = groups.memory_levels, groups.version
        if version == 1:
            return [Groups(Path(f"{prefix}/{level.lstrip('/')}"), 1) for level in levels[:1]]
        # The root of version 2 is no level, for it has no limit, but may have groups below it.
        outwards = [*levels, *(os.path.dirname(level) for level in levels[-1:])]  # noqa: PTH120 - paths below the root are text here
        return [
            Groups(Path(f"{prefix}/{level.lstrip('/')}"), 2)
            for level in outwards
            if "memory" in (look.text(f"{level}/cgroup.subtree_control") or "").split()
        ]

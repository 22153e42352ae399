"""The small files in which a kernel says what it knows (/proc, /sys), read again and again.

Each is opened once, never waited for, and never more of it is read than was asked for.

What lies under a root may be anything, for a test or a container can put it there: a pipe, a folder, a megabyte, no text. It costs the
reading that one value. A `Look` keeps apart what is not there (None) from what is there and says nonsense (None, and named).
"""

import errno
import os
import re
import stat
from itertools import islice

from edgewright.printable import printable
from edgewright.regular_file import why

PAGE = 4096  # bytes: what one attribute in /sys can hold at most (kernel, Documentation/filesystems/sysfs.rst)
MOST_OPEN = 256  # descriptors kept; what comes after them is opened anew each time
MOST_NAMES = 512  # of a folder
SHOWN = 40  # characters of a strange value
LONGEST_NAME = 120
LONGEST_NUMBER = 20

# What the system says where there is no such sensor, or not for us; ENODATA and EAGAIN: where it is switched off (hwmon channels, and the
# thermal zones of parts of an Orin that have no power).
ABSENT = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA, errno.EAGAIN, errno.ENXIO}
)
WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)


class KernelFiles:
    """The files under `root`, by their paths in it; not for two threads at once. `close` lets them go."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._descriptors: dict[str, int] = {}

    def read(self, path: str, most_bytes: int = PAGE) -> bytes:
        """What the file says now, at most that much of it.

        Raises:
            OSError: it is not there, not ours to read or no regular file, or the driver behind it failed.
        """
        descriptor = self._descriptors.get(path)
        if descriptor is not None:
            try:
                # No name leads to it any more: its device went, or another took its place.
                if os.fstat(descriptor).st_nlink:
                    return os.pread(descriptor, most_bytes, 0)
            except OSError:
                self._forget(path)
                raise
            self._forget(path)
        descriptor = self._open(path)
        try:
            content = os.pread(descriptor, most_bytes, 0)
        except OSError:
            os.close(descriptor)
            raise
        if len(self._descriptors) < MOST_OPEN:
            self._descriptors[path] = descriptor
        else:
            os.close(descriptor)
        return content

    def read_list(self, path: str, most_bytes: int) -> bytes:
        """A long file, which the kernel gives out in pieces: its whole lines within `most_bytes`; nothing if it cannot be read."""
        pieces, size = [], 0
        try:
            descriptor = self._open(path)
        except OSError:
            return b""
        try:
            while size < most_bytes and (piece := os.pread(descriptor, most_bytes - size, size)):
                pieces.append(piece)
                size += len(piece)
        except OSError:
            return b""
        finally:
            os.close(descriptor)
        whole = b"".join(pieces)
        return whole if size < most_bytes else whole[: whole.rfind(b"\n") + 1]

    def names(self, folder: str, beginning: str = "") -> list[str]:
        """The names in a folder that begin so, thermal_zone2 before thermal_zone10; none if there is no such folder."""
        try:
            with os.scandir(self.place(folder)) as entries:
                found = [entry.name for entry in islice(entries, MOST_NAMES)]
        except (OSError, ValueError):
            return []
        return sorted((name for name in found if name.startswith(beginning)), key=lambda name: (len(name), name))

    def has(self, path: str) -> bool:
        """Whether a file has that name."""
        return os.path.isfile(self.place(path))  # noqa: PTH113 - no name is an error

    def place(self, path: str) -> str:
        """Where it lies."""
        return f"{self._root}/{path}"

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _open(self, path: str) -> int:
        try:
            # Without O_NONBLOCK, opening a pipe would wait.
            descriptor = os.open(self.place(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except ValueError as error:
            raise OSError(errno.ENOENT, "not a name a file can have") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file")
        return descriptor

    def _forget(self, path: str) -> None:
        os.close(self._descriptors.pop(path))


class Look:
    """One look at all of them. `doubtful` gathers what was there and said nonsense, "PATH: what it said"."""

    def __init__(self, files: KernelFiles) -> None:
        self.files = files
        self.doubtful: list[str] = []

    def text(self, path: str, most_bytes: int = PAGE) -> str | None:
        """What a file says, without the white space at its ends; None if it is not there or cannot be read."""
        try:
            content = self.files.read(path, most_bytes)
        except OSError as error:
            if error.errno not in ABSENT:
                self.doubt(path, why(error))
            return None
        return content.decode("ascii", "replace").strip(" \t\r\n\0")

    def number(self, path: str, low: float, high: float, per: float = 1.0) -> float | None:
        """The whole number in a file, over `per`; None if it is missing, or (doubtful) no number from `low` to `high`."""
        text = self.text(path)
        return None if text is None else self.parsed(path, text, low, high, per)

    def parsed(self, name: str, text: str, low: float, high: float, per: float = 1.0) -> float | None:
        """As `number`, of a text that has been read; `name` is what it is called if it is doubtful."""
        value = number_in(text, low, high, per)
        if value is None:
            self.doubt(name, text)
        return value

    def doubt(self, name: str, said: str) -> None:
        self.doubtful.append(f"{printable(name, LONGEST_NAME)}: {printable(said, SHOWN) or 'nothing'}")


def number_in(text: str, low: float, high: float, per: float = 1.0) -> float | None:
    """A whole number, over `per`, if it is one and lies between the bounds."""
    if len(text) > LONGEST_NUMBER or not WHOLE.fullmatch(text):
        return None
    value = int(text) / per
    return value if low <= value <= high else None

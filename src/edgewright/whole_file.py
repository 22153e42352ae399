"""Write a file whole or not at all, where we were told and nowhere else; and have a folder to ourselves while we work in it.

A new file is written beside the old one, under a name of our own, and takes the old one's name in one step: whoever looks, whenever we are
killed and however full the disk is, finds the old file or the new one. A link that has the name is replaced, never written through. Where
the user names what no step can replace (a pipe, a terminal, /dev/stdout), `named_file` writes it straight.

>>> write_whole(Path("report.html"), text.encode())  # doctest: +SKIP
>>> with locked(Path("fitted")):  # doctest: +SKIP
...     ...  # a second run on this folder is told so
"""

import errno
import fcntl
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from edgewright.errors import DiskError, InputError
from edgewright.printable import printable

SHOWN = 300  # characters of a path in a sentence
OURS = ".edgewright-"  # how the names of unfinished files begin
UNFINISHED = ".part"
MOST_LINKS = 40  # from one to the next, as the kernel counts

# What a disk refuses a write for: full, over quota, over a limit, mounted read-only, broken.
REFUSALS: Final = {
    errno.ENOSPC: ("no space left on the disk", "free space there, or choose another place"),
    errno.EDQUOT: ("the disk quota is used up", "free space there, or choose another place"),
    errno.EFBIG: ("a file may not grow that large there (a limit of the file system, or ulimit -f)", "raise it, or choose another place"),
    errno.EROFS: ("the disk is mounted read-only", "choose another place"),
    errno.EIO: ("the disk reports an error", "check it, or choose another place"),
}
OTHERWISE = "check the folder and its permissions, or choose another place"


def disk_error(error: OSError, path: Path, needed_bytes: int | None = None) -> DiskError:
    """The sentence for what the system said when `path` was written; `needed_bytes`: how much that was to be."""
    reason, fix = REFUSALS.get(error.errno or 0, ((error.strerror or str(error)).lower(), OTHERWISE))
    needed = "" if needed_bytes is None or error.errno not in (errno.ENOSPC, errno.EDQUOT) else f", and {_size(needed_bytes)} to write"
    return DiskError(f"cannot write {printable(str(path), SHOWN)}", got=f"{reason}{needed}", fix=fix)


@contextmanager
def telling_of_the_disk(path: Path, needed_bytes: int | None = None) -> Iterator[None]:
    """What the system refuses inside the block is said of `path`.

    Raises:
        DiskError: anything that the block meets as an OSError, but for a reader of ours who has left.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise disk_error(error, path, needed_bytes) from error


def write_whole(path: Path, data: bytes, *, sync: bool = True) -> None:
    """`data` as the file `path`, as `whole_file` writes it.

    Raises:
        DiskError: it cannot be written; what was there before still is.
    """
    with whole_file(path, sync=sync, needed_bytes=len(data)) as stream:
        stream.write(data)


@contextmanager
def whole_file(path: Path, *, sync: bool = True, needed_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A stream, whose bytes are the file `path` when the block ends; when the block fails, what was there before still is.

    With `sync` the bytes are on the disk before they take the name, so that a power cut leaves the old file or the new one as well.
    Without, that holds for our own death alone, which is enough for what can be made again.

    Raises:
        DiskError: it cannot be written.
    """
    unfinished = path.with_name(f"{OURS}{secrets.token_hex(8)}{UNFINISHED}")
    with telling_of_the_disk(path, needed_bytes):
        raw = _Told(unfinished, path, needed_bytes)
    try:
        stream = io.BufferedWriter(raw)
        yield stream
        stream.flush()
        with telling_of_the_disk(path, needed_bytes):
            if sync:
                os.fsync(raw.fileno())
            raw.close()
            os.replace(unfinished, path)  # noqa: PTH105 - the atomic replace is the point
    except BaseException:
        with suppress(OSError):
            raw.close()
        with suppress(OSError):
            unfinished.unlink()
        raise


def write_named(path: Path, data: bytes) -> None:
    """`data` to what the user named, as `named_file` writes it.

    Raises:
        DiskError: it cannot be written; a file that was there before still is.
    """
    with named_file(path, needed_bytes=len(data)) as stream:
        stream.write(data)


@contextmanager
def named_file(path: Path, *, needed_bytes: int | None = None) -> Iterator[BinaryIO]:
    """A stream to what the user named: a file, which `whole_file` writes, or what is no file and is written straight.

    Not for names inside a folder that is not trusted: a pipe there would make us wait, a link could lead to a device.

    Raises:
        DiskError: it cannot be written.
    """
    if is_straight(path):
        with telling_of_the_disk(path), path.open("ab") as stream:
            yield stream
        return
    with whole_file(path, needed_bytes=needed_bytes) as stream:
        yield stream


def is_straight(path: Path) -> bool:
    """Whether `path` leads to something that is written to rather than replaced: a device, a pipe, an open descriptor (/dev/stdout)."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return not path.is_dir()
    except (OSError, ValueError):
        return False
    at = str(path)
    for _ in range(MOST_LINKS):
        folder, name = os.path.split(os.path.abspath(at))  # noqa: PTH100 - step by step: resolve() would go through /proc to the file behind
        folder = os.path.realpath(folder)
        if folder.startswith("/proc/"):
            return True
        at = os.path.join(folder, name)  # noqa: PTH118 - as above
        if not os.path.islink(at):  # noqa: PTH114 - as above
            return False
        at = os.path.join(folder, os.readlink(at))  # noqa: PTH115, PTH118 - as above
    return False


def sync_folder(folder: Path) -> None:
    """Which names the folder holds is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """A folder is there, and those above it.

    Raises:
        DiskError: it cannot be made.
    """
    with telling_of_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)


def is_own_file(path: Path) -> bool:
    """Whether a regular file has this very name; a link to one has not."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def is_own_folder(path: Path) -> bool:
    """Whether a folder has this very name; a link to one has not."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def remove(path: Path) -> None:
    """Whatever has this name is gone: a file, a folder with all in it, or a link, whose target is left alone.

    Raises:
        DiskError: it cannot be removed.
    """
    with telling_of_the_disk(path):
        if is_own_folder(path):
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Take out of a folder of ours what no run of ours leaves there whole: unfinished files, links, pipes, at any depth.

    Raises:
        DiskError: something cannot be removed.
    """
    pending = [folder]
    with telling_of_the_disk(folder):
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False) or _is_unfinished(entry.name):
                        os.unlink(entry.path)  # noqa: PTH108 - a path of scandir's


class InUseError(InputError):
    """Another run has this folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """`folder`, made if need be, is this run's alone; one that stays empty is taken away again. The lock ends with the process.

    What killed runs left unfinished there is removed.

    Raises:
        InUseError: another run is at work there.
        InputError: it is no folder.
        DiskError: it cannot be made or locked.
    """
    made = not os.path.lexists(folder)
    if not made and not folder.is_dir():
        raise InputError(f"--out {printable(str(folder), SHOWN)} is a file", expected="a folder")
    descriptor = _lock(folder)
    try:
        _remove_unfinished(folder)
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
        os.close(descriptor)


def _lock(folder: Path) -> int:
    """A descriptor that holds the lock of the folder which has this name now."""
    while True:
        make_folder(folder)
        with telling_of_the_disk(folder):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = os.fstat(descriptor)
            except BlockingIOError:
                os.close(descriptor)
                raise InUseError(
                    f"another run of edgewright is at work in {printable(str(folder), SHOWN)}", fix="wait for it, or choose another --out"
                ) from None
            except OSError:
                os.close(descriptor)
                raise
        # The run before us may have taken its folder away just before we had the lock.
        with suppress(OSError):
            if os.path.samestat(held, folder.stat()):
                return descriptor
        os.close(descriptor)


def _remove_unfinished(folder: Path) -> None:
    """Unfinished files of killed runs; one that a living process still writes (a --json) is locked by it, and stays."""
    for path in [path for path in folder.iterdir() if _is_unfinished(path.name)]:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def _is_unfinished(name: str) -> bool:
    return name.startswith(OURS) and name.endswith(UNFINISHED)


class _Told(io.FileIO):
    """A new file, whose writes fail with a sentence about the file it is to become."""

    def __init__(self, unfinished: Path, path: Path, needed_bytes: int | None) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        super().__init__(os.open(unfinished, flags, 0o666), "wb")
        self._path, self._needed_bytes = path, needed_bytes
        with suppress(OSError):  # where files cannot be locked, they are not swept up either
            fcntl.flock(self.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: Any, /) -> int:
        with telling_of_the_disk(self._path, self._needed_bytes):
            return super().write(data)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"

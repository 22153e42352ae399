"""Read a file that a stranger named: only what is a plain file, never more of it than is asked for, and without waiting.

A pipe in its place would wait for a writer that never comes, a device might have no end, and a file may grow between a look at its size
and the reading. So the file is opened first, and everything is asked of what was opened.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """The file at `path`, open for reading; a link is followed.

    Raises:
        OSError: it is no regular file, not there or not ours to read; `strerror` says which, in a few words.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    except ValueError as error:  # a null character, or a lone surrogate that no file system can spell
        raise OSError(errno.EINVAL, "not a name a file can have", str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, most_bytes: int) -> bytes:
    """All bytes of the file at `path`.

    Raises:
        OSError: as `open_regular`; or it holds more than `most_bytes` (the errno is EFBIG), or changed while it was read.
    """
    with open_regular(path) as stream:
        expected = min(os.fstat(stream.fileno()).st_size, most_bytes)
        # One byte more than expected tells of others; asked for `most_bytes`, read() would first set aside that much.
        content = stream.read(expected + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"more than {most_bytes} bytes", str(path))
    if len(content) != expected:
        raise OSError(errno.EBUSY, "changed while it was read", str(path))
    return content


def why(error: OSError) -> str:
    """The reason a file was not read, in a few words: "no such file or directory"."""
    return (error.strerror or type(error).__name__).lower()


def is_regular(path: Path) -> bool:
    """Whether `path` leads to a regular file; no name, however long or strange, is an error."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises where a name is too long to be one


def is_folder(path: Path) -> bool:
    """Whether `path` leads to a folder; no name, however long or strange, is an error."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises where a name is too long to be one

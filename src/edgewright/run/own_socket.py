"""The socket in a service's state folder, by which processes of the same user ask it how it is; and how its path fits into an address."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET: Final = "http.sock"


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A path that fits into an address of a socket, which takes 107 bytes (unix(7)); for `bind` and `connect`."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)

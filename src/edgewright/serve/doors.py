"""Where a server listens: at an address, and in a folder of ours.

They are opened before anything else begins, so that a port in use is one sentence at the start; and by whoever lives longest, so that
clients wait for a front that is replaced, and are not turned away.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewright.errors import HostError
from edgewright.printable import printable
from edgewright.run.own_socket import SOCKET, short_path

BACKLOG: Final = 256
MOST_ADDRESSES: Final = 3  # of one name; with the socket in the folder, as many as a message takes


@dataclass(slots=True)
class Doors:
    """Sockets that listen. `own`: the one that only processes of the same user reach."""

    tcp: tuple[socket.socket, ...] = ()
    own: socket.socket | None = None
    own_path: Path | None = None

    @property
    def all(self) -> tuple[socket.socket, ...]:
        return self.tcp if self.own is None else (*self.tcp, self.own)

    @property
    def port(self) -> int | None:
        return self.tcp[0].getsockname()[1] if self.tcp else None

    def close(self) -> None:
        """Whoever comes from now on is refused; the file is gone."""
        for each in self.all:
            each.close()
        if self.own_path is not None:
            with suppress(OSError):
                self.own_path.unlink()
        self.tcp, self.own, self.own_path = (), None, None


def listen_at(host: str, port: int) -> tuple[socket.socket, ...]:
    """At every address of `host`; port 0 takes a free one, the same for all.

    Raises:
        HostError: it is not to be had, or `host` is not this machine.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in list(dict.fromkeys((each[0], each[4]) for each in found))[:MOST_ADDRESSES]:
            listening = socket.socket(family, socket.SOCK_STREAM)
            opened.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what an earlier run left waiting is not in the way
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 is another socket's
            taken = opened[0].getsockname()[1] if port == 0 else port
            listening.bind((address[0], taken, *address[2:]))
            listening.listen(BACKLOG)
            listening.setblocking(False)
    except (OSError, UnicodeError) as error:
        for each in opened:
            each.close()
        got = (getattr(error, "strerror", None) or str(error)).lower()
        raise HostError(f"cannot listen at {printable(host)}:{port}", got=got, fix="choose another port or address") from error
    return tuple(opened)


def listen_in(folder: Path) -> tuple[socket.socket, Path]:
    """A socket in a folder that is this process's alone (`whole_file.locked`), which nobody else may open; what lay there is replaced.

    Raises:
        OSError: the file system has no sockets, or something else is called so.
    """
    path = folder / SOCKET
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        with short_path(path) as short:
            listening.bind(short)
        path.chmod(0o600)  # before it listens: until then nobody is let in
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening, path

"""What the service and one of its child processes say to each other: short messages, each whole, over a pair of Unix sockets.

A message is a JSON object; file descriptors (of a ring) may travel with it. SOCK_SEQPACKET keeps the borders between messages, so that a
child that is killed in the middle of one cannot leave half of it behind. The service never waits: what a child does not take is an error
of its.

    ours, theirs = channel_pair()
    ours.send({"fill": 3})
    theirs.receive()            # Message({"fill": 3}, fds=())
"""

import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 64 << 10  # a message; what is larger goes through a ring
MOST_DESCRIPTORS = 4
CHANNEL_FD = 3  # in the child


class ChannelError(Exception):
    """The other side is gone, does not listen, or says what is no message: whoever it is, it is to be replaced."""


class TooMuchError(ChannelError):
    """What was to be sent is more than a message holds; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Message:
    """Words, and the descriptors that came with them; they are the receiver's to close."""

    words: dict[str, Any]
    fds: tuple[int, ...] = ()


class Channel:
    """One end."""

    def __init__(self, end: socket.socket, most_fds: int = MOST_DESCRIPTORS) -> None:
        self._end = end
        self._most_fds = most_fds

    @classmethod
    def of_child(cls) -> "Channel":
        """The child's end, as `Child` hands it over."""
        os.set_inheritable(CHANNEL_FD, False)
        return cls(socket.socket(fileno=CHANNEL_FD))

    def fileno(self) -> int:
        return self._end.fileno()

    def set_blocking(self, blocking: bool) -> None:  # noqa: FBT001 - as the socket's own
        """Whether `receive` waits for a message, and `send` for room."""
        self._end.setblocking(blocking)

    def send(self, words: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Raises ChannelError where the other side is gone, has not read for so long that nothing more fits, or would refuse so much."""
        data = json.dumps(words, separators=(",", ":")).encode()
        if len(data) > MOST_BYTES:
            raise TooMuchError(f"{len(data)} bytes are more than a message holds")
        try:
            if fds:
                socket.send_fds(self._end, [data], list(fds))
            else:
                self._end.send(data)
        except BlockingIOError:
            raise ChannelError("it does not read what it is told") from None
        except OSError as error:
            raise ChannelError(f"it cannot be told anything: {error.strerror}") from error

    def receive(self) -> Message | None:
        """The next message; None where there is none yet (an end that does not block).

        Raises:
            ChannelError: the other side has closed, or its message is none.
        """
        try:
            try:
                data, fds, flags, _ = self._next()
            except ConnectionResetError:
                # It has closed without having read all that we said. This is told before its own last words, which come now.
                data, fds, flags, _ = self._next()
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelError(f"nothing can be heard of it: {error.strerror}") from error
        for descriptor in fds:
            os.set_inheritable(descriptor, False)  # recv_fds takes no MSG_CMSG_CLOEXEC: it has flags, and does nothing with them
        try:
            return Message(_words(data, flags), tuple(fds))
        except ChannelError:
            close_all(fds)
            raise

    def _next(self) -> tuple[bytes, list[int], int, Any]:
        return socket.recv_fds(self._end, MOST_BYTES + 1, self._most_fds)

    def close(self) -> None:
        self._end.close()


def channel_pair() -> tuple[Channel, Channel]:
    """Two ends. Ours does not block and takes no descriptors, which a broken child could send without end; the other may be handed to a
    child.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return Channel(ours, most_fds=0), Channel(theirs)


def close_all(fds: Sequence[int]) -> None:
    """Descriptors that nobody wants."""
    for descriptor in fds:
        with suppress(OSError):
            os.close(descriptor)


def _words(data: bytes, flags: int) -> dict[str, Any]:
    if not data:
        raise ChannelError("it has closed its end")
    if len(data) > MOST_BYTES or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise ChannelError("it says more than a message holds")
    try:
        words = json.loads(data)
    except (ValueError, RecursionError):
        raise ChannelError("it says what is no message") from None
    if not isinstance(words, dict):
        raise ChannelError("it says what is no message")
    return words

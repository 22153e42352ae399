"""What the service's child processes have in common: a first order, then words to obey until the service is gone.

def main() -> int:
    return serve(lambda channel, order: Worker(channel, order["load"]).serve())
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from edgewright.detections import ImageRgb
from edgewright.errors import EdgewrightError, HostError
from edgewright.printable import printable
from edgewright.run.channel import Channel, ChannelError, Message, close_all
from edgewright.run.ring import Ring, RingError

Deeds: TypeAlias = Mapping[str, Callable[[Message], None]]  # by the word that asks for each

LONGEST_WHY = 1000  # characters


def serve(work: Callable[[Channel, dict[str, Any]], None]) -> int:
    """Do the work that the first words order, until it ends or the service is gone, and say why where it cannot be done; the exit code."""
    channel = Channel.of_child()
    with suppress(ChannelError):  # the service is gone
        order = channel.receive()
        if order is None:
            return 1
        try:
            work(channel, order.words)
        except (EdgewrightError, RingError) as error:
            channel.send({"say": "refused", **reason(error)})
    return 0


def reason(error: Exception) -> dict[str, Any]:
    """Why, in words, and with the exit code that a command would have for it."""
    return {"why": printable(str(error), LONGEST_WHY), "exit_code": getattr(error, "exit_code", HostError.exit_code)}


def obey(message: Message, deeds: Deeds) -> None:
    """Do what its words ask for. Descriptors that nobody asked for are closed."""
    for word, deed in deeds.items():
        if word in message.words:
            return deed(message)
    return close_all(message.fds)


class Rings:
    """The cameras' rings, by the numbers that the service has for them; `deeds` are what it says of them."""

    def __init__(self) -> None:
        self._rings: dict[int, Ring] = {}
        self.deeds: Deeds = {"ring": self._attach, "unring": self._let_go}

    def picture(self, words: Mapping[str, Any], size_wh: tuple[int, int]) -> ImageRgb:
        """The slot that a message names, a view."""
        return self._rings[words["ring"]].picture(words["slot"], size_wh)

    def _attach(self, message: Message) -> None:
        words = message.words
        self._rings[words["ring"]] = Ring.attach(message.fds[0], words["slots"], words["slot_bytes"])

    def _let_go(self, message: Message) -> None:
        if (ring := self._rings.pop(message.words["unring"], None)) is not None:
            ring.close()

"""The HTTP front of a live service: a process that answers clients from what the service tells it. It stops nobody when it dies.

The service says {"doors": [tcp, own]} with the sockets, pieces of documents (`front_words`: the order, then a status a second and events
as they come), and {"end": seconds}; this process says serves, heard (of each status, with what its models take), note, fault and refused.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from typing import Any, Final

from edgewright.clock import SystemClock
from edgewright.errors import EdgewrightError
from edgewright.printable import printable
from edgewright.run.channel import Channel, ChannelError, Message, close_all
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.doors import Doors
from edgewright.serve.front_words import FrontOrder, Gathered
from edgewright.serve.history import History
from edgewright.serve.history_file import HistoryFile
from edgewright.serve.http import HttpServer
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.live_view import LiveView
from edgewright.serve.model_host import ModelHost
from edgewright.serve.model_settings import HostSettings
from edgewright.serve.previews import Previews

LONGEST_WHY: Final = 1000  # characters
LONGEST_FAULT: Final = 4000
MOST_HEARD: Final = 100  # messages, after which clients have their turn
TELL_EVERY_S: Final = 0.25  # what its models take, where that has changed


class FrontProcess:
    """One front, from its order to its end."""

    def __init__(self, channel: Channel, order: FrontOrder, doors: Doors) -> None:
        self._channel = channel
        self._clock = SystemClock()
        self.live = LiveView(self._clock)
        models = {name: path for name, path, _ in order.models}
        host = HostSettings(
            models=models,
            at_start=(),
            on_demand=order.settings.load,
            own_threads={name: count for name, _, count in order.models},
            most_together=order.settings.most_together,
            memory_bytes=order.room_bytes,
        )
        self._host = ModelHost(host, clock=self._clock)
        self._loop = asyncio.get_running_loop()
        self._file = HistoryFile(order.state, clock=self._clock, say=self._note)
        kept = self._file.load()
        self._history = History(self._clock, self._file.save, kept=kept.steps, told=kept.events)
        self.live.listeners.append(self._history)
        self._plane = DataPlane(self._host, clock=self._clock, may_load=order.settings.load, live=self.live, history=self._history)
        if order.cameras is not None:
            self._plane.previews = Previews(order.cameras, clock=self._clock, say=self._say, fault=self._fault)
        self._server = HttpServer(self._plane, HttpSettings.of(order.settings), self._fault, doors)
        self._gathered = Gathered()
        self._ending = asyncio.Event()
        self._within_s = 0.0
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        """Until the service says that it ends, or is gone.

        Raises:
            InputError, HostError: it cannot be served as ordered.
        """
        await self._server.start()
        self._channel.set_blocking(False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._hear)
        self._say({"say": "serves"})
        telling = asyncio.create_task(self._tell_changes())
        await self._ending.wait()
        loop.remove_reader(self._channel.fileno())
        telling.cancel()
        self._history.save()
        await self._server.close(within_s=self._within_s)
        self._file.close()

    def _hear(self) -> None:
        try:
            for _ in range(MOST_HEARD):
                message = self._channel.receive()
                if message is None:
                    return
                self._obey(message)
        except ChannelError:  # the service is gone
            self._ending.set()

    def _obey(self, message: Message) -> None:
        words = message.words
        if "piece" in words:
            if (document := self._gathered.take(words)) is not None:
                self._learn(document)
        elif "end" in words:
            self._within_s = float(words["end"])
            self._ending.set()
        elif self._plane.previews is None or not self._plane.previews.obey(message):
            close_all(message.fds)

    def _learn(self, document: dict[str, Any]) -> None:
        if "status" in document:
            self._host.budget.total_bytes = int(document["room_bytes"])
            self.live.hear_status(document["status"])
            self._tell_parts()
        for event in document.get("events", ()):
            self.live.hear_event(event)

    def _tell_parts(self) -> None:
        self._told = dict(self._host.budget.promises)
        used = {f"model {name}": worker.taken_bytes for name, worker in self._host.workers.items() if worker.taken_bytes}
        self._say({"say": "heard", "busy": self._server.connections > 0, "promised": self._told, "used": used})

    async def _tell_changes(self) -> None:
        """A model that was just loaded has its place in the budget before the next one is."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            if self._told != self._host.budget.promises:
                self._tell_parts()

    def _note(self, text: str) -> None:
        """From any thread: a sentence for the log."""
        self._loop.call_soon_threadsafe(self._say, {"say": "note", "text": text[:LONGEST_WHY]})

    def _fault(self, text: str) -> None:
        self._say({"say": "fault", "text": text[-LONGEST_FAULT:]})

    def _say(self, words: dict[str, Any]) -> bool:
        """Whether it was told."""
        with suppress(ChannelError):  # the service is gone, which is heard at once
            self._channel.send(words)
            return True
        return False


def main() -> int:
    """Serve until the service is gone."""
    channel = Channel.of_child()
    try:
        order, doors = _ordered(channel)
        try:
            asyncio.run(_served(channel, order, doors))
        except EdgewrightError as error:
            channel.send({"say": "refused", "why": printable(str(error), LONGEST_WHY), "exit_code": error.exit_code})
    except ChannelError:
        return 0  # the service is gone
    return 0


async def _served(channel: Channel, order: FrontOrder, doors: Doors) -> None:
    await FrontProcess(channel, order, doors).run()


def _ordered(channel: Channel) -> tuple[FrontOrder, Doors]:
    """The first words: where clients come in, and what is to be served."""
    message = channel.receive()
    if message is None:
        raise ChannelError("it has said nothing")
    tcp, own = message.words["doors"]
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in message.fds)
    doors = Doors(sockets[:tcp], sockets[tcp] if own else None)
    gathered = Gathered()
    while (piece := channel.receive()) is not None:
        if (document := gathered.take(piece.words)) is not None:
            return FrontOrder.from_json(document["order"]), doors
    raise ChannelError("it has given no order")


if __name__ == "__main__":
    sys.exit(main())

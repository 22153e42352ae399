"""Where records go: files, a store, a broker, a web server. One kind a module, found by the type of its settings."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from edgewright.clock import Clock, SystemClock
from edgewright.run.settings import FileOutput, MqttOutput, StoreOutput, WebhookOutput
from edgewright.run.sinks.base import Place, RefusedError, Sink, SinkError, UndeliveredError

__all__ = ["Deliverable", "Place", "RefusedError", "Sink", "SinkError", "UndeliveredError", "open_sink", "place_for"]

Deliverable: TypeAlias = FileOutput | StoreOutput | MqttOutput | WebhookOutput


def open_sink(output: Deliverable, place: Place) -> Sink:
    """The sink for an output. Nothing is connected to, made or written before the first delivery.

    Raises:
        InputError: an address that is none.
        HostError: a package is missing.
    """
    match output:
        case FileOutput():
            from edgewright.run.sinks.file import FileSink  # noqa: PLC0415 - a service loads the sinks that it has

            return FileSink(output, place)
        case StoreOutput():
            from edgewright.run.sinks.store import StoreSink  # noqa: PLC0415

            return StoreSink(output, place)
        case MqttOutput():
            from edgewright.run.sinks.mqtt import MqttSink  # noqa: PLC0415

            return MqttSink(output, place)
        case WebhookOutput():
            from edgewright.run.sinks.webhook import WebhookSink  # noqa: PLC0415

            return WebhookSink(output, place)


def place_for(
    state: Path,
    *,
    service: str = "edgewright",
    cameras: tuple[str, ...] = (),
    clock: Clock | None = None,
    wrote: Callable[[int], object] = lambda _: None,
) -> Place:
    """What a sink is told of the service around it."""
    return Place(state, service, cameras, SystemClock() if clock is None else clock, wrote)

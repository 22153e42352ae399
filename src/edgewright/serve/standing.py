"""A server of models and pictures without cameras: until it is told to stop."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from edgewright.clock import Clock, SystemClock
from edgewright.errors import EdgewrightError
from edgewright.run.front_settings import FrontSettings
from edgewright.run.systemd import Notifier
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.doors import Doors, listen_at
from edgewright.serve.http import HttpServer, Say
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.model_host import MODEL_NAME, ModelHost
from edgewright.serve.model_settings import HostSettings
from edgewright.serve.url import url_of

LOOK_EVERY_S: Final = 0.1
DRAIN_S: Final = 4.0  # systemd and docker wait for ten seconds, people for less


def serve_models(
    models: HostSettings,
    front: FrontSettings,
    *,
    is_stopped: Callable[[], bool],
    say: Say,
    environment: Mapping[str, str],
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Serve them until it is stopped; what was asked of each. `say` takes lines for the log.

    Raises:
        InputError: the certificate, or every model, is wrong.
        HostError: the address is not to be had, or this machine cannot run the models.
    """
    clock = clock or SystemClock()
    doors = Doors(listen_at(front.host, front.port))
    try:
        return asyncio.run(_serve(models, front, doors, is_stopped, say, Notifier.of(environment, clock), clock))
    finally:
        doors.close()


async def _serve(
    models: HostSettings,
    front: FrontSettings,
    doors: Doors,
    is_stopped: Callable[[], bool],
    say: Say,
    notifier: Notifier,
    clock: Clock,
) -> dict[str, Any]:
    host = ModelHost(models, clock=clock)
    plane = DataPlane(host, clock=clock, may_load=front.load)
    server = HttpServer(plane, HttpSettings.of(front), say, doors)
    url = url_of(front, doors.port)
    said_ready = False
    try:
        await server.start()
        say(f"listens at {url}")
        while not is_stopped() and _refusal(host) is None:
            is_ready = plane.is_ready()
            notifier.beat(is_ready=is_ready, is_alive=True)
            if is_ready and not said_ready:
                said_ready = True
                say("ready: " + (", ".join(sorted(host.workers)) or "no model is loaded yet"))
            await asyncio.sleep(LOOK_EVERY_S)
        notifier.stopping()
        if (wrong := _refusal(host)) is not None:
            raise wrong
        return {"url": url, **plane.statistics()}
    finally:
        await server.close(within_s=DRAIN_S)


def _refusal(host: ModelHost) -> EdgewrightError | None:
    """What was wrong with the models of the start, where none of them will ever be served."""
    found = [worker.refusal for name, worker in host.workers.items() if name in host.required]
    return found[0] if found and len(found) == len(host.required) and all(each is not None for each in found) else None


def name_of(path: Path) -> str:
    """What a model is called that was only given by its place."""
    name = path.stem if path.suffix == ".onnx" else path.absolute().name
    return name if MODEL_NAME.fullmatch(name) else "model"

"""`edgewright serve MODEL --http 8000`: tensors and pictures over HTTP, and no camera."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewright.clock import SystemClock
from edgewright.errors import HostError, InputError
from edgewright.printable import printable
from edgewright.run.log import Log, LogFormat
from edgewright.run.records import Event
from edgewright.run.settings import ServiceSettings
from edgewright.serve.front import PACKAGE, PIP, is_installed
from edgewright.serve.model_settings import HostSettings


def serve_without_cameras(
    settings: ServiceSettings, repository: Path | None, log_format: LogFormat, *, is_stopped: Callable[[], bool], quiet: bool
) -> dict[str, Any]:
    """Until it is told to stop; what was asked of each model.

    Raises:
        InputError: the model, or the folder of more, is none.
        HostError: a package is missing, the address is not to be had, or this machine cannot run the models.
    """
    if not is_installed():
        raise HostError(f"HTTP needs the package {PACKAGE}, which is not installed", fix=PIP)
    from edgewright.serve.standing import serve_models  # noqa: PLC0415 - needs that package

    if repository is not None and not repository.is_dir():
        raise InputError(f"there is no folder {printable(str(repository))}", expected="a folder of models")
    assert settings.http is not None  # noqa: S101 - without cameras there is nothing else to do
    threads = {model.threads for model in settings.models}
    host = HostSettings(
        models={model.name: model.artifact.absolute() for model in settings.models},
        folder=repository,
        threads=threads.pop() if len(threads) == 1 else None,
        memory_bytes=settings.memory_bytes,
    )
    say = _say(settings, log_format, quiet=quiet)
    return serve_models(host, settings.http, is_stopped=is_stopped, say=say, environment=os.environ)


def _say(settings: ServiceSettings, log_format: LogFormat, *, quiet: bool) -> Callable[[str], None]:
    """A line of the service's log, as a service with cameras writes it."""
    clock, log = SystemClock(), Log(log_format)

    def say(text: str) -> None:
        if not quiet:
            log.offer(Event("", clock.wall_s(), "http", settings.name, text))

    for warning in settings.warnings:
        say(warning)
    return say

"""`edgewright serve MODEL --http 8000`: tensors and pictures over HTTP, and no camera."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewright.clock import SystemClock
from edgewright.errors import HostError, InputError
from edgewright.printable import printable
from edgewright.run.front_settings import FrontSettings
from edgewright.run.log import Log, LogFormat
from edgewright.run.records import Event
from edgewright.serve.front import PACKAGE, PIP, is_installed
from edgewright.serve.model_settings import HostSettings

if TYPE_CHECKING:
    from collections.abc import Callable


def serve_without_cameras(
    what: Path | None, repository: Path | None, front: FrontSettings, log_format: LogFormat, *, check: bool, quiet: bool
) -> dict[str, Any]:
    """Until it is told to stop; what was asked of each model.

    Raises:
        InputError: the model, or the folder, is none.
        HostError: a package is missing, or the address is not to be had.
    """
    if not is_installed():
        raise HostError(f"HTTP needs the package {PACKAGE}, which is not installed", fix=PIP)
    from edgewright.cli.serve import stopped_by_signals  # noqa: PLC0415 - which imports this module
    from edgewright.serve.standing import name_of, serve_models  # noqa: PLC0415 - needs that package

    if what is not None and not (what.is_dir() or what.is_file()):
        raise InputError(f"there is no {printable(str(what))}", expected="an artifact's folder, or an .onnx file")
    if repository is not None and not repository.is_dir():
        raise InputError(f"there is no folder {printable(str(repository))}", expected="a folder of models")
    models = {} if what is None else {name_of(what): what.absolute()}
    if check:
        return {"models": list(models), "repository": None if repository is None else str(repository)}
    host = HostSettings(models=models, folder=repository)
    with stopped_by_signals() as is_stopped:
        return serve_models(host, front, is_stopped=is_stopped, say=_say(log_format, quiet=quiet), environment=os.environ)


def _say(log_format: LogFormat, *, quiet: bool) -> "Callable[[str], None]":
    clock, log = SystemClock(), Log(log_format, sys.stderr)

    def say(text: str) -> None:
        if not quiet:
            log.offer(Event("", clock.wall_s(), "http", "server", text))

    return say

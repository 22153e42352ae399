"""`edgewright serve`: cameras to answers, for weeks; and models over HTTP."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.http_options import Certificate, HttpAt, HttpOptions, Key, TokenFile, front_settings
from edgewright.cli.output import JsonPath, Quiet, printer_for, write_json
from edgewright.errors import InputError

if TYPE_CHECKING:
    from edgewright.run.front_settings import FrontSettings
    from edgewright.run.log import LogFormat
    from edgewright.run.settings import ServiceSettings

EXAMPLES = """
[bold]Examples[/bold]

  edgewright serve service.toml

  edgewright serve fitted/ --camera 0

  edgewright serve yolov8n.onnx --camera 'rtsp://viewer:${CAMERA_PASSWORD}@10.0.0.7/stream1' --camera /dev/video1

  edgewright serve fitted/ --camera 0 --http 8000        (and a page, metrics and an API at http://127.0.0.1:8000)

  edgewright serve yolov8n.onnx --http 8000              (no camera: tensors and pictures over HTTP alone)

  edgewright serve --repository models/ --http 0.0.0.0:8000 --http-token-file token

  edgewright serve service.toml --check        (what would run, and whether the file is right)

  edgewright serve service.toml --unit > /etc/systemd/system/edgewright.service

[bold]Exit codes[/bold]  0 stopped, or every source ended; 2 service.toml, a model or a file is wrong; 3 this machine cannot
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("serve", epilog=EXAMPLES)(serve)


def serve(
    what: Annotated[
        Path | None,
        typer.Argument(metavar="SERVICE_TOML_OR_MODEL", help="A service.toml, a fitted folder, or a YOLO detector.", show_default=False),
    ] = None,
    camera: Annotated[
        list[str] | None, typer.Option("--camera", metavar="SOURCE", help="A camera's number, device, address, file or folder; repeat it.")
    ] = None,
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Where spools and stores go.", show_default="as in the file")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop each camera after so many frames.")] = None,
    http: HttpAt = None,
    http_token_file: TokenFile = None,
    http_certificate: Certificate = None,
    http_key: Key = None,
    repository: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Without cameras: models that may be loaded, NAME.onnx or artifact folders NAME.")
    ] = None,
    log: Annotated[str, typer.Option(metavar="FORMAT", help="text, or json: a line an event on standard error.")] = "text",
    check: Annotated[bool, typer.Option("--check", help="Read the settings, say what would run, and stop.")] = False,
    unit: Annotated[bool, typer.Option("--unit", help="Print a systemd unit for this service.toml, and stop.")] = False,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Watch cameras with a detector, and go on whatever breaks; SIGTERM or Ctrl-C ends it in order."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads for matrices, of which there are none here
    if log not in ("text", "json"):
        raise InputError(f"--log {log}", expected="text or json")
    options = HttpOptions(http, http_token_file, http_certificate, http_key)
    log_format: LogFormat = "json" if log == "json" else "text"
    if what is None or repository is not None or (what.suffix != ".toml" and not camera and http is not None):
        from edgewright.cli.serve_models import serve_without_cameras  # noqa: PLC0415 - heavy: not for --help

        front = front_settings(options, None, os.environ)
        if camera or unit or front is None:
            raise InputError(
                "a server without cameras", expected="--http [HOST:]PORT with a MODEL or --repository, and no --camera or --unit"
            )
        write_json(serve_without_cameras(what, repository, front, log_format, check=check, quiet=quiet), json_path)
        return
    settings = settings_of(what, camera or [], state, frames)
    settings = replace(settings, http=front_settings(options, settings.http, os.environ))
    if unit:
        _print_unit(what)
    elif check:
        _show(settings, json_path, quiet=quiet)
    else:
        write_json(_run(settings, log_format, quiet=quiet), json_path)


def settings_of(what: Path, cameras: list[str], state: Path | None, frames: int | None) -> "ServiceSettings":
    """What a service.toml says, or a model and cameras on the command line.

    Raises:
        InputError: something of it is wrong.
    """
    from edgewright.run.service_file import read_service, service_of  # noqa: PLC0415 - heavy: not for --help
    from edgewright.run.settings import STATE  # noqa: PLC0415

    if what.suffix == ".toml":
        if cameras:
            raise InputError("--camera and a service.toml", expected="cameras in the file, or a model and --camera")
        settings = read_service(what, os.environ)
        return replace(settings, state=state or settings.state, frames=frames or settings.frames)
    if not cameras:
        raise InputError(f"no camera for {what}", fix="add --camera 0, name a service.toml, or serve it over HTTP alone with --http 8000")
    return service_of(what, cameras, os.environ, state=state or STATE, frames=frames)


def _print_unit(what: Path) -> None:
    import shutil  # noqa: PLC0415

    from edgewright.run.systemd import unit  # noqa: PLC0415

    if what.suffix != ".toml":
        raise InputError("--unit needs a service.toml", got=str(what))
    typer.echo(unit(shutil.which("edgewright") or "/usr/local/bin/edgewright", what.absolute()), nl=False)


def _show(settings: "ServiceSettings", json_path: Path | None, *, quiet: bool) -> None:
    printer = printer_for(quiet=quiet, stderr=str(json_path) == "-")
    for warning in settings.warnings:
        printer.print(f"warning: {warning}")
    for model in settings.models:
        printer.print(f"model   {model.name}: {model.artifact}")
    for each in settings.cameras:
        printer.print(f"camera  {each.name}: {each.source}, for {', '.join(each.models) or 'every model'}")
    for rule in settings.rules:
        printer.print(f"rule    {rule.name}: {rule.kind}")
    for output in settings.outputs:
        printer.print(f"output  {output.name}: {', '.join(output.records)}")
    if settings.http is not None:
        printer.print(f"http    {_http_line(settings.http)}")
    write_json(
        {
            "name": settings.name,
            "models": [model.name for model in settings.models],
            "cameras": [{"name": each.name, "source": str(each.source)} for each in settings.cameras],
            "rules": [rule.name for rule in settings.rules],
            "outputs": [output.name for output in settings.outputs],
            "http": None if settings.http is None else _http_line(settings.http),
            "warnings": list(settings.warnings),
        },
        json_path,
    )


def _http_line(http: "FrontSettings") -> str:
    from edgewright.serve.url import url_of  # noqa: PLC0415 - heavy: not for --help

    return url_of(http, http.port) + (", with a token" if http.token is not None else "")


def _run(settings: "ServiceSettings", log_format: "LogFormat", *, quiet: bool) -> dict[str, Any]:
    """Until it is told to stop; what became of every frame."""
    from edgewright.run.live import live  # noqa: PLC0415 - heavy: not for --help
    from edgewright.serve.front import front_of  # noqa: PLC0415

    with stopped_by_signals() as is_stopped, front_of(settings) as beside:
        return live(settings, log_format=log_format, is_stopped=is_stopped, quiet=quiet, beside=beside)


@contextmanager
def stopped_by_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or Ctrl-C has come meanwhile; they end nothing by themselves."""
    asked: list[int] = []
    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda got, _frame: asked.append(got)))
        yield lambda: bool(asked)

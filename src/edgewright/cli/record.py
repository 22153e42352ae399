"""`edgewright record`: a stretch of frames, and what was decided about each."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, printer_for, write_json
from edgewright.errors import InputError

EXAMPLES = """
[bold]Examples[/bold]

  edgewright record service.toml --out incident --seconds 60

  edgewright record fitted/ --camera 0 --out incident --frames 500 --pictures png

Then, on any machine, the same frames again: edgewright serve fitted/ --camera incident

[bold]Exit codes[/bold]  0 recorded; 2 service.toml, a model or the folder is wrong; 3 this machine cannot
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("record", epilog=EXAMPLES)(record)


def record(
    what: Annotated[Path, typer.Argument(metavar="SERVICE_TOML_OR_MODEL", help="As for `serve`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder, for the frames and frames.jsonl.")],
    camera: Annotated[
        list[str] | None, typer.Option("--camera", metavar="SOURCE", help="A camera's number, device, address, file or folder; repeat it.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop each camera after so many frames.")] = None,
    pictures: Annotated[str, typer.Option(metavar="FORMAT", help="jpeg, or png, which keeps every bit.")] = "jpeg",
    most_mib: Annotated[int, typer.Option(min=1, help="Stop when the folder has so many MiB.")] = 2048,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Record what cameras show and what a detector says of it, to be replayed elsewhere."""
    from edgewright.cli.serve import settings_of, stopped_by_signals  # noqa: PLC0415 - heavy: not for --help
    from edgewright.run.live import live  # noqa: PLC0415
    from edgewright.run.settings import MIB, StretchOutput  # noqa: PLC0415

    if pictures not in ("jpeg", "png"):
        raise InputError(f"--pictures {pictures}", expected="jpeg or png")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"cannot record into {out}", got="something is there", expected="a new or an empty folder")
    stretch = StretchOutput("stretch", folder=out.absolute(), pictures="png" if pictures == "png" else "jpeg", most_bytes=most_mib * MIB)
    with tempfile.TemporaryDirectory(prefix="edgewright-record-") as state, stopped_by_signals() as is_stopped:
        settings = settings_of(what, camera or [], Path(state), frames)
        if not settings.cameras:
            raise InputError(f"there is no camera in {what}", fix="add a [[camera]]")
        until_s = float("inf") if seconds is None else time.monotonic() + seconds
        status = live(
            replace(settings, outputs=(stretch,)),
            is_stopped=lambda: is_stopped() or time.monotonic() >= until_s,
            quiet=quiet,
        )
    recorder = status["recorders"]["stretch"]
    printer_for(quiet=quiet, stderr=str(json_path) == "-").print(f"{recorder['recorded']} frames in {out}")
    write_json({"out": str(out), "frames": recorder["recorded"], "left_out": recorder["left_out"], "cameras": status["cameras"]}, json_path)

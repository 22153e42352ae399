"""`edgewright export`: what other tools load: a model repository for Triton, a dashboard for Grafana."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.folders import utf8
from edgewright.cli.output import JsonPath, Quiet, console_for, write_json
from edgewright.whole_file import write_named

EXAMPLES = """
[bold]Examples[/bold]

  edgewright export triton fitted/ --out models

  edgewright export triton yolov8n.onnx --out models --name people --threads 4

  edgewright export triton for-a-server/ --out models --max-batch 16        (made by edgewright quantize --batch any)

Then: tritonserver --model-repository=models. Exporting again under the same name replaces the model, version by version.

[bold]Exit codes[/bold]  0 done, 2 the input is wrong, 3 this machine cannot
"""

OF_GRAFANA = """
[bold]Examples[/bold]

  edgewright export grafana --out edgewright.json

  edgewright export grafana > edgewright.json

In Grafana: Dashboards, New, Import; it asks which Prometheus reads /metrics.
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    places = typer.Typer(no_args_is_help=True, help="Write what other tools load.", rich_markup_mode="rich")
    places.callback()(export)
    places.command("triton", epilog=EXAMPLES)(triton)
    places.command("grafana", epilog=OF_GRAFANA)(grafana)
    app.add_typer(places, name="export")


def export() -> None:
    """Write what other tools load."""


def triton(
    model: Annotated[Path, typer.Argument(metavar="ARTIFACT|MODEL", help="An artifact folder, or any sound .onnx file.")],
    out: Annotated[Path, typer.Option(metavar="DIR", callback=utf8, help="The model repository; other models in it are left alone.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What clients call it.", show_default="the model's own")] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=0, max=1024, help="Threads of the engine; 0 leaves it to the server.", show_default="as fitted, else 0"),
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(min=0, max=4096, help="Most pictures a request, and computed together.", show_default="8 where it can, else 0"),
    ] = None,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Write a model repository that Triton loads, and KServe on top of it: model, config.pbtxt, and what its clients must know."""
    from edgewright.serve.triton_repository import ExportRequest, export_triton  # noqa: PLC0415 - heavy: not for --help

    exported = export_triton(ExportRequest(model, out, name, threads, max_batch))
    config = exported.config
    console = console_for(quiet=quiet, json_path=json_path)
    batch = f"up to {config.max_batch_size} pictures a request" if config.max_batch_size else "whole shapes, no batching"
    console.print(f"{exported.folder}: version {config.version} for Triton's {config.backend} backend, {batch}")
    if exported.subject.artifact is None:
        console.print("no detector that edgewright decodes: README.md names its tensors, and what they mean is for you to know")
    else:
        console.print("README.md and edgewright.json there say what a client does before and after the network")
    write_json(exported.to_json(), json_path)


def grafana(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where it goes.", show_default="standard output")] = None,
) -> None:
    """Write the dashboard for Grafana that goes with this edgewright's /metrics."""
    from edgewright.serve.grafana import dashboard  # noqa: PLC0415 - not for --help

    text = json.dumps(dashboard(), indent=2) + "\n"
    if out is None:
        sys.stdout.write(text)
    else:
        write_named(out, text.encode())

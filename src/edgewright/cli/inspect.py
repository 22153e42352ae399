"""`edgewright inspect`: what a model is, and whether anyone should run it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from edgewright.cli.output import JsonPath, Quiet, console_for, write_json

EXAMPLES = """
[bold]Example[/bold]

  edgewright inspect yolov8n.onnx
"""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("inspect", epilog=EXAMPLES)(inspect)


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Any .onnx file; it is read, never run.")],
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Say what MODEL is: family, inputs, outputs, classes, size, precision, and what is wrong with it.

    Exit code 2 if nobody should run it.
    """
    from edgewright.door.admission import inspect_model_safely  # noqa: PLC0415 - heavy: not for --help

    document = inspect_model_safely(model)
    console = console_for(quiet=quiet, json_path=json_path)
    for name, value in _facts(document).items():
        console.print(f"{name:<11} {'-' if value is None else value}")
    for finding in document["findings"]:
        console.print(f"{finding['severity']}: {finding['what']} ({finding['where']}); {finding['fix']}")
    write_json(document, json_path)


def _facts(document: dict[str, Any]) -> dict[str, Any]:
    """What fits on a line each."""
    macs, classes = document["macs"], document["classes"]
    return {
        "model": document["name"],
        "family": document["family"] or "not a detector we decode",
        "inputs": ", ".join(_tensor(each) for each in document["inputs"]),
        "outputs": ", ".join(_tensor(each) for each in document["outputs"]),
        "classes": f"{len(classes)}: {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}" if classes else None,
        "parameters": f"{document['parameters']:,}",
        "MACs": None if macs is None else f"{macs / 1e9:.3g} G",
        "precision": document["precision"],
        "opset": document["opset"],
        "digest": document["digest"],
    }


def _tensor(described: dict[str, Any]) -> str:
    shape = "?" if described["shape"] is None else ", ".join("?" if axis is None else str(axis) for axis in described["shape"])
    return f"{described['name']} {described['dtype']} [{shape}]"

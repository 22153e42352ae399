"""`edgewright inspect`: what a model is, and whether anyone should run it."""

from pathlib import Path
from typing import Annotated

import typer

from edgewright.cli.output import JsonPath, Quiet, console_for, table, write_json

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
    from edgewright.graph.head import family_of  # noqa: PLC0415 - heavy: not for --help
    from edgewright.graph.inspect import inspect_model  # noqa: PLC0415

    document = inspect_model(model, recognise=family_of).to_json()
    console = console_for(quiet=quiet, json_path=json_path)
    shown = {**document, "classes": len(document["classes"]) if document["classes"] else None}
    rows = [[key, value] for key, value in shown.items() if key != "findings" and not isinstance(value, dict)]
    console.print(table(str(model), ["", "value"], rows))
    for finding in document["findings"]:
        console.print(f"{finding['severity']}: {finding['what']} ({finding['where']}); {finding['fix']}", markup=False)
    write_json(document, json_path)

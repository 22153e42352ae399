"""The command `edgewright`: one small file a verb; the only place that wires stages together."""

import typer

from edgewright.cli import bench, calibrate, detect, fit, inspect, quantize
from edgewright.cli import eval as evaluate
from edgewright.cli.failures import one_sentence
from edgewright.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (fit, calibrate, quantize, bench, evaluate, inspect, detect):
    verb.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgewright {__version__}")
        raise typer.Exit


@app.callback()
def edgewright(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_show_version, is_eager=True),
) -> None:
    """A detector, a board and a budget in; a fitted model with evidence out."""


def main() -> None:
    """Run the command line; every error of ours becomes one sentence and its exit code."""
    with one_sentence():
        app()

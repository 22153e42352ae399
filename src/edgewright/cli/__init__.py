"""The command `edgewright`: one small file a verb; the only place that wires stages together."""

import os
import sys

import typer

from edgewright.cli import bench, detect, fit, inspect
from edgewright.cli import eval as evaluate
from edgewright.errors import EdgewrightError, HostError, Interrupted
from edgewright.version import __version__

FIT_EXTRA = frozenset({"jinja2", "onnx", "pycocotools", "yaml"})  # what a board does not have; see pyproject.toml

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (fit, bench, evaluate, inspect, detect):
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
    try:
        app()
    except EdgewrightError as error:
        _say(error)
        sys.exit(error.exit_code)
    except SystemExit as leaving:
        # Typer has turned Ctrl-C into this status, without a word.
        if leaving.code == Interrupted.exit_code:
            _say(Interrupted("stopped", fix="what was finished is kept; `fit` goes on with --resume"))
        raise
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in FIT_EXTRA:
            raise
        _say(HostError(f"this needs the package {error.name}, which is not installed", fix="run: pip install 'edgewright[fit]'"))
        sys.exit(HostError.exit_code)
    except BrokenPipeError:
        # The reader of our output has left (`| head`); writing to it again at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _say(HostError(f"{error.strerror or error}{place}", fix="check space and permissions"))
        sys.exit(HostError.exit_code)


def _say(error: EdgewrightError) -> None:
    sys.stderr.write(f"edgewright: {error}\n")

"""The command `edgewright`: one small file a verb; the only place that wires stages together."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import cast

import typer

from edgewright.cli.failures import one_sentence
from edgewright.errors import InputError
from edgewright.version import __version__

# Modules of this package, in the order of the work.
VERBS = (
    "board",
    "fit",
    "calibrate",
    "recover",
    "quantize",
    "bench",
    "eval",
    "inspect",
    "detect",
    "serve",
    "watch",
    "record",
    "export",
    "doctor",
)


def command_line(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """The command with these verbs; only their modules are imported."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(edgewright)
    for verb in verbs:
        import_module(f"edgewright.cli.{verb}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgewright {__version__}")
        raise typer.Exit


def edgewright(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_show_version, is_eager=True),
) -> None:
    """A detector, a board and a budget in; a fitted model with evidence out."""


def _asked_for(words: Sequence[str]) -> Sequence[str]:
    """The one verb that begins the command, if one does; all of them where the answer may name them."""
    return (words[0],) if words and words[0] in VERBS else VERBS


# Typer keeps the family to itself: its own copy of Click's in some releases, Click's in others.
UsageError = cast("type[Exception]", typer.BadParameter.__base__)


def main() -> None:
    """Run the command line; every error of ours, and of whoever types, becomes one sentence and its exit code."""
    with one_sentence():
        try:
            sys.exit(command_line(_asked_for(sys.argv[1:]))(standalone_mode=False))
        except UsageError as error:
            complaint = str(error.format_message())  # type: ignore[attr-defined]  # see above
            if not complaint:
                sys.exit(InputError.exit_code)  # no words at all: the help has been shown
            command = error.ctx.command_path if error.ctx else "edgewright"  # type: ignore[attr-defined]
            raise InputError(complaint.rstrip("."), fix=f"see {command} --help") from error

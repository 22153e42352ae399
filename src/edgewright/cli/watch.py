"""`edgewright watch`: a live service's figures in a terminal."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgewright.cli.output import JsonPath, Quiet, write_json

if TYPE_CHECKING:
    from edgewright.watch.said import Happened
    from edgewright.watch.view import View
    from edgewright.watch.where import Where

EXAMPLES = """
[bold]Examples[/bold]

  edgewright watch                             (the service whose state is in ./edgewright-state)

  edgewright watch /var/lib/edgewright

  edgewright watch https://line-3.plant.example:8000 --token-file token --ca-file line-3.pem

  EDGEWRIGHT_HTTP_TOKEN=... edgewright watch https://line-3.plant.example:8000 --once

  edgewright watch --json - | jq .cameras.belt.answered

[bold]Keys[/bold]  q ends it, t changes how many seconds a column of the chart is

[bold]Exit codes[/bold]  0 it was ended; 2 the folder, the address or the token is wrong; 3 (--once) the service does not answer
"""
COLUMNS_OF_A_PIPE = 120
ROWS_OF_A_PIPE = 33


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("watch", epilog=EXAMPLES)(watch)


def watch(
    service: Annotated[
        str | None,
        typer.Argument(metavar="[STATE_DIR|URL]", help="A service's state folder, or its address.", show_default="edgewright-state"),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file whose first line is the token; without it, EDGEWRIGHT_HTTP_TOKEN is.")
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Certificates to trust, such as a service's self-signed one.", show_default="the system's"),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look for a second, print the page, and stop.")] = False,
    json_path: JsonPath = None,
    quiet: Quiet = False,
) -> None:
    """Show how a live service is, once a second: on a terminal as a page, elsewhere as a line; with --json - as JSON, a line a second."""
    from edgewright.run.settings import STATE  # noqa: PLC0415 - heavy: not for --help
    from edgewright.watch.where import where  # noqa: PLC0415

    place = where(service or str(STATE), token_file=token_file, ca_file=ca_file, environment=os.environ)
    if place.warning:
        sys.stderr.write(f"warning: {place.warning}\n")
    if once:
        _once(place, json_path, quiet=quiet)
    elif str(json_path) == "-":
        _by(place, lambda _view, _new, status: None if status is None else _say(json.dumps(status)))
    elif quiet:
        write_json(_by(place, lambda *_: None), json_path)
    elif sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        write_json(_on_screen(place), json_path)
    else:
        write_json(_by(place, _say_line), json_path)


def _by(place: "Where", show: Any) -> Any:
    from edgewright.watch.session import watch_by  # noqa: PLC0415

    return watch_by(show, place)


def _say_line(view: "View", new: "Sequence[Happened]", _status: Any) -> None:
    from edgewright.watch.words import one_line  # noqa: PLC0415

    _say(one_line(view, new))


def _say(text: str) -> None:
    """A line, at once. A reader that has left ends it all."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _on_screen(place: "Where") -> Any:
    from edgewright.watch.page import glyphs_for  # noqa: PLC0415
    from edgewright.watch.session import watch_on  # noqa: PLC0415
    from edgewright.watch.terminal import Terminal  # noqa: PLC0415

    encoding = sys.stdout.encoding or "ascii"
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    terminal = Terminal(sys.stdout.fileno(), keys, colour=_is_coloured(), encoding=encoding)
    return watch_on(terminal, place, glyphs_for(encoding))


def _is_coloured() -> bool:
    """Unless the user wants none (no-color.org)."""
    return not os.environ.get("NO_COLOR")


def _once(place: "Where", json_path: Path | None, *, quiet: bool) -> None:
    from edgewright.watch.page import Look, glyphs_for, page  # noqa: PLC0415
    from edgewright.watch.session import look_once  # noqa: PLC0415
    from edgewright.watch.spans import drawn, plain  # noqa: PLC0415

    watched = look_once(place)
    if not quiet and str(json_path) != "-":
        columns, _ = shutil.get_terminal_size((COLUMNS_OF_A_PIPE, ROWS_OF_A_PIPE))
        look = Look(columns, ROWS_OF_A_PIPE, glyphs_for(sys.stdout.encoding), has_chart=False)
        is_drawn = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        for each in page(watched.view(), look):
            _say((drawn(each, colour=_is_coloured()) if is_drawn else plain(each)).rstrip())
    write_json(watched.document, json_path)

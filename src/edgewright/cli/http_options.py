"""What the command line says about HTTP: --http and what goes with it."""

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from edgewright.errors import InputError
from edgewright.printable import printable

if TYPE_CHECKING:
    from edgewright.run.front_settings import FrontSettings
    from edgewright.run.secrets import Secret

TOKEN_VARIABLE = "EDGEWRIGHT_HTTP_TOKEN"  # noqa: S105 - its name
HttpAt: TypeAlias = Annotated[
    str | None, typer.Option("--http", metavar="[HOST:]PORT", help="Answer over HTTP; without HOST on this machine alone.")
]
TokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--http-token-file", metavar="FILE", help=f"Its first line is the token that clients need. Or set {TOKEN_VARIABLE}."),
]
Certificate: TypeAlias = Annotated[
    Path | None, typer.Option("--http-certificate", metavar="PEM", help="TLS: the certificate chain; plain HTTP is refused then.")
]
Key: TypeAlias = Annotated[Path | None, typer.Option("--http-key", metavar="PEM", help="Its key, where that is another file.")]


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """As they were given."""

    at: str | None = None
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def front_settings(options: HttpOptions, before: "FrontSettings | None", environment: MutableMapping[str, str]) -> "FrontSettings | None":
    """[http] of a service.toml (`before`) with what the options say in its place; None where neither says that anything listens.

    The token's variable is taken out of `environment`, so that no process which is started later inherits it.

    Raises:
        InputError: they are wrong, or do not go together.
    """
    from edgewright.run.front_settings import SHORTEST_TOKEN, FrontSettings, is_long_enough, is_this_machine  # noqa: PLC0415 - not for --help

    inherited = environment.pop(TOKEN_VARIABLE, None)
    if options.at is None and before is None:
        if options != HttpOptions():
            raise InputError("--http-token-file, --http-certificate or --http-key without --http", fix="add --http [HOST:]PORT")
        return None
    found = before or FrontSettings()
    if options.at is not None:
        host, port = _host_and_port(options.at)
        found = replace(found, host=host, port=port)
    if (token := _token(options.token_file, inherited)) is not None:
        found = replace(found, token=token)
    if options.key is not None and options.certificate is None:
        raise InputError("--http-key without --http-certificate", fix="add --http-certificate")
    if options.certificate is not None:
        found = replace(found, certificate=options.certificate, key=options.key)
    if found.token is not None and not is_long_enough(found.token):
        raise InputError("the token for HTTP is too short", expected=f"at least {SHORTEST_TOKEN} characters")
    if found.token is None and not is_this_machine(found.host):
        fix = f"add --http-token-file, set {TOKEN_VARIABLE}, or listen at 127.0.0.1"
        raise InputError(f"--http {printable(str(options.at))} is open to others", expected="a token", fix=fix)
    return found


def _host_and_port(text: str) -> tuple[str, int]:
    from edgewright.run.source_forms import is_host  # noqa: PLC0415 - not for --help

    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not (port.isascii() and port.isdecimal() and int(port[:9]) <= 65_535) or (host and not is_host(host)) or text.startswith(":"):
        raise InputError(f"--http {printable(text)}", expected="a port, or an address and a port: 8000, 0.0.0.0:8000, [::]:8000")
    return host or "127.0.0.1", int(port)


def _token(path: Path | None, inherited: str | None) -> "Secret | None":
    from edgewright.run.secret_places import SecretPlaces  # noqa: PLC0415 - not for --help
    from edgewright.run.toml_values import Unfit  # noqa: PLC0415

    places = SecretPlaces({TOKEN_VARIABLE: inherited or ""}, Path.cwd())
    try:
        if path is not None:
            return places.secret_file(str(path))
        return None if inherited is None else places.secret(f"${{{TOKEN_VARIABLE}}}")
    except Unfit as unfit:
        what = TOKEN_VARIABLE if path is None else "--http-token-file"
        raise InputError(f"{what} {unfit.said}" if unfit.said else what, expected=unfit.expected, fix=unfit.fix) from None

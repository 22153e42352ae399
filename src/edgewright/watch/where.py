"""Where a service is: the socket in its state folder, or an address of its HTTP server; and how it is proven that one may ask.

A token comes from a file or from the environment. On the command line everybody who may list processes would read it.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.front_settings import is_this_machine
from edgewright.run.own_socket import SOCKET, short_path
from edgewright.run.secret_places import SecretPlaces
from edgewright.run.secrets import Secret, hide_in_address
from edgewright.run.toml_values import Unfit

TOKEN_VARIABLE: Final = "EDGEWRIGHT_HTTP_TOKEN"  # noqa: S105 - the variable's name; `serve` takes its token from it as well
PORTS: Final = {"http": 80, "https": 443}
EXPECTED: Final = "a service's state folder, or http://HOST:PORT or https://HOST:PORT"


@dataclass(frozen=True, slots=True)
class SocketPlace:
    """The socket in a state folder: who may open the folder may ask."""

    folder: Path

    @property
    def host(self) -> str:
        """What stands in the header `Host`."""
        return "localhost"

    @property
    def prefix(self) -> str:
        return ""

    def connect(self, within_s: float) -> socket.socket:
        """A connection.

        Raises:
            OSError: nobody is there.
        """
        found = socket.socket(socket.AF_UNIX)
        try:
            found.settimeout(within_s)
            with short_path(self.folder / SOCKET) as short:
                found.connect(short)
        except BaseException:
            found.close()
            raise
        return found

    def __str__(self) -> str:
        return printable(str(self.folder), 200)


@dataclass(frozen=True, slots=True)
class NetPlace:
    """A server's address. `tls`: how its certificate is judged; None of plain HTTP."""

    name: str
    port: int
    prefix: str = ""
    tls: ssl.SSLContext | None = None

    @property
    def host(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port == PORTS["http" if self.tls is None else "https"] else f"{name}:{self.port}"

    def connect(self, within_s: float) -> socket.socket:
        """A connection.

        Raises:
            OSError: nobody is there, or not whom the certificate should name (ssl.SSLError is one).
        """
        found = socket.create_connection((self.name, self.port), within_s)
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return found if self.tls is None else self.tls.wrap_socket(found, server_hostname=self.name)
        except BaseException:
            found.close()
            raise

    def __str__(self) -> str:
        return f"{'http' if self.tls is None else 'https'}://{self.host}{self.prefix}"


Place = SocketPlace | NetPlace


@dataclass(frozen=True, slots=True)
class Where:
    """A place, and what is shown to be let in."""

    place: Place
    token: Secret | None = None

    @property
    def warning(self) -> str | None:
        """What whoever uses it should know."""
        if self.token is None or isinstance(self.place, SocketPlace) or self.place.tls is not None or is_this_machine(self.place.name):
            return None
        return f"the token goes to {self.place} in the clear: whoever is on the way reads it; https:// hides it"


def where(what: str, *, token_file: Path | None = None, ca_file: Path | None = None, environment: Mapping[str, str] | None = None) -> Where:
    """What was written on the command line.

    Raises:
        InputError: it is neither a state folder nor an address; the token or the certificate cannot be used.
    """
    place: Place
    if "://" in what:
        place = _net_place(what, ca_file)
    else:
        if ca_file is not None:
            raise InputError("--ca-file and a state folder", expected="a certificate's file with https://HOST:PORT alone")
        place = _socket_place(Path(what))
    return Where(place, _token(token_file, environment or {}))


def _socket_place(folder: Path) -> SocketPlace:
    shown = printable(str(folder), 200)
    if folder.name == SOCKET:
        folder = folder.parent
    if not folder.is_dir():
        fix = "name the folder that `state` of service.toml says, or start the service first"
        raise InputError(f"there is no state folder {shown}", expected=EXPECTED, fix=fix)
    return SocketPlace(folder)


def _net_place(url: str, ca_file: Path | None) -> NetPlace:
    shown = printable(hide_in_address(url), 200)
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise InputError(f"{shown} is no address", expected=EXPECTED) from None
    if parts.username is not None or parts.password is not None:
        fix = f"put the token into a file and name it with --token-file, or into {TOKEN_VARIABLE}"
        raise InputError("an address with a user or password in it", got=shown, fix=fix)
    if parts.scheme not in PORTS or not name or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise InputError(f"{shown} is no address of a service", expected=EXPECTED)
    if ca_file is not None and parts.scheme == "http":
        raise InputError("--ca-file and http://", expected="a certificate's file with https:// alone", got=shown)
    tls = _tls(ca_file) if parts.scheme == "https" else None
    return NetPlace(name, PORTS[parts.scheme] if port is None else port, parts.path.rstrip("/"), tls)


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    """The system's certificates, or those of a file alone: a self-signed one is its own authority."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        shown = printable(str(ca_file), 200)
        why = error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else "it holds none"
        raise InputError(f"{shown} cannot be read as certificates: {why}", expected="a file of certificates (PEM)") from None


def _token(token_file: Path | None, environment: Mapping[str, str]) -> Secret | None:
    places = SecretPlaces(environment, Path())
    try:
        if token_file is not None:
            return places.secret_file(str(token_file))
        return places.secret(f"${{{TOKEN_VARIABLE}}}") if environment.get(TOKEN_VARIABLE) else None
    except Unfit as unfit:
        raise InputError(f"--token-file {unfit.said}" if token_file else str(unfit.said), expected=unfit.expected, fix=unfit.fix) from None

"""Where a service answers over HTTP, and whom: the table [http] of a service.toml, or options of the command line."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from edgewright.run.secrets import Secret

MIB = 1 << 20
SHORTEST_TOKEN = 16  # characters


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """`host` other than this machine itself needs a `token`; `port` 0 takes a free one.

    `certificate`, `key`: PEM files, the key by default in the first of them; with them plain HTTP is not understood. `names`: by which
    else the server may be called, where there is no token. `load`: models may be loaded and unloaded over the network, and one that is not
    loaded yet is when it is first asked for. `most_together`: requests that one run may compute, where that is learned to help.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: Secret | None = None
    certificate: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    load: bool = True
    rate_per_s: float | None = None  # requests of one address
    most_body_bytes: int = 64 * MIB
    most_together: int = 8
    most_connections: int = 512


def is_this_machine(host: str) -> bool:
    """Whether only processes of this machine reach the address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_long_enough(token: Secret) -> bool:
    """Whether nobody guesses it by trying."""
    return len(token.reveal()) >= SHORTEST_TOKEN

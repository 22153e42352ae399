"""Where the server listens, whom it answers, and its limits. The values are for a board of 1 GB, and one user's network."""

from dataclasses import dataclass
from pathlib import Path

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.run.front_settings import SHORTEST_TOKEN, FrontSettings, is_long_enough, is_this_machine
from edgewright.run.secrets import Secret

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate chain and its key, as PEM files. With it, plain HTTP is not understood."""

    certificate: Path
    key: Path | None = None  # default: in the same file


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`host` other than this machine itself needs a `token`; `port` 0 takes a free one.

    `names`: by which else the server may be called (`Host` of a request), where there is no token. `most_body_bytes`: of one request;
    `most_held_bytes`: of all that have not been answered. `idle_s`: for a connection between requests; `header_s`, `body_s`: until a
    request's header and body are whole; `write_s`: until a client has taken a part of its answer. `rate_per_s`: requests of one
    address, with as many at once as come in two seconds. `drain_s`: at the end, for what was asked.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: Secret | None = None
    tls: Tls | None = None
    names: tuple[str, ...] = ()
    most_body_bytes: int = 64 * MIB
    most_held_bytes: int = 256 * MIB
    most_connections: int = 512
    most_at_once: int = 128
    rate_per_s: float | None = None
    idle_s: float = 75.0
    header_s: float = 10.0
    body_s: float = 60.0
    write_s: float = 30.0
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        if self.token is not None and not is_long_enough(self.token):
            raise InputError("the token is too short", expected=f"at least {SHORTEST_TOKEN} characters")
        if self.token is None and not is_this_machine(self.host):
            raise InputError(f"{printable(self.host)} is open to others", expected="a token", fix="set one, or listen on 127.0.0.1")

    @classmethod
    def of(cls, front: FrontSettings) -> "HttpSettings":
        """As [http] of a service.toml has it."""
        tls = None if front.certificate is None else Tls(front.certificate, front.key)
        return cls(
            *(front.host, front.port, front.token, tls, front.names),
            rate_per_s=front.rate_per_s,
            most_body_bytes=front.most_body_bytes,
            most_connections=front.most_connections,
        )

"""The table [http] of a service.toml. docs/reference/service.md says the same in words."""

from collections.abc import Mapping
from typing import Any

from edgewright.regular_file import is_regular
from edgewright.run.front_settings import SHORTEST_TOKEN, FrontSettings, is_long_enough, is_this_machine
from edgewright.run.secret_places import SecretPlaces
from edgewright.run.source_forms import is_host
from edgewright.run.toml_values import KIB, MIB, Keys, Reader, Unfit, flag, holding, listed, number, size, text, whole

SECTION = "http"
MOST_NAMES = 16
MOST_TOGETHER = 8


def http_keys(places: SecretPlaces, path: Reader) -> Keys:
    """The keys of [http]; `path` reads the path of a file or folder."""
    pem = holding(path, is_regular, "a PEM file that is there")
    host = holding(text, is_host, "the name or address of this machine, without a port")
    return Keys(
        "[http]",
        {
            "host": ("host", host),
            "port": ("port", whole(0, 65_535)),
            "token": ("token", places.secret),
            "token_file": ("token", places.secret_file),
            "certificate": ("certificate", pem),
            "key": ("key", pem),
            "names": ("names", listed(host, 1, MOST_NAMES, "names of this machine")),
            "load": ("load", flag),
            "rate": ("rate_per_s", number(above=0, most=1_000_000)),
            "body": ("most_body_bytes", size(64 * KIB, 1024 * MIB)),
            "together": ("most_together", whole(1, MOST_TOGETHER)),
            "connections": ("most_connections", whole(8, 4096)),
        },
        made=FrontSettings,
    )


def check_http(table: Mapping[str, Any], settings: FrontSettings) -> None:
    """`settings` as they were made of `table`.

    Raises:
        Unfit: they do not go together; where, from the whole file.
    """
    if "token" in table and "token_file" in table:
        raise Unfit(said="stands beside token", expected="one of the two", within=(SECTION, "token_file"))
    if settings.token is not None and not is_long_enough(settings.token):
        key = "token" if "token" in table else "token_file"
        raise Unfit(said="is too short a token", expected=f"at least {SHORTEST_TOKEN} characters", within=(SECTION, key))
    if settings.token is None and not is_this_machine(settings.host):
        said = f"{settings.host} is open to others, and there is no token"
        raise Unfit(said=f"= {said}", fix="add token or token_file, or listen at 127.0.0.1", within=(SECTION, "host"))
    if settings.key is not None and settings.certificate is None:
        raise Unfit(said="stands without a certificate", fix="add certificate", within=(SECTION, "key"))

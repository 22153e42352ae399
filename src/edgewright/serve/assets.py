"""The files of the dashboard: read once, by the names that are here, never by a name that somebody asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PAGES: Final = ("dashboard.html", "login.html")  # which have paths of their own


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    data: bytes
    content_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """By name."""
    found = {}
    for each in files("edgewright.serve.dashboard").iterdir():
        content_type = TYPES.get(each.name.rpartition(".")[2])
        if content_type is not None:
            found[each.name] = Asset(each.read_bytes(), content_type)
    return MappingProxyType(found)

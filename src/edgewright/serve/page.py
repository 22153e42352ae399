"""A page of the server: a path, and who answers for it."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from edgewright.serve.connection import Head, Response, Stream

if TYPE_CHECKING:
    from edgewright.serve.routes import Pages

Body: TypeAlias = Callable[[], Awaitable[bytearray]]
Hold: TypeAlias = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Call:
    """One request for one page."""

    head: Head
    names: Mapping[str, str]  # that stand in the path
    query: Mapping[str, str]
    body: Body
    hold: Hold  # so many bytes more, until it is answered
    most_body_bytes: int


Handler: TypeAlias = Callable[["Pages", Call], Awaitable[Response | Stream]]


@dataclass(frozen=True, slots=True)
class Page:
    """A path with {names} in it. `is_open`: also without a token; `is_live`: only where there is a live service; `is_for_people`: other
    sites may have a link to it.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    is_open: bool = False
    is_live: bool = False
    is_for_people: bool = False

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path.replace(".", r"\.")))


def as_json(words: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, (json.dumps(words, separators=(",", ":")).encode(),), headers=headers)

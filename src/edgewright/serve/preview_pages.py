"""The page that shows what a camera sees: Motion JPEG (multipart/x-mixed-replace), or one JPEG."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from edgewright.serve.binary import Raw
from edgewright.serve.connection import Response, Stream
from edgewright.serve.page import Call, Page
from edgewright.serve.previews import Picture
from edgewright.serve.refusals import NotFoundError

if TYPE_CHECKING:
    from edgewright.serve.routes import Pages

BOUNDARY: Final = "edgewright-picture"
MULTIPART: Final = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
NO: Final = frozenset({"0", "false", "no"})


async def preview(pages: "Pages", call: Call) -> Response | Stream:
    """`?one`: a single picture; otherwise one after the other, for as long as somebody looks."""
    previews = pages.dataplane.previews
    if previews is None:
        raise NotFoundError("there are no previews here", fix="give the service an address: [http] in service.toml, or --http")
    camera = call.names["camera"]
    with pages.gate.answering():
        picture = await previews.one(camera)
    if _is_asked_for_one(call.head.target):
        return Response(200, (picture.jpeg,), "image/jpeg", (("X-Timestamp", f"{picture.captured_s:.3f}"),))
    return Stream(_parts(previews.pictures(camera, after=picture)), MULTIPART)


async def _parts(pictures: AsyncGenerator[Picture, None]) -> AsyncGenerator[Raw, None]:
    """Each with the border that ends it: a browser shows a picture when that has come, and not before."""
    async with aclosing(pictures):
        before = f"--{BOUNDARY}\r\n"
        async for picture in pictures:
            header = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\nX-Timestamp: {picture.captured_s:.3f}\r\n\r\n"
            yield b"".join((before.encode(), header.encode(), picture.jpeg, f"\r\n--{BOUNDARY}\r\n".encode()))
            before = ""


def _is_asked_for_one(target: str) -> bool:
    """Also `?one` without a value. The query has been read before, and is short and few."""
    values = parse_qs(target.partition("?")[2], keep_blank_values=True).get("one")
    return values is not None and values[-1].lower() not in NO


PREVIEW_PAGES: Final = (
    Page(
        "GET",
        "/live/cameras/{camera}/preview",
        "What a camera sees, with boxes: Motion JPEG, or with ?one a single JPEG",
        preview,
        is_live=True,
    ),
)

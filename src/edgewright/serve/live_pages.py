"""Pages about a live service: how it is, and what happened."""

from typing import TYPE_CHECKING, Final

from edgewright.errors import InputError
from edgewright.serve.connection import Response
from edgewright.serve.live_view import LiveView
from edgewright.serve.page import Call, Page, as_json
from edgewright.serve.refusals import NotFoundError, NotNowError

if TYPE_CHECKING:
    from edgewright.serve.routes import Pages

LONGEST_ID: Final = 100


async def status(pages: "Pages", _call: Call) -> Response:
    view = live_view(pages)
    if view.status is None:
        raise NotNowError("the service has not said yet how it is")
    if not view.is_fresh:
        raise NotNowError("the service has not said for a while how it is")
    return as_json(view.status)


async def events(pages: "Pages", call: Call) -> Response:
    after = call.query.get("after")
    if after is not None and len(after) > LONGEST_ID:
        raise InputError("after is wrong", expected="the id of an event")
    return as_json({"events": live_view(pages).events_after(after)})


def live_view(pages: "Pages") -> LiveView:
    """Raises NotFoundError: there are no cameras here."""
    view = pages.dataplane.live
    if view is None:
        raise NotFoundError("there is no live service here")
    return view


LIVE_PAGES: Final = (
    Page("GET", "/live", "How the live service is: cameras, models, outputs, memory, heat", status, is_live=True),
    Page("GET", "/live/events", "What happened: the last 500 events, or those after ?after=ID", events, is_live=True),
)

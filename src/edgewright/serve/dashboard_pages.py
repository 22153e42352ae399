"""The page for people at `/`, its files, its history, and where a browser shows the token.

Where there is no live service, `/` says in a few lines what is here.
"""

from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from edgewright.errors import EdgewrightError, InputError
from edgewright.printable import printable
from edgewright.serve.assets import PAGES as HTML_FILES
from edgewright.serve.assets import assets
from edgewright.serve.connection import Head, Response
from edgewright.serve.history import KEPT_S, STEP_S
from edgewright.serve.page import Call, Page, as_json
from edgewright.serve.refusals import NotFoundError, TooLargeError, TooManyError, UnauthorizedError

if TYPE_CHECKING:
    from edgewright.serve.routes import Pages

# Nothing from anywhere else, nothing written into the page, and no text that is read as HTML.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "same-origin"),  # with no-referrer a form would say that it comes from nowhere
    ("X-Frame-Options", "DENY"),
)
HTML: Final = "text/html; charset=utf-8"
MOST_FORM_BYTES: Final = 4096
LONGEST_NAME: Final = 200
SAID: Final = b"<!-- said -->"
ROOT: Final = b'<html lang="en">'


async def home(pages: "Pages", call: Call) -> Response:
    if pages.dataplane.live is not None:
        page = assets()["dashboard.html"].data
        if pages.gate.wants_token and pages.gate.has_session(call.head.headers):
            page = page.replace(ROOT, b'<html lang="en" data-signed="in">', 1)
        return Response(200, (page,), HTML, HEADERS)
    from edgewright.serve.openapi import HTML_HEADERS, home_page  # noqa: PLC0415 - it describes the pages

    text = home_page(pages.all, pages.dataplane.repository_index(), ready=pages.dataplane.is_ready())
    return Response(200, (text.encode(),), HTML, HTML_HEADERS)


async def asset(_pages: "Pages", call: Call) -> Response:
    found = None if call.names["name"] in HTML_FILES else assets().get(call.names["name"])
    if found is None:
        raise NotFoundError("there is no such file")
    return Response(200, (found.data,), found.content_type, HEADERS)


async def history(pages: "Pages", call: Call) -> Response:
    if pages.dataplane.history is None:
        raise NotFoundError("no history is kept here")
    seconds = _number(call.query.get("seconds"), "seconds", STEP_S, KEPT_S)
    after_s = _number(call.query.get("after"), "after", 0.0, 1e12)
    camera, model = (_name(call.query.get(key), key) for key in ("camera", "model"))
    return as_json(pages.dataplane.history.to_json(KEPT_S if seconds is None else seconds, camera=camera, model=model, after_s=after_s))


# --- the token --------------------------------------------------------------------------------------------------------------------------


async def sign_in_page(pages: "Pages", _call: Call) -> Response:
    return login_page() if pages.gate.wants_token else _to_home()


async def sign_in(pages: "Pages", call: Call) -> Response:
    try:
        cookie = pages.gate.sign_in(await _token(call), call.head.headers, call.head.address)
    except (UnauthorizedError, TooManyError) as error:
        return login_page(error, is_wrong=True)
    return _to_home(cookie)


async def sign_out(pages: "Pages", call: Call) -> Response:
    return _to_home(pages.gate.sign_out(call.head.headers))


def login_page(error: EdgewrightError | None = None, *, is_wrong: bool = False) -> Response:
    """Where a browser shows the token; `is_wrong`: it has just shown another one, or tries too often."""
    said = b""
    more: tuple[tuple[str, str], ...] = HEADERS
    if is_wrong:
        text = "Too many tries: wait a little." if isinstance(error, TooManyError) else "This is another token."
        said = f'<p class="wrong" role="alert">{escape(text)}</p>'.encode()
    if isinstance(error, TooManyError):
        more = (*HEADERS, ("Retry-After", "5"))
    elif error is not None:
        more = (*HEADERS, ("WWW-Authenticate", "Bearer"))
    page = assets()["login.html"].data.replace(SAID, said, 1)
    return Response(200 if error is None else error.http_status, (page,), HTML, more)


def is_browser_at_home(head: Head) -> bool:
    """Whether somebody opens `/` in a browser: who is told to sign in, not that a header is missing."""
    is_reading = head.method in ("GET", "HEAD") and head.target.partition("?")[0] == "/"
    return is_reading and "text/html" in head.headers.get("accept", "")


async def _token(call: Call) -> str:
    """Of a form, before which nobody had to show anything: no more of it is read than a token may be long.

    Raises:
        TooLargeError, InputError: it is no such form.
    """
    length = call.head.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal()):
        raise InputError("the form does not say how long it is")
    if len(length) > 5 or int(length) > MOST_FORM_BYTES:
        raise TooLargeError("the form is too large", expected=f"at most {MOST_FORM_BYTES} bytes")
    try:
        found = parse_qs(bytes(await call.body()).decode("utf-8"), max_num_fields=4, keep_blank_values=True)
    except ValueError:
        raise InputError("this is no form") from None
    return found.get("token", [""])[-1]


def _to_home(cookie: str | None = None) -> Response:
    more = () if cookie is None else (("Set-Cookie", cookie),)
    return Response(303, (), HTML, (("Location", "/"), *more, *HEADERS))


def _number(text: str | None, what: str, low: float, high: float) -> float | None:
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not low <= found <= high:
        raise InputError(f"{what} is wrong", got=printable(text, 40), expected=f"a number from {low:g} to {high:g}")
    return found


def _name(text: str | None, what: str) -> str | None:
    if text is not None and len(text) > LONGEST_NAME:
        raise InputError(f"{what} is wrong", expected="a name")
    return text


DASHBOARD_PAGES: Final = (
    Page("GET", "/", "The dashboard of a live service, or what is here, for people", home, is_for_people=True),
    Page("GET", "/assets/{name}", "Files of the dashboard", asset, is_open=True),
    Page("GET", "/login", "Where a browser shows the token", sign_in_page, is_open=True),
    Page("POST", "/login", "A token in a form; a session in a cookie, for pages to read", sign_in, is_open=True),
    Page("POST", "/logout", "The session is over", sign_out, is_open=True),
    Page("GET", "/live/history", "What the dashboard draws: ?seconds=3600&camera=&model=&after=", history, is_live=True),
)

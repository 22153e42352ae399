"""Which page does what: the Open Inference Protocol's paths, Triton's where it has none, and our own."""

import math
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.serve.binary import Raw
from edgewright.serve.connection import Head, Response, Stream
from edgewright.serve.dashboard_pages import DASHBOARD_PAGES
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.exposition import CONTENT_TYPE, exposed
from edgewright.serve.gate import Gate
from edgewright.serve.live_pages import LIVE_PAGES
from edgewright.serve.metrics import HttpFigures, families
from edgewright.serve.page import Body, Call, Hold, Page, as_json
from edgewright.serve.preview_pages import PREVIEW_PAGES
from edgewright.serve.protocol import EncodedAnswer, parse_object
from edgewright.serve.refusals import NotAllowedError, NotFoundError, TooLargeError

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
MOST_QUERY: Final = 2000  # characters
MOST_ORDER_BYTES: Final = 1 << 16  # of a request to load, or to list
NOWHERE: Final = "*"
WIDEST: Final = 4  # bytes of a tensor for one of JSON: "1," is a double


class Pages:
    """Finds the page of a request, and has it answered by the data plane."""

    def __init__(self, dataplane: DataPlane, figures: HttpFigures, gate: Gate, most_body_bytes: int) -> None:
        self.dataplane = dataplane
        self.figures = figures
        self.gate = gate
        self._most_body_bytes = most_body_bytes

    def find(self, head: Head) -> tuple[Page, Mapping[str, str]]:
        """Raises NotFoundError, NotAllowedError."""
        path = _path(head.target)
        method = "GET" if head.method == "HEAD" else head.method
        found = [(page, match) for page, pattern in PATTERNS if (match := pattern.fullmatch(path)) and self.has(page)]
        for page, match in found:
            if page.method == method:
                return page, {name: unquote(value) for name, value in match.groupdict().items()}
        if found:
            allowed = ", ".join(sorted({page.method for page, _ in found}))
            raise NotAllowedError(f"{printable(head.method, 20)} does nothing here", allowed)
        raise NotFoundError(f"there is no page {printable(path)}", fix="see /openapi.json")

    def has(self, page: Page) -> bool:
        """Whether it is one of this server's."""
        return self.dataplane.live is not None or not page.is_live

    @property
    def all(self) -> tuple[Page, ...]:
        return tuple(page for page in PAGES if self.has(page))

    async def answer(self, page: Page, names: Mapping[str, str], head: Head, body: Body, hold: Hold) -> Response | Stream:
        """Raises EdgewrightError: with the status that says why."""
        return await page.handler(self, Call(head, names, _query(head.target), body, hold, self._most_body_bytes))


# --- health and what there is -----------------------------------------------------------------------------------------------------------


async def live(pages: Pages, _call: Call) -> Response:
    return as_json({"live": pages.dataplane.is_live()})


async def ready(pages: Pages, _call: Call) -> Response:
    is_ready = pages.dataplane.is_ready()
    return as_json({"ready": is_ready}, 200 if is_ready else 503, () if is_ready else (("Retry-After", "1"),))


async def model_ready(pages: Pages, call: Call) -> Response:
    is_ready = pages.dataplane.is_model_ready(call.names["model"], call.names.get("version"))
    words = {"name": call.names["model"], "ready": is_ready}
    return as_json(words, 200 if is_ready else 503, () if is_ready else (("Retry-After", "1"),))


async def server(pages: Pages, _call: Call) -> Response:
    return as_json(pages.dataplane.server_metadata())


async def model(pages: Pages, call: Call) -> Response:
    await _demand(call, pages)
    return as_json(pages.dataplane.model_metadata(call.names["model"], call.names.get("version")))


async def config(pages: Pages, call: Call) -> Response:
    await _demand(call, pages)
    return as_json(pages.dataplane.model_config(call.names["model"], call.names.get("version")))


async def statistics(pages: Pages, call: Call) -> Response:
    return as_json(pages.dataplane.statistics(call.names.get("model"), call.names.get("version")))


async def metrics(pages: Pages, _call: Call) -> Response:
    plane = pages.dataplane
    text = exposed(families(plane.host, pages.figures, ready=plane.is_ready(), live=plane.live))
    return Response(200, (text.encode(),), CONTENT_TYPE)


# --- the repository ---------------------------------------------------------------------------------------------------------------------


async def index(pages: Pages, call: Call) -> Response:
    order = await _order(call, pages)
    return as_json(pages.dataplane.repository_index(only_ready=order.get("ready") is True))


async def load(pages: Pages, call: Call) -> Response:
    order = await _order(call, pages)
    if given := [name for name in order.get("parameters") or {} if name == "config" or str(name).startswith("file:")]:
        raise InputError(f"a model is not loaded with {printable(str(given[0]), 40)}", expected="no config and no files: only its name")
    await pages.dataplane.load(call.names["model"])
    return as_json({})


async def unload(pages: Pages, call: Call) -> Response:
    await _order(call, pages)
    await pages.dataplane.unload(call.names["model"])
    return as_json({})


# --- answers ----------------------------------------------------------------------------------------------------------------------------


async def infer(pages: Pages, call: Call) -> Response:
    header_bytes = _header_bytes(call.head)
    body = await _plain(await call.body(), call, pages)
    with pages.gate.answering():
        request = await pages.dataplane.parse(body, header_bytes)
        json_bytes = len(body) if header_bytes is None else header_bytes
        call.hold(min(WIDEST * json_bytes, sum(array.nbytes for array in request.inputs.values())))
        answer = await pages.dataplane.infer(call.names["model"], call.names.get("version"), request, call.hold)
        return await _encoded(answer, call.head, pages)


async def detect(pages: Pages, call: Call) -> Response:
    score = _score(call.query.get("score"))
    body = await _plain(await call.body(), call, pages)
    with pages.gate.answering():
        found = await pages.dataplane.detect(call.query.get("model"), memoryview(body), score=score)
        return as_json(found.to_json())


# --- pages for people and tools ---------------------------------------------------------------------------------------------------------


async def openapi(pages: Pages, _call: Call) -> Response:
    from edgewright.serve.openapi import document  # noqa: PLC0415 - it describes this module

    return as_json(document(pages.all))


PAGES: Final = (
    *DASHBOARD_PAGES,
    Page("GET", "/openapi.json", "What is here, for tools", openapi),
    Page("GET", "/healthz", "The process is up", live, is_open=True),
    Page("GET", "/readyz", "Every model of the start is loaded, and computes", ready, is_open=True),
    Page("GET", "/metrics", "Figures for Prometheus", metrics),
    Page("POST", "/detect", "A picture in, boxes out", detect),
    Page("GET", "/v2", "Name, version, extensions", server),
    Page("GET", "/v2/health/live", "The process is up", live, is_open=True),
    Page("GET", "/v2/health/ready", "Every model of the start is loaded, and computes", ready, is_open=True),
    *LIVE_PAGES,
    *PREVIEW_PAGES,
    Page("GET", "/v2/models/stats", "Statistics of all models", statistics),
    *(
        page
        for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        for page in (
            Page("GET", base, "Inputs and outputs of a model", model),
            Page("GET", f"{base}/ready", "The model answers", model_ready),
            Page("GET", f"{base}/config", "Configuration, as Triton has it", config),
            Page("GET", f"{base}/stats", "Counts and times, as Triton has them", statistics),
            Page("POST", f"{base}/infer", "Tensors in, tensors out: JSON or bytes", infer),
        )
    ),
    Page("POST", "/v2/repository/index", "Models that are, or could be, loaded", index),
    Page("POST", "/v2/repository/models/{model}/load", "Load a model, or begin it anew", load),
    Page("POST", "/v2/repository/models/{model}/unload", "Unload a model; its memory is back", unload),
)
PATTERNS: Final = tuple((page, page.pattern) for page in PAGES)


# --- words ------------------------------------------------------------------------------------------------------------------------------


def _path(target: str) -> str:
    """The path as it was sent: what is escaped in it is only read as part of a name, once it is known to be one."""
    path = target.partition("?")[0]
    if not path.startswith("/"):  # a proxy's form, or OPTIONS *
        try:
            path = urlsplit(target).path
        except ValueError:
            return NOWHERE
    return path.rstrip("/") or "/"


def _query(target: str) -> dict[str, str]:
    text = target.partition("?")[2]
    if len(text) > MOST_QUERY:
        raise InputError("the query is too long", expected=f"at most {MOST_QUERY} characters")
    try:
        return {name: values[-1] for name, values in parse_qs(text, max_num_fields=20).items()}
    except ValueError:
        raise InputError("the query has too many fields") from None


async def _demand(call: Call, pages: Pages) -> None:
    """Have the model there, where that is done on demand; not for who only reads."""
    if not pages.gate.only_reads(call.head.headers):
        await pages.dataplane.demand(call.names["model"])


async def _order(call: Call, pages: Pages) -> dict[str, Any]:
    """The JSON of a request that may have none."""
    body = await _plain(await call.body(), call, pages)
    if not bytes(body[:MOST_ORDER_BYTES]).strip():
        return {}
    words = parse_object(body, "the request", most_bytes=MOST_ORDER_BYTES)
    if not isinstance(words.get("parameters") or {}, dict):
        raise InputError("parameters are wrong", expected="a JSON object")
    return words


def _header_bytes(head: Head) -> int | None:
    text = head.headers.get(HEADER_LENGTH.lower())
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise InputError(f"{HEADER_LENGTH} is wrong", got=printable(text, 40), expected="a number of bytes")
    return int(text)


def _score(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 1:
        raise InputError("score is wrong", got=printable(text, 40), expected="a number from 0 to 1")
    return score


async def _plain(body: bytearray, call: Call, pages: Pages) -> Raw:
    """The body without its content coding; no more of it than a plain one may have."""
    coding = call.head.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("identity", ""):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise InputError("the body is encoded in a way that is not known", got=printable(coding, 40), expected="gzip, deflate or identity")
    plain = await pages.dataplane.aside(_inflated, body, call.most_body_bytes)
    call.hold(len(plain))
    return plain


def _inflated(body: bytearray, most_bytes: int) -> bytes:
    inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, as its header says
    try:
        plain = inflate.decompress(body, most_bytes)
    except zlib.error:
        raise InputError("the body is not what its Content-Encoding says") from None
    if inflate.unconsumed_tail:
        raise TooLargeError("the body is too large once it is decoded", expected=f"at most {most_bytes} bytes")
    if not inflate.eof or inflate.unused_data:
        raise InputError("the body is not what its Content-Encoding says")
    return plain


def _deflated(pieces: tuple[Raw, ...], wbits: int) -> bytes:
    deflate = zlib.compressobj(1, wbits=wbits)
    return b"".join([*map(deflate.compress, pieces), deflate.flush()])


async def _encoded(answer: EncodedAnswer, head: Head, pages: Pages) -> Response:
    """Compressed where the client names one coding and nothing else: one that names several is as glad to have it plain, and sooner."""
    headers: tuple[tuple[str, str], ...] = () if answer.header_bytes is None else ((HEADER_LENGTH, str(answer.header_bytes)),)
    content_type = "application/json" if answer.header_bytes is None else "application/octet-stream"
    coding = head.headers.get("accept-encoding", "").strip().lower()
    if coding not in ("gzip", "deflate"):
        return Response(200, answer.pieces, content_type, headers)
    data = await pages.dataplane.aside(_deflated, answer.pieces, 31 if coding == "gzip" else 15)
    return Response(200, (data,), content_type, (*headers, ("Content-Encoding", coding)))

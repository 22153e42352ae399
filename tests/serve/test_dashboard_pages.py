"""The dashboard's pages over a real socket: what they are, and who may have them."""

import json
import re
import urllib.parse
from http.client import HTTPConnection

import pytest

from edgewright.clock import SystemClock
from edgewright.run.secrets import Secret
from edgewright.serve.assets import PAGES, TYPES, assets
from edgewright.serve.dashboard_pages import MOST_FORM_BYTES
from edgewright.serve.history import History
from edgewright.serve.live_view import LiveView
from edgewright.serve.sessions import IDLE_S, LONGEST_S, MOST_SESSIONS, Sessions
from live_story import Story
from model_server import ask, asked, served
from turned_clock import TurnedClock

TOKEN = "a-token-that-must-not-be-seen"


def live():
    """A view of a service, told once, and its history."""
    clock = SystemClock()
    view, history = LiveView(clock), History(clock)
    view.listeners.append(history)
    story = Story({"belt": 5.0}, wall_s=clock.wall_s())
    story.turn(1)
    view.hear_status(story.status())
    view.hear_event(story.event("camera", "belt", "frames come", camera="belt"))
    return {"live": view, "history": history}


@pytest.fixture(scope="module")
def server():
    with served(plane=live()) as server:
        yield server


@pytest.fixture(scope="module")
def guarded():
    with served(plane=live(), token=Secret(TOKEN)) as server:
        yield server


def told(server, method, path, body=None, **headers):
    """Status, headers and body, without following anybody anywhere."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def form(token):
    return urllib.parse.urlencode({"token": token}).encode()


def signed_in(server):
    """The cookie of a session."""
    status, headers, _ = told(server, "POST", "/login", form(TOKEN))
    assert status == 303
    return headers["set-cookie"].partition(";")[0]


@pytest.fixture(scope="module")
def cookie(guarded):
    return signed_in(guarded)


# --- pages ------------------------------------------------------------------------------------------------------------------------------


def test_the_page_names_nothing_that_is_not_here(server):
    status, headers, page = ask(server, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "//" not in policy
    named = set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', page.decode()))
    assert {path.rpartition("/")[2] for path in named} | set(PAGES) == set(assets())
    for path in named:
        status, headers, data = ask(server, path)
        assert status == 200
        assert headers["Content-Type"] == TYPES[path.rpartition(".")[2]]
        assert data == assets()[path.rpartition("/")[2]].data


def test_no_file_of_the_page_knows_another_host_or_writes_html(server):
    for name, asset in assets().items():
        text = asset.data.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(| style=", text), name
        assert not re.search(r"<script(?![^>]* src=)|<style| on[a-z]+=", text), name


@pytest.mark.parametrize(
    "name", ["dashboard.html", "__init__.py", "..%2fassets.py", "../assets.py", "%2e%2e/assets.py", "nothing.js", "%00"]
)
def test_there_is_no_other_file(server, name):
    assert ask(server, f"/assets/{name}")[0] == 404


def test_the_history_is_told_and_what_is_asked_for_is_checked(server):
    status, found = asked(server, "/live/history?seconds=600&camera=belt")
    assert status == 200
    assert [event["text"] for event in found["events"]] == ["frames come"]
    for query in ("seconds=1e9", "seconds=nan", "seconds=x", "after=-1", "after=inf", f"camera={'x' * 300}"):
        assert ask(server, f"/live/history?{query}")[0] == 400
    assert asked(server, "/live/history?camera=nobody&after=0")[1]["answered_fps"] == []


def test_without_cameras_there_is_neither():
    with served() as server:
        assert b"Pages" in ask(server, "/")[2]
        assert ask(server, "/live/history")[0] == 404


# --- who may have them ------------------------------------------------------------------------------------------------------------------


def test_a_browser_without_a_session_is_asked_for_the_token(guarded):
    status, headers, page = told(guarded, "GET", "/", Accept="text/html,*/*")
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    assert b'action="/login"' in page
    assert b"timeline" not in page
    assert set(json.loads(told(guarded, "GET", "/")[2])) == {"error"}  # what is no browser is told as ever
    for path in ("/live", "/live/history", "/live/events", "/metrics", "/nowhere"):
        assert told(guarded, "GET", path, Accept="text/html")[0] == 401
    assert told(guarded, "GET", "/assets/dashboard.css")[0] == 200  # which everybody may have who has edgewright


def test_a_session_reads_and_does_nothing_else(guarded, cookie):
    assert TOKEN not in cookie
    for path in ("/", "/live", "/live/history", "/metrics", "/openapi.json"):
        assert told(guarded, "GET", path, Cookie=cookie)[0] == 200
    assert b"data-signed" in told(guarded, "GET", "/", Cookie=cookie)[2]
    for path in ("/detect", "/v2/repository/index", "/v2/repository/models/x/load", "/v2/models/x/infer"):
        assert told(guarded, "POST", path, b"{}", Cookie=cookie)[0] == 401
    assert told(guarded, "GET", "/live", Cookie=cookie, Authorization="Bearer of-something-else")[0] == 401


def test_the_cookie_is_out_of_reach(guarded):
    _, headers, _ = told(guarded, "POST", "/login", form(TOKEN))
    name, *attributes = [part.strip() for part in headers["set-cookie"].split(";")]
    assert name.startswith(f"edgewright_{guarded.port}=")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    assert headers["location"] == "/"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://[::"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_a_page_of_another_site_has_nothing_from_a_session(guarded, cookie, headers):
    assert told(guarded, "GET", "/live", Cookie=cookie, **headers)[0] == 401
    if "Origin" in headers:
        assert told(guarded, "POST", "/login", form(TOKEN), **headers)[0] == 403
        assert told(guarded, "POST", "/logout", b"", **headers)[0] == 403


def test_without_a_token_a_link_on_another_site_leads_to_the_page_and_its_pictures_to_nothing(server):
    elsewhere = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert told(server, "GET", "/", **elsewhere)[0] == 200
    for path in ("/live", "/live/cameras/belt/preview", "/v2/models/x", "/nowhere"):
        assert told(server, "GET", path, **elsewhere)[0] == 403
    assert told(server, "GET", "/", **{**elsewhere, "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"})[0] == 403


def test_a_session_loads_no_model_and_the_token_does(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    host = {"on_demand": True, "deadline_s": 0.001}
    with served({"broken": tmp_path / "broken.onnx"}, at_start=(), host=host, token=Secret(TOKEN)) as server:
        cookie = signed_in(server)
        for path in ("/v2/models/broken", "/v2/models/broken/config"):
            assert told(server, "GET", path, Cookie=cookie)[0] == 404
        assert told(server, "GET", "/v2/models/broken", Authorization=f"Bearer {TOKEN}")[0] == 503, "it is loading"


def test_whoever_signs_out_is_out(guarded):
    cookie = signed_in(guarded)
    status, headers, _ = told(guarded, "POST", "/logout", b"", Cookie=cookie)
    assert status == 303
    assert "Max-Age=0" in headers["set-cookie"]
    assert told(guarded, "GET", "/live", Cookie=cookie)[0] == 401


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 401),
        (b"token=", {}, 401),
        (b"token=%ff%fe", {}, 401),
        (b"\xff\xfe", {}, 400),
        (b"a=1&b=2&c=3&d=4&token=x", {}, 400),
        (b"token=" + b"x" * MOST_FORM_BYTES, {}, 413),
        (b"7\r\ntoken=x\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}, 400),
    ],
)
def test_what_is_no_token_is_refused(body, headers, status):
    with served(plane=live(), token=Secret(TOKEN)) as server:
        got, _, page = told(server, "POST", "/login", body, **headers)
    assert got == status
    assert TOKEN.encode() not in page


def test_guessing_takes_ages():
    with served(plane=live(), token=Secret(TOKEN)) as server:
        statuses = [told(server, "POST", "/login", form(f"guess {number}"))[0] for number in range(8)]
        assert statuses[:5] == [401] * 5
        assert statuses[-1] == 429
        status, headers, page = told(server, "POST", "/login", form(TOKEN))
        assert status == 429
        assert headers["retry-after"] == "5"
        assert b"wait a little" in page


def test_without_a_token_there_is_nothing_to_sign_in_to(server):
    status, headers, _ = told(server, "GET", "/login")
    assert (status, headers["location"]) == (303, "/")


# --- sessions ---------------------------------------------------------------------------------------------------------------------------


def cookie_of(sessions, host="board:8000"):
    return {"host": host, "cookie": f"other=1; {sessions.begin(host).partition(';')[0]}"}


def test_a_session_ends_when_it_is_not_used_and_at_last():
    clock = TurnedClock()
    sessions = Sessions(clock, is_secure=False)
    idle, busy = cookie_of(sessions), cookie_of(sessions)
    for _ in range(int(LONGEST_S / IDLE_S) * 2):
        assert sessions.knows(busy)
        clock.turn(IDLE_S / 2)
    assert not sessions.knows(idle)
    clock.turn(1)
    assert not sessions.knows(busy)


def test_there_are_so_many_sessions_and_the_one_longest_unused_makes_room():
    sessions = Sessions(TurnedClock(), is_secure=False)
    first, second = cookie_of(sessions), cookie_of(sessions)
    for _ in range(MOST_SESSIONS - 1):
        assert sessions.knows(first)
        cookie_of(sessions)
    assert sessions.knows(first)
    assert not sessions.knows(second)


@pytest.mark.parametrize("cookie", ["", ";;;=", "edgewright_8000", "edgewright_8000=", "edgewright_8000=x", "\udcff=\udcff", "x" * 9000])
def test_what_is_no_session_is_none(cookie):
    assert not Sessions(TurnedClock(), is_secure=False).knows({"host": "board:8000", "cookie": cookie})


def test_a_cookie_is_of_one_port_and_with_tls_for_nothing_else():
    sessions = Sessions(TurnedClock(), is_secure=True)
    headers = cookie_of(sessions)
    assert "__Host-edgewright_8000=" in headers["cookie"]
    assert "; Secure" in sessions.begin("board:8000")
    assert sessions.knows(headers)
    assert not sessions.knows({**headers, "host": "board:8001"})
    assert not Sessions(TurnedClock(), is_secure=True).knows(headers)  # begun anew, it knows nobody

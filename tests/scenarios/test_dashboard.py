"""Somebody opens the page of a live service in a real Chromium, on a desk and on a telephone, and leaves it open.

What it shows is what /metrics says; nothing leaves the machine; the browser has nothing to complain about. EDGEWRIGHT_SCREENSHOTS names
a folder for pictures of it.
"""

import os
import re
import signal
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from browser import Browser
from edgewright.run.recent import BOUNDS_S, quantile_s
from live_service import LiveService, write_blinking_clip
from tiny_detector import save_tiny_detector

DESK, PHONE = (1440, 900), (390, 844)
TOKEN = "a-token-that-must-not-be-seen"
CARD = ".card[data-camera='belt']"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_blinking_clip(tmp_path_factory.mktemp("clip") / "blinking.avi", size=(640, 360), fps=10)


def watching(folder, model, clip, **http):
    cameras = {"belt": {"source": clip, "live": True, "loop": True}, "gate": {"source": "http://127.0.0.1:9/video"}}
    return LiveService(
        folder,
        models={"tiny": {"artifact": model, "threads": 1}},
        cameras=cameras,
        rules={"red": {"kind": "seen", "classes": ["red"]}},
        outputs={"answers": {"kind": "jsonl", "records": ["answers"]}},
        http={"port": 0, **http},
    )


@pytest.fixture(scope="module")
def service(model, clip, tmp_path_factory):
    with watching(tmp_path_factory.mktemp("service"), model, clip) as service:
        service.wait_for("camera", "belt", "frames come")
        service.wait_for("worker", "tiny", "is loaded")
        yield service


def url_of(service):
    return service.wait_for("http", "front", "listens at")["data"]["url"]


def opened(page, service, url=None):
    """The page, with its first figures and two moments to compare."""
    page.open(f"{url or url_of(service)}/")
    page.wait(f"document.querySelector(\"{CARD} [data-figure='p50']\")?.dataset.value")


def keep_picture(page, name):
    if folder := os.environ.get("EDGEWRIGHT_SCREENSHOTS"):
        page.picture(Path(folder) / f"{name}.png")


def is_at_peace(page, url):
    assert page.complaints == []
    hosts = {urlsplit(each).netloc for each in page.requests if each.startswith(("http", "ws"))}
    assert hosts == {urlsplit(url).netloc}


@pytest.mark.parametrize(
    ("size", "dark"), [(DESK, False), (DESK, True), (PHONE, False), (PHONE, True)], ids=["desk", "dark", "phone", "night"]
)
def test_on_a_desk_and_on_a_telephone_by_day_and_by_night(size, dark, service, browser, request):
    with browser.page(*size, dark=dark, phone=size == PHONE) as page:
        opened(page, service)
        page.wait("document.querySelectorAll('#timeline path.line').length >= 3")  # the first step of the history
        page.wait(f'document.querySelector("{CARD} img").naturalWidth > 0 && !document.querySelector("{CARD} img").hidden')
        assert page.text("#state") in ("Ready", "Not ready")
        assert page.text(".card[data-camera='gate'] .none").startswith("it cannot be opened")
        assert page.value("document.documentElement.scrollWidth") <= size[0]
        assert page.value(NARROWEST_TARGET) >= 24, "what a finger is to touch"
        assert "tiny" in page.text("#model-rows")
        assert "answers" in page.text("#output-rows")
        assert "camera belt" in page.text("#memory-rows")
        assert any(
            "is loaded" in text for text in page.value("[...document.querySelectorAll('#events li')].map((each) => each.textContent)")
        )
        assert (luminance(page.value("getComputedStyle(document.body).backgroundColor")) < 128) == dark
        keep_picture(page, request.node.callspec.id)
        is_at_peace(page, url_of(service))


NARROWEST_TARGET = """Math.min(...[...document.querySelectorAll('button, select, .range label')].filter((each) => each.offsetParent)
    .map((each) => Math.min(each.offsetWidth, each.offsetHeight)))"""


def luminance(colour):
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# Counters of the page and of /metrics, read between two looks of the page.
BOTH = """(async () => {
  const shown = () => {
    const card = document.querySelector(".card[data-camera='belt']");
    const found = { captured: card.querySelector('.facts').dataset.captured, restarts: card.querySelector('.facts').dataset.restarts };
    for (const each of card.querySelectorAll('[data-dropped]')) found[each.dataset.dropped] = each.dataset.value;
    const rows = [["#output-rows [data-row='answers']", ''], ["#model-rows [data-row='tiny']", 'model ']];
    for (const [row, of] of rows) {
      for (const each of document.querySelectorAll(`${row} [data-figure]`)) found[of + each.dataset.figure] = each.dataset.value;
    }
    found.memory = document.querySelector("[data-figure='memory']").dataset.value;
    return found;
  };
  document.dispatchEvent(new Event('visibilitychange'));  // upon which the page asks at once
  await new Promise((done) => setTimeout(done, 100));
  const before = shown();
  const metrics = await (await fetch('/metrics')).text();
  const after = shown();
  return JSON.stringify(before) === JSON.stringify(after) ? [before, metrics] : null;
})()"""


def test_what_it_shows_is_what_the_metrics_say(service, browser):
    def agreed():
        if (both := page.value(BOTH)) is None:
            return None
        shown, metrics = both
        return {key: float(value) for key, value in shown.items()} == expected(metrics, shown) and shown

    with browser.page(*DESK) as page:
        opened(page, service)
        shown = service.wait_until(agreed)  # both are of the same second, sooner or later; a figure that is another one never is
        assert {"captured", "restarts", "delivered", "lost", "memory", "model restarts"} <= shown.keys()
        assert float(shown["captured"]) > 0


def expected(metrics, shown):
    """What the metrics have of everything that is shown."""
    names = {
        "captured": figure(metrics, "edgewright_frames_captured_total", camera="belt"),
        "restarts": figure(metrics, "edgewright_camera_restarts_total", camera="belt"),
        "delivered": figure(metrics, "edgewright_output_delivered_total", output="answers"),
        "lost": figure(metrics, "edgewright_output_lost_total", output="answers"),
        "memory": figure(metrics, "edgewright_memory_used_bytes"),
        "model restarts": figure(metrics, "edgewright_worker_restarts_total", model="tiny", of="cameras"),
    }
    apart = {"spooled", "model waiting"} & shown.keys()  # records and frames that wait, which no metric counts
    dropped = {
        key: figure(metrics, "edgewright_frames_total", camera="belt", result=key) for key in shown if key not in names.keys() | apart
    }
    return {**{key: value for key, value in names.items() if key in shown}, **dropped, **{key: float(shown[key]) for key in apart}}


def figure(metrics, name, **labels):
    """The sum of all samples with this name and these labels."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", metrics, re.MULTILINE)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(value) for given, value in found if all(each in given for each in wanted))


def test_its_quantiles_are_ours(service, browser):
    """The page makes them itself, from the same buckets."""
    rng = np.random.default_rng(0)
    cases = [[int(count) for count in rng.integers(0, 50, len(BOUNDS_S) + 1) * (rng.random(len(BOUNDS_S) + 1) < 0.3)] for _ in range(50)]
    cases.append([0] * (len(BOUNDS_S) + 1))
    ask = """import('/assets/figures.js').then(({ quantileMs }) =>
        CASES.map((counts) => [0.5, 0.99].map((share) => quantileMs(counts, share, BOUNDS))))"""
    with browser.page(*DESK) as page:
        page.open(f"{url_of(service)}/")
        found = page.value(ask.replace("CASES", str(cases)).replace("BOUNDS", str(list(BOUNDS_S))))
    for counts, shown in zip(cases, found, strict=True):
        ours = [quantile_s(counts, share) for share in (0.5, 0.99)]
        assert shown == [None if value is None else pytest.approx(value * 1e3) for value in ours]


def test_by_keyboard_alone(service, browser):
    with browser.page(*DESK) as page:
        opened(page, service)
        page.wait("document.querySelector('.plot').getAttribute('aria-valuetext') && document.querySelectorAll('.mark').length > 0")
        stops = []
        for _ in range(20):
            page.press("Tab")
            stops.append(page.value("[document.activeElement.className, document.activeElement.id].join(' ').trim()"))
            outline = page.value("(() => { const of = getComputedStyle(document.activeElement); return [of.outlineStyle, of.opacity]; })()")
            assert outline[0] != "none" or outline[1] == "0", f"where it is, is not seen: {stops[-1]}"
            if stops[-1] == "events":
                break
        assert stops[0] == "skip"
        assert [each for each in stops if each in ("which", "stage", "range-300", "plot", "events")] == [
            "which",
            "stage",
            "range-300",
            "plot",
            "events",
        ]
        assert any(each.startswith("mark") for each in stops)
        page.value("document.querySelector('.plot').focus()")
        latest = page.value("document.querySelector('.plot').getAttribute('aria-valuetext')")
        page.press("Home")
        assert page.value("document.querySelector('.plot').getAttribute('aria-valuenow')") == "0"
        assert "p50" in latest
        page.value("document.getElementById('range-300').focus()")
        page.press("ArrowRight")
        assert page.value("document.getElementById('range-900').checked")
        is_at_peace(page, url_of(service))


def test_it_says_so_when_the_service_falls_silent_and_goes_on_when_it_is_back(service, browser):
    with browser.page(*DESK) as page:
        opened(page, service)
        os.kill(service.pid, signal.SIGSTOP)
        try:
            page.wait("!document.getElementById('stale').hidden && document.title.startsWith('⚠')")
            assert page.text("#state") == "Not answering"
        finally:
            os.kill(service.pid, signal.SIGCONT)
        page.wait("document.getElementById('stale').hidden")
        (front,) = service.children()["front"]
        os.kill(front, signal.SIGKILL)
        service.wait_until(lambda: service.children()["front"] not in ([], [front]))
        before = service.asked("/live")["cameras"]["belt"]["captured"]
        page.wait(f'Number(document.querySelector("{CARD} .facts").dataset.captured) > {before}')
        page.wait("document.getElementById('stale').hidden")
        page.wait("document.querySelectorAll('#timeline path.line').length >= 3")  # the hour has outlived its process


def test_with_a_token_it_asks_for_it_once_and_never_shows_it(model, clip, browser, tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    with watching(tmp_path, model, clip, token_file="token") as service, browser.page(*PHONE, phone=True) as page:
        url = url_of(service)
        service.wait_for("camera", "belt", "frames come")
        page.open(f"{url}/")
        page.wait("document.querySelector('input[name=token]') !== null")
        keep_picture(page, "sign-in")
        page.click("input[name=token]")
        page.value("document.querySelector('input[name=token]').focus()")
        page.type("another-token-altogether")
        page.press("Enter")
        page.wait("document.querySelector('[role=alert]')?.textContent.includes('another token')")
        page.value("document.querySelector('input[name=token]').focus()")
        page.type(TOKEN)
        page.press("Enter")
        page.wait(f"document.querySelector(\"{CARD} [data-figure='p50']\")?.dataset.value")
        page.wait(f'document.querySelector("{CARD} img").naturalWidth > 0')  # which cannot send a token
        assert TOKEN not in page.value("document.documentElement.outerHTML")
        assert not [each for each in page.requests if TOKEN in each]
        assert page.value("document.cookie") == ""
        page.click("#leave button")
        page.wait("document.querySelector('input[name=token]') !== null")
        assert page.value("fetch('/live').then((answer) => answer.status)") == 401
        assert {urlsplit(each).netloc for each in page.requests if each.startswith("http")} == {urlsplit(url).netloc}

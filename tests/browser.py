"""A real Chromium for tests, without a screen, over the pipe that its DevTools protocol offers: no driver, no package, no port.

    with Browser() as browser, browser.page(390, 844, dark=True) as page:
        page.open(url)
        page.wait("document.querySelector('.card')")
        assert page.complaints == []

Protocol: https://chromedevtools.github.io/devtools-protocol/ (messages of JSON, each ended by a zero byte, on descriptors 3 and 4).
"""

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

WITHIN_S = 60.0
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Nothing but what the page asks for: no updates, no reports, no first steps. A sandbox needs a user that is not root.
OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
)
KEYS = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35}


class Browser:
    """One process; skips the test where there is none to start."""

    def __init__(self) -> None:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip("no Chromium here: apt-get install chromium")
        self._home = tempfile.mkdtemp(prefix="edgewright-browser-")
        (to_read, self._to), (self._from, to_write) = _pipe(), _pipe()
        options = [*OPTIONS, f"--user-data-dir={self._home}", "about:blank"]
        # bash alone can put descriptors of any number where Chromium looks for them.
        command = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write} {to_read}<&- {to_write}>&-', "bash", program, *options]
        with (Path(self._home) / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        os.close(to_read)
        os.close(to_write)
        self._count = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ask(self, method: str, session: str | None = None, **fields: Any) -> dict[str, Any]:
        """What DevTools answers; fails the test where that is an error."""
        with self._news:
            self._count += 1
            number = self._count
        words = {"id": number, "method": method, "params": fields, **({} if session is None else {"sessionId": session})}
        _write(self._to, json.dumps(words).encode() + b"\0")
        with self._news:
            if not self._news.wait_for(lambda: number in self._answers or self._is_over, WITHIN_S) or number not in self._answers:
                pytest.fail(f"the browser does not answer {method}: {(Path(self._home) / 'log').read_text(errors='replace')[-2000:]}")
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def heard(self, session: str) -> list[dict[str, Any]]:
        """Everything a page has told so far."""
        with self._news:
            return [event for event in self._events if event.get("sessionId") == session]

    @contextmanager
    def page(self, width: int = 1440, height: int = 900, *, dark: bool = False, phone: bool = False):
        """A page of its own, with cookies of its own."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for area in ("Page", "Runtime", "Network", "Log"):
            page.ask(f"{area}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        page.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        try:
            yield page
        finally:
            self.ask("Target.closeTarget", targetId=target)
            self.ask("Target.disposeBrowserContext", browserContextId=context)

    def _read(self) -> None:
        rest = b""
        with suppress(OSError):
            while data := os.read(self._from, 1 << 16):
                *messages, rest = (rest + data).split(b"\0")
                with self._news:
                    for message in map(json.loads, messages):
                        if "id" in message:
                            self._answers[message["id"]] = message
                        else:
                            self._events.append(message)
                    self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def close(self) -> None:
        with suppress(OSError):
            _write(self._to, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._to)
        self._reader.join(5)
        os.close(self._from)
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Page:
    """A tab. `open`, then `value` and `wait` to look, `press` and `click` to act."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def ask(self, method: str, **fields: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **fields)

    def open(self, url: str) -> None:
        answer = self.ask("Page.navigate", url=url)
        assert "errorText" not in answer, answer
        self.wait("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What the expression gives, as JSON has it."""
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, *, within_s: float = WITHIN_S) -> Any:
        """Its value, as soon as that is something."""
        until_s = time.monotonic() + within_s
        while True:
            if found := self.value(expression):
                return found
            if time.monotonic() > until_s:
                pytest.fail(f"it does not come to pass: {expression}; the page says {self.value('document.body.innerText')[:2000]!r}")
            time.sleep(0.05)

    def text(self, selector: str) -> str | None:
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent")

    def click(self, selector: str) -> None:
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def press(self, key: str, *, shift: bool = False) -> None:
        code = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key], "modifiers": 8 if shift else 0}
        extra = {"text": "\r"} if key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **code, **extra)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """As PNG."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **({"clip": self._all()} if whole else {}))
        path.write_bytes(base64.b64decode(answer["data"]))

    def _all(self) -> dict[str, float]:
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    @property
    def requests(self) -> list[str]:
        """Every address that was asked for."""
        return [event["params"]["request"]["url"] for event in self._told("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of its console, faults of its scripts, and what its policy refused."""
        console = [event["params"] for event in self._told("Runtime.consoleAPICalled")]
        logged = [event["params"]["entry"] for event in self._told("Log.entryAdded")]
        return [
            *(str(each["args"]) for each in console if each["type"] in ("error", "warning", "assert")),
            *(str(event["params"]["exceptionDetails"]) for event in self._told("Runtime.exceptionThrown")),
            *(f"{each['text']} {each.get('url', '')}" for each in logged if each["level"] in ("error", "warning")),
        ]

    def _told(self, method: str) -> list[dict[str, Any]]:
        return [event for event in self._browser.heard(self._session) if event["method"] == method]


def _pipe() -> list[int]:
    """An end to read and one to write, neither of them where Chromium looks for its own."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]

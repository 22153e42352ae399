"""`edgewright watch` as people have it: on a terminal, in a pipe, once, as JSON; and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from terminal_screen import Screened
from told_service import ToldService

WATCH = [sys.executable, "-m", "edgewright", "watch"]
CAMERAS = ("belt", "gate")


@pytest.fixture
def service(tmp_path):
    with ToldService(tmp_path, cameras=CAMERAS) as service:
        yield service


def run(*words, timeout=120, **environment):
    kept = {key: value for key, value in os.environ.items() if key != "EDGEWRIGHT_HTTP_TOKEN"}
    return subprocess.run(
        [*WATCH, *map(str, words)], capture_output=True, text=True, timeout=timeout, env={**kept, **environment}, check=False
    )


def turned(service, screen, *words):
    """Seconds go by until all these words are shown."""
    until_s = time.monotonic() + 120
    while not all(word in screen.shown for word in words):
        assert time.monotonic() < until_s, screen.shown
        service.turn(1.0)
        screen.read(0.3)


def test_a_day_at_the_screen(service, tmp_path):
    """It comes up, follows the size, survives the service's end, finds the next one, and leaves no trace."""
    service.happen("camera", "belt", "frames come \x1b[2J\u202e")
    with Screened([*WATCH, tmp_path]) as screen:
        screen.wait_for("line-3", "ready", "belt", "gate", "defects", "412 of 600 MiB", "C camera belt frames come \\x1b[2J")
        turned(service, screen, "9.0/10.0")
        assert screen.screen.has_colour
        screen.resize(140, 40)
        screen.wait_for("opencv", "q ends it")
        screen.press("t")
        screen.wait_for("5 s each")
        service.stop()
        screen.wait_for("gone", "no answer: nobody is there", "belt")
        with ToldService(tmp_path, cameras=("belt", "gate", "yard")) as again:
            turned(again, screen, "yard")
            assert "no answer" not in screen.shown
        screen.press("q")
        assert screen.ended() == 0
        screen.assert_as_it_was()
        assert screen.screen.after.strip() == ""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, "\x03"], ids=["SIGTERM", "SIGINT", "Ctrl-C"])
def test_however_it_ends_the_terminal_is_as_it_was(service, tmp_path, end):
    with Screened([*WATCH, tmp_path], environment={"NO_COLOR": "1"}) as screen:
        screen.wait_for("belt")
        if isinstance(end, str):
            screen.press(end)
        else:
            screen.send(end)
        assert screen.ended() == 0
        screen.assert_as_it_was()
        assert not screen.screen.has_colour


def test_a_service_that_does_not_answer_holds_nobody(service, tmp_path):
    service.answer, service.slowly = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99, 0.2
    with Screened([*WATCH, tmp_path]) as screen:
        screen.wait_for("asking the service")
        began_s = time.monotonic()
        screen.press("q")
        assert screen.ended() == 0
        assert time.monotonic() - began_s < 10
        screen.assert_as_it_was()


def test_stopped_and_continued(service, tmp_path):
    """Ctrl-Z gives the terminal back to the shell; `fg` takes it again."""
    with Screened(["sh", "-m", "-c", '"$@"; echo stopped; fg', "sh", *WATCH, tmp_path]) as screen:
        screen.wait_for("belt")
        screen.press("\x1a")
        until_s = time.monotonic() + 60
        while "stopped" not in screen.screen.after or not screen.screen.modes["other screen"]:
            assert time.monotonic() < until_s
            screen.read(0.1)
        screen.wait_for("belt")
        screen.press("q")
        assert screen.ended() == 0
        screen.assert_as_it_was()


def test_a_refused_token_is_one_sentence_on_a_terminal_that_is_as_it_was():
    with (
        ToldService(None, token="x" * 20) as service,
        Screened([*WATCH, service.url], environment={"EDGEWRIGHT_HTTP_TOKEN": None}) as screen,
    ):
        assert screen.ended() == 2
        screen.assert_as_it_was()
        assert "refuses: the token is missing or wrong" in screen.screen.after.replace("\r\n", "")


def test_lines_for_a_pipe(service, tmp_path):
    with subprocess.Popen([*WATCH, tmp_path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for _ in range(3):
            lines.append(process.stdout.readline())
            service.turn(1.0)
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 0
    assert complaints == ""
    assert all("line-3 ready; belt" in text and "memory 412 of 600 MiB; 74.6 °C" in text and "\x1b" not in text for text in lines)


def test_json_a_line_a_second_and_a_reader_that_leaves(service, tmp_path):
    with subprocess.Popen([*WATCH, tmp_path, "--json", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        documents = []
        for _ in range(2):
            documents.append(json.loads(process.stdout.readline()))
            service.turn(1.0)
        process.stdout.close()
        while process.poll() is None:
            service.turn(1.0)
            time.sleep(0.2)
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert [document["name"] for document in documents] == ["line-3"] * 2
    assert documents[0]["uptime_s"] < documents[1]["uptime_s"]


def test_once(service, tmp_path):
    is_over = threading.Event()

    def go_on():
        while not is_over.wait(0.5):
            service.turn(0.5)

    turning = threading.Thread(target=go_on)
    turning.start()
    try:
        page = run(tmp_path, "--once", COLUMNS="100")
        document = run(tmp_path, "--once", "--json", "-")
    finally:
        is_over.set()
        turning.join()
    assert (page.returncode, page.stderr) == (0, "")
    assert "\x1b" not in page.stdout
    assert all(len(text) <= 100 for text in page.stdout.splitlines())
    for words in ("line-3  ready", "belt", "/10.0", "412 of 600 MiB", "no events yet"):
        assert words in page.stdout
    assert json.loads(document.stdout)["cameras"].keys() == set(CAMERAS)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no-such-folder"], 2, "there is no state folder no-such-folder"),
        (["http://me:secret@10.0.0.7:8000"], 2, "EDGEWRIGHT_HTTP_TOKEN"),
        (["--once", "."], 3, ".: no answer: nobody is there; is the service running?"),
    ],
)
def test_one_sentence(words, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(*words)
    assert (found.returncode, found.stdout) == (code, "")
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert "secret" not in found.stderr

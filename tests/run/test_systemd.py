"""Ready is said once, life as often as systemd asks, and neither while inference gives no sign; the unit is one that systemd takes."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgewright.run.systemd import WATCHDOG_S, Notifier, unit


@dataclass
class HandClock:
    now_s: float = 100.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return self.now_s


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A socket as systemd has it, and its address as systemd writes it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        name = str(tmp_path / "notify") if request.param == "path" else f"\0edgewright-test-{os.getpid()}"
        end.bind(name)
        end.setblocking(False)
        yield end, name.replace("\0", "@")


def heard(end):
    words = []
    while True:
        try:
            words.append(end.recv(1000).decode())
        except BlockingIOError:
            return words


def test_ready_once_and_alive_at_half_the_time(systemd):
    end, address = systemd
    clock = HandClock()
    notifier = Notifier.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}, clock)
    notifier.beat(is_ready=False, is_alive=True)
    assert heard(end) == []
    notifier.beat(is_ready=True, is_alive=True)
    assert heard(end) == ["READY=1", "WATCHDOG=1"]
    said = []
    for _ in range(40):
        clock.now_s += 0.25
        notifier.beat(is_ready=clock.now_s < 3, is_alive=True)  # a model that is loaded anew is no reason to begin all anew
        said.append(heard(end))
    assert said == [[], [], [], ["WATCHDOG=1"]] * 10
    clock.now_s += 50
    notifier.beat(is_ready=False, is_alive=False)  # no model answers: systemd is to act
    assert heard(end) == []
    notifier.stopping()
    assert heard(end) == ["STOPPING=1"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(systemd, environment):
    end, address = systemd
    notifier = Notifier.of({"NOTIFY_SOCKET": address, **environment}, HandClock())
    notifier.beat(is_ready=True, is_alive=True)
    assert heard(end) == ["READY=1"]


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@" + "x" * 500])
def test_without_systemd_nothing_is_said_and_nothing_fails(address):
    environment = {"WATCHDOG_USEC": "1000"} if address is None else {"WATCHDOG_USEC": "1000", "NOTIFY_SOCKET": address}
    notifier = Notifier.of(environment, HandClock())
    notifier.beat(is_ready=True, is_alive=True)
    notifier.stopping()


STRANGE = ["/etc/edgewright/belt.toml", "/etc/with space/100% $HOME.toml", '/etc/a"b\\c.toml', "/etc/ümlaut.toml", "/etc/new\nline.toml"]


@pytest.mark.parametrize("settings", STRANGE)
def test_the_unit_stays_one_command_whatever_its_settings_are_called(settings):
    lines = unit("/usr/bin/edgewright", Path(settings)).splitlines()
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert command.endswith(" --log json")
    assert command.startswith("ExecStart=/usr/bin/edgewright serve ")
    assert ('"' in command) == (settings != STRANGE[0])
    assert not any(line for line in lines if line and line[0] not in "#[" and "=" not in line)
    assert f"WatchdogSec={WATCHDOG_S}" in lines


@pytest.mark.parametrize("settings", STRANGE)
def test_systemd_takes_the_unit(tmp_path, settings):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: sudo apt-get install systemd")
    path = tmp_path / "edgewright.service"
    path.write_text(unit("/bin/true", Path(settings)))
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False, timeout=60)
    about_ours = [line for line in (done.stdout + done.stderr).splitlines() if "edgewright.service" in line]
    if about_ours == [] and done.returncode:
        pytest.skip(f"systemd-analyze does not work here: {done.stderr.strip()[:200]}")
    assert about_ours == []

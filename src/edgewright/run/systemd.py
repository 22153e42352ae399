"""Speaking to systemd (sd_notify(3)), and the unit that makes a service of ours one of its.

The watchdog is fed by the heartbeat of inference alone: a service whose workers do not answer, or whose own thread hangs, is restarted.
"""

import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgewright.clock import Clock
from edgewright.printable import printable

WATCHDOG_S = 30


@dataclass(slots=True)
class Notifier:
    """Tells systemd that the service is ready, and that it lives; without systemd it does nothing."""

    address: str | None
    watchdog_s: float | None
    clock: Clock
    _ready: bool = False
    _fed_s: float = float("-inf")

    @classmethod
    def of(cls, environment: Mapping[str, str], clock: Clock) -> "Notifier":
        """As systemd has set the environment."""
        watchdog = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return cls(environment.get("NOTIFY_SOCKET") or None, int(watchdog) / 1e6 if watchdog.isdecimal() and ours else None, clock)

    def beat(self, *, is_ready: bool, is_alive: bool) -> None:
        """Say once that the service is ready, and from then on that it lives, as often as systemd's manual asks: in half of the time."""
        if self.address is None or not (is_alive and (self._ready or is_ready)):
            return
        if not self._ready:
            self._ready = True
            self._tell("READY=1")
        now_s = self.clock.monotonic_s()
        if self.watchdog_s is not None and now_s - self._fed_s >= self.watchdog_s / 2:
            self._fed_s = now_s
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        if self.address is not None:
            self._tell("STOPPING=1")

    def _tell(self, words: str) -> None:
        assert self.address is not None  # noqa: S101 - asked by whoever calls
        # "@" stands for the zero byte of an abstract address.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
            end.sendto(words.encode(), address)


def unit(command: str, settings: Path) -> str:
    """The unit file of a service: `command` is the edgewright program, `settings` its service.toml, both from the root."""
    return f"""[Unit]
Description=edgewright: detection from cameras ({printable(settings.stem).replace("%", "%%")})
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={_quoted(command)} serve {_quoted(str(settings))} --log json
# Fed by inference: when no model answers any more, the service is begun anew.
WatchdogSec={WATCHDOG_S}
TimeoutStartSec=300
TimeoutStopSec=10
Restart=always
RestartSec=2
# Exit code 2: service.toml or the model is wrong, and would be again.
RestartPreventExitStatus=2
KillMode=mixed
DynamicUser=yes
SupplementaryGroups=video
StateDirectory=edgewright
WorkingDirectory=/var/lib/edgewright
Environment=EDGEWRIGHT_CACHE=/var/lib/edgewright/cache PYTHONUNBUFFERED=1
# Passwords: systemd-creds, or a file that only root reads; service.toml names them as ${{NAME}}.
#LoadCredential=BELT_PASSWORD:/etc/edgewright/belt-password
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
RestrictSUIDSGID=yes
LockPersonality=yes
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """One word of a command line, in which no blank, variable or specifier means anything (systemd.service(5), systemd.unit(5))."""
    if re.fullmatch(r"[A-Za-z0-9_/.,:@+=-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    controlled = re.sub(r"[\x00-\x1f\x7f]", lambda each: f"\\x{ord(each[0]):02x}", escaped)
    return f'"{controlled}"'

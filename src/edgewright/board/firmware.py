"""What a Raspberry Pi's firmware knows and the kernel does not tell: `vcgencmd`.

    get_throttled          throttled=0x50005                  bits, see throttle.py
    measure_clock arm      frequency(0)=1500345728            the true clock, Hz
    pmic_read_adc          VDD_CORE_A current(7)=1.1162A      rails of a Pi 5, volts and amperes

(raspberrypi.com/documentation/computers/os.html, "vcgencmd"). Each question is a process, about 10 ms on a Pi, hence the thrift: an answer
is kept for a second at least, no more than one question is asked in a reading once all have been, and all of them together may take a
500th of the time. Where the program is missing or fails, it is left alone for a minute.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from typing import TypeAlias

from edgewright.board.clocks import FASTEST_MHZ, SLOWEST_MHZ
from edgewright.board.kernel_files import Look
from edgewright.board.rails import Rail, rails_of_adc
from edgewright.clock import Clock

Vcgencmd: TypeAlias = Callable[[str], str | None]  # the words after its name -> what it prints; None: it is not there, or failed

LONGEST_S = 1.0
MOST_CHARACTERS = 8192
KEPT_S = 1.0
SHARE = 1 / 500  # of the time
AGAIN_S = 60.0
QUESTIONS = ("get_throttled", "measure_clock arm", "pmic_read_adc")
FREQUENCY = re.compile(r"frequency\(\d+\)=(\d{1,12})", re.ASCII)
THROTTLED = re.compile(r"throttled=(0x[0-9a-fA-F]{1,8})", re.ASCII)


def run_vcgencmd(words: str) -> str | None:
    """Ask this machine's firmware."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system's, with words of ours
            [program, *words.split()], stdin=subprocess.DEVNULL, capture_output=True, timeout=LONGEST_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout[:MOST_CHARACTERS].decode("ascii", "replace") if done.returncode == 0 else None


class Firmware:
    """Its answers, each as old as thrift demands."""

    def __init__(self, vcgencmd: Vcgencmd, clock: Clock) -> None:
        self._vcgencmd = vcgencmd
        self._clock = clock
        self._answers: dict[str, str | None] = {}
        self._asked_s: dict[str, float] = {}
        self._not_before_s = float("-inf")

    def freshen(self) -> None:
        """Ask what has not been asked yet, or else, if it is time, what was asked longest ago."""
        unasked = [words for words in QUESTIONS if words not in self._asked_s]
        if unasked and self._clock.monotonic_s() >= self._not_before_s:
            for words in unasked:
                if not self._ask(words):
                    break
        elif not unasked and self._clock.monotonic_s() >= self._not_before_s:
            self._ask(min(self._asked_s, key=self._asked_s.__getitem__))

    def throttled(self, look: Look) -> int | None:
        """The bits of get_throttled."""
        found = self._found(look, "get_throttled", THROTTLED)
        return None if found is None else int(found, 16)

    def arm_mhz(self, look: Look) -> float | None:
        """The true clock of the cores."""
        found = self._found(look, "measure_clock arm", FREQUENCY)
        return None if found is None else look.parsed("vcgencmd measure_clock arm", found, SLOWEST_MHZ, FASTEST_MHZ, 1e6)

    def rails(self, look: Look) -> tuple[Rail, ...]:
        """What the PMIC measures; none on a board without one."""
        return rails_of_adc(look, self._answers.get("pmic_read_adc") or "")

    def _found(self, look: Look, words: str, pattern: re.Pattern[str]) -> str | None:
        answer = self._answers.get(words)
        # error=1 error_msg="Command not registered": this firmware does not know it.
        if answer is None or answer.startswith("error="):
            return None
        found = pattern.fullmatch(answer.strip())
        if found is None:
            look.doubt(f"vcgencmd {words}", answer)
        return None if found is None else found[1]

    def _ask(self, words: str) -> bool:
        """Whether the program works at all."""
        began_s = self._clock.monotonic_s()
        answer = self._vcgencmd(words)
        now_s = self._clock.monotonic_s()
        self._answers[words] = None if answer is None else answer[:MOST_CHARACTERS]
        self._asked_s[words] = now_s
        works = any(each is not None for each in self._answers.values())
        self._not_before_s = now_s + (max(KEPT_S, (now_s - began_s) / SHARE) if works else AGAIN_S)
        return works

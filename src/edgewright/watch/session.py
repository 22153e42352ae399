"""One session of watching: answers come in, and each is shown, as a page, as a line or as it came, until somebody says stop."""

import signal
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, Self

from edgewright.errors import HostError, InputError
from edgewright.watch.asker import EVERY_S, Answered, Asker, ask, last_id
from edgewright.watch.bell import ENDS, Bell, stop_as_asked
from edgewright.watch.chart import SCALES_S, Glyphs
from edgewright.watch.link import NOBODY, Link
from edgewright.watch.page import Look, page
from edgewright.watch.said import Happened
from edgewright.watch.terminal import Terminal, TerminalGoneError
from edgewright.watch.view import View, Watched
from edgewright.watch.where import Where

LATEST_S: Final = 1.5  # a page is drawn anew after as long, answer or not: its clock goes on
LOOKS: Final = 10  # at most, for two statuses: a service that has just begun has said nothing yet
QUIT: Final = frozenset("qQ\x03\x04")


class Listening:
    """A service that is asked in a thread, and what was heard of it. A context manager; `bell` rings for each answer."""

    def __init__(self, where: Where, bell: Bell) -> None:
        self.watched = Watched(str(where.place), time.time, time.monotonic)
        self._where, self._bell = where, bell
        self._answers: SimpleQueue[Answered] = SimpleQueue()
        self._asker = Asker(Link(where), self._tell)

    def hear(self) -> list[Answered]:
        """What has come meanwhile.

        Raises:
            InputError: the service lets nobody in who asks like that, and has not done so before.
        """
        heard: list[Answered] = []
        while True:
            try:
                answer = self._answers.get_nowait()
            except Empty:
                return heard
            if answer.refused and self.watched.document is None:
                raise _refused(self._where, answer)
            self.watched.hear(answer)
            heard.append(answer)

    def _tell(self, answer: Answered) -> None:
        self._answers.put(answer)
        self._bell.ring()

    def __enter__(self) -> Self:
        self._asker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._asker.stop()


def watch_on(terminal: Terminal, where: Where, glyphs: Glyphs) -> Any:
    """On a screen, until `q`, Ctrl-C, a signal or nobody is there to see it; the last status.

    Raises:
        InputError: the service refuses from the first.
    """
    scale = 0
    with Bell() as bell, Listening(where, bell) as listening, terminal:
        try:
            while True:
                listening.hear()
                terminal.show(page(listening.watched.view(), Look(*terminal.size(), glyphs, SCALES_S[scale])))
                signals, has_keys = bell.wait(LATEST_S, terminal.keys)
                keys = terminal.pressed() if has_keys else ""
                if ENDS & set(signals) or QUIT & set(keys):
                    break
                scale = (scale + keys.count("t")) % len(SCALES_S)
                if signal.SIGTSTP in signals:
                    terminal.leave()
                    stop_as_asked()
                    terminal.enter()
        except TerminalGoneError:
            pass
    return listening.watched.document


def watch_by(show: Callable[[View, Sequence[Happened], Any], None], where: Where) -> Any:
    """`show` is given each answer's view, what has happened since the one before, and the status if it is a new one; the last status.

    Raises:
        InputError: the service refuses from the first.
    """
    shown = 0
    with Bell() as bell, Listening(where, bell) as listening:
        while not ENDS & set(bell.wait(LATEST_S)[0]):
            before = listening.watched.document
            if not listening.hear():
                continue
            watched = listening.watched
            new, shown = watched.since(shown), watched.noted
            show(watched.view(), new, None if watched.document is before else watched.document)
    return listening.watched.document


def look_once(where: Where, pause: Callable[[float], None] = time.sleep) -> Watched:
    """What was heard of it in two looks, a second apart: one makes no rate.

    Raises:
        InputError: the service refuses.
        HostError: there is no answer.
    """
    link, watched = Link(where), Watched(str(where.place), time.time, time.monotonic)
    after: str | None = None
    heard = 0
    try:
        for _ in range(LOOKS):
            answer = ask(link, after)
            if answer.refused:
                raise _refused(where, answer)
            heard += watched.hear(answer)
            after = last_id(answer.events) or after
            if heard == 2:
                return watched
            if answer.failure == NOBODY:
                break
            pause(EVERY_S)
    finally:
        link.close()
    fix = "is the service running? `edgewright serve` starts one"
    raise HostError(f"{where.place}: {watched.view().trouble or 'it says nothing new'}", fix=fix)


def _refused(where: Where, answer: Answered) -> InputError:
    return InputError(f"{where.place} refuses: {answer.failure}", fix="see `edgewright watch --help` on tokens and addresses")

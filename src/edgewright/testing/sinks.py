"""Does a sink keep the promises of `edgewright.run.sinks.Sink`?

    report = check_sink(lambda: WebhookSink(...), received=lambda: server.ids)
    assert report.verdict == "keeps", report.broken

Every promise is tried, and each that is broken is one sentence. The place where letters arrive is the caller's: a server, a folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from edgewright.run.letter import Letter, letter_of
from edgewright.run.records import Event
from edgewright.run.sinks.base import Sink, SinkError

LETTERS = 25
Verdict: TypeAlias = Literal["keeps", "breaks"]


@dataclass(frozen=True, slots=True)
class SinkReport:
    """`broken`: a sentence for each promise that was not kept."""

    verdict: Verdict
    broken: tuple[str, ...]


def some_letters(count: int, *, begin: int = 0, camera: str | None = "door") -> list[Letter]:
    """Events with ids that rise."""
    return [
        letter_of(Event(f"e{number:06}", 1_700_000_000.0 + number, "rule", "zone", f"number {number}", camera=camera))
        for number in range(begin, begin + count)
    ]


def check_sink(
    open_sink: Callable[[], Sink],
    received: Callable[[], Sequence[str]],
    *,
    secrets: Sequence[str] = (),
    break_it: Callable[[], object] | None = None,
) -> SinkReport:
    """Deliver letters through a sink and compare with the ids that were `received`, in the order of arrival.

    `break_it` makes the place refuse everything from then on; what the sink says then must hold none of the `secrets`.
    """
    broken: list[str] = []
    sink = open_sink()
    letters = some_letters(LETTERS)
    _try(broken, "an empty delivery", lambda: sink.deliver([]))
    for begin in range(0, LETTERS, max(min(sink.most_records, 7), 1)):
        batch = letters[begin : begin + max(min(sink.most_records, 7), 1)]
        _try(broken, "a delivery", lambda batch=batch: sink.deliver(batch))  # type: ignore[misc]
    _compare(broken, "after deliveries in order", received(), letters)
    _try(broken, "the same letters again", lambda: sink.deliver(letters[: sink.most_records]))
    if set(received()) != {letter.id for letter in letters}:
        broken.append("letters that came twice are not all there under their ids")
    _try(broken, "close", sink.close)
    _try(broken, "a second close", sink.close)
    later = some_letters(1, begin=LETTERS)
    _try(broken, "a delivery after close", lambda: sink.deliver(later))
    if later[0].id not in received():
        broken.append("what was delivered after close is not there")
    _try(broken, "close", sink.close)
    if break_it is not None:
        break_it()
        _refuses(broken, sink, secrets)
        _try(broken, "close of a sink that failed", sink.close)
    return SinkReport("breaks" if broken else "keeps", tuple(broken))


def _refuses(broken: list[str], sink: Sink, secrets: Sequence[str]) -> None:
    """It says so in its own words, and tells nobody's secrets."""
    try:
        sink.deliver(some_letters(1, begin=LETTERS + 1))
    except SinkError as error:
        if error.delivered != 0:
            broken.append(f"{error.delivered} letters count as delivered where nothing was taken")
        broken.extend("a secret is told" for secret in secrets if secret in str(error))
    except Exception as error:  # noqa: BLE001 - that it is another one is the finding
        broken.append(f"fails with {type(error).__name__}, which is no SinkError")
    else:
        broken.append("a delivery that nobody took counts as one")


def _try(broken: list[str], what: str, act: Callable[[], object]) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - as above
        broken.append(f"{what} failed: {type(error).__name__}: {error}")


def _compare(broken: list[str], when: str, found: Sequence[str], letters: Sequence[Letter]) -> None:
    """Each at least once, and the first arrivals in order."""
    wanted = [letter.id for letter in letters]
    if missing := [each for each in wanted if each not in found]:
        broken.append(f"{when}: {len(missing)} letters are missing, the first is {missing[0]}")
    elif list(dict.fromkeys(found)) != wanted:
        broken.append(f"{when}: the letters are not in order")

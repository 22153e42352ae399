"""From answers to events: a thing in a zone, across a line, or seen at all.

A rule is pure: it remembers what it was shown, of each camera and model by itself, and reads no clock but the answers' own. It speaks when
something *becomes* true, not in every frame in which it is. What happens while it keeps still (`again_after_s`) is not lost: crossings are
told in sum, and of what has come meanwhile and is still there it tells as soon as it may.

A thing is where it stands: at the middle of its box's lower edge (`anchor = "foot"`). Zones and lines are drawn on the ground, and somebody
in front of a zone has the better part of his box in it without a foot in it. Seen from above, or flying, it is at the middle of its box
(`anchor = "centre"`).
"""

import math
from collections.abc import Callable
from typing import Any, Protocol, get_args

from edgewright.errors import InputError
from edgewright.printable import brief, printable
from edgewright.run.crossing import Crossings
from edgewright.run.presence import Presence
from edgewright.run.records import Answer, Event
from edgewright.run.settings import Anchor, Point, RuleSettings

MOST_FRAMES = 1000  # of which a rule may ask for some: half a minute at 30 a second
KINDS = ("zone", "line", "seen")


class Watch(Protocol):
    """What a rule remembers of one camera and model."""

    @property
    def has_news(self) -> bool: ...

    def see(self, answer: Answer) -> None:
        """Take in the next answer."""
        ...

    def tell(self, answer: Answer) -> tuple[str, dict[str, Any]]:
        """The news in words and figures, after which they are none any more. `answer`: the last one."""
        ...


class Rule:
    """One rule, for all cameras and models that it is meant for. `new_id`: the id of an event of a time.

    Raises:
        InputError: the settings lack what their kind needs, or ask for what cannot be.
    """

    def __init__(self, settings: RuleSettings, new_id: Callable[[float], str]) -> None:
        check(settings)
        self.settings = settings
        self._new_id = new_id
        self._watches: dict[tuple[str, str], Watch] = {}
        self._spoke_s: dict[tuple[str, str], float] = {}

    def look(self, answer: Answer) -> Event | None:
        """What is to be told now that this answer, the next of its camera and model, is there."""
        if not self.is_about(answer):
            return None
        of = answer.camera, answer.model
        watch = self._watches.setdefault(of, _watch(self.settings))
        watch.see(answer)
        if not watch.has_news or self._keeps_still(of, answer.captured_s):
            return None
        self._spoke_s[of] = answer.captured_s
        text, data = watch.tell(answer)
        return Event(
            id=self._new_id(answer.captured_s),
            time_s=answer.captured_s,
            kind="rule",
            name=self.settings.name,
            text=f"{text}, camera {printable(answer.camera)}",
            camera=answer.camera,
            data={"rule": self.settings.kind, "model": answer.model, "frame": answer.frame, "source_wh": list(answer.source_wh), **data},
        )

    def is_about(self, answer: Answer) -> bool:
        """Whether the rule is meant for the answer's camera and model."""
        cameras, models = self.settings.cameras, self.settings.models
        return (not cameras or answer.camera in cameras) and (not models or answer.model in models)

    def _keeps_still(self, of: tuple[str, str], now_s: float) -> bool:
        """A clock that was set back ends it: nobody waits for an hour because of the time of year."""
        spoke_s = self._spoke_s.get(of)
        return spoke_s is not None and 0 <= now_s - spoke_s < self.settings.again_after_s


def _watch(settings: RuleSettings) -> Watch:
    return Crossings(settings, settings.line) if settings.line is not None else Presence(settings)


def check(settings: RuleSettings) -> None:
    """Raises InputError where a rule lacks what its kind needs, has what its kind has no use for, or asks for what cannot be."""
    rule = f"rule {printable(settings.name)}"
    if settings.kind not in KINDS:
        raise InputError(f"{rule} is of no known kind", got=brief(settings.kind), expected=" or ".join(KINDS))
    _check_shape(f"the polygon of {rule}", settings.kind == "zone", settings.polygon, least=3)
    _check_shape(f"the line of {rule}", settings.kind == "line", settings.line, least=2)
    some, frames = settings.frames_of
    if not 1 <= some <= frames <= MOST_FRAMES:
        raise InputError(
            f"frames_of of {rule} is not k of n frames", got=f"{brief(some)} of {brief(frames)}", expected=f"1 <= k <= n <= {MOST_FRAMES}"
        )
    if settings.kind == "line" and frames != 1:
        raise InputError(f"{rule} counts crossings, not frames", got=f"frames_of {some} of {frames}", expected="no frames_of")
    if settings.anchor not in get_args(Anchor):
        raise InputError(f"anchor of {rule} is none", got=brief(settings.anchor), expected=" or ".join(get_args(Anchor)))
    if not (math.isfinite(settings.again_after_s) and settings.again_after_s >= 0):
        raise InputError(f"again_after_s of {rule} is no time", got=brief(settings.again_after_s), expected="seconds, 0 or more")
    if not 0 <= settings.score < 1:
        raise InputError(f"no box of {rule} has such a score", got=brief(settings.score), expected="0 or more, less than 1")


def _check_shape(what: str, is_needed: bool, points: tuple[Point, ...] | None, *, least: int) -> None:  # noqa: FBT001 - two sides of one rule
    if not is_needed:
        if points is not None:
            raise InputError(f"{what} has no use", fix="remove it, or give the rule the kind that it is for")
        return
    if points is None:
        raise InputError(f"{what} is missing", expected=f"{least} points or more, x and y as shares of the picture's width and height")
    if len(set(points)) < least:
        raise InputError(f"{what} has too few points", got=brief(list(points)), expected=f"{least} different ones or more")
    if not all(0 <= share <= 1 for point in points for share in point):
        raise InputError(f"{what} lies outside the picture", expected="x and y as shares of its width and height, 0..1, not pixels")

"""Who goes across a line, and which way.

A line leads from its first point to its second; as one looks along it there is a left and a right. A track is on a side once it stands
clear of the line, so one that trembles on it is not counted again and again. It has crossed when it comes to be clear on the other side,
and went between the line's ends when it last went over it: who walks round an end has not. Where it went over is judged on the straight way
from where it was in the frame before, so it may leap as far as its track can follow.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.printable import printable
from edgewright.run.presence import MOST_LISTED, in_words, places
from edgewright.run.records import UNTRACKED, Answer
from edgewright.run.settings import Anchor, Point, RuleSettings

Side: TypeAlias = Literal["left", "right"]
Figures: TypeAlias = NDArray[np.float64]  # N

SIDES: tuple[Side, Side] = ("left", "right")
MOST_TRACKS = 1000  # that are remembered; a tracker follows fewer at once
CLEAR_OF_LINE = 0.1  # of a box's longer side: several times what the boxes of a thing at rest tremble


class Crossings:
    """`line`, of one camera and model. News while there are crossings that were not told of."""

    def __init__(self, settings: RuleSettings, line: tuple[Point, Point]) -> None:
        self._settings = settings
        self._line = line
        self._walks: OrderedDict[int, _Walk] = OrderedDict()  # by track id, who was seen last at the end
        self._total: Counter[Side] = Counter()
        self._news = _News()

    @property
    def has_news(self) -> bool:
        return bool(self._news.sides)

    def see(self, answer: Answer) -> None:
        """The next frame. Boxes of no track cross nothing."""
        if answer.track_ids is None:
            return
        across, along, clear = beside(answer, self._line, self._settings.anchor)
        found, names = answer.detections, answer.detections.names
        for at in np.flatnonzero(answer.track_ids != UNTRACKED).tolist():
            track, score = int(answer.track_ids[at]), float(found.scores[at])
            walk = self._walk_of(track)
            walk.was_called(names[at], score)
            side = walk.goes_to(float(across[at]), float(along[at]), float(clear[at]))
            if side is not None and self._is_wanted(walk):
                self._total[side] += 1
                self._news.add(side, track, walk, found.boxes_xyxy[at].tolist())

    def tell(self, _: Answer) -> tuple[str, dict[str, Any]]:
        """Words and figures for all crossings since it last told of any."""
        news, self._news = self._news, _News()
        to = " and ".join(f"{news.sides[side]} to the {side}" for side in SIDES if news.sides[side])
        return f"{in_words(news.classes)} crossed line {printable(self._settings.name)}, {to}", {
            "count": news.sides.total(),
            "classes": dict(news.classes),
            "best_score": round(news.best_score, 5),
            "box_xyxy": [round(side, 2) for side in news.box_xyxy],
            "track_ids": news.tracks,
            "crossed": {side: news.sides[side] for side in SIDES},
            "total": {side: self._total[side] for side in SIDES},
        }

    def _walk_of(self, track: int) -> "_Walk":
        walk = self._walks.setdefault(track, _Walk())
        self._walks.move_to_end(track)
        if len(self._walks) > MOST_TRACKS:
            self._walks.popitem(last=False)
        return walk

    def _is_wanted(self, walk: "_Walk") -> bool:
        """By what the track was called in all its frames: a car is one although it is a truck in the very frame in which it crosses."""
        return walk.best_score > self._settings.score and (not self._settings.classes or walk.name in self._settings.classes)


@dataclass(slots=True)
class _Walk:
    """One track: how far across the line it stands (left of it is negative) and how far along (0 and 1 are its ends)."""

    across: float | None = None
    along: float = 0.0
    is_between: bool = False  # the ends, when it last went over the line
    side: Side | None = None  # on which it was last clear of it
    best_score: float = 0.0
    calls: dict[str, float] = field(default_factory=dict)  # the scores of every class, added up

    @property
    def name(self) -> str:
        return max(self.calls, key=lambda name: self.calls[name])

    def was_called(self, name: str, score: float) -> None:
        self.calls[name] = self.calls.get(name, 0.0) + score
        self.best_score = max(self.best_score, score)

    def goes_to(self, across: float, along: float, clear: float) -> Side | None:
        """The side to which it has crossed with this step, if it has."""
        if self.across is not None and (across > 0) != (self.across > 0):
            there = self.along + (along - self.along) * self.across / (self.across - across)
            self.is_between = 0 <= there <= 1
        self.across, self.along = across, along
        if abs(across) <= clear:
            return None
        before, self.side = self.side, "right" if across > 0 else "left"
        return self.side if self.is_between and before not in {None, self.side} else None


@dataclass(slots=True)
class _News:
    """Crossings that nobody was told of yet."""

    sides: Counter[Side] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    tracks: list[int] = field(default_factory=list)  # the first few
    best_score: float = 0.0
    box_xyxy: list[float] = field(default_factory=list)  # of the latest

    def add(self, side: Side, track: int, walk: _Walk, box_xyxy: list[float]) -> None:
        self.sides[side] += 1
        self.classes[walk.name] += 1
        self.best_score = max(self.best_score, walk.best_score)
        self.box_xyxy = box_xyxy
        if track not in self.tracks and len(self.tracks) < MOST_LISTED:
            self.tracks.append(track)


def beside(answer: Answer, line: tuple[Point, Point], anchor: Anchor) -> tuple[Figures, Figures, Figures]:
    """Of each box: how far right of the line it is, how far along it, and how far it must be from it to be clear; in line lengths."""
    wide_high = np.maximum(answer.source_wh, 1)
    begin, end = (np.array(point) * wide_high for point in line)
    way = end - begin
    offset = places(answer, anchor) * wide_high - begin
    length = float(np.hypot(*way))
    # y runs down, so what is clockwise from the way, its right, has the positive product.
    across = (way[0] * offset[:, 1] - way[1] * offset[:, 0]) / length**2
    boxes = answer.detections.boxes_xyxy.astype(np.float64)
    sides = np.nan_to_num(boxes[:, 2:] - boxes[:, :2]).clip(0)
    return across, offset @ way / length**2, CLEAR_OF_LINE * sides.max(axis=1, initial=0) / length

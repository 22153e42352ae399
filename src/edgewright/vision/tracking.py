"""Which box is which thing from one frame to the next: two-stage association, after ByteTrack (Y. Zhang et al., arXiv 2110.06864).

Boxes above the detector's threshold are matched with where every track should be by now. Those below it, which a detector without a
tracker throws away, are then matched with the tracks that went without: a thing that is half hidden scores low where it was expected,
noise does so anywhere. Only what scores high begins a track, and only what is seen again in the next frame gets an id.

Where this is not the paper's code:
- Time is seconds. A live camera's frames come irregularly, and a track must outlive a busy second, not thirty frames.
- The overlap alone decides, as in the paper's text. Its code multiplies it by the score, which at a threshold of 0.25 would ask for an
  IoU of 0.8 of what it means to accept at 0.2.
- One matching for all classes, where a box of another class counts with half of its overlap: a car that is called a truck in one
  frame stays the same car, and a rider does not become his bicycle.

>>> tracker = Tracker()                                     # doctest: +SKIP
>>> found = detector.detect(image, score_above=tracker.wants_above)  # doctest: +SKIP
>>> tracker.update(found, time_s)                           # doctest: +SKIP
array([ 4,  2, -1])
"""

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import Threshold
from edgewright.detections import Boxes, ClassIds, Detections
from edgewright.vision.kalman import Motion
from edgewright.vision.matching import NOBODY, Indices, Matrix, assign, iou
from edgewright.vision.nms import suppress

TrackIds: TypeAlias = NDArray[np.int64]  # N
UNTRACKED = -1  # the id of a box that belongs to no track, or to none yet
Mask: TypeAlias = NDArray[np.bool_]

# The least overlap of a pair: of a track with a high box, with a low one, and of a beginning with its second box (ByteTrack's code).
HIGH_IOU, LOW_IOU, NEW_IOU = 0.2, 0.5, 0.3
OTHER_CLASS = 0.5  # what an overlap counts between a track and a box of another class; so low boxes never change a class
SAME_THING_IOU = 0.7  # two boxes of different classes that overlap by more are one thing under two names: it is followed once
FARTHEST_PX = 1e6  # from the picture's corner; a box that reaches further is none


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """`high`: the score that a box needs to be sure of, by class id, or one for all: what the detector shows (`Threshold.of_classes`).

    A share of it is enough to keep a track (`low`: 0.25 -> 0.1), and begins one (`new`). After `lost_s` of frames without its box a track
    is forgotten; after `gap_s` without any frame, all are. At most `most` are kept, those that are looked for included.
    """

    high: tuple[float, ...] = (Threshold().score,)
    low: float = 0.4
    new: float = 1.0
    lost_s: float = 1.0  # 30 frames at 30 a second, as in the paper
    gap_s: float = 30.0
    most: int = 500


class Tracker:
    """The tracks of one camera's stream, as one model sees it. Ids count from 1, and none is given twice."""

    def __init__(self, settings: TrackSettings | None = None) -> None:
        self.settings = settings or TrackSettings()
        self._high = np.array(self.settings.high, np.float64)
        self._tracks = _Tracks.begun(Detections.none(), 0.0)
        self._given = 0
        self._frame_s: float | None = None  # the last frame's time, by whatever clock its camera has
        self._now_s = 0.0  # time that has passed while something was followed; unlike that clock, never set back

    def adopt(self, settings: TrackSettings) -> None:
        """Go on with the same tracks and other settings: another model of the same classes looks from now on."""
        self.settings = settings
        self._high = np.array(settings.high, np.float64)

    @property
    def wants_above(self) -> float:
        """The score above which boxes should reach `update`: lower than what the detector shows."""
        return float(self._high.min()) * self.settings.low

    def __len__(self) -> int:
        return len(self._tracks)

    def forget(self) -> None:
        """Follow nothing of what was there; ids go on."""
        self._tracks = self._tracks[:0]

    def update(self, detections: Detections, time_s: float) -> TrackIds:
        """The track of every box of the next frame, N; `UNTRACKED` for those of none.

        `time_s`: the frame's own, in seconds of any clock. One that is set back is a moment in which nothing moves.
        """
        self._let_pass(time_s)
        needed = self._high[np.clip(detections.class_ids, 0, len(self._high) - 1)]
        at = np.flatnonzero(_is_box(detections.boxes_xyxy) & (detections.scores > needed * self.settings.low))
        ids = np.full(len(detections), UNTRACKED)
        ids[at] = self._follow(detections[at], needed[at])
        return ids

    def _follow(self, boxes: Detections, needed: NDArray[np.float64]) -> TrackIds:
        tracks, high = self._tracks, boxes.scores > needed
        pairs, known = _Pairs(tracks, boxes), tracks.ids != UNTRACKED
        pairs.match(known, high, HIGH_IOU)
        pairs.match(known & ~tracks.lost, ~high, LOW_IOU)
        pairs.match(~known, high, NEW_IOU)

        has_box = pairs.box_of != NOBODY
        seen = tracks[has_box].seen(boxes[pairs.box_of[has_box]], self._now_s).named(self._given)
        self._given = max([self._given, *seen.ids.tolist()])
        missed = tracks[~has_box & known & (self._now_s - tracks.seen_s <= self.settings.lost_s)].missed()
        new = _apart(boxes[pairs.is_free & (boxes.scores > needed * self.settings.new)], boxes[~pairs.is_free])
        room = max(0, self.settings.most - len(seen) - len(missed))
        self._tracks = seen + missed + _Tracks.begun(new[:room], self._now_s)

        ids = np.full(len(boxes), UNTRACKED)
        ids[pairs.box_of[has_box]] = seen.ids
        return ids

    def _let_pass(self, time_s: float) -> None:
        """Every track is where it should be at `time_s`; no further ahead than a lost one would be followed."""
        if not math.isfinite(time_s):
            return
        passed_s = 0.0 if self._frame_s is None else max(0.0, time_s - self._frame_s)
        self._frame_s = time_s
        if passed_s > self.settings.gap_s:
            self.forget()
        elif passed_s:
            self._now_s += passed_s
            self._tracks = self._tracks.after(min(passed_s, self.settings.lost_s))


@dataclass(frozen=True, slots=True)
class _Tracks:
    """Struct of arrays: where they are believed to be, who they are, what they were last called and when they were last seen."""

    motion: Motion
    ids: TrackIds  # UNTRACKED: seen once so far
    class_ids: ClassIds
    seen_s: NDArray[np.float64]
    lost: Mask  # not seen in the last frame

    @classmethod
    def begun(cls, boxes: Detections, now_s: float) -> "_Tracks":
        return cls._now(Motion.of(boxes.boxes_xyxy), np.full(len(boxes), UNTRACKED), boxes.class_ids, now_s)

    def seen(self, boxes: Detections, now_s: float) -> "_Tracks":
        """The same, each with its box."""
        return self._now(self.motion.seen(boxes.boxes_xyxy), self.ids, boxes.class_ids, now_s)

    @classmethod
    def _now(cls, motion: Motion, ids: TrackIds, class_ids: ClassIds, now_s: float) -> "_Tracks":
        return cls(motion, ids, class_ids, np.full(len(ids), now_s), np.zeros(len(ids), bool))

    def after(self, seconds: float) -> "_Tracks":
        return replace(self, motion=self.motion.after(seconds))

    def missed(self) -> "_Tracks":
        """The same, in a frame that has no box of theirs."""
        return replace(self, motion=self.motion.of_one_size(), lost=np.ones(len(self), bool))

    def named(self, given: int) -> "_Tracks":
        """Those that have no id yet get those after `given`."""
        nameless = self.ids == UNTRACKED
        return replace(self, ids=np.where(nameless, given + nameless.cumsum(), self.ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, keep: Mask | slice) -> "_Tracks":
        return _Tracks(self.motion[keep], self.ids[keep], self.class_ids[keep], self.seen_s[keep], self.lost[keep])

    def __add__(self, others: "_Tracks") -> "_Tracks":
        """These, then the others."""
        return _Tracks(
            self.motion + others.motion,
            np.concatenate([self.ids, others.ids]),
            np.concatenate([self.class_ids, others.class_ids]),
            np.concatenate([self.seen_s, others.seen_s]),
            np.concatenate([self.lost, others.lost]),
        )


class _Pairs:
    """Which box each track has in this frame, decided stage by stage; `NOBODY` where it has none."""

    def __init__(self, tracks: _Tracks, boxes: Detections) -> None:
        same = tracks.class_ids[:, None] == boxes.class_ids[None, :]
        self._overlap: Matrix = iou(tracks.motion.boxes_xyxy, boxes.boxes_xyxy) * np.where(same, 1, OTHER_CLASS)
        self.box_of: Indices = np.full(len(tracks), NOBODY)
        self.is_free: Mask = np.ones(len(boxes), bool)

    def match(self, tracks: Mask, boxes: Mask, above: float) -> None:
        """Pairs of those tracks and boxes that have none yet, by the best overlap in all, each `above` that."""
        rows, columns = np.flatnonzero(tracks & (self.box_of == NOBODY)), np.flatnonzero(boxes & self.is_free)
        at, to = assign(-self._overlap[np.ix_(rows, columns)], below=-above)
        self.box_of[rows[at]] = columns[to]
        self.is_free[columns[to]] = False


def _apart(new: Detections, followed: Detections) -> Detections:
    """Those, best first, that are not one of `followed` or of the better new ones under another name."""
    covered = iou(new.boxes_xyxy, followed.boxes_xyxy) > SAME_THING_IOU
    own = new[np.flatnonzero(~covered.any(axis=1))]
    return own[suppress(own.boxes_xyxy, own.scores, np.zeros_like(own.class_ids), iou=SAME_THING_IOU, most=len(own))]


def _is_box(boxes_xyxy: Boxes) -> Mask:
    """Neither without area, nor out of all bounds, nor no number."""
    near = (np.abs(boxes_xyxy) < FARTHEST_PX).all(axis=1)
    return np.asarray(near & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))

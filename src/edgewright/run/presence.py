"""Whether something is there: in a zone, or anywhere in the picture, on k of the last n frames."""

from collections import Counter, deque
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.printable import printable
from edgewright.run.records import UNTRACKED, Answer
from edgewright.run.settings import Anchor, RuleSettings

Mask: TypeAlias = NDArray[np.bool_]  # N
Points: TypeAlias = NDArray[np.float64]  # N x 2: x, y as shares of the picture's width and height

MOST_LISTED = 20  # track ids in an event
MOST_NAMED = 5  # classes in a sentence


class Presence:
    """`zone` and `seen`, of one camera and model. News when it becomes true, until it is told; then none before it was false."""

    def __init__(self, settings: RuleSettings) -> None:
        self._settings = settings
        self._hits: deque[bool] = deque(maxlen=settings.frames_of[1])
        self._at = np.zeros(0, np.int64)  # the boxes of the last frame that it is about
        self._is_told = False

    @property
    def has_news(self) -> bool:
        return self._is_true and not self._is_told and bool(self._at.size)

    @property
    def _is_true(self) -> bool:
        return sum(self._hits) >= self._settings.frames_of[0]

    def see(self, answer: Answer) -> None:
        """The next frame."""
        self._at = np.flatnonzero(_is_wanted(answer, self._settings) & _is_inside(answer, self._settings))
        self._hits.append(bool(self._at.size))
        self._is_told = self._is_told and self._is_true

    def tell(self, answer: Answer) -> tuple[str, dict[str, Any]]:
        """Words and figures for the frame just seen."""
        self._is_told = True
        found = answer.detections[self._at]
        tracks = [] if answer.track_ids is None else answer.track_ids[self._at].tolist()
        classes, best, name = Counter(found.names), int(found.scores.argmax()), printable(self._settings.name)
        where = f"in zone {name}" if self._settings.kind == "zone" else f"seen by {name}"
        often = f", on {sum(self._hits)} of {len(self._hits)} frames" if self._settings.frames_of[1] > 1 else ""
        return f"{in_words(classes)} {where}{often}", {
            "count": len(found),
            "classes": dict(classes),
            "best_score": round(float(found.scores[best]), 5),
            "box_xyxy": [round(side, 2) for side in found.boxes_xyxy[best].tolist()],
            "track_ids": [track for track in tracks if track != UNTRACKED][:MOST_LISTED],
            "frames": [sum(self._hits), len(self._hits)],
        }


def places(answer: Answer, anchor: Anchor) -> Points:
    """Where each box is, inside the picture; what is no number is at its corner."""
    boxes = answer.detections.boxes_xyxy.astype(np.float64)
    y = boxes[:, 3] if anchor == "foot" else (boxes[:, 1] + boxes[:, 3]) / 2
    points = np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, y], axis=1) / np.maximum(answer.source_wh, 1)
    return np.clip(np.nan_to_num(points), 0, 1)


def in_words(classes: Counter[str]) -> str:
    """'3 person, 1 cat', the most frequent first."""
    named = [f"{count} {printable(name)}" for name, count in classes.most_common(MOST_NAMED)]
    others = sum(classes.values()) - sum(count for _, count in classes.most_common(MOST_NAMED))
    return ", ".join([*named, f"{others} others"] if others else named)


def _is_wanted(answer: Answer, settings: RuleSettings) -> Mask:
    found = answer.detections
    is_named = np.array([not settings.classes or name in settings.classes for name in found.names], bool)
    return np.asarray(is_named & (found.scores > settings.score))


def _is_inside(answer: Answer, settings: RuleSettings) -> Mask:
    """Within the polygon or on its border; everything is within none. It may have dents."""
    if settings.polygon is None:
        return np.ones(len(answer.detections), bool)
    corners = np.array(settings.polygon, np.float32)
    return np.array([cv2.pointPolygonTest(corners, point, False) >= 0 for point in places(answer, settings.anchor).tolist()], bool)

"""What a service says: an `Answer` to every frame that a model has seen, an `Event` for what somebody may want to be told of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from edgewright.detections import Detections
from edgewright.vision import tracking

Severity: TypeAlias = Literal["info", "warning", "error"]
TrackIds: TypeAlias = tracking.TrackIds  # N
MOST_CLASSES = 1 << 16
UNTRACKED = tracking.UNTRACKED  # the track id of a box that belongs to none yet
NO_DATA: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model says of one frame of one camera.

    `frame`: its number, from 0, among those captured since the service began. `captured_s`: wall clock, seconds since 1970. `age_ms`: from
    the complete frame in memory to this answer. `source_wh`: the picture whose pixels the boxes are in.
    """

    camera: str
    model: str
    frame: int
    captured_s: float
    age_ms: float
    source_wh: tuple[int, int]
    detections: Detections
    track_ids: TrackIds | None = None

    def to_json(self) -> dict[str, Any]:
        """Keys as `detect --jsonl` has them, with who, when and which."""
        tracks = {} if self.track_ids is None else {"track_ids": [None if i == UNTRACKED else i for i in self.track_ids.tolist()]}
        return {
            "camera": self.camera,
            "model": self.model,
            "frame": self.frame,
            "time_s": round(self.captured_s, 3),
            "age_ms": round(self.age_ms, 2),
            "source_wh": list(self.source_wh),
            **self.detections.to_json(),
            **tracks,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], class_ids: Sequence[int] | None = None) -> "Answer":
        """What `to_json` wrote. Classes are numbered anew, by their names, where the model's own numbers are not given with it.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` writes.
        """
        names, tracks = [str(name) for name in fields["classes"]], fields.get("track_ids")
        classes, numbers = _numbered(names, class_ids)
        found = Detections(
            np.array(fields["boxes_xyxy"], np.float32).reshape(-1, 4),
            np.array(fields["scores"], np.float32),
            np.array(numbers, np.int64),
            classes,
        )
        ids = None if tracks is None else np.array([UNTRACKED if each is None else int(each) for each in tracks], np.int64)
        if ids is not None and len(ids) != len(found):
            raise ValueError(f"{len(ids)} tracks of {len(found)} boxes")
        who = str(fields["camera"]), str(fields["model"]), int(fields["frame"])
        wide, high = fields["source_wh"]
        return cls(*who, float(fields["time_s"]), float(fields["age_ms"]), (int(wide), int(high)), found, ids)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened: a rule came true, a camera went, a worker was replaced, memory runs short.

    `id`: unique, and in the order of time. `kind`: what it is about, one word: `rule`, `camera`, `worker`, `output`, `memory`, `http`,
    `service`; `name`: which of them (a rule's, a camera's or a model's name). `text`: one sentence with the reason. `data`: figures, as
    JSON has them.
    """

    id: str
    time_s: float
    kind: str
    name: str
    text: str
    severity: Severity = "info"
    camera: str | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: NO_DATA)  # Python 3.11 takes no default that cannot be hashed

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "time_s": round(self.time_s, 3),
            "kind": self.kind,
            "name": self.name,
            "text": self.text,
            "severity": self.severity,
            "camera": self.camera,
            "data": dict(self.data),
        }


Record: TypeAlias = Answer | Event


def _numbered(names: Sequence[str], class_ids: Sequence[int] | None) -> tuple[tuple[str, ...], list[int]]:
    """Names of all classes up to the last that is needed, and the number of each box's."""
    if class_ids is None:
        classes = tuple(dict.fromkeys(names))
        return classes, [classes.index(name) for name in names]
    numbers = [int(each) for each in class_ids]
    if not all(0 <= number < MOST_CLASSES for number in numbers):
        raise ValueError("no numbers of classes")
    by_number = dict(zip(numbers, names, strict=True))
    return tuple(by_number.get(number, "") for number in range(max(numbers, default=-1) + 1)), numbers

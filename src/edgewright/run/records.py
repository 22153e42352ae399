"""What a service says: an `Answer` to every frame that a model has seen, an `Event` for what somebody may want to be told of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np

from edgewright.detections import Detections
from edgewright.vision import tracking

Severity: TypeAlias = Literal["info", "warning", "error"]
TrackIds: TypeAlias = tracking.TrackIds  # N
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
    def from_json(cls, fields: Mapping[str, Any]) -> "Answer":
        """What `to_json` wrote; classes are numbered anew, by their names.

        Raises:
            KeyError, TypeError, ValueError: it is not what `to_json` writes.
        """
        names, tracks = [str(name) for name in fields["classes"]], fields.get("track_ids")
        classes = tuple(dict.fromkeys(names))
        found = Detections(
            np.array(fields["boxes_xyxy"], np.float32).reshape(-1, 4),
            np.array(fields["scores"], np.float32),
            np.array([classes.index(name) for name in names], np.int64),
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

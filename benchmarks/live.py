"""What docs/performance.md says of a live service: what it adds to the model's time, and what motion gating spares and misses."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgewright.clock import SystemClock
from edgewright.data.video import WebmWriter, read_frames
from edgewright.run.records import Answer, Record
from edgewright.run.secrets import Address
from edgewright.run.service import Footprints, Service
from edgewright.run.settings import CameraSettings, ModelSettings, MotionSettings, ServiceSettings

CAMERA_WH, CAMERA_FPS = (640, 360), 5.0
OVERHEAD_FRAMES = 150
WARM_FRAMES = 10
CLIP_FRAMES = 300


@dataclass(slots=True)
class Kept:
    """Answers, in their order."""

    answers: list[Answer] = field(default_factory=list)

    def offer(self, record: Record) -> None:
        if isinstance(record, Answer):
            self.answers.append(record)


def overhead(model: Path, clip: Path) -> dict[str, Any]:
    """One camera of 640 x 360: age of each answer less what the model took, and where the rest went (ms)."""
    with tempfile.TemporaryDirectory() as scratch:
        small = Path(scratch) / "camera.webm"
        _scaled(clip, small)
        camera = CameraSettings("camera", Address(str(small)), live=True, fps=CAMERA_FPS, loop=True)
        service, _ = _run(model, camera, frames=OVERHEAD_FRAMES)
    pair = service.figures["camera"].models["model"]
    age, of_model = (samples.recent[WARM_FRAMES:] * 1e3 for samples in (pair.age, pair.stages["model"]))
    stages = {name: histogram.quantiles_ms() for name, histogram in pair.stages.items()}
    found = {name: _quantiles(samples) for name, samples in (("age_ms", age), ("model_ms", of_model), ("overhead_ms", age - of_model))}
    return {**found, "stages_ms": stages, "frames": len(age), "threads": 1, "size_wh": CAMERA_WH}


def motion(model: Path, clips: list[Path]) -> dict[str, Any]:
    """Of each clip, the share of frames that gating spares, of boxes in those, and of things that are never seen for it."""
    rows = []
    for clip in clips:
        source = Address(str(clip))
        _, every = _run(model, CameraSettings("camera", source), frames=CLIP_FRAMES)
        _, gated = _run(model, CameraSettings("camera", source, motion=MotionSettings()), frames=CLIP_FRAMES)
        shown = {answer.frame for answer in gated}
        boxes = sum(len(answer.detections) for answer in every)
        missed = sum(len(answer.detections) for answer in every if answer.frame not in shown)
        things, seen = _things(every), _things([answer for answer in every if answer.frame in shown])
        share = 1 - len(shown) / len(every)
        rows.append({"clip": clip.name, "frames": len(every), "spared": share, "boxes": boxes, "boxes_missed": missed / max(boxes, 1)})
        rows[-1] |= {"things": len(things), "things_missed": len(things - seen)}
    return {"rows": rows}


def _run(model: Path, camera: CameraSettings, *, frames: int) -> tuple[Service, list[Answer]]:
    kept = Kept()
    settings = ServiceSettings((ModelSettings("model", model, threads=1),), (camera,), frames=frames)
    service = Service(settings, clock=SystemClock(), takers=[kept], footprints=Footprints(lambda _: None, lambda _key, _found: None))
    service.start()
    service.run(lambda: False)
    service.end()
    return service, kept.answers


def _things(answers: list[Answer]) -> set[int]:
    """The tracks that were followed."""
    return {int(track) for answer in answers if answer.track_ids is not None for track in answer.track_ids if track >= 0}


def _scaled(clip: Path, small: Path) -> None:
    with WebmWriter(small, 10.0) as writer:
        for frame in read_frames(clip):
            if frame.index >= OVERHEAD_FRAMES:
                break
            writer.write(np.asarray(cv2.resize(frame.image_rgb, CAMERA_WH, interpolation=cv2.INTER_AREA), np.uint8))


def _quantiles(samples: Any) -> dict[str, float]:
    p50, p90, p99 = np.percentile(samples, [50, 90, 99]).tolist()
    return {"p50": round(p50, 3), "p90": round(p90, 3), "p99": round(p99, 3)}

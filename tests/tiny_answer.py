"""An answer with two boxes, as a service would have it."""

import numpy as np

from edgewright.detections import Detections
from edgewright.run.records import Answer


def an_answer(camera="door", model="m", frame=7, captured_s=1_700_000_000.5, boxes=2, track_ids=(4, -1)):
    found = Detections(
        np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)[:boxes],
        np.array([0.9, 0.8], np.float32)[:boxes],
        np.array([0, 1])[:boxes],
        ("cat", "=dog"),
    )
    tracks = None if track_ids is None else np.array(track_ids)[:boxes]
    return Answer(camera, model, frame, captured_s, 12.5, (640, 360), found, tracks)

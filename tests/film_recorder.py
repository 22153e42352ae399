"""A process that records until it is stopped, for tests that stop it: `python film_recorder.py FOLDER ENCODER FRAMES KEEP_FREE RETRY_S`."""

import json
import sys
from pathlib import Path

import numpy as np

from edgewright.detections import Detections
from edgewright.run.encoders import Choice, moving_pattern
from edgewright.run.known_encoders import BY_NAME
from edgewright.run.recording import Recording
from edgewright.run.records import Answer
from edgewright.run.segments import Segments
from edgewright.run.settings import RecordingOutput

FOUND = Detections(np.array([[4, 4, 40, 40]], np.float32), np.array([0.9], np.float32), np.array([0]), ("short",))


def answer_to(frame, size_wh=(96, 64), model="m", wall_s=1764371700.0):
    return Answer("line 1", model, frame, wall_s + frame / 10, 10.0, size_wh, FOUND)


def taking(name):
    return lambda size_wh, avoid: Choice(BY_NAME[name], "as the test has it", 0.1)


def main():
    folder, name, frames, keep_free, retry_s = Path(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])
    segments = Segments(folder, 1 << 30)
    settings = RecordingOutput("films", folder=folder, segment_s=3600, fps=10)
    recording = Recording("line 1", settings, segments, taking(name), retry_s=retry_s, keep_free_bytes=int(keep_free))
    errors = []
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for frame in range(int(frames)):
        picture = noise if keep_free else moving_pattern((320, 240), frame)
        recording.add(np.roll(picture, frame, 1), answer_to(frame, (320, 240)), frame / 10)
        if recording.state.error not in (None, *errors[-1:]):
            errors.append(recording.state.error)
        if frame == 30 and not keep_free:  # and now whoever tests may kill us
            sys.stdout.write(f"{frame} frames\n")
            sys.stdout.flush()
            sys.stdin.readline()
    recording.close()
    state = recording.state
    sys.stdout.write(json.dumps({"errors": errors, "failures": state.failures, "dropped": state.dropped, "films": state.films}) + "\n")


if __name__ == "__main__":
    main()

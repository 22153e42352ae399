"""Predict pictures with an artifact, using only what a board has; benchmarks/arm64.py runs this on an emulated board, and here.

    python benchmarks/on_the_board.py ARTIFACT PICTURES FOUND.npz

Everything found above the evaluation protocol's floor, in full precision, and digests of what the network was given and what it gave:
where two machines differ, they say whether the preparation of the picture, the network or the decoding is to blame.
"""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import Artifact
from edgewright.data.images import read_image
from edgewright.detector import Detector
from edgewright.engines import Engine, EngineDescription, open_artifact

SCORE_ABOVE = 0.001  # the evaluation protocol's floor, as in edgewright.accuracy.predictions, whose neighbours a board lacks


class Overheard:
    """An engine that keeps digests of what passes through it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.given: list[str] = []
        self.gave: list[str] = []

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = self._engine.run(feeds)
        self.given.append(_digest(*feeds.values()))
        self.gave.append(_digest(*outputs))
        return outputs

    def describe(self) -> EngineDescription:
        return self._engine.describe()

    def close(self) -> None:
        self._engine.close()


def main(artifact: Path, pictures: Path, found: Path) -> None:
    """One row a box: picture, class, score, x1, y1, x2, y2; pictures in the order of their names."""
    rows, opened = [], Artifact.load(artifact)
    # Not through the door: it would wait 44 s for one picture, and float arithmetic takes longer in an emulator.
    engine = Overheard(open_artifact(opened, threads=os.cpu_count() or 1))
    with Detector(opened, engine) as detector:
        for at, picture in enumerate(sorted(pictures.iterdir())):
            boxes = detector.detect(read_image(picture), score_above=SCORE_ABOVE)
            columns = [np.full(len(boxes), at), boxes.class_ids, boxes.scores, *boxes.boxes_xyxy.T]
            rows.append(np.stack(columns, axis=1).astype(np.float64))  # float32 and small integers are exact in it
    np.savez(found, rows=np.concatenate(rows), given=np.array(engine.given), gave=np.array(engine.gave))


def _digest(*tensors: NDArray[Any]) -> str:
    said = hashlib.sha256()
    for tensor in tensors:
        said.update(np.ascontiguousarray(tensor).tobytes())
    return said.hexdigest()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))

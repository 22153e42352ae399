"""One path from picture to boxes, used by evaluation, benchmark, `detect` and the service alike.

>>> import edgewright as ew                                # doctest: +SKIP
>>> detector = ew.open("fitted/")                          # an artifact folder, or a YOLO .onnx file
>>> detector("board.jpg").names                            # doctest: +SKIP
['short', 'pin-hole']
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import Artifact
from edgewright.data.ahead import ahead
from edgewright.data.images import read_image
from edgewright.data.video import read_frames
from edgewright.detections import Boxes, ClassIds, Detections, Frame, ImageRgb, Scores
from edgewright.door.admission import admit_artifact, admit_detector
from edgewright.engines import Engine, open_artifact
from edgewright.errors import DataError
from edgewright.vision.heads import Candidates, decode
from edgewright.vision.input_buffer import InputBuffer
from edgewright.vision.letterbox import Letterbox
from edgewright.vision.nms import suppress

MOST_BOXES = 300  # an image, as in the evaluation protocol

Picture: TypeAlias = str | Path | ImageRgb


class Detector:
    """An artifact, opened in an engine. Call it with a picture (path or RGB array) or a list of them.

    Use as a context manager to close it.
    """

    def __init__(self, artifact: Artifact, engine: Engine) -> None:
        self.artifact = artifact
        self.engine = engine
        self._needed = np.array(artifact.threshold.of_classes(artifact.classes), np.float64)
        self._buffer = InputBuffer(artifact.input)
        self._lock = threading.Lock()  # the buffer is one; threads may call all the same

    @overload
    def __call__(self, pictures: str | Path | ImageRgb) -> Detections: ...
    @overload
    def __call__(self, pictures: list[Picture]) -> list[Detections]: ...
    def __call__(self, pictures: Picture | list[Picture]) -> Detections | list[Detections]:
        if isinstance(pictures, str | Path | np.ndarray):
            return self.detect(_pixels(pictures))
        at_once = self.artifact.input.shape[0]
        groups = (pictures[at : at + at_once] for at in range(0, len(pictures), at_once))
        return [found for group in groups for found in self._detect_together([_pixels(picture) for picture in group])]

    def stream(self, source: str | Path) -> Iterator[tuple[Frame, Detections]]:
        """Frame after frame of a video file, with what is in it; the next ones are decoded meanwhile."""
        with closing(ahead(read_frames(Path(source)))) as frames:
            for frame in frames:
                yield frame, self.detect(frame.image_rgb)

    def detect(self, image_rgb: ImageRgb, *, score_above: float | None = None) -> Detections:
        """What is in an RGB picture, H x W x 3 uint8, above `score_above` (default: the artifact's thresholds, class by class)."""
        return self._detect_together([image_rgb], score_above=score_above)[0]

    def _detect_together(self, images_rgb: Sequence[ImageRgb], *, score_above: float | None = None) -> list[Detections]:
        """As many pictures as the network takes at once; places that are left over show the last one again."""
        with self._lock:
            letterboxes = [self._buffer.put(at, image_rgb) for at, image_rgb in enumerate(images_rgb)]
            self._buffer.fill(len(letterboxes))
            outputs = self.engine.run({self.artifact.input.name: self._buffer.tensor})
        return [
            self.interpret([output[at : at + 1] for output in outputs], letterbox, score_above) for at, letterbox in enumerate(letterboxes)
        ]

    def interpret(self, outputs: list[NDArray[Any]], letterbox: Letterbox, score_above: float | None = None) -> Detections:
        """Boxes in source pixels from the network's outputs, best score first; thresholds as in `detect`."""
        needed = self._needed if score_above is None else np.array((score_above,), np.float64)
        boxes, scores, class_ids = self.candidates(outputs, float(needed.min()))
        keep = self._best(boxes, scores, class_ids)
        found = Detections(letterbox.to_source(boxes[keep]), scores[keep], class_ids[keep], self.artifact.classes)
        # A suppressed box has a lower score than a stronger one of its class, so the order of the two filters does not matter.
        return found if score_above is not None else found[found.scores > needed[np.clip(found.class_ids, 0, len(needed) - 1)]]

    def candidates(self, outputs: list[NDArray[Any]], score_above: float) -> Candidates:
        """Boxes in input pixels, not yet suppressed, in the order of the grids' cells."""
        return decode(self.artifact.head, outputs, score_above, size_wh=self.artifact.input.size_wh)

    def _best(self, boxes: Boxes, scores: Scores, class_ids: ClassIds) -> NDArray[np.int64]:
        if self.artifact.head.needs_nms:
            return suppress(boxes, scores, class_ids, iou=self.artifact.threshold.iou, most=MOST_BOXES)
        return np.argsort(-scores, kind="stable")[:MOST_BOXES]

    def close(self) -> None:
        """Give the engine's memory back."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def to_tensor(image_rgb: ImageRgb, artifact: Artifact) -> NDArray[Any]:
    """The network's input of one picture, a tensor of its own: letterboxed, in the network's colour order, layout and type."""
    buffer = InputBuffer(replace(artifact.input, shape=(1, *artifact.input.shape[1:])))
    buffer.put(0, image_rgb)
    return buffer.tensor


def open_detector(path: str | Path, *, threads: int | None = None) -> Detector:
    """Open an artifact folder or a YOLO detector as an ONNX file, with `threads` threads (default: those that it was fitted for, else all
    cores).

    A child process has examined it and run it once before (`edgewright.door`).

    Raises:
        InputError: it is neither, no detector we can decode, or one that no one should run.
        EngineError: the engine it needs is not installed.
    """
    path = Path(path)
    artifact = admit_artifact(path) if path.is_dir() else admit_detector(path)
    cores = os.cpu_count() or 1
    return Detector(artifact, open_artifact(artifact, threads=threads or min(artifact.threads or cores, cores)))


def _pixels(picture: Picture) -> ImageRgb:
    if isinstance(picture, np.ndarray):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
            raise DataError("this array is no picture", got=f"{picture.dtype} {picture.shape}", expected="uint8 H x W x 3, RGB")
        return picture
    return read_image(Path(picture))

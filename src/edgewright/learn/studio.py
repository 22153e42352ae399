"""Where a student is changed and taught: its teacher, the frames, the clock and the quantizer that changes may ask."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from edgewright.artifact import Artifact, HeadSpec, InputSpec
from edgewright.board.profile import Board
from edgewright.compress.calibrate import TensorStatistics, observe
from edgewright.compress.candidates import in_forms, scheme_of
from edgewright.compress.quantize import quantize_static
from edgewright.compress.recipes import INT8, Recipe, deployed
from edgewright.compress.schemes import Scheme, integer_schemes
from edgewright.data.images import read_image
from edgewright.detector import to_tensor
from edgewright.door import remembered
from edgewright.engines import Engine, open_engine
from edgewright.graph.camera_input import camera_spec
from edgewright.learn.cells import Cells, read_cells
from edgewright.learn.material import Frames, to_input
from edgewright.learn.prune import STEP, WIDE_STEP
from edgewright.learn.student import Student
from edgewright.learn.trainable import Trainable
from edgewright.regular_file import read_regular
from edgewright.vision.letterbox import GREY
from edgewright.whole_file import write_whole

CALIBRATION_FRAMES = 48
CUT_STEP = 32  # what every grid divides
WARM_RUNS, PAIRS = 3, 32  # of one model against another: halving one width saves a few parts in a hundred
IMPORTANCE_BATCHES = 12
MOST_FIGURES_BYTES = 1 << 20
LARGEST_FIGURE = 1e9


@dataclass(frozen=True, slots=True)
class Studio:
    """What a recovery works with.

    `baseline`: the given model, which says how pictures are fed; `teacher`: in eval form; `paths`: of all frames to learn from; `engine`:
    the runtime that the student is for, whose scheme `QuantizeAware` trains for and whose time `PruneChannels` saves, with `threads`;
    `device`: where it learns.
    """

    baseline: Artifact
    teacher: Trainable
    teacher_head: HeadSpec
    student_head: HeadSpec
    frames: Frames
    paths: Sequence[Path]
    folder: Path
    engine: str
    board: Board
    threads: int
    cores: int
    device: torch.device

    def taught(self, images: Tensor) -> Cells:
        """What the teacher says of pictures."""
        with torch.no_grad():
            return read_cells(self.teacher_head, self.teacher(images))

    def size_of_cuts(self, spec: InputSpec) -> tuple[int, int]:
        """Width and height of what a student sees of a cut, which its teacher sees in full."""
        factor = spec.size_wh[0] / self.frames.input.size_wh[0]
        wide, high = (max(CUT_STEP, round(side * factor / CUT_STEP) * CUT_STEP) if factor != 1 else side for side in self.frames.size_wh)
        return wide, high

    def few_batches(self) -> Iterator[Tensor]:
        """Cuts of frames with nothing else done to them, by which channels are weighed."""
        plain = replace(self.frames, zoomed=0.0, flipped=0.0, through_camera=0.0)
        for step in range(IMPORTANCE_BATCHES):
            yield to_input(plain.pictures(step), self.baseline.input).to(self.device)

    def quantized(self, student: Student) -> onnx.ModelProto:
        """The student up to its raw head as Q/DQ, in the scheme and placement of the engine it is for."""
        return self._quantize(student.cut(), student, self.statistics(student))

    def statistics(self, student: Student) -> dict[str, TensorStatistics]:
        """Ranges over frames that are spread over all there are."""
        cut, scratch = self.folder / "calibrated.onnx", self.folder / "watched.onnx"
        write_whole(cut, student.cut().SerializeToString(), sync=False)
        spread = np.linspace(0, len(self.paths) - 1, min(CALIBRATION_FRAMES, len(self.paths))).astype(int)
        fed = replace(self.baseline, input=student.input)
        feeds = ({student.input.name: to_tensor(read_image(self.paths[at]), fed)} for at in spread)
        return observe(cut, feeds, lambda path: open_engine("onnxruntime", path, threads=self.cores), scratch)

    def stopwatch(self, student: Student) -> "Stopwatch":
        """A clock for variants of the student: integers, in the engine that it is for."""
        return Stopwatch(self, student, self.statistics(student))

    @property
    def channel_step(self) -> int:
        """How many channels the kernels of the board work on at once."""
        return WIDE_STEP if {"avx512f", "amx_int8"} & self.board.isa else STEP

    def measured_once(self, name: str, what: Any, count: int, measure: Callable[[], list[float]]) -> list[float]:
        """So many figures that decide something, measured once on this machine: what is decided by them is then decided the same way again.

        They lie in the recovery's folder, so that a resumed one goes on with its own, and in the cache.
        """
        asked = {"what": what, "threads": self.threads, "engine": self.engine}
        path = self.folder / f"{name}-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:12]}.json"
        key = remembered.key_of(name, asked, self.engine)
        for found in (_figures_in(path), remembered.recall(key)):
            if (figures := _as_figures(found, count)) is not None:
                return figures
        figures = measure()
        write_whole(path, json.dumps({"figures": figures}).encode())
        remembered.remember(key, {"figures": figures})
        return figures

    def _quantize(self, cut: onnx.ModelProto, student: Student, statistics: dict[str, TensorStatistics]) -> onnx.ModelProto:
        target = self.folder / "quantized.onnx"
        quantize_static(cut, student.head, statistics, self.recipe, self._scheme, target)
        return onnx.load(target)

    @property
    def recipe(self) -> Recipe:
        """How the student will be quantized."""
        return replace(INT8, engine=self.engine, scheme=integer_schemes(self.engine, self.board.isa)[-1])

    @property
    def _scheme(self) -> Scheme:
        return scheme_of(self.recipe, self.board)


def _figures_in(path: Path) -> Any:
    try:
        return json.loads(read_regular(path, MOST_FIGURES_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _as_figures(found: Any, count: int) -> list[float] | None:
    """What a file, which may be a stranger's, says they are; None where it says nothing that could have been measured."""
    figures = found.get("figures") if isinstance(found, dict) else None
    if not isinstance(figures, list) or len(figures) != count:
        return None
    sound = all(isinstance(each, int | float) and 0 < each <= LARGEST_FIGURE for each in figures)
    return [float(each) for each in figures] if sound else None


class Stopwatch:
    """Times variants of a student, pair by pair in turn, in one process: what slows the machine slows both."""

    def __init__(self, studio: Studio, student: Student, statistics: dict[str, TensorStatistics]) -> None:
        self._studio, self._student, self._statistics = studio, student, statistics
        spec = camera_spec(student.input)
        self._feed = {spec.name: np.full(spec.shape, GREY, np.uint8)}

    def open(self, model: onnx.ModelProto) -> Engine:
        """A variant, whose channels may be fewer, opened in the engine in the forms that are deployed."""
        studio, student, cut = self._studio, self._student, self._student.cut(model)
        made = studio._quantize(cut, student, self._statistics)  # noqa: SLF001 - of this module
        made = in_forms(made, cut, student.head, student.input, deployed(studio.recipe), self._statistics, studio.board)
        path = studio.folder / "timed.onnx"
        write_whole(path, made.SerializeToString(), sync=False)
        return open_engine(self._studio.engine, path, threads=self._studio.threads, precision="int8")

    def saved_share(self, before: Engine, model: onnx.ModelProto) -> float:
        """The share of `before`'s time that the variant saves: median over pairs of runs."""
        with closing(self.open(model)) as after:
            for _ in range(WARM_RUNS):
                self._run(before), self._run(after)
            ratios = [self._run(after) / self._run(before) for _ in range(PAIRS)]
        return 1 - float(np.median(ratios))

    def milliseconds(self, engine: Engine) -> float:
        """The median of a few runs."""
        for _ in range(WARM_RUNS):
            self._run(engine)
        return float(np.median([self._run(engine) for _ in range(PAIRS)]))

    def _run(self, engine: Engine) -> float:
        started = time.perf_counter()
        engine.run(self._feed)
        return (time.perf_counter() - started) * 1e3

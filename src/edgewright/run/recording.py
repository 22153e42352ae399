"""A camera's recording: films with the boxes drawn in, one after the other, and beside each the answers to its frames.

    segments = Segments(settings.folder, settings.most_bytes)
    recording = Recording("line 1", settings, segments, choose)
    recording.add(image_rgb, answer, at_s)     # never raises, whatever the disk or the encoder does

A film follows the time of its source: that of a file is as long as the file, however fast its frames are answered. It ends after
`segment_s`, when the picture changes its size, where the source begins again, and where frames stay away for longer than `GAP_S`; a shorter
gap shows the last frame on. What fails ends the film, of which all that plays is kept, and is tried again after `retry_s`; until it
succeeds, `state` says why.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from edgewright.detections import ImageRgb
from edgewright.errors import DiskError, EdgewrightError, HostError
from edgewright.printable import printable
from edgewright.run.annotate import add_boxes, annotate
from edgewright.run.encoders import Choice
from edgewright.run.encoding import CLOSE_S, Encoder, even_size, unfinished_of
from edgewright.run.records import Answer
from edgewright.run.segments import Segments, sidecar_of
from edgewright.run.settings import MIB, RecordingOutput
from edgewright.whole_file import disk_error, telling_of_the_disk

GAP_S = 30.0
BACK_S = 1.0  # a source whose time is set back by more has begun again
LOOK_S = 1.0  # between two looks at the disk
RETRY_S = 30.0
KEEP_FREE_BYTES = 64 * MIB  # films are the largest by far: they stop before they take the last from everything else

Choose: TypeAlias = Callable[[tuple[int, int], frozenset[str]], Choice]  # for a size, who not (they failed while they recorded)


@dataclass(frozen=True, slots=True)
class RecordingState:
    """What there is to show. `error`: why nothing is recorded now, one sentence; None while all is well.

    `dropped`: frames that came while nothing could be recorded. `late`: answers to frames before the last, in the .jsonl only.
    `cpu_ms`: processor time of a frame in the film, as measured so far; `choice.cpu_share` is what was planned.
    """

    camera: str
    choice: Choice | None = None
    error: str | None = None
    film: str | None = None
    films: int = 0
    frames: int = 0
    dropped: int = 0
    late: int = 0
    failures: int = 0
    bytes_written: int = 0
    cpu_ms: float | None = None


@dataclass(slots=True)
class _Film:
    """The film that is being written, and the frame that is shown next: more answers to it may come."""

    path: Path
    encoder: Encoder
    sidecar: "Sidecar"
    began_s: float
    looked_s: float  # at the disk, on our clock
    frame: int = -1
    at_s: float = 0.0
    picture: ImageRgb | None = None
    answers: list[Answer] = field(default_factory=list)


class Sidecar:
    """Answers as lines of JSON, each in the file when it was written."""

    def __init__(self, film: Path) -> None:
        self._path = sidecar_of(film)
        self._unfinished = unfinished_of(self._path)
        with telling_of_the_disk(self._path):
            self._descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)

    def write(self, answer: Answer, at_s: float, video_s: float | None) -> None:
        """`video_s`: where in the film the frame is shown, if it is."""
        shown = None if video_s is None else round(video_s, 3)
        line = json.dumps({"video_s": shown, "monotonic_s": round(at_s, 6), **answer.to_json()}).encode() + b"\n"
        with telling_of_the_disk(self._path, len(line)):
            left = memoryview(line)
            while left:
                left = left[os.write(self._descriptor, left) :]

    def close(self) -> None:
        """It has its name."""
        with telling_of_the_disk(self._path):
            os.replace(self._unfinished, self._path)  # noqa: PTH105 - the atomic replace is the point
        self.let_go()

    def let_go(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Recording:
    """One camera's. All calls come from one thread.

    `at_s`: a frame's time on its source's clock, which is the monotonic one for a camera, for a file the time in it; `now_s`: on the
    monotonic one, where that is another.
    """

    def __init__(
        self,
        camera: str,
        settings: RecordingOutput,
        segments: Segments,
        choose: Choose,
        *,
        retry_s: float = RETRY_S,
        keep_free_bytes: int = KEEP_FREE_BYTES,
    ) -> None:
        self.state = RecordingState(camera)
        self._settings, self._segments, self._choose = settings, segments, choose
        self._retry_s, self._keep_free_bytes = retry_s, keep_free_bytes
        self._film: _Film | None = None
        self._choice_for: tuple[int, int] | None = None
        self._avoid: frozenset[str] = frozenset()
        self._retry_at_s = self._now_s = float("-inf")
        self._cpu_s, self._encoded = 0.0, 0

    def add(self, image_rgb: ImageRgb, answer: Answer, at_s: float, now_s: float | None = None) -> bool:
        """Record a frame (H x W x 3) and what a model says of it; False where it is not recorded, as `state` says. Takes what it keeps."""
        self._now_s = at_s if now_s is None else now_s
        if self._now_s < self._retry_at_s:
            self._count(dropped=1)
            return False
        try:
            self._add(image_rgb, answer, at_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service goes on, and says what it was
            self._count(dropped=1)
            self._fail(error)
            return False
        return True

    def advance(self, now_s: float) -> None:
        """End a film that gets no more frames."""
        if self._film is not None and now_s - self._now_s > GAP_S:
            self._now_s = now_s
            self._end_or_fail(CLOSE_S)

    def close(self, *, within_s: float = CLOSE_S) -> None:
        """End the film; it is whole, or kept as far as it plays."""
        if self._film is not None:
            self._end_or_fail(within_s)

    def _add(self, image_rgb: ImageRgb, answer: Answer, at_s: float) -> None:
        if self._film is not None and answer.frame < self._film.frame:
            self._film.sidecar.write(answer, at_s, None)
            self._count(late=1)
            return
        if self._film is not None and answer.frame == self._film.frame:
            self._say_more(self._film, answer)
            return
        if self._film is not None and self._is_over(self._film, image_rgb, at_s):
            self._end(self._film, CLOSE_S)
        if self._film is None:
            self._film = self._begin(image_rgb, answer, at_s)
        self._show(self._film)
        self._take(self._film, image_rgb, answer, at_s)
        if self._now_s - self._film.looked_s >= LOOK_S:
            self._look(self._film)

    def _is_over(self, film: _Film, image_rgb: ImageRgb, at_s: float) -> bool:
        too_long = at_s - film.began_s >= self._settings.segment_s
        return too_long or not -BACK_S <= at_s - film.at_s <= GAP_S or even_size(image_rgb) != film.encoder.size_wh

    def _begin(self, image_rgb: ImageRgb, answer: Answer, at_s: float) -> _Film:
        size_wh = even_size(image_rgb)
        self._check_space()
        choice = self.state.choice
        if choice is None or self._choice_for != size_wh:
            choice = self._choose(size_wh, self._avoid)
            self._choice_for = size_wh
            self.state = replace(self.state, choice=choice)
        path = self._segments.begin(self.state.camera, answer.captured_s, choice.encoder.suffix)
        try:
            encoder = Encoder(choice.encoder, path, size_wh, self._settings.fps)
            try:
                sidecar = Sidecar(path)
            except BaseException:
                encoder.abandon()
                raise
        except BaseException:
            self._segments.give_up(path)
            raise
        self.state = replace(self.state, film=path.name, error=None)
        return _Film(path, encoder, sidecar, at_s, self._now_s)

    def _take(self, film: _Film, image_rgb: ImageRgb, answer: Answer, at_s: float) -> None:
        """The frame is the next to be shown."""
        film.frame, film.at_s = answer.frame, at_s
        film.answers.append(answer)
        drawn = self._settings.annotated
        film.picture = annotate(image_rgb, [answer], answer.camera, answer.captured_s) if drawn else image_rgb.copy()
        self._count(frames=1)

    def _say_more(self, film: _Film, answer: Answer) -> None:
        """Another model has seen the frame that is shown next."""
        film.answers.append(answer)
        if self._settings.annotated and film.picture is not None:
            film.picture = add_boxes(film.picture, answer)

    def _show(self, film: _Film) -> None:
        if film.picture is None:
            return
        video_s = film.encoder.write(film.picture, film.at_s)
        for answer in film.answers:
            film.sidecar.write(answer, film.at_s, video_s)
        film.answers.clear()
        film.picture = None

    def _look(self, film: _Film) -> None:
        """At the disk, and at the cap: a film that alone is more than it allows ends, to be the next to go."""
        film.looked_s = self._now_s
        self._check_space()
        if not self._segments.grew(film.path):
            self._show(film)
            self._end(film, CLOSE_S)

    def _check_space(self) -> None:
        with telling_of_the_disk(self._segments.folder):
            free = shutil.disk_usage(self._segments.folder).free
        if free < self._keep_free_bytes:
            raise disk_error(OSError(errno.ENOSPC, ""), self._segments.folder)

    def _end(self, film: _Film, within_s: float) -> None:
        """The answers take their name first: a film that has its own has them beside it."""
        self._show(film)
        film.sidecar.close()
        film.encoder.close(within_s=within_s)
        self._film = None
        self._tally(film, self._segments.finish(film.path))
        self._count(films=1)

    def _end_or_fail(self, within_s: float) -> None:
        if self._film is None:
            return
        try:
            self._end(self._film, within_s)
        except Exception as error:  # noqa: BLE001 - as in `add`
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Nothing is recorded for a while; what there is of the film is kept."""
        film, self._film = self._film, None
        sentence = str(error) if isinstance(error, EdgewrightError) else f"{type(error).__name__}: {printable(str(error), 200)}"
        self._retry_at_s = self._now_s + self._retry_s
        self.state = replace(self.state, error=sentence, film=None, failures=self.state.failures + 1)
        if isinstance(error, HostError) and not isinstance(error, DiskError):
            self._choose_anew()
        if film is None:
            return
        film.encoder.abandon()
        film.sidecar.let_go()
        with suppress(EdgewrightError, OSError):  # the disk that failed may fail again; the next start takes it in
            self._tally(film, self._segments.give_up(film.path))

    def _choose_anew(self) -> None:
        """Encoders are tested again; hardware that passed and failed at work is not tried again by this service."""
        self._choice_for = None
        if self.state.choice is not None and self.state.choice.encoder.hardware:
            self._avoid |= {self.state.choice.encoder.name}

    def _tally(self, film: _Film, size: int) -> None:
        self._cpu_s += film.encoder.cpu_s
        self._encoded += film.encoder.frames
        cpu_ms = 1000 * self._cpu_s / self._encoded if self._encoded else None
        self.state = replace(self.state, bytes_written=self.state.bytes_written + size, cpu_ms=cpu_ms, film=None)

    def _count(self, *, frames: int = 0, dropped: int = 0, late: int = 0, films: int = 0) -> None:
        state = self.state
        self.state = replace(
            state, frames=state.frames + frames, dropped=state.dropped + dropped, late=state.late + late, films=state.films + films
        )

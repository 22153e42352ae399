"""Who waits for a model, oldest first, and who of them is computed together: only requests of the same shapes that stand in line one after
the other, so that nobody is overtaken.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgewright.serve.batching import SIZES, Batching
from edgewright.serve.jobs import Job, Run, Shapes

MOST_KINDS: Final = 8  # of shapes about which something is remembered


@dataclass(slots=True)
class Kind:
    """What is known of requests of the same shapes. `widest`: how many of them have been computed together, by this process.

    `each_bytes`: by how much its memory grew for each of them; None where that is not known. `most`: more do not fit.
    """

    policy: Batching
    most: int
    widest: int = 1
    each_bytes: int | None = None

    def fitting(self, room_bytes: int, model_bytes: int) -> int:
        """How many may be together, if memory may grow by `room_bytes`. What is not known is taken for all that the model takes."""
        each_bytes = model_bytes if self.each_bytes is None else self.each_bytes
        return min(self.most, self.widest + room_bytes // max(1, each_bytes))

    def grew(self, size: int, grown_bytes: int) -> None:
        """It has computed so many for the first time, and takes so much more."""
        if size > self.widest:
            self.each_bytes = max(0, grown_bytes) // (size - self.widest)
            self.widest = size


class Waiting:
    """The line. `most_together`: 1 where everybody is computed alone."""

    def __init__(self, most_together: int) -> None:
        self._line: deque[Job] = deque()
        self._kinds: OrderedDict[Shapes, Kind] = OrderedDict()
        self._most = most_together
        self._sizes = tuple(size for size in SIZES if size <= most_together)
        self.apart_why: str | None = None  # nobody is computed together with others, for good

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._line)

    def add(self, job: Job, under_way: int) -> None:
        """At the end. `under_way`: requests without an answer, this one among them."""
        self._line.append(job)
        if self._sizes and (shapes := job.shapes) is not None:
            self._kind(shapes).policy.asked(under_way)

    def remove(self, job: Job) -> None:
        self._line.remove(job)

    def take(self, run: Run) -> None:
        """Those of `next`, from the beginning of the line."""
        for _ in run.jobs:
            self._line.popleft()

    def next(self, now_s: float, *, is_busy: bool, room_bytes: int, model_bytes: int) -> Run | None:
        """Whose turn it is; None where nobody waits, or where more may come while the process is busy anyway."""
        if not self._line:
            return None
        kind = self.kind_of(self._line[0])
        if kind is None:
            return Run((self._line[0],))
        most = kind.fitting(room_bytes, model_bytes)
        together = self._together(most)
        if is_busy and len(together) == len(self._line) < most and not kind.policy.is_enough(len(together)):
            return None
        choice = kind.policy.choose(len(together), min(job.due_s for job in together) - now_s)
        return Run(tuple(together[: choice.size]), choice.is_trial)

    def kind_of(self, job: Job) -> Kind | None:
        """None where it is computed alone in any case."""
        if not self._sizes or self.apart_why is not None or (shapes := job.shapes) is None:
            return None
        return self._kind(shapes)

    def bring_back(self, run: Run) -> None:
        """To the beginning: each of them alone."""
        for job in reversed(run.jobs):
            job.is_alone = True
            self._line.appendleft(job)

    def keep_apart(self, why: str) -> None:
        self.apart_why = why

    @property
    def has_been_together(self) -> bool:
        """Whether this process has computed several at once."""
        return any(kind.widest > 1 for kind in self._kinds.values())

    def forget_sizes(self) -> None:
        """Another process: its memory has not grown for anybody yet."""
        for kind in self._kinds.values():
            kind.widest, kind.each_bytes = 1, None

    def policies(self) -> Iterator[tuple[Shapes, Batching]]:
        """What has been learned, by shapes."""
        for shapes, kind in self._kinds.items():
            yield shapes, kind.policy

    def _together(self, most: int) -> list[Job]:
        """The first ones, as far as they have the same shapes."""
        found: list[Job] = []
        shapes = self._line[0].shapes
        for job in self._line:
            if len(found) >= most or job.shapes != shapes:
                break
            found.append(job)
        return found or [self._line[0]]

    def _kind(self, shapes: Shapes) -> Kind:
        kind = self._kinds.get(shapes)
        if kind is None:
            kind = self._kinds[shapes] = Kind(Batching(self._sizes), self._most)
            while len(self._kinds) > MOST_KINDS:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(shapes)
        return kind

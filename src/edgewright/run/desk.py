"""What waits for a model: of a live camera the newest frame alone, of a file every frame; cameras are served in turn."""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from edgewright.run.frames import HeldFrame

Dropped: TypeAlias = Callable[[HeldFrame], None]


class Desk:
    """The frames that wait for one model, a queue a camera."""

    def __init__(self, dropped: Dropped) -> None:
        self._waiting: dict[str, deque[HeldFrame]] = {}  # in the order in which cameras were served, the longest ago first
        self._dropped = dropped

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, frame: HeldFrame, *, newest_wins: bool) -> None:
        """A frame comes; with `newest_wins` it takes the place of what its camera has waiting, which is dropped."""
        queue = self._waiting.setdefault(frame.camera, deque())
        queue.append(frame.hold())
        while newest_wins and len(queue) > 1:
            self._drop(queue.popleft())

    def next(self) -> HeldFrame | None:
        """The frame whose turn it is, still held: whoever takes it lets it go. None where none waits."""
        for camera, queue in self._waiting.items():
            if queue:
                frame = queue.popleft()
                self._waiting[camera] = self._waiting.pop(camera)  # to the end of the line
                return frame
        return None

    def clear(self, camera: str | None = None) -> None:
        """Drop what waits, of a camera or of all."""
        for name, queue in self._waiting.items():
            while queue and camera in (None, name):
                self._drop(queue.popleft())

    def _drop(self, frame: HeldFrame) -> None:
        self._dropped(frame)
        frame.release()

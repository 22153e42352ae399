"""Who looks at which camera, and what they see: in the front, the other end of `run.preview_tap`.

The service lends a frame of each camera that somebody looks at; a small copy is made, the frame given back, boxes drawn and the picture
encoded, all in one thread aside. Of each camera only the newest picture is kept, and everybody who looks sees that.

    previews = Previews(("belt",), clock=clock, say=say, fault=fault)
    picture = await previews.one("belt")
    async for picture in previews.pictures("belt", after=picture): ...
"""

import asyncio
import traceback
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

from edgewright.clock import Clock
from edgewright.detections import ImageRgb
from edgewright.run.channel import Message, close_all
from edgewright.run.ring import Ring
from edgewright.serve.refusals import NotFoundError, NotNowError

FIRST_S: Final = 5.0  # until the first picture
SILENT_S: Final = 30.0  # a camera of which none comes for so long is not looked at any more
FRESH_S: Final = 0.25  # a picture that is no older serves for one who asks now
LINGER_S: Final = 0.1  # after the last has left: whoever asks for one picture after another looks all the time
PAUSED_AGAIN_S: Final = 10.0
LOST_AGAIN_S: Final = 5.0

P = ParamSpec("P")
T = TypeVar("T")
Say: TypeAlias = Callable[[dict[str, Any]], bool]
"""Tell the service; whether it was told."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG. `number`: of its camera's, from 1. `captured_s`: wall clock; `drawn_s`: by the monotonic one."""

    number: int
    captured_s: float
    drawn_s: float
    jpeg: bytes


@dataclass(slots=True)
class _Sight:
    """One camera."""

    viewers: int = 0
    latest: Picture | None = None
    drawn: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Previews:
    """One front's. To be made and used in its asyncio loop."""

    def __init__(self, cameras: Collection[str], *, clock: Clock, say: Say, fault: Callable[[str], None]) -> None:
        self._sights = {camera: _Sight() for camera in cameras}
        self._clock, self._say, self._fault = clock, say, fault
        self._rings: dict[int, Ring] = {}
        self._told: tuple[str, ...] = ()
        self._is_paused = False
        self._has_ended = False
        self._drawing: set[asyncio.Task[None]] = set()
        self._thread = ThreadPoolExecutor(1, "edgewright-previews", _draw_alone)

    # --- what pages ask for ---------------------------------------------------------------------------------------------------------------

    async def one(self, camera: str) -> Picture:
        """The newest picture, made now if need be.

        Raises:
            NotFoundError: there is no such camera.
            NotNowError: no picture comes.
        """
        sight = self._sight(camera)
        with self._looking(sight):
            picture = sight.latest
            if picture is None or self._clock.monotonic_s() - picture.drawn_s > FRESH_S:
                picture = await self._newer(sight, sight.drawn, FIRST_S)
        if picture is not None:
            return picture
        if self._is_paused:
            raise NotNowError("there are no previews while the board is too warm to draw", retry_after_s=PAUSED_AGAIN_S)
        raise NotNowError(f"no picture of {camera} comes", got=f"none for {FIRST_S:.0f} s", retry_after_s=LOST_AGAIN_S)

    async def pictures(self, camera: str, after: Picture | None = None) -> AsyncGenerator[Picture, None]:
        """The newest whenever asked, each once, until none comes for long.

        Raises:
            NotFoundError: there is no such camera.
        """
        sight = self._sight(camera)
        with self._looking(sight):
            if after is not None:
                yield after
            seen = 0 if after is None else after.number
            while (picture := await self._newer(sight, seen, SILENT_S)) is not None:
                seen = picture.number
                yield picture

    async def _newer(self, sight: _Sight, seen: int, within_s: float) -> Picture | None:
        """A picture after that number; None where none comes in time, or at once while previews are paused."""
        try:
            async with asyncio.timeout(within_s):
                while sight.drawn <= seen and not self._is_paused and not self._has_ended:
                    await sight.news.wait()
        except TimeoutError:
            return None
        return sight.latest if sight.drawn > seen else None

    @contextmanager
    def _looking(self, sight: _Sight) -> Iterator[None]:
        sight.viewers += 1
        self._tell_looked()
        try:
            yield
        finally:
            sight.viewers -= 1
            if not sight.viewers:
                asyncio.get_running_loop().call_later(LINGER_S, self._tell_looked)

    def _tell_looked(self) -> None:
        """What changed; again a moment later where the service cannot be told now."""
        looked = tuple(camera for camera, sight in self._sights.items() if sight.viewers)
        if looked == self._told or self._has_ended:
            return
        if not self._told:
            self._is_paused = False  # until it is said again
        if self._say({"say": "look", "cameras": looked}):
            self._told = looked
        else:
            asyncio.get_running_loop().call_later(LINGER_S, self._tell_looked)

    def _sight(self, camera: str) -> _Sight:
        try:
            return self._sights[camera]
        except KeyError:
            raise NotFoundError("there is no such camera", expected=f"one of {', '.join(self._sights) or 'none'}") from None

    # --- what the service says ------------------------------------------------------------------------------------------------------------

    def obey(self, message: Message) -> bool:
        """Whether it was meant for us.

        Raises:
            LookupError, TypeError, ValueError, RingError: it was, and is nonsense.
        """
        words = message.words
        if "picture" in words:
            task = asyncio.get_running_loop().create_task(self._draw(words))
            self._drawing.add(task)
            task.add_done_callback(self._drawing.discard)
        elif "ring" in words:
            try:
                self._rings[words["ring"]] = Ring.attach(message.fds[0], words["slots"], words["slot_bytes"])
            except BaseException:
                close_all(message.fds)
                raise
        elif "unring" in words:
            if (ring := self._rings.pop(words["unring"], None)) is not None:
                ring.close()
        elif "previews_paused" in words:
            self._pause(is_paused=bool(words["previews_paused"]))
        else:
            return False
        return True

    def _pause(self, *, is_paused: bool) -> None:
        """What was seen last is soon a thing of the past: it is not shown as if it were now."""
        self._is_paused = is_paused
        if is_paused:
            for sight in self._sights.values():
                sight.latest = None
            self._wake(self._sights.values())

    async def _draw(self, words: Mapping[str, Any]) -> None:
        """A small copy, the frame given back, then boxes. Nonsense costs a picture, and no more."""
        camera = str(words["picture"])
        try:
            sight = self._sights[camera]
            try:
                small = await self._copied(words)
            finally:
                await self._give_back(camera, words["job"])
            if small is None or not sight.viewers:
                return
            captured_s = float(words["time_s"])
            jpeg = await self._aside(_jpeg_of, small, words["answers"], camera, captured_s)
            sight.drawn += 1
            sight.latest = Picture(sight.drawn, captured_s, self._clock.monotonic_s(), jpeg)
            self._wake((sight,))
        except Exception:  # noqa: BLE001 - a fault of ours: the next picture may do
            self._fault(traceback.format_exc())

    async def _copied(self, words: Mapping[str, Any]) -> ImageRgb | None:
        """None where the frame may have been written over meanwhile."""
        wide, high = words["wh"]
        frame = self._rings[words["ring"]].picture(int(words["slot"]), (int(wide), int(high)))
        small = await self._aside(_small_copy, frame)
        return small if self._clock.monotonic_s() < float(words["until_s"]) else None

    async def _give_back(self, camera: str, job: int) -> None:
        while not self._say({"say": "done", "camera": camera, "job": job}) and not self._has_ended:  # noqa: ASYNC110 - of a channel
            await asyncio.sleep(LINGER_S)  # nothing tells when the channel has room again

    async def _aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Nobody sees anything any more."""
        self._has_ended = True
        self._wake(self._sights.values())
        self._thread.shutdown(wait=False, cancel_futures=True)
        while self._rings:
            self._rings.popitem()[1].close()

    def _wake(self, sights: Collection[_Sight]) -> None:
        for sight in sights:
            sight.news.set()
            sight.news = asyncio.Event()


def _draw_alone() -> None:
    """OpenCV is loaded when somebody first looks, and not while others wait; it would take all cores."""
    import cv2  # noqa: PLC0415 - as said

    cv2.setNumThreads(1)


def _small_copy(frame: ImageRgb) -> ImageRgb:
    from edgewright.serve.preview_picture import small_copy  # noqa: PLC0415 - as above

    return small_copy(frame)


def _jpeg_of(small_rgb: ImageRgb, answers: Sequence[Mapping[str, Any]], camera: str, captured_s: float) -> bytes:
    from edgewright.serve.preview_picture import jpeg_of  # noqa: PLC0415 - as above

    return jpeg_of(small_rgb, answers, camera, captured_s)

"""The models that are served: where they lie, which are loaded, and the memory they share.

Everything here runs in one asyncio loop; a model's process is heard there (`AsyncioLoop`) and looked after every tenth of a second.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgewright.clock import Clock
from edgewright.errors import EdgewrightError, HostError, InputError
from edgewright.printable import printable
from edgewright.run.loop import Heard, Loop
from edgewright.run.memory import DEFAULT_SHARE, MemoryBudget, available_bytes
from edgewright.serve.model_figures import ModelFigures
from edgewright.serve.model_names import MODEL_NAME
from edgewright.serve.model_settings import HostSettings, ServedModelSettings
from edgewright.serve.model_worker import ModelWorker
from edgewright.serve.refusals import NotFoundError, NotNowError
from edgewright.whole_file import is_own_file, is_own_folder

TICK_S: Final = 0.1
DRAIN_S: Final = 10.0
REFUSED_S: Final = 30.0
MOST_LISTED: Final = 1000
VERSION: Final = "1"  # each model has this one


class AsyncioLoop(Loop):
    """The asyncio loop, for those who are heard by a `Loop`."""

    def __init__(self) -> None:
        self._asyncio = asyncio.get_running_loop()

    def watch(self, descriptor: int, heard: Heard) -> None:
        self._asyncio.add_reader(descriptor, heard)

    def unwatch(self, descriptor: int) -> None:
        self._asyncio.remove_reader(descriptor)

    def close(self) -> None:
        """It is somebody else's."""


class Repository:
    """Names of models, and where they lie. A name is looked up in a listing; it never becomes part of a path."""

    def __init__(self, models: Mapping[str, Path], folder: Path | None) -> None:
        for name in models:
            if not MODEL_NAME.fullmatch(name):
                raise InputError("no name for a model", got=printable(name), expected="letters, digits, _, . and -, at most 100")
        self._models, self._folder = dict(models), folder

    def names(self) -> list[str]:
        return sorted(self._listing())

    def find(self, name: str) -> Path:
        """Raises NotFoundError: no model is called so."""
        found = self._listing().get(name)
        if found is None:
            raise NotFoundError(f"there is no model {printable(name)}", expected=f"one of {', '.join(self.names()[:20]) or 'none'}")
        return found

    def _listing(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        if self._folder is not None:
            with suppress(OSError):
                for entry in sorted(self._folder.iterdir())[:MOST_LISTED]:
                    is_artifact = is_own_folder(entry) and is_own_file(entry / "artifact.json")
                    name = entry.name if is_artifact else entry.stem
                    if (is_artifact or (entry.suffix == ".onnx" and is_own_file(entry))) and MODEL_NAME.fullmatch(name):
                        found[name] = entry
        return {**found, **self._models}


class ModelHost:
    """`start` inside a running asyncio loop; `close` ends every process."""

    def __init__(self, settings: HostSettings, *, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.repository = Repository(settings.models, settings.folder)
        self.budget = MemoryBudget(settings.memory_bytes or round(DEFAULT_SHARE * available_bytes()))
        self.workers: dict[str, ModelWorker] = {}
        self.figures: dict[str, ModelFigures] = {}
        self._loop: AsyncioLoop | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._turned = asyncio.Event()
        # Without which the server is not ready: what is loaded at the start, until somebody unloads it.
        self.required = set(settings.models if settings.at_start is None else settings.at_start)
        self._refused: dict[str, tuple[EdgewrightError, float]] = {}  # on demand, and until when
        self._locks: dict[str, asyncio.Lock] = {}  # a model is loaded or unloaded by one at a time

    async def start(self) -> None:
        """Begin to load what is to be there at the start."""
        self._loop = AsyncioLoop()
        self._ticking = asyncio.create_task(self._tick())
        for name in sorted(self.required):
            self._begin(name)

    def worker(self, name: str, version: str | None = None) -> ModelWorker:
        """The model's worker, whatever its state.

        Raises:
            NotFoundError: it is not loaded, or has no such version.
        """
        worker = self.workers.get(name)
        if worker is None or version not in (None, "", VERSION):
            what = f"model {printable(name)}" + ("" if version in (None, "") else f", version {printable(version or '')},")
            fix = "load it" if name in self.repository.names() else None
            raise NotFoundError(f"{what} is not loaded", expected=f"one of {', '.join(list(self.workers)[:20]) or 'none'}", fix=fix)
        return worker

    async def demand(self, name: str) -> None:
        """Load a model that somebody asks for, if that is done here and it is not there yet; one that failed is not tried again at once.

        Raises:
            InputError, HostError: why it cannot be served.
        """
        worker = self.workers.get(name)
        is_there = worker is not None and worker.served is not None and worker.state != "refused"
        if is_there or not self.settings.on_demand or name not in self.settings.models:
            return
        refusal, until_s = self._refused.get(name, (None, 0.0))
        if refusal is not None and self.clock.monotonic_s() < until_s:
            raise refusal
        try:
            async with self._lock_of(name):
                if (worker := self.workers.get(name) or self._begin(name)).state != "ready":
                    await self._settled(worker)  # at once, if it failed while nobody waited
        except EdgewrightError as error:
            self._refused[name] = error, self.clock.monotonic_s() + REFUSED_S
            raise

    async def load(self, name: str) -> None:
        """Until the model is ready, also when it was loaded before: then its process is begun anew.

        Raises:
            NotFoundError: there is no such model.
            InputError, HostError: why it cannot be served.
        """
        self.repository.find(name)
        async with self._lock_of(name):
            if (before := self.workers.get(name)) is not None and before.state != "loading":
                await self._unload(before)
            await self._settled(self.workers.get(name) or self._begin(name))

    async def unload(self, name: str) -> None:
        """Until what it was asked is answered and its process is gone.

        Raises:
            NotFoundError: it is not loaded.
        """
        self.worker(name)
        async with self._lock_of(name):
            self.required.discard(name)
            await self._unload(self.worker(name))

    def _lock_of(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _unload(self, worker: ModelWorker) -> None:
        worker.drain()
        if worker.state == "draining":
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._until(worker, "ended")
        if worker.state != "ended":
            worker.end()
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]

    async def close(self) -> None:
        """Every process ends; what was not answered is refused."""
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
        for worker in self.workers.values():
            worker.end()
        self.workers.clear()

    def _begin(self, name: str) -> ModelWorker:
        assert self._loop is not None  # noqa: S101 - it was started
        if len(self.workers) >= self.settings.most_models:
            raise HostError("too many models are loaded", got=f"{len(self.workers)}", fix="unload one first")
        own = self.settings
        settings = ServedModelSettings(
            name,
            self.repository.find(name),
            own.own_threads.get(name, own.threads),
            most_waiting=own.most_waiting,
            answer_within_s=own.answer_within_s,
            most_together=own.most_together,
        )
        figures = self.figures.setdefault(name, ModelFigures())
        worker = ModelWorker(settings, figures, loop=self._loop, clock=self.clock, budget=self.budget, changed=self._turn)
        self.workers[name] = worker
        worker.advance(self.clock.monotonic_s())
        return worker

    async def _settled(self, worker: ModelWorker) -> None:
        """Until it is ready; the reason, where it never will be. One that fails at its start is not waited for twice."""
        await self._until(worker, "ready", "refused", "ended", "waiting")
        if worker.state == "ready":
            return
        error: EdgewrightError = worker.refusal or NotNowError(
            f"{worker.name} was not loaded", got=printable(worker.why or "", 300) or None
        )
        if self.workers.get(worker.name) is worker:
            worker.end()
            del self.workers[worker.name]
        raise error

    async def _until(self, worker: ModelWorker, *states: str) -> None:
        while worker.state not in states:
            turned = self._turned
            await turned.wait()

    def _turn(self) -> None:
        """Whoever waits for a state looks again."""
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def _tick(self) -> None:
        while True:
            now_s = self.clock.monotonic_s()
            for worker in list(self.workers.values()):
                worker.advance(now_s)
            await asyncio.sleep(TICK_S)

"""What the server knows and does, in one place. HTTP, metrics and pages are thin skins over it.

Method names follow the Open Inference Protocol; each gives plain JSON values or raises an error that carries its HTTP status.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from edgewright.clock import Clock
from edgewright.detections import Detections
from edgewright.errors import InputError
from edgewright.serve.binary import Raw
from edgewright.serve.history import History
from edgewright.serve.jobs import Answered, Job, Port, ServedModel
from edgewright.serve.live_view import LiveView
from edgewright.serve.model_host import VERSION, ModelHost
from edgewright.serve.model_worker import ModelWorker
from edgewright.serve.previews import Previews
from edgewright.serve.protocol import JSON_VALUE_BYTES, EncodedAnswer, InferRequest, encode_answer, json_values, parse_request
from edgewright.serve.refusals import ForbiddenError, NotFoundError, NotNowError
from edgewright.version import __version__

# Triton's names (core, src/server.cc), of what is really here.
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "model_repository", "parameters", "schedule_policy", "statistics")
HEARTBEAT_S: Final = 10.0  # a model that has not proved for so long that it computes is not ready
MOST_DEADLINE_S: Final = 3600.0
MUCH_JSON: Final = 1 << 16  # bytes; some milliseconds
MANY_VALUES: Final = MUCH_JSON >> 3

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Detected:
    """Boxes in the pixels of a picture, its size, and how long the model took (ms)."""

    detections: Detections
    size_wh: tuple[int, int]
    model_ms: float

    def to_json(self) -> dict[str, Any]:
        """Keys as `detect --jsonl` has them."""
        return {"source_wh": list(self.size_wh), "model_ms": round(self.model_ms, 3), **self.detections.to_json()}


class DataPlane:
    """One server's truth. `also_ready`: what else must be so before it is ready; `live`: what is known of a live service."""

    def __init__(
        self,
        host: ModelHost,
        *,
        clock: Clock,
        may_load: bool = True,
        also_ready: Callable[[], bool] = lambda: True,
        live: LiveView | None = None,
        history: History | None = None,
    ) -> None:
        self.host = host
        self.live = live
        self.previews: Previews | None = None  # of a live service that shows what its cameras see
        self.history = history
        self.clock = clock
        self._may_load = may_load
        self._also_ready = also_ready
        self._draining = False
        self._codec = ThreadPoolExecutor(1, "edgewright-codec")  # one at a time: JSON takes many times its bytes

    async def close(self) -> None:
        """Every process ends."""
        self._draining = True
        if self.previews is not None:
            self.previews.close()
        await self.host.close()
        self._codec.shutdown(wait=False, cancel_futures=True)

    # --- health ---------------------------------------------------------------------------------------------------------------------------

    def is_live(self) -> bool:
        """The process is up, and answers."""
        return True

    def is_ready(self) -> bool:
        """Every model of the start is loaded, and each has lately proved that it computes."""
        is_live_ready = self.live is None or self.live.is_ready
        return not self._draining and all(self._is_well(name) for name in self.host.required) and is_live_ready and self._also_ready()

    def is_model_ready(self, name: str, version: str | None = None) -> bool:
        """Raises NotFoundError: there is no such model."""
        if name not in self.host.workers and name not in self.host.repository.names():
            self.host.worker(name, version)
        if name not in self.host.workers:
            return False
        self.host.worker(name, version)
        return self._is_well(name)

    def drain(self) -> None:
        """Take no new requests; what was asked is answered."""
        self._draining = True

    @property
    def is_draining(self) -> bool:
        return self._draining

    # --- what there is --------------------------------------------------------------------------------------------------------------------

    def server_metadata(self) -> dict[str, Any]:
        return {"name": "edgewright", "version": __version__, "extensions": list(EXTENSIONS)}

    def model_metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        """Raises NotFoundError, NotNowError: it is not there, or not ready."""
        served = self._served(self.host.worker(name, version))
        found: dict[str, Any] = {
            "name": name,
            "versions": [VERSION],
            "platform": _platform(served),
            "inputs": [port.to_json() for port in served.inputs],
            "outputs": [port.to_json() for port in served.outputs],
        }
        if served.classes is not None:
            found["parameters"] = {"task": "detect", "classes": list(served.classes)}
        return found

    def model_config(self, name: str, version: str | None = None) -> dict[str, Any]:
        """As Triton's model configuration; `max_batch_size` 0: shapes are whole, with the batch in them."""
        worker = self.host.worker(name, version)
        served = self._served(worker)
        _runtime, _version, precision, threads = served.engine
        return {
            "name": name,
            "platform": _platform(served),
            "backend": served.engine[0],
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": 0,
            "input": [
                {**_config(port), "is_shape_tensor": False, "allow_ragged_batch": False, "optional": False} for port in served.inputs
            ],
            "output": [{**_config(port), "label_filename": "", "is_shape_tensor": False} for port in served.outputs],
            "instance_group": [{"name": name, "kind": "KIND_CPU", "count": 1, "gpus": []}],
            "default_model_filename": "",
            "model_transaction_policy": {"decoupled": False},
            "parameters": {
                key: {"string_value": str(value)}
                for key, value in {"engine": " ".join(served.engine[:2]), "precision": precision, "threads": threads}.items()
            },
        }

    def statistics(self, name: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Of one model, or of all that are loaded."""
        workers = list(self.host.workers.values()) if name is None else [self.host.worker(name, version)]
        return {"model_stats": [worker.figures.to_json(worker.name, VERSION, worker.taken_bytes) for worker in workers]}

    def repository_index(self, *, only_ready: bool = False) -> list[dict[str, str]]:
        """Every model that is, or could be, loaded."""
        found = []
        for name in sorted({*self.host.repository.names(), *self.host.workers}):
            state, reason = self._state(name)
            if state == "READY" or not only_ready:
                found.append({"name": name, "version": VERSION, "state": state, "reason": reason})
        return found

    # --- what it does ---------------------------------------------------------------------------------------------------------------------

    async def load(self, name: str) -> None:
        """Raises ForbiddenError, NotFoundError, InputError, HostError."""
        self._check_may_load()
        if self._draining:
            raise NotNowError("the server is stopping", retry_after_s=5.0)
        await self.host.load(name)

    async def unload(self, name: str) -> None:
        """Raises ForbiddenError, NotFoundError."""
        self._check_may_load()
        await self.host.unload(name)

    async def parse(self, body: Raw, header_bytes: int | None) -> InferRequest:
        """A request from its bytes; one with much JSON in a thread, so that others are answered meanwhile.

        Raises:
            InputError: it is none.
        """
        if (len(body) if header_bytes is None else header_bytes) < MUCH_JSON:
            return parse_request(body, header_bytes)
        return await self.aside(parse_request, body, header_bytes)

    async def infer(self, name: str, version: str | None, request: InferRequest, hold: Callable[[int], None]) -> EncodedAnswer:
        """`hold` is told of the bytes that the answer takes while it is written.

        Raises:
            InputError, HostError: with the status that says why.
        """
        await self.demand(name)
        worker = self.host.worker(name, version)
        served = self._served(worker)
        names = [port.name for port in served.outputs] if request.outputs is None else [each.name for each in request.outputs]
        tensors, wanted = served.feeds(request.inputs), served.wanted(names)
        answered = await self._ask(worker, Job(tensors, wanted, self._due_s(request.timeout_s), self._now_ns()))
        outputs = {name: array for name, (_, array) in zip(names, answered.tensors, strict=True)}
        values = json_values(request, outputs)
        if values < MANY_VALUES:
            return encode_answer(request, name, VERSION, outputs)
        hold(JSON_VALUE_BYTES * values)
        return await self.aside(encode_answer, request, name, VERSION, outputs)

    async def detect(self, name: str | None, picture: memoryview, *, score: float | None = None) -> Detected:
        """Boxes in an encoded picture, from the detector called `name`, or from the only one there is.

        Raises:
            InputError, HostError: with the status that says why.
        """
        if name is None and not self.host.workers and len(self.host.settings.models) == 1:
            name = next(iter(self.host.settings.models))
        if name is not None:
            await self.demand(name)
        worker = self.host.worker(name) if name is not None else self._only_detector()
        served = self._served(worker)
        if served.classes is None:
            raise InputError(f"{worker.name} is no detector", fix=f"ask /v2/models/{worker.name}/infer")
        if not len(picture):
            raise InputError("there is no picture", expected="JPEG, PNG, BMP, TIFF or WebP as the body")
        job = Job((), None, self._due_s(None), self._now_ns(), picture=picture, score=score)
        answered = await self._ask(worker, job)
        return _detected(answered, served.classes)

    async def aside(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """What takes long and much memory: in a thread, one after the other, so that others are answered meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._codec, partial(work, *arguments, **named))

    # --- its parts ------------------------------------------------------------------------------------------------------------------------

    async def demand(self, name: str) -> None:
        """Somebody asks for this model: it is loaded first where that is done on demand, and waited for as long as an answer is.

        Raises:
            InputError, HostError: with the status that says why it is not there.
        """
        if self._draining:
            return
        try:
            async with asyncio.timeout(self.host.settings.deadline_s):
                await self.host.demand(name)
        except TimeoutError:
            raise NotNowError(f"{name} is loading") from None

    async def _ask(self, worker: ModelWorker, job: Job) -> Answered:
        if self._draining:
            raise NotNowError("the server is stopping", retry_after_s=5.0)
        worker.ask(job)
        return await job.answer

    def _served(self, worker: ModelWorker) -> ServedModel:
        if worker.served is None:
            raise worker.not_ready()
        return worker.served

    def _only_detector(self) -> ModelWorker:
        found = [worker for worker in self.host.workers.values() if worker.served is not None and worker.served.classes is not None]
        if len(found) == 1:
            return found[0]
        if not found and any(worker.served is None for worker in self.host.workers.values()):
            raise NotNowError("no detector is loaded yet")
        if not found:
            raise NotFoundError("no detector is loaded")
        raise InputError("several detectors are loaded", expected=f"?model= with one of {', '.join(sorted(w.name for w in found))}")

    def _is_well(self, name: str) -> bool:
        worker = self.host.workers.get(name)
        return worker is not None and worker.state == "ready" and self.clock.monotonic_s() - worker.heartbeat_s < self._patience_s(worker)

    def _patience_s(self, worker: ModelWorker) -> float:
        return max(HEARTBEAT_S, worker.settings.answer_within_s)

    def _state(self, name: str) -> tuple[str, str]:
        worker = self.host.workers.get(name)
        if worker is None:
            return "UNAVAILABLE", "unloaded"
        if worker.state == "ready":
            return "READY", ""
        return {"waiting": "LOADING", "loading": "LOADING", "draining": "UNLOADING"}.get(worker.state, "UNAVAILABLE"), worker.why or ""

    def _check_may_load(self) -> None:
        if not self._may_load:
            raise ForbiddenError("models are not loaded or unloaded over the network here", fix="name them when the server is started")

    def _due_s(self, timeout_s: float | None) -> float:
        return self.clock.monotonic_s() + min(timeout_s or self.host.settings.deadline_s, MOST_DEADLINE_S)

    def _now_ns(self) -> int:
        return round(self.clock.monotonic_s() * 1e9)


def _detected(answered: Answered, classes: tuple[str, ...]) -> Detected:
    boxes, scores, class_ids, size_wh = (array for _, array in answered.tensors)
    found = Detections(boxes.astype(np.float32), scores.astype(np.float32), class_ids.astype(np.int64), classes)
    wide, high = size_wh.tolist()
    return Detected(found, (wide, high), answered.stages_ns[2] / 1e6)


def _platform(served: ServedModel) -> str:
    return f"{served.engine[0]}_onnx" if served.engine[0] == "onnxruntime" else served.engine[0]


def _config(port: Port) -> dict[str, Any]:
    return {"name": port.name, "data_type": port.datatype.config, "format": "FORMAT_NONE", "dims": list(port.shape)}

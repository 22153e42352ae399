"""The process of one served model: opened once, asked again and again. Killing it gives its memory back for certain.

The service says {"load": ...}, {"inputs" or "outputs": [slots, bytes]} with a ring, {"job": n, ...}, {"give_up": n} and {"ping": n}; this
process says ready, done, larger (its answer needs a larger slot), failed, apart (requests that came together are to come one by one), pong
and refused.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import Artifact
from edgewright.data.images import picture_of
from edgewright.detector import Detector
from edgewright.door.admission import admit_artifact, admit_detector, admit_model
from edgewright.engines import Engine, open_engine
from edgewright.engines.base import TensorSpec, open_artifact
from edgewright.engines.noise import invent
from edgewright.errors import EdgewrightError, EngineError, HostError, InputError, ModelError
from edgewright.printable import printable
from edgewright.run.channel import MOST_BYTES, Channel, Message
from edgewright.run.memory import footprint_of_self
from edgewright.run.obey import LONGEST_WHY, obey, serve
from edgewright.run.ring import Ring
from edgewright.serve.datatypes import datatype_of, datatype_of_engine
from edgewright.serve.row_by_row import ApartError, check_part, check_rows, prove, rows_of
from edgewright.serve.slot_layout import Placed, lay_out, read

MOST_PIXELS = 1 << 25  # of a picture that somebody sends: 33 million, 100 MB once decoded
WARM_RUNS = 2
BARE_ENGINE = "onnxruntime"
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "std::bad_array_new_length")


@dataclass(slots=True)
class _Opened:
    """A model, and the detector around it where it is one."""

    engine: Engine
    detector: Detector | None
    digest: str | None
    name: str


def main() -> int:
    """Serve one model until the service is gone."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return serve(_serve)


def _serve(channel: Channel, order: dict[str, Any]) -> None:
    cv2.setNumThreads(max(1, order["load"]["threads"] or 1))
    _Model(channel, order["load"]).serve()


class _Model:
    """An opened model, and the rings it reads and writes."""

    def __init__(self, channel: Channel, load: Mapping[str, Any]) -> None:
        self._channel = channel
        began_s = time.monotonic()
        self._opened = opened = _open(Path(load["path"]), load["threads"], may_be_detector=load["may_be_detector"])
        self._inputs: Ring | None = None
        self._outputs: Ring | None = None
        self._waiting: deque[Message] = deque()
        self._is_row_by_row = False  # until it is proved
        described = opened.engine.describe()
        self._specs = described.inputs
        first = [opened.engine.run({spec.name: invent(spec) for spec in described.inputs}) for _ in range(WARM_RUNS)][-1]
        self._output_specs = _outputs_of(opened, described.outputs, first)
        words = {
            "say": "ready",
            "name": opened.name,
            "digest": opened.digest,
            "engine": [described.name, described.version, described.precision, described.threads],
            "inputs": [_spec_as_json(spec) for spec in self._specs],
            "outputs": [_spec_as_json(spec) for spec in self._output_specs],
            "classes": None if opened.detector is None else list(opened.detector.artifact.classes),
            "load_ms": (time.monotonic() - began_s) * 1e3,
            **footprint_of_self().to_json(),
        }
        _refuse_wordy(words, opened.name)
        channel.send(words)

    def serve(self) -> None:
        """Until the service is gone."""
        while True:
            message = self._waiting.popleft() if self._waiting else self._channel.receive()
            if message is not None:
                self._obey(message)

    def _obey(self, message: Message) -> None:
        obey(message, {"job": self._take_job, "ping": self._pong, "inputs": self._take_inputs, "outputs": self._take_outputs})

    def _take_job(self, message: Message) -> None:
        self._work(message.words)

    def _pong(self, message: Message) -> None:
        self._channel.send({"say": "pong", "ping": message.words["ping"]})

    def _take_inputs(self, message: Message) -> None:
        self._inputs = _exchanged(self._inputs, message, message.words["inputs"])

    def _take_outputs(self, message: Message) -> None:
        self._outputs = _exchanged(self._outputs, message, message.words["outputs"])

    def _work(self, words: Mapping[str, Any]) -> None:
        began_ns = time.monotonic_ns()
        alone_ns: int | None = None
        try:
            if "picture" in words:
                found, infer_ns = self._detect(words)
            elif words["together"] > 1:
                found, infer_ns, alone_ns = self._infer_together(words)
            else:
                found, infer_ns = self._infer(words)
        except ApartError as error:
            self._channel.send({"say": "apart", "job": words["job"], "why": str(error), "is_final": error.is_final})
            return
        except EdgewrightError as error:
            self._channel.send(
                {"say": "failed", "job": words["job"], "why": printable(str(error), LONGEST_WHY), "status": error.http_status}
            )
            return
        layout = lay_out(found)
        if not self._has_room(words["job"], layout.total_bytes):
            return
        assert self._outputs is not None  # noqa: S101 - said before the first job
        layout.write(self._outputs.slot(words["slot"]))
        ended_ns = time.monotonic_ns()
        stages_ns = [began_ns, infer_ns[0] - began_ns, infer_ns[1] - infer_ns[0], ended_ns - infer_ns[1]]
        tensors = [each.to_json() for each in layout.placed]
        self._channel.send({"say": "done", "job": words["job"], "tensors": tensors, "ns": stages_ns, "alone_ns": alone_ns})

    def _infer(self, words: Mapping[str, Any]) -> tuple[list[tuple[int, NDArray[Any]]], tuple[int, int]]:
        feeds = self._feeds(words)
        began_ns = time.monotonic_ns()
        try:
            outputs = self._opened.engine.run(feeds)
        except EngineError as error:
            said = str(error).lower()
            if any(word in said for word in OUT_OF_MEMORY):
                raise HostError("this request takes more memory than there is") from error
            raise InputError("the model fails on these inputs", got=error.got, expected="inputs of sizes that go together") from error
        ended_ns = time.monotonic_ns()
        return _chosen(outputs, words["wanted"]), (began_ns, ended_ns)

    def _infer_together(self, words: Mapping[str, Any]) -> tuple[list[tuple[int, NDArray[Any]]], tuple[int, int], int | None]:
        """The rows of all requests at once; in a trial also those of one of them, and how long that took (ns).

        Raises:
            ApartError: they are to be computed one by one.
        """
        feeds, together = self._feeds(words), words["together"]
        rows = rows_of(feeds) // together
        at = words["job"] % together  # of a trial: each has its turn
        one = {name: array[at * rows : (at + 1) * rows] for name, array in feeds.items()}
        alone_ns = None
        try:
            if not self._is_row_by_row:
                prove(self._opened.engine.run, one)
                self._is_row_by_row = True
            began_ns = time.monotonic_ns()
            outputs = self._opened.engine.run(feeds)
            ended_ns = time.monotonic_ns()
            check_rows(outputs, together * rows)
            if words["trial"]:
                alone = self._opened.engine.run(one)
                alone_ns = time.monotonic_ns() - ended_ns
                check_part(outputs, alone, at, together, rows)
        except EngineError as error:  # one of them may be wrong, and does not cost the others their answers
            raise ApartError("the model fails on them together", is_final=False) from error
        return _chosen(outputs, words["wanted"]), (began_ns, ended_ns), alone_ns

    def _feeds(self, words: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        assert self._inputs is not None  # noqa: S101 - said before the first job
        slot = self._inputs.slot(words["slot"])
        return {self._specs[each.index].name: _fed(read(slot, each)) for each in map(Placed.from_json, words["tensors"])}

    def _detect(self, words: Mapping[str, Any]) -> tuple[list[tuple[int, NDArray[Any]]], tuple[int, int]]:
        assert self._inputs is not None  # noqa: S101 - said before the first job
        assert self._opened.detector is not None  # noqa: S101 - the service knows what it is
        picture = picture_of(self._inputs.slot(words["slot"])[: words["picture"]].tobytes(), "the picture")
        if picture.structure.pixels > MOST_PIXELS:
            got = "{} x {} pixels".format(*picture.structure.size_wh)
            raise InputError("the picture is too large", got=got, expected=f"at most {MOST_PIXELS} in all")
        image_rgb = picture.decode()
        began_ns = time.monotonic_ns()
        found = self._opened.detector.detect(image_rgb, score_above=words["score"])
        ended_ns = time.monotonic_ns()
        high, wide, _ = image_rgb.shape
        size_wh = np.array([wide, high], np.int64)
        return [(0, found.boxes_xyxy), (1, found.scores), (2, found.class_ids), (3, size_wh)], (began_ns, ended_ns)

    def _has_room(self, job: int, needed_bytes: int) -> bool:
        """Ask for larger slots where the answer needs them; False where there are none to be had."""
        while self._outputs is None or needed_bytes > self._outputs.slot_bytes:
            self._channel.send({"say": "larger", "job": job, "bytes": needed_bytes})
            while True:
                message = self._channel.receive()
                if message is None or message.words.get("give_up") == job:
                    return False
                if "outputs" in message.words:
                    self._obey(message)
                    break
                self._waiting.append(message)
        return True


def _open(path: Path, threads: int | None, *, may_be_detector: bool) -> _Opened:
    """An artifact folder, a detector or any other sound ONNX model; the door has seen it before this process opens it."""
    if path.is_dir():
        return _opened_artifact(admit_artifact(path), threads)
    if may_be_detector:
        with suppress(ModelError):  # a model all the same, or the sentence why not
            return _opened_artifact(admit_detector(path), threads)
    inspection = admit_model(path)
    return _Opened(open_engine(BARE_ENGINE, path, threads=_threads(threads)), None, inspection["digest"], path.stem)


def _opened_artifact(artifact: Artifact, threads: int | None) -> _Opened:
    engine = open_artifact(artifact, threads=_threads(threads or artifact.threads))
    return _Opened(engine, Detector(artifact, engine), artifact.digest, artifact.name)


def _threads(asked: int | None) -> int:
    cores = os.cpu_count() or 1
    return min(asked or cores, cores)


def _outputs_of(opened: _Opened, declared: tuple[TensorSpec, ...], first: list[NDArray[Any]]) -> tuple[TensorSpec, ...]:
    """As the runtime declares them; else as the artifact names them, with the shapes of a first answer."""
    if declared:
        return declared
    names = [output.name for output in opened.detector.artifact.head.outputs] if opened.detector else []
    if len(names) != len(first):
        names = [f"output{index}" for index in range(len(first))]
    return tuple(TensorSpec(name, array.shape, datatype_of(array).engine) for name, array in zip(names, first, strict=True))


def _spec_as_json(spec: TensorSpec) -> list[Any]:
    datatype = datatype_of_engine(spec.dtype)
    if datatype is None:
        raise ModelError(
            f"{printable(spec.name)} cannot be served", got=f"elements of {printable(spec.dtype)}", expected="numbers or strings"
        )
    return [spec.name, datatype.name, [-1 if side is None else side for side in spec.shape]]


def _refuse_wordy(words: dict[str, Any], name: str) -> None:
    if len(json.dumps(words, separators=(",", ":"))) > MOST_BYTES:
        raise ModelError(f"{printable(name)} cannot be served", got="more names of inputs, outputs and classes than a message holds")


def _chosen(outputs: list[NDArray[Any]], wanted: list[int] | None) -> list[tuple[int, NDArray[Any]]]:
    return [(index, np.asarray(outputs[index])) for index in (range(len(outputs)) if wanted is None else wanted)]


def _fed(array: NDArray[Any]) -> NDArray[Any]:
    """Strings as text, which is what ONNX Runtime takes."""
    if array.dtype != np.object_:
        return array
    text = np.empty(array.size, np.object_)
    text[:] = [element.decode("utf-8", "replace") for element in array.ravel().tolist()]
    return text.reshape(array.shape)


def _exchanged(before: Ring | None, message: Message, size: list[int]) -> Ring:
    if before is not None:
        before.close()
    descriptor = message.fds[0]
    return Ring.attach(descriptor, size[0], size[1])


if __name__ == "__main__":
    sys.exit(main())

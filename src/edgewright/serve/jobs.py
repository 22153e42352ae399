"""What a served model is asked, and how it describes itself."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewright.errors import EdgewrightError, InputError
from edgewright.printable import printable
from edgewright.run.memory import Footprint
from edgewright.serve.datatypes import DATATYPES, Datatype, datatype_of
from edgewright.serve.protocol import MOST_RANK

Shape = tuple[int, ...]
Shapes = tuple[tuple[int, Shape], ...]
MOST_PORTS = 1024


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output; -1 for an axis that the model leaves free."""

    name: str
    datatype: Datatype
    shape: Shape

    @classmethod
    def from_json(cls, fields: Sequence[Any]) -> "Port":
        """Raises KeyError, TypeError, ValueError: this is none."""
        name, datatype, shape = fields
        if not isinstance(name, str) or len(shape) > MOST_RANK or not all(isinstance(side, int) and side >= -1 for side in shape):
            raise ValueError("no port")
        return cls(name, DATATYPES[datatype], tuple(shape))

    def takes(self, shape: Shape) -> bool:
        """Whether a tensor of this shape is one of it."""
        return len(shape) == len(self.shape) and all(own in (-1, side) for own, side in zip(self.shape, shape, strict=True))

    def to_json(self) -> dict[str, Any]:
        """As in the protocol's model metadata."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a model's process said of itself once it was ready. `classes`: None where it is no detector."""

    name: str
    digest: str | None
    engine: tuple[str, str, str, int]  # runtime, its version, precision, threads
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    classes: tuple[str, ...] | None
    load_ms: float
    footprint: Footprint

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "ServedModel":
        """Raises KeyError, TypeError, ValueError: these are no such words."""
        inputs, outputs = (tuple(map(Port.from_json, words[side])) for side in ("inputs", "outputs"))
        if len(inputs) > MOST_PORTS or not 0 < len(outputs) <= MOST_PORTS:
            raise ValueError("no inputs and outputs")
        runtime, version, precision, threads = words["engine"]
        return cls(
            str(words["name"]),
            None if words["digest"] is None else str(words["digest"]),
            (str(runtime), str(version), str(precision), int(threads)),
            inputs,
            outputs,
            None if words["classes"] is None else tuple(map(str, words["classes"])),
            float(words["load_ms"]),
            Footprint.from_json(words),
        )

    def feeds(self, inputs: Mapping[str, NDArray[Any]]) -> list[tuple[int, NDArray[Any]]]:
        """A request's inputs by their index.

        Raises:
            InputError: they are not those that the model takes.
        """
        known = {port.name: (index, port) for index, port in enumerate(self.inputs)}
        if missing := known.keys() - inputs.keys():
            raise InputError("an input is missing", got=_listed(inputs), expected=_listed(known), fix=f"add {_listed(sorted(missing))}")
        found = []
        for name, array in inputs.items():
            if name not in known:
                raise InputError(f"the model has no input {printable(name)}", expected=f"one of {_listed(known)}")
            index, port = known[name]
            if (datatype := datatype_of(array)) != port.datatype:
                raise InputError(f"input {printable(name)} has another datatype", got=datatype.name, expected=port.datatype.name)
            if not port.takes(array.shape):
                raise InputError(f"input {printable(name)} has another shape", got=f"{list(array.shape)}", expected=f"{list(port.shape)}")
            found.append((index, array))
        return sorted(found, key=itemgetter(0))

    @property
    def may_join(self) -> bool:
        """Whether requests can be computed together: all inputs and outputs have a first axis that is free, and hold numbers.

        That their rows do not depend on each other is proved by computing (`model_child`).
        """
        ports = (*self.inputs, *self.outputs)
        return bool(self.inputs) and all(port.shape[:1] == (-1,) and not port.datatype.is_bytes for port in ports)

    def wanted(self, names: Sequence[str]) -> list[int]:
        """Outputs by their index.

        Raises:
            InputError: the model has no such output.
        """
        known = {port.name: index for index, port in enumerate(self.outputs)}
        for name in names:
            if name not in known:
                raise InputError(f"the model has no output {printable(name)}", expected=f"one of {_listed(known)}")
        return [known[name] for name in names]


@dataclass(frozen=True, slots=True)
class Answered:
    """Tensors by the index of their output (of a picture: boxes, scores, class ids, size), and the four stages in nanoseconds."""

    tensors: tuple[tuple[int, NDArray[Any]], ...]
    stages_ns: tuple[int, int, int, int]


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. Tensors or a picture; `due_s`: when nobody waits for it any more; `is_alone`: not to be joined to others."""

    tensors: Sequence[tuple[int, NDArray[Any]]]
    wanted: Sequence[int] | None
    due_s: float
    begun_ns: int
    picture: memoryview | None = None
    score: float | None = None
    is_alone: bool = False
    answer: "asyncio.Future[Answered]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def shapes(self) -> "Shapes | None":
        """Of its inputs, by which it goes together with others; None where it goes with none, as its rows are not of one number."""
        rows = {array.shape[0] if array.ndim else 0 for _, array in self.tensors}
        if self.is_alone or self.picture is not None or len(rows) != 1 or 0 in rows:
            return None
        return tuple((index, array.shape) for index, array in self.tensors)

    def fail(self, error: EdgewrightError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def finish(self, answered: Answered) -> None:
        if not self.answer.done():
            self.answer.set_result(answered)


@dataclass(frozen=True, slots=True)
class Run:
    """What the process computes at once: one request, or several that go together. `is_trial`: the first of them alone as well."""

    jobs: tuple[Job, ...]
    is_trial: bool = False

    @property
    def size(self) -> int:
        return len(self.jobs)

    @property
    def wanted(self) -> list[int] | None:
        """The outputs that any of them wants; None: all."""
        found: set[int] = set()
        for job in self.jobs:
            if job.wanted is None:
                return None
            found.update(job.wanted)
        return sorted(found) if self.size > 1 else list(self.jobs[0].wanted or ())

    def answers(self, tensors: Sequence[tuple[int, NDArray[Any]]]) -> list[list[tuple[int, NDArray[Any]]]]:
        """Each request's own rows of the tensors of all; copies, since they lie in a slot that may be written again at once.

        Raises:
            ValueError: the tensors are not those of so many requests.
        """
        if self.size == 1:
            return [[(index, array if array.dtype == np.object_ else array.copy()) for index, array in tensors]]
        by_index = dict(tensors)
        found = []
        for at, job in enumerate(self.jobs):
            wanted = by_index if job.wanted is None else job.wanted
            found.append([(index, _rows(by_index[index], at, self.size).copy()) for index in wanted])
        return found


def _rows(array: NDArray[Any], at: int, size: int) -> NDArray[Any]:
    rows, left = divmod(array.shape[0], size)
    if left:
        raise ValueError("rows that are not of so many requests")
    return array[at * rows : (at + 1) * rows]


def _listed(names: Any) -> str:
    shown = [printable(name, 60) for name in list(names)[:8]]
    return ", ".join(shown) or "none"

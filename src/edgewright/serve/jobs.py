"""What a served model is asked, and how it describes itself."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from edgewright.errors import EdgewrightError, InputError
from edgewright.printable import printable
from edgewright.run.memory import Footprint
from edgewright.serve.datatypes import DATATYPES, Datatype, datatype_of
from edgewright.serve.protocol import MOST_RANK

Shape = tuple[int, ...]
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
        return found

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
    """One request on its way. Tensors or a picture; `due_s`: when nobody waits for it any more."""

    tensors: Sequence[tuple[int, NDArray[Any]]]
    wanted: Sequence[int] | None
    due_s: float
    begun_ns: int
    picture: memoryview | None = None
    score: float | None = None
    answer: "asyncio.Future[Answered]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fail(self, error: EdgewrightError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)

    def finish(self, answered: Answered) -> None:
        if not self.answer.done():
            self.answer.set_result(answered)


def _listed(names: Any) -> str:
    shown = [printable(name, 60) for name in list(names)[:8]]
    return ", ".join(shown) or "none"

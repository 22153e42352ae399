"""Triton's model configuration: `config.pbtxt`, the protocol buffer ModelConfig as text.

Fields and their meaning: protobuf/model_config.proto of triton-inference-server/common (as of commit 08365ea). The tests parse what is
written here with that schema, as NVIDIA compiled it into the `tritonclient` package.

The first line holds the digest of all that follows it, so that a file which somebody has changed since is known, and never overwritten.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from edgewright.engines import TensorSpec
from edgewright.errors import ModelError
from edgewright.printable import printable
from edgewright.serve.datatypes import datatype_of_engine

Backend: TypeAlias = Literal["onnxruntime", "openvino"]
ANY: Final = -1  # how a free axis is written
SEAL: Final = re.compile(rb"# Written by `edgewright export triton`; sha256 of what follows: ([0-9a-f]{64})\n")


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output: `datatype` as requests name it, `type_name` as configurations do; -1 is a free axis."""

    name: str
    datatype: str
    type_name: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, spec: TensorSpec) -> "Tensor":
        """What an engine says of one.

        Raises:
            ModelError: Triton cannot be told of it.
        """
        datatype = datatype_of_engine(spec.dtype)
        if datatype is None or not spec.shape:
            got = "no axes" if datatype is not None else f"elements of {printable(spec.dtype)}"
            raise ModelError(
                f"{printable(spec.name)} cannot be declared to Triton",
                got=got,
                expected="numbers or strings in a shape whose number of axes is known",
                fix="export the model with the shapes of its outputs",
            )
        return cls(spec.name, datatype.name, datatype.config, tuple(ANY if side is None else side for side in spec.shape))


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One model: `max_batch_size` 0 where shapes are whole; else their first axis is the batch, and is not written."""

    name: str
    backend: Backend
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int = 0
    parameters: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """The file."""
        lines = [
            f"name: {quoted(self.name)}",
            f"backend: {quoted(self.backend)}",
            f"max_batch_size: {self.max_batch_size}",
            *(line for tensor in self.inputs for line in self._tensor("input", tensor)),
            *(line for tensor in self.outputs for line in self._tensor("output", tensor)),
            # One version is served, by its number: that of an earlier export stays until this file says otherwise.
            f"version_policy {{ specific {{ versions: [ {self.version} ] }} }}",
            "instance_group { count: 1 kind: KIND_CPU }",
        ]
        if self.max_batch_size > 1:
            lines.append("dynamic_batching { }")  # what waits together is computed together; nothing waits for company
        for key, value in self.parameters.items():
            lines.append(f"parameters {{ key: {quoted(key)} value {{ string_value: {quoted(value)} }} }}")
        text = "\n".join(lines) + "\n"
        return f"# Written by `edgewright export triton`; sha256 of what follows: {hashlib.sha256(text.encode()).hexdigest()}\n{text}"

    def _tensor(self, kind: str, tensor: Tensor) -> list[str]:
        dims = tensor.shape[1:] if self.max_batch_size else tensor.shape
        return [
            f"{kind} {{",
            f"  name: {quoted(tensor.name)}",
            f"  data_type: {tensor.type_name}",
            f"  dims: [ {', '.join(map(str, dims))} ]",
            "}",
        ]


def is_sealed(content: bytes) -> bool | None:
    """Whether a config.pbtxt is as it was written here; None where it was never ours."""
    seal = SEAL.match(content)
    return None if seal is None else hashlib.sha256(content[seal.end() :]).hexdigest().encode() == seal[1]


def quoted(text: str) -> str:
    """A string of the text format; strangers name tensors, and nothing of theirs ends it.

    All but plain ASCII is written byte by byte in octal (protobuf.dev, "Text Format Language Specification", string literals).
    """
    return '"' + "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}" for byte in text.encode()) + '"'

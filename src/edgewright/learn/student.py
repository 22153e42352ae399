"""The network that learns, between one change and the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from edgewright.artifact import Artifact, HeadSpec, InputSpec
from edgewright.compress.candidates import FloatForms
from edgewright.errors import ModelError
from edgewright.graph.metadata import RANGES_KEY, trained_ranges
from edgewright.learn.trainable import Trainable

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Student:
    """A whole float network, decode included, its constants folded; the raw head it is trained at; and the ranges, by tensor, that
    quantization was trained for, if it was.
    """

    model: onnx.ModelProto
    head: HeadSpec
    input: InputSpec
    ranges: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def of(cls, forms: FloatForms) -> "Student":
        """The given network, as `prepare_float_forms` wrote it.

        Raises:
            ModelError: its decode was not understood, so there is no raw head to learn at.
        """
        if forms.raw is None:
            raise ModelError(
                "this model cannot be trained: the decode behind its head was not understood", expected="a head of the YOLO family"
            )
        model = onnx.load(forms.folded)
        return cls(model, forms.raw, forms.baseline.input, trained_ranges(model))

    @property
    def outputs(self) -> list[str]:
        """The raw head's tensors, in the order in which the head names them."""
        return [output.name for output in self.head.outputs]

    def trainable(self) -> Trainable:
        """The network up to its raw head, ready to learn.

        Raises:
            ModelError: it holds an operator that we do not train.
        """
        return Trainable(self.model, self.outputs)

    def with_ranges(self) -> onnx.ModelProto:
        """The network as it is written down: whoever quantizes it later finds the ranges that it was trained for."""
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        kept = [entry for entry in made.metadata_props if entry.key != RANGES_KEY]
        del made.metadata_props[:]
        made.metadata_props.extend(kept)
        if self.ranges:
            entry = made.metadata_props.add()
            entry.key = RANGES_KEY
            entry.value = json.dumps({name: [low, high] for name, (low, high) in self.ranges.items()})
        return made


def check_teacher(teacher: Artifact, student: Artifact) -> None:
    """Whether one can teach the other.

    Raises:
        ModelError: they tell other classes apart, or their heads are of different families.
    """
    if teacher.classes != student.classes:
        raise ModelError(
            "the teacher tells other classes apart than the model",
            got=", ".join(teacher.classes[:6]),
            expected=", ".join(student.classes[:6]),
            fix="give a teacher of the same classes in the same order",
        )
    if teacher.head.family != student.head.family or teacher.input.size_wh != student.input.size_wh:
        raise ModelError(
            "the teacher's head is not like the model's",
            got=f"{teacher.head.family} at {teacher.input.size_wh[0]}x{teacher.input.size_wh[1]}",
            expected=f"{student.head.family} at {student.input.size_wh[0]}x{student.input.size_wh[1]}",
        )


def save_student(student: Student, path: Path) -> None:
    """Write it down whole, as an ordinary ONNX file."""
    from edgewright.whole_file import write_whole  # noqa: PLC0415 - TODO

    write_whole(path, student.with_ranges().SerializeToString())

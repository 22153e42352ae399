"""The network that learns, between one change and the next."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from edgewright.artifact import Artifact, HeadSpec, InputSpec, describe_file
from edgewright.compress.candidates import FloatForms
from edgewright.compress.head_cut import cut_head
from edgewright.errors import ModelError
from edgewright.graph.batch import set_batch
from edgewright.graph.input_size import set_input_size
from edgewright.graph.metadata import RANGES_KEY, trained_ranges
from edgewright.learn.trainable import Trainable
from edgewright.whole_file import write_whole

Range = tuple[float, float]
BOUND = frozenset({"Reshape", "Expand", "Tile"})  # operators that are told sizes


@dataclass(frozen=True, slots=True)
class Student:
    """A whole float network, decode included, its constants folded; the raw head it is trained at; the pictures it is meant for; and the
    ranges, by tensor, that quantization was trained for, if it was.

    The network itself keeps its size: weights know none. One that is meant for another (`shrink`) is deployed without its decode.
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

    def trainable(self, size_wh: tuple[int, int]) -> Trainable:
        """The network up to its raw head, ready to learn from batches of pictures of that size.

        Convolutions take any; where exporters wrote sizes into the graph (attention), a copy of it learns, of which only the weights count.

        Raises:
            ModelError: it holds an operator that we do not train, or something in it is bound to its size.
        """
        cut = cut_head(self.model, self.head)
        if not any(node.op_type in BOUND for node in cut.graph.node):
            return Trainable(self.model, self.outputs)
        sized = set_input_size(cut, self.input.name, size_wh, max(self.head.strides)).model
        return Trainable(set_batch(sized, "pictures").model, self.outputs)

    def learned(self, taught: Trainable) -> "Student":
        """The same network with the weights that one made by `trainable` has now."""
        weights = {tensor.name: tensor for tensor in taught.to_onnx().graph.initializer if tensor.name in taught.learned}
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        for tensor in made.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(weights[tensor.name])
        return replace(self, model=made)

    def cut(self, model: onnx.ModelProto | None = None) -> onnx.ModelProto:
        """The network, or a variant of it with fewer channels, up to its raw head and for the pictures that it is meant for.

        Raises:
            ModelError: something in the graph is bound to the given size.
        """
        cut = cut_head(model or self.model, self.head)
        return cut if self.has_own_size else set_input_size(cut, self.input.name, self.input.size_wh, max(self.head.strides)).model

    def of_size(self, size_wh: tuple[int, int]) -> "Student":
        """The same for pictures of that size."""
        wide, high = size_wh
        return replace(self, input=replace(self.input, shape=(*self.input.shape[:2], high, wide)))

    def with_weights_of(self, taught: onnx.ModelProto) -> "Student":
        """The network as `with_ranges` wrote it down."""
        return replace(self, model=taught, ranges=trained_ranges(taught))

    @property
    def has_own_size(self) -> bool:
        """Whether it is meant for pictures of the size that the graph says."""
        dims = next(value for value in self.model.graph.input if value.name == self.input.name).type.tensor_type.shape.dim
        return (dims[3].dim_value, dims[2].dim_value) == self.input.size_wh

    def laid_down(self, given: Artifact, path: Path) -> Artifact:
        """The student as the file `path` and the artifact that says how to run it: whole, as `given` is, or without a decode that is bound
        to another size.
        """
        model = self.with_ranges() if self.has_own_size else self.cut(self.with_ranges())
        write_whole(path, model.SerializeToString(), sync=False)
        head = given.head if self.has_own_size else self.head
        return replace(given, folder=path.parent, files=(describe_file(path, path.parent),), input=self.input, head=head)

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

"""Which integer encoding suits which instruction set: data, with a source for each row.

ONNX Runtime's quantization page: reduce_range is for U8S8 on AVX2 and AVX-512 without VNNI, whose multiply-add saturates;
with VNNI and on Arm it throws a bit away for nothing. S8S8 on x86 falls off the integer convolution path altogether (docs/performance.md).
"""

from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Scheme:
    """How activations and weights become integers. Weights are symmetric, one scale a channel where `per_channel`."""

    activation: Literal["uint8", "int8"]
    weight: Literal["int8"]
    per_channel: bool
    reduce_range: bool
    why: str

    @property
    def name(self) -> str:
        return f"{self.activation[0]}8{self.weight[0]}8".replace("i", "s")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


X86_VNNI = Scheme("uint8", "int8", per_channel=True, reduce_range=False, why="x86 with VNNI multiplies u8 by s8 without saturation")
X86_SATURATING = Scheme("uint8", "int8", per_channel=True, reduce_range=True, why="x86 without VNNI saturates u8 by s8 sums: 7-bit weights")
ARM = Scheme("int8", "int8", per_channel=True, reduce_range=False, why="Arm has no such saturation; ONNX Runtime's own default there")
TUTORIAL = Scheme("int8", "int8", per_channel=True, reduce_range=True, why="what most tutorials give; kept to be measured and refused")


def scheme_for(isa: AbstractSet[str]) -> Scheme:
    """The scheme for a machine with these instruction sets (names as in `board.profile`)."""
    if "vnni" in isa:
        return X86_VNNI
    return ARM if "neon" in isa else X86_SATURATING

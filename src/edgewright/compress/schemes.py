"""Which integer encoding suits which instruction set: data, with a source for each row.

x86. ONNX Runtime's quantization page: reduce_range is for U8S8 on AVX2 and AVX-512 without VNNI, whose multiply-add saturates; with VNNI
and on Arm it throws a bit away for nothing. S8S8 on x86 falls off the integer convolution path altogether (docs/performance.md).

arm64. Both encodings have vector kernels at every level of the architecture (onnxruntime/core/mlas/lib/platform.cpp), but signed ones
need no preparation: without dot product the one GEMM kernel is signed and U8 activations are flipped on the way in
(microsoft/onnxruntime#9902, table of dispatchers); with dot product, U8S8 multiplies on UDOT by flipped weights and S8S8 on SDOT as
they are, with no fix-up of the zero point (mlas/lib/convsym.cpp); with i8mm, SMMLA (#17160), and there ONNX Runtime's own dynamic
quantization makes activations signed (ArmNeonIsQuantActivationsUnsigned). The arithmetic is the same either way: the ranges are
asymmetric in both, and no sum saturates. Their answers differ where a product of QLinearMul lies about half way between two integers,
since the zero point, which they have 128 apart, is added in float32 before rounding; such a last bit is then spread by all layers behind
it. On an emulated Cortex-A76 a U8S8 network answers what it answers on VNNI, nearly always bit for bit; an S8S8 one does not, since x86
computes it in float (docs/performance.md, `make arm64`). A verdict that was reached on a desk should hold on the board, so U8S8 is the
choice. Which one is faster on a given board is for a measurement there to say.

TensorRT. NVIDIA's "Explicit Quantization": Q/DQ pairs in front of convolutions, symmetric (zero point 0), one scale a channel for weights;
biases stay float, and outputs are not quantized, because what follows may need them precise. Weights are written as floats behind a
pair of their own: TensorRT 8 on the older Jetsons takes no other form, newer ones take both.

OpenVINO on x86 (its low precision transformations, and a profile of YOLOv8n): pairs behind activations, so that convolution, Swish and
rounding are one primitive. Signed activations without zero points ran 18 % faster than unsigned ones with them on AMX, and no faster on
AVX-512 VNNI alone. On Arm its plugin computes in float16, whatever a graph says (openvinotoolkit/openvino#32876).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from edgewright.errors import InputError

Placement: TypeAlias = Literal["every operator", "inputs of weighted operators", "behind activations"]


@dataclass(frozen=True, slots=True)
class Scheme:
    """How activations and weights become integers. Weights are symmetric, one scale a channel where `per_channel`.

    Activations have a zero point of their own, or 0 where `symmetric`. `placement` says where pairs of Q/DQ stand: around every
    operator that can be an integer one, biases included; or, biases left float, in front of convolutions and matrix products alone, or
    behind activations (`compress.placement`).
    """

    activation: Literal["uint8", "int8"]
    weight: Literal["int8"]
    per_channel: bool
    reduce_range: bool
    why: str
    symmetric: bool = False
    placement: Placement = "every operator"

    @property
    def name(self) -> str:
        return f"{self.activation[0]}8{self.weight[0]}8".replace("i", "s")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


BY_TARGET = "by target"  # the scheme of ONNX Runtime that suits the board's instruction set; else a name of `SCHEMES`

X86_VNNI = Scheme("uint8", "int8", per_channel=True, reduce_range=False, why="x86 with VNNI multiplies u8 by s8 without saturation")
X86_SATURATING = Scheme("uint8", "int8", per_channel=True, reduce_range=True, why="x86 without VNNI saturates u8 by s8 sums: 7-bit weights")
ARM = Scheme(
    "uint8",
    "int8",
    per_channel=True,
    reduce_range=False,
    why="what an x86 machine with VNNI measures holds on Arm, bit for bit; UDOT multiplies it",
)
ARM_SIGNED = Scheme(
    "int8", "int8", per_channel=True, reduce_range=False, why="Arm's signed kernels (SDOT, SMMLA) take both sides as they are"
)
TENSORRT = Scheme(
    "int8",
    "int8",
    per_channel=True,
    reduce_range=False,
    why="TensorRT takes zero point 0 only, and wants biases and outputs in float",
    symmetric=True,
    placement="inputs of weighted operators",
)
OPENVINO = Scheme(
    "int8",
    "int8",
    per_channel=True,
    reduce_range=False,
    why="OpenVINO fuses Swish into integer convolutions that no pair cuts apart; zero point 0 spares AMX a correction",
    symmetric=True,
    placement="behind activations",
)
OPENVINO_ZERO_POINTS = replace(
    OPENVINO, activation="uint8", symmetric=False, why="the same with all 256 levels in use; free where there is no AMX"
)
TUTORIAL = Scheme("int8", "int8", per_channel=True, reduce_range=True, why="what most tutorials give; kept to be measured and refused")

SCHEMES: Mapping[str, Scheme] = {
    "x86-vnni": X86_VNNI,
    "x86": X86_SATURATING,
    "arm64": ARM,
    "arm64-signed": ARM_SIGNED,
    "tensorrt": TENSORRT,
    "openvino": OPENVINO,
    "openvino-zero-points": OPENVINO_ZERO_POINTS,
    "tutorial": TUTORIAL,
}


def scheme_for(isa: AbstractSet[str]) -> Scheme:
    """The scheme for a machine with these instruction sets (names as in `board.profile`)."""
    if "vnni" in isa:
        return X86_VNNI
    return ARM if "neon" in isa else X86_SATURATING


def scheme_named(name: str) -> Scheme:
    """The scheme of this name in `SCHEMES`.

    Raises:
        InputError: there is none.
    """
    if name not in SCHEMES:
        raise InputError(f"there is no scheme {name!r}", expected=f"one of {', '.join(SCHEMES)}")
    return SCHEMES[name]


def integer_schemes(engine: str, isa: AbstractSet[str]) -> tuple[str, ...]:
    """The names of the schemes that make a graph run in integers in this engine on a machine with these instruction sets.

    `BY_TARGET` stands for ONNX Runtime's, which `scheme_for` tells. Engines that compute in float whatever a graph says have none.
    """
    if engine == "onnxruntime":
        return (BY_TARGET,)
    return ("openvino", "openvino-zero-points") if engine == "openvino" and "avx2" in isa else ()

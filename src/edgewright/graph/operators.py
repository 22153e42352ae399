"""Which operators exist: those of the ONNX standard by version, and the contributed ones that ONNX Runtime runs.

Quantizers emit com.microsoft operators, so a model may hold them; a name that is missing from our list is doubted, not refused,
because the list is of one release and the next one adds to it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import onnx

CONTRIBUTED_DOMAIN: Final = "com.microsoft"
# Written by ONNX Runtime when it saves an optimised model: runs, but only on the kind of processor it was optimised on.
MACHINE_DOMAINS: Final = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})

# From onnxruntime 1.31, get_all_operator_schema().
CONTRIBUTED: Final = frozenset(
    """
    Attention AttnLSTM BeamSearch BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector BitmaskBiasDropout
    BitmaskDropout BranchwiseRMSNorm CDist CausalConvWithState ComplexMul ComplexMulConj ConvTransposeWithDynamicPads
    CropAndResize DecoderAttention DecoderMaskedMultiHeadAttention DecoderMaskedSelfAttention DequantizeBFP DequantizeLinear
    DequantizeWithOrder DynamicQuantizeLSTM DynamicQuantizeMatMul DynamicSparseAttention DynamicTimeWarping EPContext
    EmbedLayerNormalization EngramGate ExpandDims FastGelu FusedConv FusedGemm FusedMatMul FusedMatMulActivation GatedAdd
    GatedDeltaNet GatedRMSNorm GatedRelativePositionBias GatherBlockQuantized GatherND Gelu GemmFastGelu GemmFloat8
    GemmaRotaryEmbedding GreedySearch GridSample GroupNorm GroupQueryAttention HyperConnectionPostMix HyperConnectionPreMix
    Inverse Irfft IsAllFinite LinearAttention LinearAttentionGate LongformerAttention MRotaryEmbedding
    MatMulBlockQuantizedFp4Weight MatMulBlockQuantizedFp8Weight MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat
    MatMulNBits MatMulNBitsMlp MatMulNBitsQkv MaxpoolWithMask MoE MulInteger MultiHeadAttention MurmurHash3 NGramHashMapping
    NGramRepeatBlock NhwcConv NhwcFusedConv NhwcMaxPool PackedAttention PackedMultiHeadAttention PackedSparseAttentionIndexer Pad
    PagedAttention QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat QLinearConv
    QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QMoE
    QOrderedAttention QOrderedGelu QOrderedLayerNormalization QOrderedLongformerAttention QOrderedMatMul QuantizeBFP
    QuantizeLinear QuantizeWithOrder QuickGelu Range ReduceSumInteger RelativePositionBias RemovePadding RestorePadding Rfft
    RotaryEmbedding SampleOp Sampling ScaledSiLU SkipGroupNorm SkipLayerNormalization SkipSimplifiedLayerNormalization Snpe
    SparseAttention SparseAttentionIndexer SparsePagedAttention SparseToDenseMatMul Tokenizer TorchEmbedding TransposeMatMul Trilu
    UnfoldTensor Unique VarlenCausalConvWithState VarlenNGramHashMapping WhisperBeamSearch WordConvEmbedding
    """.split()  # noqa: SIM905 - a hundred quoted names would be harder to compare with the source
)


@cache
def standard_domains() -> frozenset[str]:
    return frozenset(schema.domain for schema in onnx.defs.get_all_schemas_with_history())


@cache
def newest_versions() -> dict[str, int]:
    """Domain -> the newest version of it that the installed onnx describes."""
    newest: dict[str, int] = {"": onnx.defs.onnx_opset_version()}
    for domain, version in onnx.helper.OP_SET_ID_VERSION_MAP:
        if domain != "ai.onnx":
            newest[domain] = max(version, newest.get(domain, 0))
    return newest


@cache
def schema_of(domain: str, operator: str, version: int) -> onnx.defs.OpSchema | None:
    """The operator as opset `version` has it; None where it has none of that name."""
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


@dataclass(frozen=True, slots=True)
class ExpectedAttribute:
    """What an operator takes under a name: a number of `onnx.AttributeProto.AttributeType`."""

    kind: int
    required: bool


@cache
def attributes_of(domain: str, operator: str, version: int) -> dict[str, ExpectedAttribute]:
    """Name -> what the operator expects there; empty where nobody knows the operator."""
    schema = schema_of(domain, operator, version)
    held = schema.attributes if schema is not None else {}
    # An IntEnum at run time, which the stubs do not say.
    return {name: ExpectedAttribute(int(cast("int", held[name].type)), bool(held[name].required)) for name in held}


def exists(domain: str, operator: str) -> bool:
    """Whether any version has it."""
    return bool(onnx.defs.has(operator, domain))

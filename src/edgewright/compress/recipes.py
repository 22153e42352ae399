"""The ways to make a detector smaller that `fit` tries, as data.

What each choice is worth was measured over five calibration draws; docs/performance.md has the table and the command.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from edgewright.compress.schemes import BY_TARGET, integer_schemes
from edgewright.engines import Precision

Part: TypeAlias = Literal["stem", "head", "decode"]
RangeRuleName: TypeAlias = Literal["min_max", "percentile", "entropy", "least_squares"]

# What a model is turned into when nothing more is asked of it but answers; each an exact rewriting (graph/camera_input.py,
# compress/integer_outputs.py).
Form: TypeAlias = Literal["camera frames", "integer outputs"]

MAKES_INTEGERS = ("mnn",)  # engines whose own converter makes integers of a float graph; activations are quantized as it runs
TAKES_BYTES = ("onnxruntime", "openvino")  # engines whose first operator may read the frame's own bytes


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way: cut the head or not; keep float, quantize weights and activations ahead of time (static) or activations on the fly
    (dynamic).

    `float_parts` stay in float: the `stem` (the first three convolutions, few channels and wide ranges), the `head` (its last
    convolutions, whose error nothing averages out), the `decode` behind it where the head is not cut. The floors clip a range
    from below where less means nothing: under
    `silu_floor` SiLU is flat; a class logit of -8 is a probability of 0.0003, below any threshold; a box bin at -6 has no
    weight in the softmax beside one that fires
    (were a network to hold all its bins that low, agreement with the float model would show it, and the `head` stays float).
    `float_layers` are single nodes of the recipe's source that stay in float as well, by name. `bias_correction` takes the mean error
    that quantization leaves in each convolution out of its bias. `container` is how integers are written down: Q/DQ pairs round float
    operators, which the runtime fuses, or integer operators. `engine` is what runs it; `forms` is how it meets the world, `size_wh` what
    size of picture it takes (None: as given). `source` names the float network it is made of: none is the given one, others have been
    taught by it (`learn`).
    """

    name: str
    precision: Precision
    mode: Literal["float", "static", "dynamic"]
    head_cut: bool = True
    ranges: RangeRuleName = "percentile"
    silu_floor: float | None = -6.0
    class_logit_floor: float | None = -8.0
    box_logit_floor: float | None = -6.0
    float_parts: tuple[Part, ...] = ()
    float_layers: tuple[str, ...] = ()
    bias_correction: bool = False
    container: Literal["qdq", "qoperator"] = "qdq"
    scheme: str = BY_TARGET
    engine: str = "onnxruntime"
    forms: tuple[Form, ...] = ()
    size_wh: tuple[int, int] | None = None
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


INT8 = Recipe("int8", "int8", "static")
PLAIN = Recipe("int8, plain min-max", "int8", "static", ranges="min_max", silu_floor=None, class_logit_floor=None, box_logit_floor=None)
TUTORIAL_RECIPE = replace(PLAIN, name="tutorial: whole graph, S8S8, reduce_range", head_cut=False, scheme="tutorial")

RECIPES = (
    Recipe("float32, head cut", "float32", "float"),
    Recipe("int8 dynamic", "int8", "dynamic", head_cut=False),
    PLAIN,
    INT8,
    replace(INT8, name="int8, QOperator", container="qoperator"),
    replace(INT8, name="int8, float head", float_parts=("head",)),
    replace(INT8, name="int8, float head+stem", float_parts=("head", "stem")),
)


def recipes_of(engine: str, floats: Sequence[Precision], isa: AbstractSet[str], base: Recipe) -> tuple[Recipe, ...]:
    """What is tried in an engine other than ONNX Runtime: the float network in each of the precisions `floats` that it computes in, and
    `base`, an integer recipe, in each scheme that makes it integers there; or the engine's own integers.
    """
    plain = next(recipe for recipe in RECIPES if recipe.mode == "float")
    exact = tuple(replace(plain, name=f"{engine} {precision}", precision=precision, engine=engine) for precision in floats)
    stem: tuple[Part, ...] = ("stem",)
    names = {"openvino-zero-points": f"{engine} int8, zero points"}
    integers = tuple(
        replace(base, name=f"{names.get(scheme, f'{engine} int8')}{suffix}", engine=engine, scheme=scheme, float_parts=parts)
        for scheme in integer_schemes(engine, isa)
        for suffix, parts in (("", ()), (", float stem", stem))
    )
    own = (replace(plain, name=f"{engine} int8", precision="int8", engine=engine),) if engine in MAKES_INTEGERS else ()
    return (*exact, *own, *integers)


def deployed(recipe: Recipe) -> Recipe:
    """The recipe in the forms that cost nothing and save time: frames as cameras give them, integers as outputs."""
    camera: tuple[Form, ...] = ("camera frames",) if recipe.engine in TAKES_BYTES else ()
    integers: tuple[Form, ...] = ("integer outputs",) if recipe.engine in TAKES_BYTES and recipe.mode == "static" else ()
    return replace(recipe, forms=camera + integers)

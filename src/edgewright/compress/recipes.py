"""The ways to make a detector smaller that `fit` tries, as data.

What each choice is worth was measured over five calibration draws; docs/performance.md has the table and the command.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

Part: TypeAlias = Literal["stem", "head", "decode"]
RangeRuleName: TypeAlias = Literal["min_max", "percentile", "entropy", "least_squares"]

BY_TARGET = "by target"  # the scheme that suits the board's instruction set; else a name of `schemes.SCHEMES`


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
    operators, which the runtime fuses, or integer operators.
    """

    name: str
    precision: Literal["float32", "int8"]
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

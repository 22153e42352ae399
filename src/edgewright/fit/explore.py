"""What a fit tries, and in which order: pure rules over what was measured.

Two questions are asked of a few pictures, by how far the integer network is from the float one on them (`compress.disagreement`), because
mAP on a few pictures is all chance: how should ranges be read, and which layers do most harm? The answers become recipes, and recipes are
judged as whole models by mAP and by measured speed, like everything else.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any, get_args

from edgewright.compress.recipes import INT8, RECIPES, RangeRuleName, Recipe, deployed, recipes_of
from edgewright.compress.sensitivity import LayerSensitivity, Sensitivity, by_gain_for_charge
from edgewright.engines import Precision

LOOK_IMAGES = 16  # pictures the two questions are asked of: told apart plain min-max and percentiles on each of three draws of 16
CHARGES = (0.0, 0.05, 0.12, 0.25, 0.5)  # of the time of the network all in integers, paid for layers in float
NEARLY_FREE = 0.05  # where integers alone are accurate enough, sets dearer than this are not tried
MOST_HALVINGS = 3  # of the gap between a set too small and one large enough


@dataclass(frozen=True, slots=True)
class Look:
    """A way of reading ranges, and the disagreement with the float model that it leaves."""

    recipe: Recipe
    error: float

    def to_json(self) -> dict[str, Any]:
        return {"name": self.recipe.name, "error": self.error}


@dataclass(frozen=True, slots=True)
class FloatSet:
    """A set of layers in float: how many (`ranked` of them at a price), what it promised, and what its model did on the selection
    split (None: not tried there).
    """

    recipe: Recipe
    layers: int
    ranked: int
    charge: float
    gain: float
    delta_points: float | None = None
    within: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.recipe.name,
            "layers": self.layers,
            "expected_gain": self.gain,
            "expected_charge": self.charge,
            "delta_points": self.delta_points,
            "within_budget": self.within,
        }


@dataclass(frozen=True, slots=True)
class Exploration:
    """Everything that was looked at before candidates were judged; empty where a fit was told what to try."""

    images: int = 0
    scales: tuple[Mapping[str, Any], ...] = ()  # where one scale would cover ranges far apart, and how that is mended
    looks: tuple[Look, ...] = ()
    base: str = ""  # the name of the look that the integer candidates are made from
    sensitivity: Sensitivity | None = None
    float_sets: tuple[FloatSet, ...] = ()

    @property
    def base_recipe(self) -> Recipe:
        """What the integer candidates are made from, under the name it has among them."""
        chosen = (replace(look.recipe, name=INT8.name, float_parts=()) for look in self.looks if look.recipe.name == self.base)
        return next(chosen, INT8)

    def to_json(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "scales": [dict(each) for each in self.scales],
            "ranges": [{**look.to_json(), "chosen": look.recipe.name == self.base} for look in self.looks],
            "sensitivity": None if self.sensitivity is None else self.sensitivity.to_json(),
            "float_sets": [each.to_json() for each in self.float_sets],
        }


def range_trials(kept_float: tuple[str, ...] = ()) -> tuple[Recipe, ...]:
    """Every way of reading ranges, with the floors that a detector's own arithmetic allows; and the plain one without them.

    All leave the stem in float, so that one large error at the entrance does not hide the rest (YOLOX-nano's makes nine tenths).
    `kept_float`: nodes that would force one scale on ranges far apart; all but the plain one leave them in float.
    """
    plain = next(recipe for recipe in RECIPES if recipe.mode == "static" and recipe.silu_floor is None)
    usual = replace(INT8, float_layers=kept_float)
    ways = (plain, *(replace(usual, name=f"int8, {rule.replace('_', ' ')}", ranges=rule) for rule in get_args(RangeRuleName)))
    return tuple(replace(way, name=f"{way.name}, float stem", float_parts=("stem",)) for way in ways)


def with_bias_correction(look: Look) -> Recipe:
    """The same with biases corrected."""
    return replace(look.recipe, name=f"{look.recipe.name}, bias corrected", bias_correction=True)


def closest(looks: Sequence[Look]) -> Look:
    """The look that leaves least; the first of equals."""
    return min(looks, key=lambda look: look.error)


def candidates_from(base: Recipe, engines: Mapping[str, Sequence[Precision]], isa: AbstractSet[str]) -> tuple[Recipe, ...]:
    """The standing list of recipes of each engine, with the precisions that it computes float graphs in, in the forms that are deployed.

    The integer ones read their ranges as `base` does; plain min-max stays as it is, to compare with.
    """
    taken = {name: getattr(base, name) for name in ("ranges", "bias_correction", "float_layers", *FLOORS)}
    found = []
    for engine, floats in engines.items():
        standing = RECIPES if engine == RECIPES[0].engine else recipes_of(engine, floats, isa, INT8)
        found += [recipe if recipe.mode != "static" or recipe.silu_floor is None else replace(recipe, **taken) for recipe in standing]
    return tuple(deployed(recipe) for recipe in found)


def recovered_recipes(
    source: str, size_wh: tuple[int, int] | None, engines: Mapping[str, Sequence[Precision]], isa: AbstractSet[str]
) -> tuple[Recipe, ...]:
    """What is tried of a network that has learned, for pictures of the size that it is meant for (None: the given one).

    All of it in integers, in every engine and scheme that makes it so, and, so that it can be seen what the change alone cost, in float32.
    """
    known = candidates_from(INT8, engines, isa)
    plain = next(each for each in known if each.mode == "float")
    integers = [each for each in known if each.mode == "static" and each.silu_floor is not None and not each.float_parts]
    usual = [each for each in integers if each.container == "qdq"]
    return tuple(replace(each, name=f"{source}: {each.name}", source=source, size_wh=size_wh) for each in (plain, *usual))


def at_size(recipe: Recipe, size_wh: tuple[int, int]) -> Recipe:
    """The same recipe for pictures of another size."""
    return replace(recipe, name=f"{recipe.name}, {size_wh[0]}x{size_wh[1]}", size_wh=size_wh)


FLOORS = ("silu_floor", "class_logit_floor", "box_logit_floor")


def float_sets(base: Recipe, sensitivity: Sensitivity) -> tuple[FloatSet, ...]:
    """Sets worth trying, smallest first: the starting region, then with it as many of the layers that gain most for their charge as
    bring the whole to each charge of `CHARGES`.
    """
    ordered, start = by_gain_for_charge(sensitivity), sensitivity.start_region
    spent = _charge_of(start)
    counts = {0, *(_affordable(ordered, charge - spent) for charge in CHARGES)}
    sets = [growing_set(base, sensitivity, count) for count in sorted(counts)]
    return tuple(each for each in sets if each.layers)


def growing_set(base: Recipe, sensitivity: Sensitivity, count: int) -> FloatSet:
    """The recipe that keeps the starting region and the first `count` of the layers in order of gain for charge in float."""
    start, chosen = sensitivity.start_region, by_gain_for_charge(sensitivity)[:count]
    parts = ([start] if start else []) + chosen
    nodes = tuple(dict.fromkeys((*base.float_layers, *(node for part in parts for node in part.nodes))))
    layers = (start.layers if start else 0) + len(chosen)
    slower = 1 + _charge_of(start)
    return FloatSet(
        recipe=replace(base, name=f"{base.name}, {layers} layer{'' if layers == 1 else 's'} float", float_layers=nodes),
        layers=layers,
        ranked=len(chosen),
        charge=slower * (1 + sum(layer.price for layer in chosen)) - 1,
        gain=sum(part.gain for part in parts),
    )


def _charge_of(start: LayerSensitivity | None) -> float:
    return 0.0 if start is None or start.charge is None else start.charge


def _affordable(ordered: Sequence[LayerSensitivity], charge: float) -> int:
    """How many from the front cost no more than `charge` together."""
    spent = 0.0
    for count, layer in enumerate(ordered):
        spent += layer.price
        if spent > charge:
            return count
    return len(ordered)

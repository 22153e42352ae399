"""What a fit tries: pure rules, a case a line."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.compress.recipes import INT8, PLAIN, RECIPES, deployed
from edgewright.compress.sensitivity import NEXT_TO_NOTHING, LayerSensitivity, Sensitivity, by_gain_for_charge
from edgewright.fit.explore import (
    CHARGES,
    Exploration,
    Look,
    candidates_from,
    closest,
    float_sets,
    growing_set,
    range_trials,
    with_bias_correction,
)

ORT = {"onnxruntime": ("float32",)}
VNNI = {"avx2", "vnni"}


def sensitivity(*gains_and_charges: tuple[float, float]) -> Sensitivity:
    layers = [LayerSensitivity(f"conv{at}", (f"conv{at}", f"act{at}"), *pair) for at, pair in enumerate(gains_and_charges)]
    return Sensitivity(0.05, (), None, tuple(layers))


STEM = LayerSensitivity("the first 2 layers", ("stem0", "stem0/act", "stem1"), 0.5, -0.05, 2)
OTHERS = sensitivity((0.10, 0.02), (0.01, 0.03), (0.30, 0.09), (-0.05, 0.02), (0.02, 0.30))


def test_every_rule_is_looked_at_once_and_plain_min_max_too_all_with_a_float_stem():
    trials = range_trials()
    assert replace(trials[0], name=PLAIN.name, float_parts=()) == PLAIN
    assert {(trial.ranges, trial.silu_floor) for trial in trials[1:]} == {
        (rule, INT8.silu_floor) for rule in ("min_max", "percentile", "entropy", "least_squares")
    }
    assert {trial.float_parts for trial in trials} == {("stem",)}
    assert not {trial.name for trial in trials} & {recipe.name for recipe in RECIPES}


def test_the_closest_look_makes_the_candidates_but_plain_min_max_stays_plain():
    looks = (Look(range_trials()[1], 0.07), Look(with_bias_correction(Look(range_trials()[3], 0.06)), 0.04), Look(PLAIN, 0.09))
    base = Exploration(16, (), looks, closest(looks).recipe.name).base_recipe
    assert (base.name, base.ranges, base.bias_correction, base.float_parts) == ("int8", "entropy", True, ())
    made = {recipe.name: recipe for recipe in candidates_from(base, ORT, VNNI)}
    assert set(made) == {recipe.name for recipe in RECIPES}
    assert made[PLAIN.name] == deployed(PLAIN)
    assert made["int8, float head"] == deployed(replace(base, name="int8, float head", float_parts=("head",)))
    assert made["int8 dynamic"] == deployed(next(recipe for recipe in RECIPES if recipe.name == "int8 dynamic"))


def test_nodes_that_join_ranges_far_apart_stay_in_float_throughout():
    trials = range_trials(("last_concat",))
    assert {trial.float_layers for trial in trials[1:]} == {("last_concat",)}
    base = Exploration(16, (), (Look(trials[2], 0.05),), trials[2].name).base_recipe
    made = {recipe.name: recipe for recipe in candidates_from(base, ORT, VNNI)}
    assert made["int8, float head"].float_layers == ("last_concat",)
    assert made[PLAIN.name] == deployed(PLAIN)
    assert growing_set(base, OTHERS, 1).recipe.float_layers == ("last_concat", "conv0", "act0")


def test_without_an_exploration_the_standing_list_is_tried():
    assert candidates_from(Exploration().base_recipe, ORT, VNNI) == tuple(map(deployed, RECIPES))


def test_every_engine_has_its_precisions_and_its_integers():
    engines = {"onnxruntime": ("float32",), "openvino": ("float32", "bfloat16"), "mnn": ("float32",), "ncnn": ("float32", "float16")}
    base = replace(INT8, ranges="entropy", bias_correction=True)
    made = {recipe.name: recipe for recipe in candidates_from(base, engines, VNNI)}
    assert len(made) == len(candidates_from(base, engines, VNNI))
    assert {name for name in made if name.startswith(("mnn", "ncnn"))} == {"mnn float32", "mnn int8", "ncnn float32", "ncnn float16"}
    ours = [recipe for recipe in made.values() if recipe.engine == "openvino"]
    assert {recipe.precision for recipe in ours} == {"float32", "bfloat16", "int8"}
    integers = [recipe for recipe in ours if recipe.mode == "static"]
    assert {(recipe.scheme, recipe.float_parts) for recipe in integers} == {
        (scheme, parts) for scheme in ("openvino", "openvino-zero-points") for parts in ((), ("stem",))
    }
    assert all((recipe.ranges, recipe.bias_correction) == ("entropy", True) for recipe in integers)
    assert made["mnn int8"].mode == "float"  # its converter makes the integers


def test_an_arm_board_gets_no_integers_in_openvino_which_computes_in_halves_there():
    made = candidates_from(INT8, {"openvino": ("float32", "float16")}, {"neon", "dotprod", "fp16"})
    assert {recipe.precision for recipe in made} == {"float32", "float16"}


def test_what_is_deployed_takes_bytes_and_gives_integers_where_the_engine_can():
    assert deployed(INT8).forms == ("camera frames", "integer outputs")
    assert deployed(replace(INT8, mode="dynamic")).forms == ("camera frames",)
    assert deployed(replace(INT8, engine="ncnn", mode="float", precision="float32")).forms == ()


def test_sets_grow_by_gain_for_charge_from_what_is_free():
    sets = float_sets(INT8, replace(OTHERS, regions=(STEM,), start=STEM.layer))
    stem = STEM.nodes
    assert [each.recipe.float_layers for each in sets] == [
        stem,
        (*stem, "conv0", "act0"),
        (*stem, "conv0", "act0", "conv2", "act2", "conv1", "act1"),
        (*stem, "conv0", "act0", "conv2", "act2", "conv1", "act1", "conv4", "act4"),
    ]
    assert [(each.recipe.name, each.layers, each.ranked) for each in sets] == [
        (f"int8, {2 + count} layers float", 2 + count, count) for count in (0, 1, 3, 4)
    ]
    assert sets[1].gain == pytest.approx(0.5 + 0.1)
    assert sets[1].charge == pytest.approx(0.95 * 1.02 - 1)
    assert [each.charge <= charge for each, charge in zip(sets[1:], (0.0, 0.12, 0.5), strict=True)] == [True] * 3


def test_without_a_free_region_sets_begin_with_layers():
    first, *_ = float_sets(INT8, OTHERS)
    assert (first.recipe.float_layers, first.recipe.name) == (("conv0", "act0"), "int8, 1 layer float")


def test_nothing_to_try_where_no_layer_gains():
    assert float_sets(INT8, sensitivity((-0.1, 0.1), (0.0, 0.0))) == ()


layers = st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.1, 0.5)), max_size=40).map(lambda pairs: sensitivity(*pairs))


@given(layers)
def test_sets_grow_and_keep_to_their_charge(found):
    sets = float_sets(INT8, found)
    for smaller, larger in pairwise(sets):
        assert set(smaller.recipe.float_layers) < set(larger.recipe.float_layers)
    charges = {layer.layer: max(layer.charge, NEXT_TO_NOTHING) for layer in by_gain_for_charge(found)}
    for each in sets:
        paid = sum(charge for name, charge in charges.items() if name in each.recipe.float_layers)
        assert paid <= max(CHARGES) + 1e-9


@given(layers, st.integers(0, 40))
def test_a_growing_set_names_its_layers_once(found, count):
    grown = growing_set(INT8, found, count)
    assert len(set(grown.recipe.float_layers)) == len(grown.recipe.float_layers) == 2 * grown.layers
    assert grown.gain == pytest.approx(sum(layer.gain for layer in found.layers if layer.layer in grown.recipe.float_layers))


def test_the_document_marks_what_was_chosen():
    looks = (Look(PLAIN, 0.09), Look(range_trials()[2], 0.05))
    found = replace(OTHERS, regions=(STEM,), start=STEM.layer)
    document = Exploration(16, (), looks, closest(looks).recipe.name, found, float_sets(INT8, found)).to_json()
    assert [row["chosen"] for row in document["ranges"]] == [False, True]
    assert document["sensitivity"]["start"] == STEM.layer
    assert document["sensitivity"]["regions"][0]["charge"] == -0.05
    assert document["float_sets"][0] == {
        "name": "int8, 2 layers float",
        "layers": 2,
        "expected_gain": 0.5,
        "expected_charge": pytest.approx(-0.05),
        "delta_points": None,
        "within_budget": None,
    }

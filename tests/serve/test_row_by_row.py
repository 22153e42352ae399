"""Models whose rows are requests, and models that only look like it."""

import numpy as np
import pytest

from edgewright.serve.row_by_row import ApartError, are_alike, check_part, prove


def floats(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WEIGHTS = floats(4, 5, seed=9)
ROW_BY_ROW = {
    "a layer": lambda f: [f["x"] @ WEIGHTS],
    "softmax along a row": lambda f: [np.exp(f["x"]) / np.exp(f["x"]).sum(1, keepdims=True)],
    "two outputs": lambda f: [f["x"].sum(1), (f["x"] > 0)],
    "rounding": lambda f: [(f["x"] @ WEIGHTS) * np.float32(1 + 1e-6 * len(f["x"]))],
}
TOGETHER = {
    "softmax along the rows": lambda f: [np.exp(f["x"]) / np.exp(f["x"]).sum(0)],
    "one scale for all rows": lambda f: [np.round(f["x"] / np.abs(f["x"]).max() * 127) * np.abs(f["x"]).max() / 127],
    "a table of all with all": lambda f: [f["x"] @ f["x"].T],
    "one sum": lambda f: [f["x"].sum(0, keepdims=True)],
    "found things, with their row": lambda f: [np.argwhere(f["x"] > 0).astype(np.float32)],
    "nothing found": lambda f: [np.zeros((0, 6), np.float32)],
    "the row's number": lambda f: [f["x"] + np.arange(len(f["x"]), dtype=np.float32)[:, None]],
    "upside down": lambda f: [f["x"][::-1] * 1.0],
}
SHOW_NOTHING = [("nothing found", 1), ("nothing found", 3), ("softmax along the rows", 1)]  # the same answer to everybody


@pytest.mark.parametrize("name", ROW_BY_ROW)
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_do_not_depend_on_each_other(name, rows):
    prove(ROW_BY_ROW[name], {"x": floats(rows, 4)})


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_that_do(name, rows):
    with pytest.raises(ApartError) as caught:
        prove(TOGETHER[name], {"x": floats(rows, 4)})
    assert caught.value.is_final != ((name, rows) in SHOW_NOTHING)


def test_what_shows_nothing_proves_nothing():
    with pytest.raises(ApartError, match="shows nothing") as caught:
        prove(lambda f: [f["words"] * 2], {"words": np.full((1, 4), 7)})
    assert not caught.value.is_final
    prove(lambda f: [f["words"] * 2], {"words": np.arange(4)[None]})


def test_words_stay_words_of_the_list():
    seen = []

    def compute(feeds):
        seen.append(feeds["words"].max())
        return [WEIGHTS[feeds["words"]].sum(1)]

    prove(compute, {"words": np.array([[0, 1, 3, 3]])})
    assert max(seen) == 3


def test_numbers_are_alike_but_for_rounding():
    a = floats(100)
    assert are_alike(a, a * np.float32(1 + 1e-5))
    assert not are_alike(a, a * np.float32(1.01))
    assert are_alike(a.astype(np.float16), (a * 1.001).astype(np.float16))
    nan = np.array([np.nan, np.inf, 1], np.float32)
    assert are_alike(nan, nan)
    assert not are_alike(nan, np.nan_to_num(nan))
    assert not are_alike(np.array([1, 2]), np.array([1, 3]))
    assert are_alike(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


def test_an_answer_of_other_shape_is_another_answer():
    with pytest.raises(ApartError, match="otherwise"):
        check_part([np.zeros((2, 3))], [np.zeros((1, 4))], 0, 2, 1)

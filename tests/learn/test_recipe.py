"""What people write behind --recipe: a table of texts to changes, and what is refused."""

import pytest

pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.errors import InputError
from edgewright.learn.changes import PruneChannels, QuantizeAware, Shrink, SwapActivation
from edgewright.learn.recipe import MOST_CHANGES, parse_recipe

SWAP, QAT = SwapActivation(), QuantizeAware()


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("swap", (SWAP,)),
        ("swap=relu", (SWAP,)),
        ("swap=hardswish", (SwapActivation("hardswish"),)),
        ("prune", (PruneChannels(0.4),)),
        ("prune=0.25", (PruneChannels(0.25),)),
        ("prune=.5t", (PruneChannels(0.5, by_time=True),)),
        ("prune=t", (PruneChannels(0.4, by_time=True),)),
        ("shrink=512", (Shrink(512),)),
        ("shrink=512@0.5", (Shrink(512, epochs=0.5),)),
        ("qat", (QAT,)),
        ("swap@10", (SwapActivation(epochs=10.0),)),
        ("prune=0.3t@0.5", (PruneChannels(0.3, by_time=True, epochs=0.5),)),
        ("qat@1000", (QuantizeAware(epochs=1000.0),)),
        ("swap,prune=0.4,qat", (SWAP, PruneChannels(0.4), QAT)),
        ("qat,swap", (QAT, SWAP)),
        ("prune=0.2,prune=0.2", (PruneChannels(0.2), PruneChannels(0.2))),
        (" swap , qat ,", (SWAP, QAT)),
        (",".join(["qat"] * MOST_CHANGES), (QAT,) * MOST_CHANGES),
    ],
)
def test_a_word_is_a_change_in_the_order_written(text, changes):
    assert parse_recipe(text) == changes


@pytest.mark.parametrize("text", ["swap", "swap=hardswish", "prune=0.4", "prune=0.25t", "shrink=512", "qat"])
def test_a_change_is_called_as_it_is_written(text):
    (change,) = parse_recipe(text)

    assert change.name == text
    assert parse_recipe(change.name) == (change,)


def test_passes_are_the_change_s_own_unless_told():
    (usual,), (told,) = parse_recipe("prune=0.4"), parse_recipe("prune=0.4@2.5")

    assert usual.epochs == PruneChannels().epochs
    assert told.epochs == 2.5
    assert told.name == usual.name, "how long it learns is no other change"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--recipe names no changes; got nothing; expected changes separated by commas"),
        (" , ,", "--recipe names no changes"),
        (",".join(["qat"] * (MOST_CHANGES + 1)), "--recipe names no changes"),
        ("distil", "names a change that does not exist: distil; expected changes separated by commas: swap"),
        ("swap,Prune", "does not exist: Prune"),
        ("swap+qat", r"does not exist: swap\+qat"),
        ("=0.4", "does not exist: =0.4"),
        ("swap=silu", "cannot be read at swap=silu; got no activation 'silu'"),
        ("prune=much", "cannot be read at prune=much; got no number 'much'"),
        ("prune=40", "got 40, which is not between 0.01 and 0.95"),
        ("prune=0", "got 0, which is not between 0.01 and 0.95"),
        ("prune=-0.2", "got -0.2, which is not between"),
        ("prune=nan", "got nan, which is not between"),
        ("prune=inf", "got inf, which is not between"),
        ("shrink", "got no width ''"),
        ("shrink=wide", "got no width 'wide'"),
        ("shrink=0", "got no width '0'"),
        ("shrink=99999", "got no width '99999'"),
        ("shrink=640x384", "got no width '640x384'"),
        ("qat=8", "qat takes no value"),
        ("swap@0", "got 0, which is not between 0.01 and 1000"),
        ("swap@many", "got no number 'many'"),
        ("swap@1001", "got 1001, which is not between"),
        ("swap@2@3", "got no number '2@3'"),
    ],
)
def test_what_is_no_change_is_refused_with_what_was_expected(text, said):
    with pytest.raises(InputError, match=said) as refused:
        parse_recipe(text)
    assert "expected changes separated by commas" in str(refused.value)


def test_a_stranger_s_word_is_shown_short_and_harmless():
    with pytest.raises(InputError) as refused:
        parse_recipe("\x1b[31m" + "x" * 10_000)
    assert "\x1b" not in str(refused.value)
    assert len(str(refused.value)) < 500

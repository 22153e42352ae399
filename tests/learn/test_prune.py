"""Which channels go: those that matter least for the time they cost, in whole steps, until it is enough or nothing more may go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

torch = pytest.importorskip("torch", reason="what learns needs PyTorch: pip install 'edgewright[learn]'")

from edgewright.compress.head_cut import cut_head  # noqa: E402
from edgewright.graph.cost import mac_count  # noqa: E402
from edgewright.learn.channels import map_channels, without_channels  # noqa: E402
from edgewright.learn.prune import FEWEST, LEAST_RATE, MOST_RATE, choose, costs, importances  # noqa: E402
from edgewright.learn.trainable import Trainable  # noqa: E402
from learn.nets import deaf, folded_with_head, picture_of, small_net  # noqa: E402
from tiny_detector import save_tiny_detector  # noqa: E402


def widths_of(channels, kept):
    """Channels before and after, of each width that lost some."""
    return [(len(width.numbers), int(kept[width.numbers].sum())) for width in channels.widths if not kept[width.numbers].all()]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def chain(*widths):
    """Convolutions one after the other, which make so many channels."""
    nodes, weights, before, source = [], {}, 3, "image"
    for at, width in enumerate((*widths, 2)):
        nodes.append(helper.make_node("Conv", [source, f"w{at}"], [f"x{at}"], name=f"conv{at}"))
        weights[f"w{at}"] = (width, before, 1, 1)
        before, source = width, f"x{at}"
    return small_net(nodes, [source], weights)


def side_by_side(left=16, right=16, *, kernel=1):
    """Two convolutions on the picture, and one behind each; a kernel larger than one makes the right branch dearer."""
    pads = [kernel // 2] * 4
    nodes = [
        helper.make_node("Conv", ["image", "wl"], ["l"], name="left"),
        helper.make_node("Conv", ["image", "wr"], ["r"], name="right", pads=pads),
        helper.make_node("Conv", ["l", "wlo"], ["lo"], name="left_out"),
        helper.make_node("Conv", ["r", "wro"], ["ro"], name="right_out"),
    ]
    weights = {"wl": (left, 3, 1, 1), "wr": (right, 3, kernel, kernel), "wlo": (2, left, 1, 1), "wro": (2, right, 1, 1)}
    return small_net(nodes, ["lo", "ro"], weights)


def mapped(model):
    return map_channels(model, [each.name for each in model.graph.output])


def even_rates(channels, total_ms=10.0):
    """A multiply-add costs the same wherever it is."""
    return np.full(len(channels.widths), total_ms / channels.macs(channels.everything()))


def chosen(channels, importance=None, is_enough=lambda *_: False, rates=None, **options):
    importance = np.ones(len(channels.pinned)) if importance is None else importance
    return choose(channels, importance, 10.0, even_rates(channels) if rates is None else rates, is_enough, **options)


def left_of(channels, kept):
    return [int(kept[width.numbers].sum()) for width in channels.widths]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_share_of_multiply_adds_is_met_and_not_by_more_than_a_step(share):
    channels = mapped(chain(64, 64, 64))
    found = chosen(channels, np.arange(len(channels.pinned), dtype=float), lambda macs, _: macs >= share)
    assert share <= found.macs_share < share + 0.15
    assert found.macs_before == channels.macs(channels.everything())
    assert found.macs_after == channels.macs(found.kept)
    assert found.ms_after == pytest.approx(10.0 * (1 - found.macs_share))


def test_a_share_of_time_is_met():
    channels = mapped(chain(64, 64, 64))
    found = chosen(channels, is_enough=lambda _, ms: ms >= 0.4, rates=even_rates(channels) * [0.25, 1, 2])
    assert 0.4 <= 1 - found.ms_after / found.ms_before < 0.6


def test_what_is_enough_at_once_takes_nothing():
    channels = mapped(chain(64))
    found = chosen(channels, is_enough=lambda macs, ms: (macs, ms) == (0, 0))
    assert found.kept.all()
    assert found.macs_share == 0
    assert found.ms_after == found.ms_before == 10.0
    assert widths_of(channels, found.kept) == []


@pytest.mark.parametrize(
    ("width", "step", "left"),
    [(64, 8, 8), (20, 8, 8), (9, 8, 8), (8, 8, 8), (5, 8, 5), (48, 16, 16), (20, 16, 16), (15, 16, 15), (17, 4, 8), (16, 1, 8)],
)
def test_where_nothing_is_enough_as_few_are_left_as_may_be(width, step, left):
    channels = mapped(chain(width))
    found = chosen(channels, step=step)
    assert left_of(channels, found.kept) == [left]
    assert widths_of(channels, found.kept) == ([(width, left)] if left < width else [])


def test_the_least_important_go_first():
    channels = mapped(side_by_side())
    left, right = (width.numbers for width in channels.widths)
    importance = np.zeros(len(channels.pinned))
    importance[left] = np.random.default_rng(0).permutation(16) + 1.0
    importance[right] = importance[left] + 0.5
    found = chosen(channels, importance, lambda macs, _: macs > 0)
    assert set(np.flatnonzero(~found.kept)) == {number for number in left if importance[number] <= 8}


def test_of_equally_important_ones_those_go_first_whose_time_is_longest():
    channels = mapped(side_by_side())
    for dear, other in ((0, 1), (1, 0)):
        rates = even_rates(channels)
        rates[dear] *= 2
        found = chosen(channels, is_enough=lambda macs, _: macs > 0, rates=rates)
        left = left_of(channels, found.kept)
        assert (left[dear], left[other]) == (8, 16)


def test_of_equally_important_ones_those_go_first_that_save_more_multiply_adds():
    channels = mapped(side_by_side(kernel=3))
    found = chosen(channels, is_enough=lambda macs, _: macs > 0)
    assert left_of(channels, found.kept) == [16, 8]


def test_a_much_more_important_channel_stays_though_it_is_dear():
    channels = mapped(side_by_side(kernel=3))
    importance = np.ones(len(channels.pinned))
    importance[channels.widths[1].numbers] = 100.0
    found = chosen(channels, importance, is_enough=lambda macs, _: macs > 0)
    assert left_of(channels, found.kept) == [8, 16]


@settings(max_examples=60, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    step=st.sampled_from([1, 4, 8, 16]),
    seed=st.integers(0, 9),
    share=st.floats(0, 1),
)
def test_whatever_is_chosen_is_whole_steps_of_what_matters_least(widths, step, seed, share):
    channels = mapped(chain(*widths))
    importance = np.random.default_rng(seed).random(len(channels.pinned))
    found = chosen(channels, importance, lambda macs, _: macs >= share, step=step)
    assert found.kept[channels.pinned].all()
    for width in channels.widths:
        kept = found.kept[width.numbers]
        if not kept.all():
            assert kept.sum() >= FEWEST
            assert kept.sum() % step == 0
            assert importance[width.numbers[~kept]].max() <= importance[width.numbers[kept]].min()
    stuck = all(left < FEWEST + (left % step or step) for left in left_of(channels, found.kept))
    assert found.macs_share >= share or stuck


def test_a_choice_can_be_carried_out():
    model = chain(24, 40)
    channels = mapped(model)
    found = chosen(channels, is_enough=lambda macs, _: macs >= 0.3)
    assert mac_count(without_channels(model, channels, found.kept)) == found.macs_after


# --- what a multiply-add costs ------------------------------------------------------------------------------------------------------------


class CountingClock:
    """A clock that takes a network's time from its multiply-adds, and remembers what it was asked."""

    def __init__(self, milliseconds):
        self.of = milliseconds
        self.asked, self.closed = [], 0

    def open(self, model):
        self.macs = mac_count(model)
        return self

    def close(self):
        self.closed += 1

    def milliseconds(self, engine):
        return self.of(engine.macs)

    def saved_share(self, before, model):
        self.asked.append((before.macs, mac_count(model)))
        return 1 - self.of(mac_count(model)) / self.of(before.macs)


def timed(model, channels, milliseconds):
    """`costs` by a clock that says what `milliseconds` makes of multiply-adds; and what was timed."""
    clock, told = CountingClock(milliseconds), []
    total_ms, rates = costs(model, channels, clock, 4, lambda done, of: told.append((done, of)))
    assert clock.closed == 1
    return total_ms, rates, clock.asked, told


def test_the_widths_of_a_grid_are_halved_and_timed_together():
    model = chain(16, 24)
    channels = mapped(model)
    whole = mac_count(model)
    total_ms, rates, asked, told = timed(model, channels, lambda macs: macs / 100)
    assert asked == [(whole, mac_count(chain(8, 12)))]
    assert told == [(1, 1)]
    assert total_ms == pytest.approx(whole / 100)
    assert rates == pytest.approx(np.full(2, 1 / 100))


def test_every_grid_has_a_cost_of_its_own(tmp_path):
    model, head = folded_with_head(save_tiny_detector(tmp_path / "tiny.onnx", family="yolov8"), tmp_path)
    cut = cut_head(model, head)
    channels = map_channels(cut, [output.name for output in head.outputs])
    grids = sorted({width.cells for width in channels.widths}, reverse=True)
    slow = iter([2.0 * (at + 1) for at in range(len(grids))])

    class Clock(CountingClock):
        def saved_share(self, before, model):
            gone = 1 - mac_count(model) / before.macs
            return next(slow) * gone

    _, rates = costs(cut, channels, Clock(lambda macs: macs / 100), 4)
    expected = {cells: min(2.0 * (at + 1), MOST_RATE) / 100 for at, cells in enumerate(grids)}
    assert len(grids) > 1
    assert rates == pytest.approx([expected[width.cells] for width in channels.widths])


WHOLE = 64 * (16 * 3 + 4 * 16 * 16 + 16 * 2)  # of five convolutions of 16 channels and the one behind them, on 8 x 8


@pytest.mark.parametrize(
    ("milliseconds", "rate"), [(lambda _: 7.0, LEAST_RATE), (lambda macs: 7.0 if macs == WHOLE else -700.0, MOST_RATE)]
)
def test_a_noisy_timing_claims_only_so_much(milliseconds, rate):
    model = chain(16, 16, 16, 16, 16)
    assert mac_count(model) == WHOLE
    _, rates, _, _ = timed(model, mapped(model), milliseconds)
    assert rates == pytest.approx(np.full(5, rate * 7.0 / WHOLE))


# --- importance ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["yolov8", "yolov5", "yolox"])
def cut_tiny(request, tmp_path):
    model, head = folded_with_head(save_tiny_detector(tmp_path / "tiny.onnx", family=request.param), tmp_path)
    return cut_head(model, head), head


def importance_of(model, head, channels, seed=0, pictures=2):
    module = Trainable(model, [output.name for output in head.outputs])
    batches = [torch.from_numpy(picture_of(model, at)) for at in range(pictures)]
    found = importances(module, head, channels, batches, seed)
    assert all(each.grad is None for each in module.parameters()), "nothing is left behind"
    return found


def test_a_channel_that_nobody_listens_to_has_no_importance(cut_tiny):
    model, head = cut_tiny
    channels = map_channels(model, [output.name for output in head.outputs])
    kept = channels.everything()
    for width in channels.widths:
        kept[width.numbers[::5]] = False
    found = importance_of(deaf(model, channels, kept), head, channels)
    free = ~channels.pinned
    assert np.abs(found[free & ~kept]).max() < 1e-12 * found.max()
    assert (found[free & kept] > 0).all()
    whole = importance_of(model, head, channels)
    assert (whole[free] > 0).all()


@pytest.mark.parametrize(("bias", "matters"), [(1.0, True), (0.0, False)])
def test_a_channel_that_is_its_bias_alone_matters_by_its_bias(cut_tiny, bias, matters):
    model, head = cut_tiny
    channels = map_channels(model, [output.name for output in head.outputs])
    conv = channels.convs[0]
    number = next(at for at in range(len(conv.makes)) if not channels.pinned[conv.makes[at]])
    for held in model.graph.initializer:
        if held.name in (conv.weight, conv.bias):
            values = numpy_helper.to_array(held).copy()
            values[number] = bias if held.name == conv.bias else 0
            held.CopyFrom(numpy_helper.from_array(values, held.name))
    assert (importance_of(model, head, channels)[conv.makes[number]] > 0) == matters


def test_importance_depends_on_the_seed_and_on_nothing_else(cut_tiny):
    model, head = cut_tiny
    channels = map_channels(model, [output.name for output in head.outputs])
    first = importance_of(model, head, channels, seed=1)
    assert np.array_equal(first, importance_of(model, head, channels, seed=1))
    assert not np.array_equal(first, importance_of(model, head, channels, seed=2))


def test_the_least_important_channels_change_the_answers_least(cut_tiny):
    """Against the truth: the answers without each channel of the last width, one after the other."""
    model, head = cut_tiny
    outputs = [output.name for output in head.outputs]
    channels = map_channels(model, outputs)
    importance = importance_of(model, head, channels, pictures=8)
    numbers = next(width.numbers for width in channels.widths if len(width.numbers) > 6)
    picture = torch.from_numpy(picture_of(model))

    def answers_without(number):
        kept = channels.everything()
        kept[number] = False
        with torch.no_grad():
            return torch.cat([each.flatten() for each in Trainable(deaf(model, channels, kept), outputs)(picture)])

    whole = answers_without([])
    changes = np.array([float((answers_without(number) - whole).square().sum()) for number in numbers])
    order = np.argsort(importance[numbers])
    assert changes[order[:3]].mean() < changes[order[-3:]].mean()


def test_a_graph_is_left_alone():
    model = chain(16)
    given = model.SerializeToString()
    channels = mapped(model)
    chosen(channels)
    timed(model, channels, lambda macs: macs / 100)
    assert model.SerializeToString() == given

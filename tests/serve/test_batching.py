"""What is learned of computing several together, against curves of latency that are known: it finds the best, and pays little for it."""

import random
from functools import partial
from itertools import pairwise, takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.serve import batching
from edgewright.serve.batching import SIZES, Batching, Choice

LONG_S = 1e9
FEW = 200  # runs within which it has learned, and learned anew
# Seconds by how many are computed together; one alone takes 10 ms.
CURVES = {
    "each takes its own time": lambda size: 0.010 * size,
    "together is slower": lambda size: 0.010 * size**1.2,
    "a run has a price": lambda size: 0.006 + 0.004 * size,
    "an accelerator": lambda size: 0.0095 + 0.0005 * size,
    "four fit into the cache, eight do not": lambda size: 0.010 * (1 + 0.1 * (size - 1)) if size <= 4 else 0.2,
    "two do not pay, more do": lambda size: 0.010 * size if size <= 2 else 0.005 * size,
    "so small that nobody minds": lambda size: 0.0002 + 0.0001 * size,
}


class Process:
    """It takes what a curve says, and sometimes more."""

    def __init__(self, curve, *, noise=0.0, seed=0):
        self.curve, self.noise, self.random = curve, noise, random.Random(seed)

    def seconds(self, size):
        return self.curve(size) * (1 + self.noise * self.random.random() + (self.random.random() < self.noise / 10))


def run_once(policy, process, waiting, left_s=LONG_S):
    """One choice, carried out; and how long it took."""
    choice = policy.choose(waiting, left_s)
    together_s = process.seconds(choice.size)
    if not choice.is_trial:
        policy.ran(choice.size, together_s)
        return choice, together_s
    alone_s = process.seconds(1)
    policy.tried(choice.size, together_s, alone_s)
    return choice, together_s + alone_s


def learn(policy, process, runs=FEW, waiting=SIZES[-1]):
    return [run_once(policy, process, waiting) for _ in range(runs)]


def settled(policy, waiting=SIZES[-1]):
    """What it chooses when it does not try anything."""
    return policy._best(waiting, LONG_S)


def bearable(curve, size):
    return curve(size) - curve(1) <= 1.0001 * max(batching.LEAST_LATER_S, batching.LATER * curve(1))


def best_of(curve):
    """The size that serves most in a second and makes nobody too late; none is larger than one that does."""
    shares = {size: curve(size) / (size * curve(1)) for size in takewhile(partial(bearable, curve), SIZES)}
    size = min(shares, key=lambda size: (shares[size], size), default=1)
    return size if shares and shares[size] < batching.WORTH else 1


def test_it_tries_each_size_before_it_believes_it():
    policy, process = Batching(), Process(CURVES["an accelerator"])
    assert [run_once(policy, process, 1)[0] for _ in range(10)] == [Choice(1)] * 10
    made = [choice for choice, _ in learn(policy, process)]
    first = [choice.size for choice in made if choice.is_trial][: batching.FIRST_TRIALS * 3]
    assert first == [2] * batching.FIRST_TRIALS + [4] * batching.FIRST_TRIALS + [8] * batching.FIRST_TRIALS
    assert made[0] == Choice(2, is_trial=True)
    assert set(policy.shares) == set(SIZES)
    assert made[-1].size == 8


def test_what_the_first_trial_takes_is_not_believed():
    policy = Batching()
    for _ in range(batching.FEW_ALONE):
        policy.ran(1, 0.01)
    policy.tried(2, 5.0, 0.01)
    for _ in range(batching.FIRST_TRIALS - 1):
        policy.tried(2, 0.01, 0.01)
    assert policy.shares == {2: pytest.approx(0.5)}


@pytest.mark.parametrize("name", CURVES)
def test_it_finds_the_best_size(name):
    policy, curve = Batching(), CURVES[name]
    learn(policy, Process(curve, noise=0.05), 1000)
    assert settled(policy) == best_of(curve)


def test_it_learns_anew_when_the_machine_is_another():
    policy, wins, loses = Batching(), CURVES["an accelerator"], CURVES["together is slower"]
    for curve, chosen in ((wins, 8), (loses, 1), (wins, 8)):
        learn(policy, Process(curve), 2000)
        assert settled(policy) == chosen


def test_all_of_it_slower_changes_nothing():
    policy, curve = Batching(), CURVES["a run has a price"]
    learn(policy, Process(curve), 500)
    before, expected_s = settled(policy), policy.alone_s
    learn(policy, Process(lambda size: 3 * curve(size)), 100)
    assert settled(policy) == before
    assert policy.alone_s == pytest.approx(3 * expected_s, rel=0.01)


def test_nobody_is_joined_whose_time_is_nearly_over():
    policy, process = Batching(), Process(CURVES["an accelerator"])
    learn(policy, process)
    assert policy.choose(8, LONG_S).size > 1
    assert policy.choose(8, 0.011) == Choice(1)


def test_a_model_that_takes_long_is_not_tried():
    policy = Batching()
    assert {choice for choice, _ in learn(policy, Process(lambda size: 0.6 * size), 50)} == {Choice(1)}


def rest_of(policy, process):
    """How many run alone after a failure."""
    policy.failed()
    return sum(1 for _ in takewhile(lambda run: run[0].size == 1, iter(lambda: run_once(policy, process, 8), None)))


def test_after_a_failure_it_rests_and_longer_each_time():
    policy, process = Batching(), Process(CURVES["an accelerator"])
    learn(policy, process)
    rests = [rest_of(policy, process) for _ in range(3)]
    assert rests[0] == batching.REST
    assert all(later == 2 * before for before, later in pairwise(rests))


def test_a_failure_long_ago_is_forgotten_once_as_many_went_well_as_it_would_rest():
    policy, process = Batching(), Process(CURVES["an accelerator"])
    learn(policy, process)
    for _ in range(3):
        rest_of(policy, process)
    learn(policy, process, 8 * batching.REST // 2)
    assert rest_of(policy, process) == batching.REST


def test_a_process_that_is_busy_is_handed_a_half_of_those_under_way():
    policy, process = Batching(), Process(CURVES["an accelerator"])
    assert policy.is_enough(1)
    for under_way in range(1, 9):
        policy.asked(under_way)
    assert policy.is_enough(1), "nothing has been learned"
    learn(policy, process)
    assert [policy.is_enough(waiting) for waiting in (1, 2, 3, 4)] == [False, False, False, True]
    for _ in range(batching.RECENT):
        policy.asked(2)
    assert policy.is_enough(1), "two clients are faster in turn"


def curve_of(shares):
    return lambda size: 0.01 * size * shares.get(size, 1.0)


any_shares = st.fixed_dictionaries({size: st.floats(0.05, 3.0) for size in SIZES})


@settings(deadline=None, max_examples=50)
@given(shares=any_shares, noise=st.floats(0, 0.3), seed=st.integers(0, 99), waiting=st.lists(st.integers(1, 20), min_size=1, max_size=400))
def test_what_is_known_to_lose_is_never_chosen(shares, noise, seed, waiting):
    policy, process = Batching(), Process(curve_of(shares), noise=noise, seed=seed)
    for count in waiting:
        known = policy.shares
        choice, _ = run_once(policy, process, count)
        assert choice.size <= count
        if not choice.is_trial and choice.size > 1:
            assert known[choice.size] < batching.WORTH
            bearable = [s for s in known if s <= count and s * known[s] * policy.alone_s - policy.alone_s <= 0.01]
            assert all(known[choice.size] <= known[size] for size in bearable)


@settings(deadline=None, max_examples=30)
@given(shares=any_shares, noise=st.floats(0, 0.3), seed=st.integers(0, 99), runs=st.integers(1, 1000))
def test_what_trials_cost_is_bounded(shares, noise, seed, runs):
    policy, process = Batching(), Process(curve_of(shares), noise=noise, seed=seed)
    spent_s = first_s = all_s = most_s = 0.0
    seen = dict.fromkeys(SIZES, 0)
    for choice, seconds in learn(policy, process, runs):
        all_s += seconds
        if choice.is_trial:
            seen[choice.size] += 1
            most_s = max(most_s, seconds)
            if seen[choice.size] <= batching.FIRST_TRIALS:
                first_s += seconds
            else:
                spent_s += max(0.0, seconds - choice.size * 0.01 * (1 + noise))
    assert sum(min(count, batching.FIRST_TRIALS) for count in seen.values()) <= batching.FIRST_TRIALS * len(SIZES)
    assert spent_s <= batching.SPENT * all_s + first_s + most_s


def test_quiet_weeks_save_up_no_more_than_one_trial():
    policy, curve = Batching(), CURVES["an accelerator"]
    learn(policy, Process(curve))
    for _ in range(50_000):
        policy.ran(1, curve(1))
    busy = learn(policy, Process(curve), 2000)
    spent_s = sum(seconds - choice.size * curve(8) / 8 for choice, seconds in busy if choice.is_trial)
    assert spent_s < batching.SPENT * sum(seconds for _, seconds in busy) + batching.MOST_TRIAL_S + 0.1


@settings(deadline=None, max_examples=40)
@given(shares=any_shares)
def test_it_comes_to_rest_at_the_best(shares):
    curve, policy = curve_of(shares), Batching()
    learn(policy, Process(curve), 200)
    best, chosen = best_of(curve), settled(policy)
    hardly_bearable = [size for size in SIZES if abs(curve(size) - 3 * curve(1)) < 1e-4]
    assert chosen == best or hardly_bearable or curve(chosen) / chosen == pytest.approx(curve(best) / best)


# --- a service of several clients -------------------------------------------------------------------------------------------------------


class Fixed:
    """Always so many, if so many wait."""

    def __init__(self, size):
        self.size = size

    def choose(self, waiting, left_s):
        return Choice(max(size for size in (1, *SIZES) if size <= min(self.size, waiting)))

    def is_enough(self, waiting):
        return waiting >= self.size or self.size == 1

    def asked(self, under_way): ...

    def ran(self, size, seconds): ...


def serve(policy, process, *, clients, until_s, thinks_s=0.001):
    """Clients that ask again `thinks_s` after each answer, and a process with two runs in hand: when each request was served."""
    now_s, free_s = 0.0, 0.0
    asks = [(thinks_s * at / clients, at) for at in range(clients)]  # who asks next, and when
    waiting, in_hand, served_s = [], [], []

    def give():
        nonlocal free_s
        while len(in_hand) < 2 and waiting and (not in_hand or policy.is_enough(len(waiting))):
            choice = policy.choose(len(waiting), LONG_S)
            took_s = process.seconds(choice.size)
            alone_s = process.seconds(1) if choice.is_trial else 0.0
            free_s = max(free_s, now_s) + took_s + alone_s
            in_hand.append((free_s, choice, took_s, alone_s, [waiting.pop(0) for _ in range(choice.size)]))

    while now_s < until_s:
        if in_hand and (not asks or in_hand[0][0] <= min(asks)[0]):
            now_s, choice, took_s, alone_s, served = in_hand.pop(0)
            policy.tried(choice.size, took_s, alone_s) if choice.is_trial else policy.ran(choice.size, took_s)
            served_s += [now_s] * len(served)
            asks += [(now_s + thinks_s, client) for _, client in served]
        else:
            ask = min(asks)
            now_s = ask[0]
            asks.remove(ask)
            waiting.append(ask)
            policy.asked(len(waiting) + sum(len(run[-1]) for run in in_hand))
        give()
    return np.array(served_s)


@pytest.mark.parametrize("clients", [2, 8])
@pytest.mark.parametrize("name", CURVES)
def test_clients_are_served_as_well_as_by_the_best_fixed_size(name, clients):
    curve = CURVES[name]
    until_s = 1000 * curve(1)

    def counts(policy):
        served_s = serve(policy, Process(curve, noise=0.05), clients=clients, until_s=until_s)
        return len(served_s), int((served_s > until_s / 2).sum())

    fixed = [counts(Fixed(size)) for size in (1, *SIZES) if size == 1 or bearable(curve, size)]
    best, best_of_half = (max(each) for each in zip(*fixed, strict=True))
    served, served_in_half = counts(Batching())
    print(f"{name}, {clients} clients: {served}, {served_in_half} in the second half; fixed {fixed}")
    assert served_in_half >= 0.95 * best_of_half, "once it has learned"
    assert served >= 0.85 * best
    assert served >= 0.95 * fixed[0][0]

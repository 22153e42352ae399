"""How much memory there is, how much is promised, and when it runs short: read from trees as /proc and /sys have them."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.errors import HostError
from edgewright.run.memory import MIB, Alarm, Footprint, MemoryBudget, available_bytes, footprint_of_self, pss_bytes
from edgewright.testing.boards import FakeBoard

GIB = 1 << 30


def test_what_is_left_is_the_machine_s_or_the_group_s(tmp_path):
    board = FakeBoard(tmp_path, "rpi5")
    board.set_available_memory(2 * GIB)
    assert available_bytes(tmp_path) == 2 * GIB
    board.set_memory_limit(GIB, 300 * MIB)
    assert available_bytes(tmp_path) == pytest.approx(GIB - 300 * MIB, abs=64 * MIB)  # and what of it is cache


def test_a_bare_machine_is_taken_for_a_small_one(tmp_path):
    assert available_bytes(tmp_path) == GIB


def test_a_process_counts_what_it_shares_by_share(tmp_path):
    folder = tmp_path / "proc/7"
    folder.mkdir(parents=True)
    assert pss_bytes(7, tmp_path) is None
    (folder / "status").write_text("Name:\tpython\nVmHWM:\t  900 kB\nVmRSS:\t  800 kB\n")
    assert pss_bytes(7, tmp_path) == 800 * 1024
    (folder / "smaps_rollup").write_text("55e-7ff ---p 00000000 00:00 0 [rollup]\nRss: 800 kB\nPss:    500 kB\nPss_Dirty: 3 kB\n")
    assert pss_bytes(7, tmp_path) == 500 * 1024


def test_of_this_very_process():
    found = footprint_of_self()
    assert 5 * MIB < found.resident_bytes < 1 << 40
    assert found.transient_bytes >= 0
    assert pss_bytes(os.getpid()) > 5 * MIB
    assert pss_bytes(1 << 30) is None


# --- promises ---------------------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.booleans()), max_size=40))
def test_never_more_is_promised_than_there_is(steps):
    budget, promised = MemoryBudget(100), {}
    for name, needed, gives_back in steps:
        if gives_back:
            budget.release(name)
            promised.pop(name, None)
        elif sum(promised.values()) - promised.get(name, 0) + needed <= 100:
            budget.admit(name, needed, "it")
            promised[name] = needed
        else:
            with pytest.raises(HostError):
                budget.admit(name, needed, "it")
        assert budget.promises == promised
        assert budget.promised_bytes == sum(promised.values()) <= 100
        assert budget.room_bytes == 100 - budget.promised_bytes


def test_a_refusal_has_the_figures_and_changes_nothing():
    budget = MemoryBudget(100 * MIB)
    budget.admit("a", 60 * MIB, "the model a")
    with pytest.raises(HostError) as refused:
        budget.admit("b", 50 * MIB, "the model b")
    said = str(refused.value)
    assert all(
        words in said for words in ("the model b", "50 MiB for it", "60 MiB promised to others", "at most 100 MiB", "raise `memory`")
    )
    assert budget.promises == {"a": 60 * MIB}
    budget.admit("a", 100 * MIB, "the model a")  # in place of what it had


def test_the_alarm_goes_on_at_90_percent_and_off_below_85():
    alarm = Alarm()
    shares = [0, 89, 90, 95, 86, 85, 84, 89, 90]
    assert [alarm.look(share, 100) for share in shares] == [None, None, True, None, None, None, False, None, True]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"resident_bytes": 1},
        {"resident_bytes": -1, "transient_bytes": 0},
        {"resident_bytes": True, "transient_bytes": 0},
        {"resident_bytes": 1.5, "transient_bytes": 0},
        {"resident_bytes": "1", "transient_bytes": 0},
        {"resident_bytes": 1 << 60, "transient_bytes": 0},
        {"resident_bytes": float("nan"), "transient_bytes": 0},
    ],
)
def test_what_is_no_footprint_is_none(fields):
    with pytest.raises(ValueError, match="are no bytes"):
        Footprint.from_json(fields)


def test_a_footprint_comes_back():
    assert Footprint.from_json(Footprint(5, 7).to_json()) == Footprint(5, 7)
    assert Footprint(5, 7).total_bytes == 12

"""How much memory there is, how much is promised, and when it runs short: read from trees as /proc and /sys have them."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.errors import HostError
from edgewright.run.memory import MIB, Alarm, Footprint, MemoryBudget, available_bytes, footprint_of_self, pss_bytes

GIB = 1 << 30


def host(root, groups="", available_kib=8 << 20):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 9000000 kB\nMemFree: 100 kB\nMemAvailable:   {available_kib} kB\nHugePages_Total: 0\n")
    (root / "proc/self/cgroup").write_text(groups)
    return root


def group(root, path, **files):
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_without_groups_it_is_what_the_machine_has(tmp_path):
    assert available_bytes(host(tmp_path)) == 8 * GIB


def test_a_v2_group_limits(tmp_path):
    host(tmp_path, "0::/system.slice/edgewright.service\n")
    group(tmp_path, "system.slice/edgewright.service", memory__max=GIB, memory__current=100 * MIB)
    assert available_bytes(tmp_path) == GIB - 100 * MIB


def test_a_group_above_limits_as_well(tmp_path):
    host(tmp_path, "0::/line.slice/edgewright.service\n")
    group(tmp_path, "line.slice/edgewright.service", memory__max="max", memory__current=100 * MIB)
    group(tmp_path, "line.slice", memory__max=GIB, memory__current=300 * MIB)
    assert available_bytes(tmp_path) == GIB - 300 * MIB


def test_a_v1_group_limits_also_where_the_container_sees_another_path(tmp_path):
    host(tmp_path, "5:devices:/docker/abc\n4:cpu,memory:/docker/abc\n1:name=systemd:/docker/abc\n")
    group(tmp_path, "memory", memory__limit_in_bytes=512 * MIB, memory__usage_in_bytes=12 * MIB)
    assert available_bytes(tmp_path) == 500 * MIB


def test_v1_without_a_limit_says_a_huge_one(tmp_path):
    host(tmp_path, "4:memory:/\n")
    group(tmp_path, "memory", memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=12 * MIB)
    assert available_bytes(tmp_path) == 8 * GIB


@pytest.mark.parametrize(
    ("version", "path", "names"),
    [
        ("0::/", "", ("memory__max", "memory__current", "inactive_file")),
        ("4:memory:/", "memory", ("memory__limit_in_bytes", "memory__usage_in_bytes", "total_inactive_file")),
    ],
)
def test_cached_files_that_nobody_uses_are_no_memory_in_use(tmp_path, version, path, names):
    host(tmp_path, f"{version}\n")
    limit, usage, cached = names
    group(tmp_path, path, **{limit: GIB, usage: GIB, "memory__stat": f"anon 5\n{cached} {400 * MIB}\nshmem 7"})
    assert available_bytes(tmp_path) == 400 * MIB


@pytest.mark.parametrize("path", ["/../../other", "/gone", "/"])
def test_a_group_that_is_not_there_is_looked_for_at_the_mount(tmp_path, path):
    host(tmp_path, f"0::{path}\n")
    group(tmp_path, "", memory__max=GIB, memory__current=0)
    assert available_bytes(tmp_path) == GIB


@pytest.mark.parametrize("text", ["", "max", "-5", "much", "12 34"])
def test_what_is_no_limit_limits_nothing(tmp_path, text):
    host(tmp_path, "0::/\n")
    group(tmp_path, "", memory__max=text, memory__current=5)
    assert available_bytes(tmp_path) == 8 * GIB


def test_more_used_than_allowed_leaves_nothing(tmp_path):
    host(tmp_path, "0::/\n")
    group(tmp_path, "", memory__max=10, memory__current=50)
    assert available_bytes(tmp_path) == 0


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

"""What the kernel wrote when it killed, and what the groups counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.doctor.kernel_log import Kill, kills_in, kills_on
from examined_machines import healthy, machine_of

MIB = 1 << 20
# As a kernel 6.18 wrote it under a group's limit, and one of a Pi for want of memory altogether.
GROUP = (
    "[29292.196465] [  25044]     0 25044    42546    28849    27200     1649         0   274432        0             0 python3\n"
    "[29292.196468] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,oom_memcg=/x,task=python3,pid=25044,uid=0\n"
    "[29292.196832] Memory cgroup out of memory: Killed process 25044 (python3) total-vm:170184kB, anon-rss:108800kB, file-rss:6596kB, "
    "shmem-rss:0kB, UID:0 pgtables:268kB oom_score_adj:0\n"
)
WHOLE = "Mar  3 10:11:12 pi kernel: Out of memory: Killed process 812 (ffmpeg (main)) total-vm:9000kB, anon-rss:4096kB, file-rss:0kB\n"


def test_both_kinds_are_read():
    assert kills_in(GROUP + WHOLE) == (
        Kill(29292.196832, 25044, "python3", 108800 * 1024, by_limit=True),
        Kill(None, 812, "ffmpeg (main)", 4096 * 1024, by_limit=False),
    )


def test_what_our_own_trials_lost_is_no_news():
    assert kills_in(GROUP.replace("oom_memcg=/x,", "oom_memcg=/a/edgewright-oom-7-12,task_memcg=/a/edgewright-oom-7-12,")) == ()


def test_only_the_last_are_kept():
    assert [kill.process for kill in kills_in("".join(WHOLE.replace("812", str(at)) for at in range(100, 120)))] == list(range(112, 120))


def test_a_name_cannot_give_orders():
    assert "\x1b" not in kills_in(WHOLE.replace("ffmpeg", "\x1b[31m"))[0].name


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_log(text):
    kills_in(text)


@pytest.mark.parametrize(("said", "readable"), [(None, False), (GROUP, True)])
def test_a_log_that_may_not_be_read(tmp_path, said, readable):
    machine = machine_of(healthy(tmp_path), run=lambda words: said if words == ("dmesg",) else None)
    kills = kills_on(machine)
    assert kills.log_readable == readable
    assert len(kills.logged) == readable


def test_groups_that_have_killed_are_named(tmp_path):
    board = healthy(tmp_path, "orin-nano")
    slices = "sys/fs/cgroup/system.slice"
    board.write(f"{slices}/edgewright.service/memory.events", "low 0\nmax 3\noom 2\noom_kill 2\n")
    board.write(f"{slices}/other.service/cgroup.procs", "")
    board.write(f"{slices}/other.service/memory.events", "oom_kill 7\n")
    counted = {group.group.rpartition("/")[2]: group.kills for group in kills_on(machine_of(board)).counted}
    assert counted == {"edgewright.service": 2, "other.service": 7}

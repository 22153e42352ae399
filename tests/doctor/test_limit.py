"""The limit is real where a control group may be made, watched where not; and nothing is left behind."""

import subprocess
import sys
import time

import pytest

from edgewright.board.sensors import ROOT
from edgewright.doctor.limit import Groups, Watch, Watches, choose_limiter

MIB = 1 << 20
TAKE = "import sys, time; held = bytearray(int(sys.argv[1]) << 20); print('ok', flush=True); time.sleep(float(sys.argv[2]))"


@pytest.fixture
def groups():
    limiter = choose_limiter(ROOT)
    if not isinstance(limiter, Groups):
        pytest.skip("no memory control group may be made here: run as root, with the memory controller on")
    return limiter


def take(limit, mib, seconds=0.0):
    return subprocess.Popen(
        limit.command([sys.executable, "-S", "-c", TAKE, str(mib), str(seconds)]), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def finish(process):
    out, _ = process.communicate(timeout=120)
    return process.returncode, out


def test_the_kernel_kills_what_passes_the_limit_and_nothing_else(groups):
    with groups(64 * MIB) as limit:
        assert finish(take(limit, 20)) == (0, b"ok\n")
        assert limit.kills() == 0
        assert 20 * MIB < limit.peak_bytes() < 64 * MIB
        assert finish(take(limit, 100))[0] == -9
        assert limit.kills() == 1


def test_no_group_is_left(groups):
    limit = groups(64 * MIB)
    with limit:
        finish(take(limit, 5))
        assert limit._folder.is_dir()
    assert not limit._folder.exists()


def test_a_watch_sees_what_passes_the_limit():
    limit = Watches()(60 * MIB)
    assert limit == Watch(60 * MIB)
    with limit:
        process = take(limit, 100, 60.0)
        until_s = time.monotonic() + 60
        while not limit.has_passed(process.pid):
            assert time.monotonic() < until_s
            time.sleep(0.02)
        process.kill()
        finish(process)
        assert not limit.has_passed(process.pid)


def test_where_there_are_no_groups_it_is_watched(tmp_path):
    limiter = choose_limiter(tmp_path)
    assert isinstance(limiter, Watches)
    assert "short peaks may pass unseen" in limiter.how


def test_groups_of_version_2_are_made_beside_our_own(tmp_path):
    """As a folder: the names that are written, where, and what is in them."""
    service = tmp_path / "sys/fs/cgroup/system.slice/edgewright.service"
    service.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/edgewright.service\n")
    (tmp_path / "proc/self/mountinfo").write_text("31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpu io memory pids\n")
    for folder, passed_on in ((service, ""), (service.parent, "memory pids"), (service.parent.parent, "cpu memory")):
        (folder / "cgroup.subtree_control").write_text(f"{passed_on}\n")
        (folder / "cgroup.procs").write_text("")
        (folder / "memory.max").write_text("max\n")
    from edgewright.doctor.limit import _possible

    assert [limiter.parent for limiter in _possible(tmp_path)] == [service.parent, service.parent.parent]
    assert {limiter.version for limiter in _possible(tmp_path)} == {2}

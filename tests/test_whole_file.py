"""A file is the old one or the new one; what has its name is replaced, not followed; a folder is one run's at a time."""

import errno
import os
import resource
import subprocess
import sys
import threading

import pytest

from edgewright.errors import DiskError, InputError
from edgewright.whole_file import disk_error, is_straight, locked, remove, sweep, whole_file, write_named, write_whole


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_written_and_replaced(tmp_path, sync):
    write_whole(tmp_path / "a", b"old", sync=sync)
    write_whole(tmp_path / "a", b"new", sync=sync)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    (tmp_path / "a").write_bytes(b"old")

    def write_half():
        with whole_file(tmp_path / "a") as stream:
            stream.write(b"half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_nobody_sees_the_file_before_it_is_whole(tmp_path):
    with whole_file(tmp_path / "a") as stream:
        stream.write(b"x" * 100_000)
        stream.flush()
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").stat().st_size == 100_000


def test_new_files_have_the_mode_that_the_user_wants_of_new_files(tmp_path):
    held = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", b"")
    finally:
        os.umask(held)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link"])
def test_what_a_link_leads_to_is_left_alone(tmp_path, kind):
    victim, name = tmp_path / "victim", tmp_path / "out"
    if kind != "dangling":
        victim.write_bytes(b"precious")
    if kind == "hard link":
        name.hardlink_to(victim)
    else:
        name.symlink_to(victim)
    write_whole(name, b"ours")
    assert name.read_bytes() == b"ours"
    assert not name.is_symlink()
    assert victim.exists() == (kind != "dangling")
    assert kind == "dangling" or victim.read_bytes() == b"precious"


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DiskError, match="is a directory"):
        write_whole(tmp_path / "a", b"")
    assert names_in(tmp_path) == ["a"]


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(DiskError, match=r"cannot write .*gone/a; got no such file or directory"):
        write_whole(tmp_path / "gone" / "a", b"")


def test_a_limit_on_the_size_of_files_is_said_and_the_old_file_stays(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    held = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, held[1]))
    try:
        with pytest.raises(DiskError, match="may not grow that large"):
            write_whole(tmp_path / "a", b"x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, held)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left on the disk, and 5.0 MB to write"),
        (errno.EDQUOT, "the disk quota is used up, and 5.0 MB to write"),
        (errno.EROFS, "mounted read-only"),
        (errno.EIO, "the disk reports an error"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_what_a_disk_says_is_one_sentence_with_a_way_out(tmp_path, number, said):
    error = disk_error(OSError(number, os.strerror(number)), tmp_path / "a\x1b[31m\n", 5_000_000)
    assert said in str(error)
    assert error.exit_code == 3
    assert error.fix
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)


# --- what is written straight -------------------------------------------------------------------------------------------------------------


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_named(pipe, b"x" * 100_000)
    reader.join(timeout=30)
    assert read == [b"x" * 100_000]
    assert pipe.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
@pytest.mark.parametrize("where", ["pipe", "file"])
def test_an_open_descriptor_is_written_to_whatever_it_leads_to(tmp_path, name, where):
    code = f"print('before', flush=True); from edgewright.whole_file import write_named, Path; write_named(Path({name!r}), b'ours')"
    if where == "pipe":
        assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout == b"before\nours"
        return
    with (tmp_path / "file").open("wb") as stream:
        subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
    assert (tmp_path / "file").read_bytes() == b"before\nours"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("name", ["pipe", "device"])
def test_in_a_folder_of_ours_a_pipe_or_a_link_to_a_device_is_replaced(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/full")
    write_whole(tmp_path / name, b"ours")
    assert not (tmp_path / name).is_symlink()
    assert (tmp_path / name).read_bytes() == b"ours"


def test_a_file_that_the_user_named_is_whole_as_well(tmp_path):
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("victim")
    for name in ("new", "link"):
        write_named(tmp_path / name, b"ours")
        assert (tmp_path / name).read_bytes() == b"ours"
    assert (tmp_path / "victim").read_bytes() == b"precious"


def test_what_is_a_file_or_nothing_is_not_straight(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    assert not any(is_straight(tmp_path / name) for name in ("file", "link", "loop", "nothing", "a\0b"))
    assert is_straight(tmp_path.__class__("/dev/null"))


# --- removing -----------------------------------------------------------------------------------------------------------------------------


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/photo").write_bytes(b"precious")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/link").symlink_to(tmp_path / "victim")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    remove(tmp_path / "link")
    remove(tmp_path / "ours")
    remove(tmp_path / "nothing")
    assert names_in(tmp_path) == ["victim"]
    assert (tmp_path / "victim/photo").read_bytes() == b"precious"


def test_sweeping_takes_links_pipes_and_unfinished_files_at_any_depth(tmp_path):
    ours = tmp_path / "ours"
    (ours / "deep/deeper").mkdir(parents=True)
    (tmp_path / "victim").write_bytes(b"precious")
    (ours / "deep/deeper/link").symlink_to(tmp_path / "victim")
    (ours / "folder").symlink_to(tmp_path)
    os.mkfifo(ours / "deep/pipe")
    (ours / "deep/.edgewright-00ff.part").write_bytes(b"half")
    (ours / "deep/kept").write_bytes(b"whole")
    sweep(ours)
    assert [str(path.relative_to(ours)) for path in sorted(ours.rglob("*"))] == ["deep", "deep/deeper", "deep/kept"]
    assert (tmp_path / "victim").read_bytes() == b"precious"


# --- locking ------------------------------------------------------------------------------------------------------------------------------


def test_a_second_run_is_told_so_by_whatever_name_it_calls_the_folder(tmp_path):
    (tmp_path / "link").symlink_to("out")
    with locked(tmp_path / "out"):
        for name in ("out", "link"):
            with pytest.raises(InputError, match="another run of edgewright is at work"), locked(tmp_path / name):
                pytest.fail("two runs at once")
        (tmp_path / "out/result").write_bytes(b"")
    with locked(tmp_path / "link"):
        pass
    assert names_in(tmp_path / "out") == ["result"]


def test_a_child_that_outlives_its_killed_parent_does_not_hold_the_lock(tmp_path):
    code = (
        "import os, signal, subprocess, sys; from pathlib import Path; from edgewright.whole_file import locked\n"
        f"with locked(Path({str(tmp_path / 'out')!r})):\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        parent.wait(timeout=60)
        with locked(tmp_path / "out"):
            pass


def test_a_folder_made_for_nothing_is_taken_away_again(tmp_path):
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b").is_dir()
    assert not (tmp_path / "a/b").exists()
    (tmp_path / "there").mkdir()
    with locked(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir()


def test_a_file_or_a_link_to_nowhere_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(InputError, match="expected a folder"), locked(tmp_path / name):
            pytest.fail("locked what is no folder")


def test_what_a_killed_run_left_unfinished_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    (tmp_path / ".edgewright-dead.part").write_bytes(b"half")
    with whole_file(tmp_path / "living.json") as stream:
        stream.write(b"{}")
        with locked(tmp_path):
            assert ".edgewright-dead.part" not in names_in(tmp_path)
    assert names_in(tmp_path) == ["living.json"]

"""A file a stranger named is read whole, or refused in a few words; nothing is waited for."""

import errno
import os
import socket
from pathlib import Path

import pytest

from edgewright import regular_file
from edgewright.regular_file import is_folder, is_regular, open_regular, read_regular


def test_a_file_is_read_whole_and_links_are_followed(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert read_regular(tmp_path / "a", 5) == read_regular(tmp_path / "link", 6) == b"12345"
    (tmp_path / "empty").touch()
    assert read_regular(tmp_path / "empty", 0) == b""


def test_a_byte_too_many_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(OSError, match="more than 4 bytes") as caught:
        read_regular(tmp_path / "a", 4)
    assert caught.value.errno == errno.EFBIG


@pytest.fixture
def places(tmp_path):
    """Everything that is no regular file, by what it is called."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link to pipe").symlink_to("pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    yield tmp_path
    listening.close()


@pytest.mark.parametrize("name", ["pipe", "folder", "loop", "link to pipe", "socket", "nothing", "n" * 300, "nul\0l", "\ud800", "a/b"])
def test_what_is_no_regular_file_is_refused_at_once(places, name):
    for read in (open_regular, lambda path: read_regular(path, 10)):
        with pytest.raises(OSError, match=r"\w") as caught:
            read(places / name)
        assert caught.value.strerror
    assert not is_regular(places / name)
    assert is_folder(places / name) == (name == "folder")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty"])
def test_a_device_is_not_read(device):
    with pytest.raises(OSError, match=r"\w"):
        read_regular(device, 10)


def test_no_file_stays_open(places):
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(places / name)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before


@pytest.mark.parametrize("change", [b"123", b"1234567"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change):
    path = tmp_path / "a"
    path.write_bytes(b"12345")

    def changed_once_open(opened):
        stream = open_regular(opened)
        monkeypatch.setattr(regular_file.os, "fstat", lambda _descriptor: size)
        return stream

    size = path.stat()
    monkeypatch.setattr(regular_file, "open_regular", changed_once_open)
    path.write_bytes(change)
    with pytest.raises(OSError, match="changed while it was read"):
        read_regular(path, 10)

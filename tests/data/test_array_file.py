"""Arrays come back as they were written, and nothing else comes back at all."""

import io
import zipfile

import numpy as np
import pytest

from edgewright.data import array_file
from edgewright.data.array_file import read_arrays, write_arrays
from edgewright.errors import DataError

WANTED = {"a": ("f", 2), "n": ("U", 1)}


def write(path):
    write_arrays(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(["x", "yy"])})
    return path


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4), np.float32),
        np.array([], str),
        np.array([True, False]),
        np.array(["ä", "日本"]),
        np.asfortranarray(np.eye(3))[:, 0],
        np.arange(5, dtype=">i4"),
    ],
    ids=repr,
)
def test_arrays_come_back(tmp_path, array):
    write_arrays(tmp_path / "a.npz", {"a": array})
    read = read_arrays(tmp_path / "a.npz", {"a": (array.dtype.kind, array.ndim)})["a"]
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)
    read[:] = read  # it may be written to


def npy(array, *, pickled=False, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=pickled)
    return stream.getvalue()


def header_of(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


STRANGE = {
    "an object, which would be unpickled": npy(np.array([[object()]]), pickled=True),
    "another kind": npy(np.zeros((2, 3), np.int32)),
    "another number of axes": npy(np.zeros(6, np.float32)),
    "another version": npy(np.zeros((2, 3), np.float32), version=(2, 0)),
    "by columns": npy(np.asfortranarray(np.zeros((2, 3), np.float32))),
    "a shape of terabytes": header_of((1 << 20, 1 << 20)) + b"\0" * 64,
    "a shape below zero": header_of((-1, 3)),
    "a shape that multiplies to little": header_of((-2, -3)) + b"\0" * 24,
    "fewer bytes than its shape": header_of((2, 3)) + b"\0" * 20,
    "more bytes than its shape": header_of((2, 3)) + b"\0" * 28,
    "no header": b"\0" * 100,
    "a header cut short": header_of((2, 3))[:20],
    "a header that is code": b"\x93NUMPY\x01\x00\x20\x00__import__('os').abort()        \n",
    "a header without end": b"\x93NUMPY\x01\x00\x20\x00{'descr': '<f4', (                  \n",
    "a header of Python 2": header_of((2, 3)).replace(b"(2, 3)", b"(2,3L)") + b"\0" * 24,
    "nothing": b"",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_member_that_is_none_of_ours_is_refused(tmp_path, strange):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", STRANGE[strange])
    with pytest.raises(DataError, match=r"a\.npz is damaged"):
        read_arrays(tmp_path / "a.npz", {"a": ("f", 2)})


def test_a_member_that_unpacks_to_more_than_is_bearable_is_not_unpacked(tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.npz", {"a": np.zeros((1000, 1000), np.float32)})
    assert (tmp_path / "a.npz").stat().st_size < 10_000
    monkeypatch.setattr(array_file, "MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="claims 40001"):
        read_arrays(tmp_path / "a.npz", {"a": ("f", 2)})


def test_members_that_are_bearable_one_by_one_are_refused_where_they_are_not_together(tmp_path, monkeypatch):
    write_arrays(tmp_path / "a.npz", {name: np.zeros((100, 100), np.float32) for name in "abc"})
    monkeypatch.setattr(array_file, "MOST_BYTES", 100_000)
    assert set(read_arrays(tmp_path / "a.npz", dict.fromkeys("ab", ("f", 2)))) == {"a", "b"}
    with pytest.raises(DataError, match="claims 120"):
        read_arrays(tmp_path / "a.npz", dict.fromkeys("abc", ("f", 2)))


@pytest.mark.parametrize(
    "member", [header_of((10**9,), "<U0"), header_of((1,), "<U1") + b"\xff" * 4, header_of((1,), ">U1") + b"\xff\0\0\0"]
)
def test_text_of_nothing_and_what_is_no_character_are_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(DataError, match=r"a\.npz is damaged"):
        read_arrays(tmp_path / "a.npz", {"a": ("U", 1)})


@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "text", "no such array", "bzip2"])
def test_a_file_that_is_no_archive_of_ours_is_refused(tmp_path, kind):
    path = tmp_path / "a.npz"
    if kind == "folder":
        path.mkdir()
    elif kind == "no such array":
        write_arrays(path, {"b": np.zeros((1, 1), np.float32)})
    elif kind == "bzip2":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
            archive.writestr("a.npy", npy(np.zeros((2, 3), np.float32)))
    elif kind != "missing":
        path.write_bytes({"empty": b"", "text": b"PK\x03\x04 not quite"}[kind])
    with pytest.raises(DataError, match=r"a\.npz is damaged"):
        read_arrays(path, {"a": ("f", 2)})


@pytest.mark.parametrize("count", [300, pytest.param(20_000, marks=pytest.mark.soak)])
def test_whatever_byte_turns_it_is_read_alike_or_refused(tmp_path, count):
    whole = write(tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(count):
        turned = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            turned[at] = rng.integers(256)
        (tmp_path / "b.npz").write_bytes(turned[: rng.integers(len(turned)) if rng.random() < 0.2 else None])
        try:
            read = read_arrays(tmp_path / "b.npz", WANTED)
        except DataError:
            refused += 1
        else:
            assert read["a"].ndim == 2
            assert read["n"].dtype.kind == "U"
    assert refused > count / 4

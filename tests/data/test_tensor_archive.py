"""A big array in an .npz, written piece by piece."""

import zipfile

import numpy as np
import pytest

from edgewright.data import tensor_archive
from edgewright.data.tensor_archive import array_name, write_archive
from edgewright.errors import HostError


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("name", ["images", "model/input:0"])
def test_numpy_reads_what_was_written(tmp_path, dtype, name):
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 255, (1, 3, 4, 5)).astype(dtype) for _ in range(7)]
    write_archive(tmp_path / "a.npz", name, (7, 3, 4, 5), dtype, iter(pieces))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as held:
        assert held.files == [name]
        assert held[name].dtype == dtype
        assert (held[name] == np.concatenate(pieces)).all()
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_failure_leaves_the_older_file(tmp_path):
    write_archive(tmp_path / "a.npz", "x", (1, 2), "uint8", [np.zeros((1, 2))])
    before = (tmp_path / "a.npz").read_bytes()

    def failing():
        yield np.ones((1, 2))
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_archive(tmp_path / "a.npz", "x", (2, 2), "uint8", failing())
    with pytest.raises(ValueError, match="do not make up"):
        write_archive(tmp_path / "a.npz", "x", (2, 2), "uint8", [np.ones((1, 2))])
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_archive, "archive_bytes", lambda _shape, _dtype: 1 << 60)
    with pytest.raises(HostError, match="MB are free"):
        write_archive(tmp_path / "a.npz", "x", (1,), "uint8", iter([]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["images", "model/input:0", "x.1"])
def test_plain_names_stay(name):
    assert array_name(name) == name


@pytest.mark.parametrize("name", ["", "../x", "/etc/x", "a/../b", "a\x1b[31m", "a b", "a" * 101, "a\n", "a//b", "."])
def test_names_that_lead_elsewhere_do_not(name):
    assert array_name(name) == "input"

"""What models take is remembered from one service to the next, and whatever is wrong with the file is forgotten."""

import json
import os

import pytest

from edgewright.run import footprints
from edgewright.run.footprints import FILE, MOST_BYTES, RememberedFootprints
from edgewright.run.memory import Footprint


def test_it_is_remembered(tmp_path):
    RememberedFootprints(tmp_path).remember("model 4", Footprint(100, 20))
    again = RememberedFootprints(tmp_path)
    assert again.recall("model 4") == Footprint(100, 20)
    assert again.recall("model 2") is None


def test_the_larger_one_counts_and_only_news_is_written(tmp_path):
    kept = RememberedFootprints(tmp_path)
    kept.remember("m", Footprint(100, 20))
    written = (tmp_path / FILE).stat().st_ino
    kept.remember("m", Footprint(90, 20))
    assert kept.recall("m") == Footprint(100, 20)
    assert (tmp_path / FILE).stat().st_ino == written
    kept.remember("m", Footprint(90, 40))
    assert RememberedFootprints(tmp_path).recall("m") == Footprint(90, 40)


def test_no_more_than_so_many_are_kept_the_latest(tmp_path, monkeypatch):
    monkeypatch.setattr(footprints, "MOST_KEPT", 10)
    kept = RememberedFootprints(tmp_path)
    for at in range(15):
        kept.remember(f"m{at}", Footprint(at, 0))
        if at == 9:
            kept.remember("m0", Footprint(0, 0))  # used again
    again = RememberedFootprints(tmp_path)
    assert len(json.loads((tmp_path / FILE).read_bytes())) == 10
    assert again.recall("m0") == Footprint(0, 0)
    assert again.recall("m1") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff\xfe",
        b'{"m": 5}',
        b'{"m": null}',
        b'{"m": {"resident_bytes": -1, "transient_bytes": 0}}',
        b'{"m": {"resident_bytes": 1}}',
        b"[" * 100_000,
        b" " * (MOST_BYTES + 1),
    ],
)
def test_a_damaged_file_is_none_and_is_written_anew(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    kept = RememberedFootprints(tmp_path)
    assert kept.recall("m") is None
    kept.remember("m", Footprint(1, 2))
    assert RememberedFootprints(tmp_path).recall("m") == Footprint(1, 2)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FILE)
    assert RememberedFootprints(tmp_path).recall("m") is None


def test_a_disk_that_takes_nothing_is_no_failure(tmp_path):
    kept = RememberedFootprints(tmp_path / "gone")
    kept.remember("m", Footprint(1, 2))
    assert kept.recall("m") == Footprint(1, 2)

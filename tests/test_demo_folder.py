"""The demo's own folder: one run at a time, and no link leads out of it."""

import pytest

from edgewright.demo import _own_folder, demo
from edgewright.errors import InputError
from edgewright.fit.watch import Silent
from edgewright.whole_file import locked


def test_a_second_demo_in_the_same_folder_is_told_so(tmp_path):
    with locked(tmp_path / "demo"), pytest.raises(InputError, match="another run of edgewright is at work"):
        demo(tmp_path / "demo", Silent())


def test_links_where_the_demo_draws_are_removed_and_what_they_lead_to_is_left_alone(tmp_path):
    victim = tmp_path / "victim"
    (victim / "images").mkdir(parents=True)
    (victim / "images/photo.jpg").write_bytes(b"precious")
    demo_folder = tmp_path / "demo"
    (demo_folder / "fitted").mkdir(parents=True)
    (demo_folder / "boards").symlink_to(victim)
    (demo_folder / "fitted/images").symlink_to(victim / "images")
    for name in ("boards", "fitted"):
        assert list(_own_folder(demo_folder / name).iterdir()) == []
    assert (victim / "images/photo.jpg").read_bytes() == b"precious"
    assert not (demo_folder / "boards").is_symlink()

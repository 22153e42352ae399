"""Sizes as people write them."""

import pytest

from edgewright.cli.fit import parse_frame, parse_sizes
from edgewright.errors import InputError


@pytest.mark.parametrize(
    ("text", "sizes"), [(None, ()), ("512", ((512, 512),)), ("512,640x384", ((512, 512), (640, 384))), ("640X384", ((640, 384),))]
)
def test_a_number_is_a_square_and_a_pair_is_width_and_height(text, sizes):
    assert parse_sizes(text, "--sizes") == sizes


@pytest.mark.parametrize("text", ["wide", "640x", "1x2x3", "0", "-5", "99999", "512,,416"])
def test_what_is_no_size_is_refused_by_the_option_s_name(text):
    with pytest.raises(InputError, match=r"--sizes .* is no list of sizes"):
        parse_sizes(text, "--sizes")


def test_a_camera_has_one_size():
    assert parse_frame("1280x720") == (1280, 720)
    assert parse_frame(None) is None
    with pytest.raises(InputError, match="--frame names several sizes; got 640,480; expected one"):
        parse_frame("640,480")

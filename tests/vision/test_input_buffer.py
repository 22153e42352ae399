"""What is written again and again into one tensor is what a fresh and obvious preparation gives, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.artifact import InputSpec
from edgewright.vision.input_buffer import InputBuffer
from edgewright.vision.letterbox import Letterbox

WIDE, HIGH = 64, 32
SIZES = st.tuples(st.integers(1, 200), st.integers(1, 200)) | st.just((WIDE, HIGH)) | st.just((WIDE, 20)) | st.just((30, HIGH))


def spec_of(layout="NCHW", dtype="float32", batch=1, **changed):
    shape = (batch, 3, HIGH, WIDE) if layout == "NCHW" else (batch, HIGH, WIDE, 3)
    scale = 1 if dtype == "uint8" else 1 / 255
    return replace(InputSpec("images", shape, layout=layout, dtype=dtype, scale=scale), **changed)


def obvious(picture, spec):
    """Letterboxed, turned into the network's order and type, shifted, scaled: a step and an array each."""
    canvas = Letterbox.fit(picture.shape[1::-1], spec.size_wh).apply(picture, value=spec.letterbox_value)
    pixels = canvas if spec.colour == "RGB" else canvas[..., ::-1]
    tensor = np.ascontiguousarray(pixels if spec.layout == "NHWC" else pixels.transpose(2, 0, 1), spec.dtype)
    if spec.dtype == "uint8":
        return tensor
    tensor -= np.array(spec.mean, np.float32).reshape((1, 1, 3) if spec.layout == "NHWC" else (3, 1, 1))
    return tensor * np.float32(spec.scale)


def noise(size_wh, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)


SPECS = {
    "planes of floats": spec_of(),
    "bytes side by side": spec_of("NHWC", "uint8"),
    "planes of bytes": spec_of(dtype="uint8"),
    "floats side by side": spec_of("NHWC"),
    "blue first, shifted": spec_of(colour="BGR", mean=(103.5, 116.3, 123.7), scale=0.017, letterbox_value=0),
    "bytes, blue first": spec_of("NHWC", "uint8", colour="BGR"),
    "floats side by side, blue first, shifted": spec_of("NHWC", colour="BGR", mean=(1.0, 2.0, 3.0), scale=1.0),
    "planes of bytes, blue first": spec_of(dtype="uint8", colour="BGR"),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@given(sizes=st.lists(SIZES, min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_every_picture_is_prepared_as_if_it_were_the_first(spec, sizes, seed):
    buffer = InputBuffer(spec)
    for at, size_wh in enumerate(sizes):
        picture = noise(size_wh, seed + at)
        before = picture.copy()
        letterbox = buffer.put(0, picture)
        assert letterbox == Letterbox.fit(size_wh, spec.size_wh)
        assert np.array_equal(buffer.tensor[0], obvious(picture, spec))
        assert np.array_equal(picture, before)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("turn", [np.s_[::-1], np.s_[:, ::-1], np.s_[1::2, 3:], np.s_[..., ::-1]], ids=str)
def test_a_view_of_a_picture_is_a_picture(spec, turn):
    for size_wh in ((WIDE, HIGH), (WIDE + 3, HIGH), (150, 90)):
        picture = noise(size_wh)[turn]
        buffer = InputBuffer(spec)
        buffer.put(0, picture)
        assert np.array_equal(buffer.tensor[0], obvious(picture, spec))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_each_picture_has_its_place_and_the_last_fills_what_is_left(spec):
    shape = (4, *spec.shape[1:])
    buffer = InputBuffer(replace(spec, shape=shape))
    for sizes in ([(WIDE, HIGH), (40, 40), (10, 70), (WIDE, 20)], [(40, 40), (33, 11)], [(WIDE, 20), (WIDE, 20), (5, 5)]):
        pictures = [noise(size_wh, at) for at, size_wh in enumerate(sizes)]
        for at, picture in enumerate(pictures):
            buffer.put(at, picture)
        buffer.fill(len(pictures))
        for at in range(4):
            assert np.array_equal(buffer.tensor[at], obvious(pictures[min(at, len(pictures) - 1)], spec))


def test_the_tensor_stays_where_it_is():
    buffer = InputBuffer(spec_of())
    before = buffer.tensor.ctypes.data
    for size_wh in ((WIDE, HIGH), (99, 5)):
        buffer.put(0, noise(size_wh))
        assert buffer.tensor.ctypes.data == before

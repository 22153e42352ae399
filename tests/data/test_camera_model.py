"""The camera: its physics in linear light, the same picture always the same, and files that say what no camera can do."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewright.data.camera_model import (
    TO_LIGHT,
    WHITE,
    CameraModel,
    Defocus,
    Exposure,
    Jpeg,
    MotionBlur,
    Sensor,
    Tone,
    Vignetting,
    WhiteBalance,
    daylight_gains,
    picture_rng,
)
from edgewright.data.cameras import MOST_TOML_BYTES, PRESETS, STEPS, open_camera, through_camera
from edgewright.data.dataset import open_dataset
from edgewright.data.images import read_image
from edgewright.errors import DataError
from tiny_dataset import write_tiny_dataset

DIGEST = "ab" * 32


def rng(seed: int = 0) -> np.random.Generator:
    return picture_rng(seed, DIGEST)


def grey(level: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def linear(image: np.ndarray) -> np.ndarray:
    return TO_LIGHT[image].astype(float) / WHITE


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3), (67, 131)])
def test_every_preset_takes_pictures_of_any_size(name, shape):
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    held = picture.copy()
    seen = PRESETS[name].apply(picture, rng())
    assert (seen.shape, seen.dtype) == (picture.shape, np.uint8)
    assert (picture == held).all()


def test_no_camera_changes_no_value():
    every = np.arange(256, dtype=np.uint8).reshape(1, -1, 1).repeat(3, axis=2)
    assert (PRESETS["none"].apply(every, rng()) == every).all()


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "none"])
def test_the_seed_and_the_picture_decide(name):
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    first, again, other_seed = (PRESETS[name].apply(picture, rng(seed)) for seed in (3, 3, 4))
    other_picture = PRESETS[name].apply(picture, picture_rng(3, "cd" * 32))
    assert (first == again).all()
    assert (first != other_seed).any()
    assert (first != other_picture).any()


def test_a_picture_is_the_same_in_strips_of_any_height(monkeypatch):
    picture = np.random.default_rng(1).integers(0, 256, (100, 30, 3), dtype=np.uint8)
    whole = PRESETS["cheap-usb"].apply(picture, rng())
    monkeypatch.setattr("edgewright.data.camera_model.ROWS_AT_ONCE", 7)
    assert (PRESETS["cheap-usb"].apply(picture, rng()) == whole).all()


@given(st.floats(-8, 3), st.integers(1, 255))
def test_each_stop_doubles_the_light_up_to_white(ev, level):
    seen = linear(CameraModel("x", exposure=Exposure((ev, ev))).apply(grey(level, (1, 1)), rng()))[0, 0, 0]
    wanted = min(1.0, linear(grey(level, (1, 1)))[0, 0, 0] * 2**ev)
    assert seen == pytest.approx(wanted, rel=0.01, abs=1 / 255)  # eight bits of sRGB are at most this far apart


@given(st.floats(0.1, 0.6), st.floats(0, 3), st.floats(500, 7_000), st.floats(0, 20), st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_noise_has_the_variance_of_its_signal_and_gain(light, gain_ev, full_well, read_noise, seed):
    gain = 2**gain_ev
    before = np.full((120, 120, 3), light / gain, np.float32)
    step = Sensor((gain_ev, gain_ev), (full_well, full_well), (read_noise, read_noise))
    after = step.effect(np.random.default_rng(seed), (120, 120))(before, 0)
    a, b = gain / full_well, (gain * read_noise / full_well) ** 2
    variance = a * light + b
    if light - 4 * variance**0.5 < 0 or light + 4 * variance**0.5 > 1:
        return  # clipped noise is another law
    count = before.size
    assert after.mean() == pytest.approx(light, abs=6 * (variance / count) ** 0.5 + 1e-6)
    assert after.var() == pytest.approx(variance, rel=6 * (2 / count) ** 0.5)  # of a normal variance's own spread


def test_noise_stays_between_black_and_white():
    step = Sensor((4.0, 4.0), (200.0, 200.0), (50.0, 50.0))
    for level in (0.0, 1.0):
        seen = step.effect(rng(), (50, 50))(np.full((50, 50, 3), level, np.float32), 0)
        assert 0 <= seen.min() <= seen.max() <= 1


@given(st.floats(0, 16), st.floats(0, 64), st.floats(-180, 180))
@settings(deadline=None)
def test_point_spreads_keep_the_light_and_the_place(radius, length, angle):
    for psf in (Defocus((radius, radius)).psf(rng()), MotionBlur((length, length), (angle, angle)).psf(rng())):
        high, wide = psf.shape
        assert (high, high % 2) == (wide, 1)
        assert psf.min() >= 0
        assert psf.sum() == pytest.approx(1, abs=1e-5)
        assert psf == pytest.approx(psf[::-1, ::-1], abs=1e-5)


@pytest.mark.parametrize(("radius", "spread"), [(2.0, 1.0), (4.0, 2.0), (10.0, 5.0)])
def test_a_disc_is_as_wide_as_it_says(radius, spread):
    psf = Defocus((radius, radius)).psf(rng())
    at = np.arange(len(psf)) - len(psf) // 2
    assert (psf.sum(axis=0) * at**2).sum() ** 0.5 == pytest.approx(spread, rel=0.07)  # a disc's deviation is half its radius


@pytest.mark.parametrize(("angle", "x", "y"), [(0, 10, 0), (90, 0, 10), (45, 7.07, 7.07)])
def test_a_streak_is_as_long_as_it_says_and_points_where_it_says(angle, x, y):
    psf = MotionBlur((10.0, 10.0), (angle, angle)).psf(rng())
    at = np.arange(len(psf)) - len(psf) // 2
    # The deviation of an even line is its length over the root of 12; the nearness splat adds at most a third of a pixel's square.
    for axis, length in ((0, x), (1, y)):
        assert (psf.sum(axis=axis) * at**2).sum() == pytest.approx(length**2 / 12, abs=0.6)
    if angle == 45:
        assert (psf * -at[:, None] * at[None, :]).sum() > 3  # up when right: rows count downwards


def test_motion_blurs_along_and_not_across():
    edge_across, edge_along = grey(20), grey(20)
    edge_across[:, 32:], edge_along[32:] = 220, 220
    camera = CameraModel("x", motion=MotionBlur((9.0, 9.0), (0.0, 0.0)))
    assert (camera.apply(edge_along, rng()) == edge_along).all()
    assert len(np.unique(camera.apply(edge_across, rng()))) > 5


@pytest.mark.parametrize("shape", [(40, 40), (20, 80), (81, 33)])
def test_vignetting_takes_its_share_from_the_corners_and_nothing_from_the_centre(shape):
    light = np.ones((*shape, 3), np.float32)
    seen = Vignetting((0.5, 0.5)).effect(rng(), shape[::-1])(light, 0)
    assert seen[0, 0] == pytest.approx(0.5, abs=0.06)
    assert seen[shape[0] // 2, shape[1] // 2] == pytest.approx(1, abs=0.01)
    assert (seen <= 1).all()


@given(st.floats(-100, 90), st.floats(-100, 90))
def test_a_warmer_balance_has_more_red_and_less_blue(one, other):
    cold, warm = sorted((one, other))
    cold_gains, warm_gains = daylight_gains(cold), daylight_gains(warm)
    assert cold_gains[1] == warm_gains[1] == 1
    assert cold_gains[0] <= warm_gains[0] + 1e-6
    assert cold_gains[2] >= warm_gains[2] - 1e-6


def test_no_shift_is_white():
    assert daylight_gains(0.0) == pytest.approx([1, 1, 1], abs=1e-6)
    assert (CameraModel("x", white_balance=WhiteBalance((0.0, 0.0))).apply(grey(180), rng()) == 180).all()


@pytest.mark.parametrize(("gamma", "seen"), [(1.0, 128), (2.0, 64), (0.5, 181)])
def test_gamma_bends_the_middle(gamma, seen):
    picture = np.array([[[0, 128, 255]]], np.uint8)
    assert CameraModel("x", tone=Tone((gamma, gamma))).apply(picture, rng()).tolist() == [[[0, seen, 255]]]


def test_jpeg_costs_more_at_a_lower_quality_and_chroma_more_at_half_its_resolution():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    def loss(quality, chroma):
        seen = CameraModel("x", jpeg=Jpeg((quality, quality), chroma)).apply(picture, rng())
        return float(np.abs(seen.astype(int) - picture).mean())

    assert loss(100.0, "4:4:4") < 2
    assert loss(95.0, "4:4:4") < loss(40.0, "4:4:4")
    assert loss(95.0, "4:4:4") < loss(95.0, "4:2:2") < loss(95.0, "4:2:0")


def test_a_picture_too_wide_for_jpeg_is_one_sentence():
    with pytest.raises(DataError, match="too large for JPEG"):
        PRESETS["clean"].apply(np.zeros((1, 65_501, 3), np.uint8), rng())


def test_the_digest_names_what_it_does_not_how_it_is_called():
    camera = PRESETS["dim-line"]
    assert replace(camera, name="other").digest == camera.digest
    assert replace(camera, jpeg=None).digest != camera.digest
    assert len({each.digest for each in PRESETS.values()}) == len(PRESETS)


EXAMPLE = """
name = "line 3"
[defocus]
radius_px = [0.5, 1.5]
[motion]
length_px = [0, 8]
angle_deg = [-5, 5]
[vignetting]
corner_loss = 0.25
[exposure]
ev = -1
[sensor]
gain_ev = [1, 3]
full_well_e = 6000
read_noise_e = 5
[white_balance]
shift_mired = [-30, 30]
[tone]
gamma = [0.9, 1.1]
[jpeg]
quality = [60, 85]
chroma = "4:2:2"
"""


def test_a_file_says_every_step(tmp_path):
    path = tmp_path / "line3.toml"
    path.write_text(EXAMPLE)
    camera = open_camera(str(path))
    assert camera.name == "line 3"
    assert set(camera.steps()) == set(STEPS) == {each.name for each in fields(CameraModel)[1:]}
    assert camera.exposure == Exposure((-1, -1))
    assert camera.jpeg == Jpeg((60, 85), "4:2:2")
    path.write_text("[exposure]\nev = 2\n")
    assert open_camera(str(path)) == CameraModel("line3", exposure=Exposure((2, 2)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[flash]\n", "unknown key 'flash'"),
        ("[exposure]\nev = 1\niso = 100\n", "unknown key 'iso'"),
        ("[sensor]\ngain_ev = 1\n", "lacks full_well_e, read_noise_e"),
        ("exposure = 3\n", "is no table"),
        ("[exposure]\nev = [2, 1]\n", "Exposure ev cannot be that"),
        ("[exposure]\nev = [1, 2, 3]\n", "from -8 to 8"),
        ("[exposure]\nev = nan\n", "from -8 to 8"),
        ("[exposure]\nev = inf\n", "from -8 to 8"),
        ("[exposure]\nev = true\n", "from -8 to 8"),
        ("[exposure]\nev = 'much'\n", "much"),
        (f"[exposure]\nev = 1{'0' * 400}\n", "from -8 to 8"),
        ("[jpeg]\nquality = 0\n", "from 1 to 100"),
        ("[jpeg]\nquality = 50\nchroma = '4:1:1'\n", "4:2:0"),
        ("[jpeg]\nquality = 50\nchroma = ['4:2:0']\n", "4:2:0"),
        ("name = 3\n", "no usable name"),
        ("name = \n", "cannot be read as TOML"),
        ("a = [" * 3000, "cannot be read as TOML"),
        ("#" * (MOST_TOML_BYTES + 1), "more than 16384 bytes"),
        (f"[exposure]\nev = 0x{'f' * 15_000}\n", "a number of 60000 bits"),
        (f"a = 1{'0' * 5000}\n", "cannot be read as TOML"),
        (f"exposure{'.a' * 7_000} = 1\n", "unknown key 'a'"),
        (f"name{'.a' * 7_000} = 1\n", "no usable name; got a mapping of 1"),
        (f"[exposure]\nev{'.a' * 7_000} = 1\n", "a mapping of 1"),
        ('name = "a\\u001b[2Jb"\n', "no usable name"),
    ],
)
def test_a_file_that_no_camera_can_follow_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        open_camera(str(path))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["phone", "", "a\0b", "x" * 5000, "/"])
def test_an_unknown_camera_lists_the_known_ones(name):
    with pytest.raises(DataError, match="dim-line"):
        open_camera(name)


def test_a_data_set_through_a_camera_keeps_its_labels(tmp_path):
    dataset = open_dataset(write_tiny_dataset(tmp_path, train=1, val=4))
    (tmp_path / "images/val/0002.png").write_bytes(b"no picture")
    dark = through_camera(dataset, PRESETS["dim-line"], seed=5)
    broken: list[str] = []
    seen = list(dark.stream(dark.split("val"), broken=broken))
    clean = list(dataset.stream(dataset.split("val"), broken=[]))
    assert (len(seen), len(broken)) == (3, 1)
    for before, after in zip(clean, seen, strict=True):
        assert (before.truth.boxes_xyxy == after.truth.boxes_xyxy).all()
        assert after.image_rgb.mean() < before.image_rgb.mean() * 0.8
    again = list(through_camera(dataset, PRESETS["dim-line"], seed=5).stream(dataset.split("val"), broken=[]))
    assert all((one.image_rgb == other.image_rgb).all() for one, other in zip(seen, again, strict=True))
    other = list(through_camera(dataset, PRESETS["dim-line"], seed=6).stream(dataset.split("val"), broken=[]))
    assert any((one.image_rgb != two.image_rgb).any() for one, two in zip(seen, other, strict=True))


def test_presets_are_ordered_as_their_names_say(test_data):
    pictures = [read_image(path) for path in sorted((test_data / "coco/images/val").glob("*.jpg"))[:6]]

    def mean(name):
        return np.mean([PRESETS[name].apply(picture, rng()).mean() for picture in pictures])

    def detail(name):
        return np.mean([cv2.Laplacian(PRESETS[name].apply(picture, picture_rng(0, "11")), cv2.CV_64F).var() for picture in pictures])

    assert mean("dim-line") < 0.8 * mean("none") < 0.9 * mean("bright-line")
    assert detail("fast-line") < 0.7 * detail("none")

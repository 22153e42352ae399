"""Who may encode, who can, and what it costs: boards as trees of files, encoders as real processes."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.errors import HostError, InputError
from edgewright.run.encoders import Probed, choose_encoder, moving_pattern, probe_encoder
from edgewright.run.encoding import Encoder, Ticks, first_words, unfinished_of
from edgewright.run.known_encoders import ALWAYS_THERE, BY_NAME, KNOWN, is_tegra, why_never

SIZE = (96, 64)
HARDWARE = {encoder.name for encoder in KNOWN if encoder.hardware}
# The device files of boards, as far as encoders ask for them.
BOARDS = {
    "rpi4": ["dev/video10", "dev/video11", "dev/video12"],
    "rpi5": ["dev/video0", "dev/video19", "dev/video20", "dev/dri/card0"],
    "jetson-nano": ["dev/nvhost-msenc", "dev/nvhost-ctrl", "dev/nvmap", "etc/nv_tegra_release"],
    "orin-nano": ["dev/nvhost-ctrl-gpu", "dev/nvmap", "etc/nv_tegra_release", "dev/nvidiactl", "dev/dri/renderD128", "dev/video11"],
    "desktop": ["dev/nvidiactl", "dev/dri/renderD128"],
}


@pytest.fixture
def board(tmp_path):
    def build(name):
        for path in BOARDS[name]:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).touch()
        return tmp_path / name

    return build


@pytest.fixture
def ffmpeg():
    found = shutil.which("ffmpeg")
    if found is None:
        pytest.skip("no ffmpeg here (apt install ffmpeg)")
    return found


class Lab:
    """Says of each encoder what it is told to, and who was asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def __call__(self, encoder, size_wh, fps):
        self.asked.append(encoder.name)
        return self.answers.get(encoder.name, Probed(cpu_ms=4.0, wall_ms=5.0))


def test_the_catalogue_is_in_order():
    assert len(BY_NAME) == len(KNOWN)
    assert [encoder.hardware for encoder in KNOWN] == sorted((encoder.hardware for encoder in KNOWN), reverse=True)
    assert ALWAYS_THERE is KNOWN[-1]
    assert all(encoder.needs for encoder in KNOWN if encoder.hardware)


@pytest.mark.parametrize(
    ("name", "permitted"),
    [
        ("rpi4", {"h264_v4l2m2m"}),
        ("rpi5", set()),
        ("jetson-nano", {"h264_nvmpi"}),
        ("orin-nano", set()),
        ("desktop", {"h264_vaapi", "h264_nvenc"}),
    ],
)
def test_a_board_permits(name, permitted, board):
    assert {encoder.name for encoder in KNOWN if why_never(encoder, board(name)) is None} & HARDWARE == permitted


@pytest.mark.parametrize("wanted", ["auto", *sorted(HARDWARE)])
def test_an_orin_nano_is_never_asked_for_what_freezes_it(wanted, board):
    lab = Lab()
    choice = choose_encoder(wanted, SIZE, 10, 6, root=board("orin-nano"), probe=lab)
    assert not HARDWARE & set(lab.asked)
    assert choice.encoder.name == "libx264"
    assert "this Jetson has no /dev/nvhost-msenc" in choice.reason
    assert dict(choice.tried).keys() == HARDWARE


@pytest.mark.parametrize("place", ["proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible"])
def test_a_jetson_is_known_by_its_device_tree_alone(place, tmp_path):
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).write_bytes(b"nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0")
    assert is_tegra(tmp_path)
    (tmp_path / place).write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert not is_tegra(tmp_path)


def test_what_a_pi_lists_and_does_not_have_gives_way_to_software(board, ffmpeg):
    listed = subprocess.run([ffmpeg, "-hide_banner", "-encoders"], capture_output=True, text=True, check=True).stdout
    if "h264_v4l2m2m" not in listed or os.path.exists("/dev/video11"):  # noqa: PTH110
        pytest.skip("an ffmpeg without h264_v4l2m2m, or a machine that may have it")
    choice = choose_encoder("auto", SIZE, 10, 4, root=board("rpi4"))
    assert not choice.encoder.hardware
    assert dict(choice.tried)["h264_v4l2m2m"] == "Could not find a valid device"
    assert choice.reason.startswith(f"{choice.encoder.name} in software, ")
    assert "h264_v4l2m2m: Could not find a valid device" in choice.reason


def test_hardware_that_works_is_taken_and_nobody_else_is_asked(board):
    lab = Lab(h264_v4l2m2m=Probed(cpu_ms=2.0, wall_ms=9.0))
    choice = choose_encoder("auto", (640, 360), 10, 4, root=board("rpi4"), probe=lab)
    assert lab.asked == ["h264_v4l2m2m"]
    assert choice.cpu_share == pytest.approx(0.005)
    assert choice.reason.startswith("h264_v4l2m2m in hardware, 0.5 % of 4 cores at 10 frames a second")


def test_who_failed_at_work_is_not_asked_again(board):
    lab = Lab()
    choice = choose_encoder("auto", SIZE, 10, 4, root=board("rpi4"), avoid=frozenset({"h264_v4l2m2m"}), probe=lab)
    assert lab.asked == ["libx264"]
    assert ("h264_v4l2m2m", "it failed while it recorded") in choice.tried


def test_who_is_wished_for_comes_first_and_the_others_if_it_fails(tmp_path):
    lab = Lab(libvpx=Probed(why_not="Unknown encoder 'libvpx'"))
    choice = choose_encoder("libvpx", SIZE, 10, 1, root=tmp_path, probe=lab)
    assert lab.asked == ["libvpx", "libx264"]
    assert "of one core" in choice.reason
    assert "libvpx: Unknown encoder 'libvpx'" in choice.reason


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"no video encoder is called divx; expected auto, h264_nvmpi, .*, opencv_vp8"):
        choose_encoder("divx", SIZE, 10, 4, probe=Lab())


def test_who_does_not_keep_up_is_taken_only_when_nobody_does(tmp_path):
    slow = {name: Probed(cpu_ms=ms, wall_ms=ms) for name, ms in [("libx264", 50.0), ("libvpx", 90.0), ("opencv_vp8", 200.0)]}
    choice = choose_encoder("auto", SIZE, 30, 4, root=tmp_path, probe=Lab(**slow))
    assert choice.encoder.name == "libx264"
    assert choice.reason.startswith("too slow, but the fastest there is: libx264")
    choice = choose_encoder("auto", SIZE, 25, 4, root=tmp_path, probe=Lab(**{**slow, "libvpx": Probed(cpu_ms=9.0, wall_ms=9.0)}))
    assert choice.encoder.name == "libvpx"
    assert dict(choice.tried)["libx264"] == "a frame takes it 50 ms, and there is one every 40 ms"


def test_where_nobody_passes_what_is_always_there_is_taken_and_said(tmp_path):
    nobody = Lab(**{encoder.name: Probed(why_not="no") for encoder in KNOWN})
    choice = choose_encoder("auto", SIZE, 10, 2, root=tmp_path, probe=nobody)
    assert choice.encoder is ALWAYS_THERE
    assert "no encoder passed" in choice.reason
    assert choice.cpu_share == 0.5


@pytest.mark.parametrize("name", ["libx264", "libvpx", "opencv_vp8"])
def test_ten_frames_come_back_and_cost_something(name, ffmpeg):
    found = probe_encoder(BY_NAME[name], SIZE, 10)
    assert found.why_not is None
    assert 0 < found.cpu_ms < 1000
    assert 0 < found.wall_ms < 10_000


def test_without_ffmpeg_there_still_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    choice = choose_encoder("auto", SIZE, 5, 2, root=tmp_path)
    assert choice.encoder.name == "opencv_vp8"
    assert dict(choice.tried)["libx264"] == "there is no ffmpeg; apt install ffmpeg"


# --- an ffmpeg that misbehaves ------------------------------------------------------------------------------------------------------------

MISBEHAVIOUR = {
    "writes nothing": ("import sys\nsys.stdin.buffer.read()", "what it wrote cannot be decoded"),
    "fails at the end": (
        "import sys\nsys.stdin.buffer.read()\nsys.stderr.write('[h264 @ 0x55aa] no buffers\\nmore\\n')\nsys.exit(1)",
        "no buffers",
    ),
    "dies at once": ("import sys\nsys.stderr.write('bad option\\n')\nsys.exit(1)", "bad option"),
    "dies without a word": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
}


def as_ffmpeg(folder, program):
    path = folder / "ffmpeg"
    path.write_text(f"#!{sys.executable} -I\n{program}\n", "utf-8")
    path.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("case", MISBEHAVIOUR)
def test_an_encoder_that(case, tmp_path, monkeypatch):
    program, why = MISBEHAVIOUR[case]
    monkeypatch.setenv("PATH", as_ffmpeg(tmp_path, program))
    found = probe_encoder(BY_NAME["libx264"], SIZE, 10)
    assert found.why_not is not None
    assert why in found.why_not


def test_one_that_hangs_is_killed_with_all_that_it_started(tmp_path, monkeypatch):
    program = "import subprocess, sys, time\nif len(sys.argv) > 1: subprocess.Popen([__file__])\ntime.sleep(60)"
    monkeypatch.setenv("PATH", as_ffmpeg(tmp_path, program))
    film = Encoder(BY_NAME["libx264"], tmp_path / "film.mp4", (640, 360), 10, frame_s=0.3)
    group = os.getpgid(film.pid)
    assert group == film.pid != os.getpgid(0)
    film.write(moving_pattern((640, 360), 0), 0.0)
    with pytest.raises(HostError, match=r"libx264 hangs; got no frame taken for 0.3 s"):
        film.write(moving_pattern((640, 360), 1), 2.0)  # the first is shown twenty times: more than the pipe holds
    film.abandon()
    film.abandon()
    assert film.has_ended()
    assert not alive_in(group)
    assert unfinished_of(tmp_path / "film.mp4").exists()
    assert not (tmp_path / "film.mp4").exists()


def alive_in(group):
    """Processes of the group that are more than a corpse waiting for init."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _parent, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            found += [stat.parent.name] if int(its_group) == group and state != "Z" else []
    return found


def test_a_child_sees_none_of_our_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    program = f"import os, sys\nopen({str(tmp_path / 'seen')!r}, 'w').write(repr(dict(os.environ)))\nsys.stdin.buffer.read()"
    monkeypatch.setenv("PATH", as_ffmpeg(tmp_path, program))
    probe_encoder(BY_NAME["libx264"], SIZE, 10)
    assert "hunter2" not in (tmp_path / "seen").read_text()


def test_the_first_line_is_the_reason_and_who_speaks_is_left_out():
    assert first_words("\n[h264_vaapi @ 0x55d85] No VA display found for rtsp://a:b@c/.\nthen\n") == "No VA display found for rtsp://***@c/"
    assert first_words("") == ""


# --- irregular frames ---------------------------------------------------------------------------------------------------------------------


@given(
    fps=st.sampled_from([1.0, 7.5, 10.0, 25.0, 60.0]),
    start_s=st.floats(0, 1e6),
    gaps_s=st.lists(st.floats(0, 3), min_size=1, max_size=40),
)
def test_a_moment_lies_in_the_film_where_it_lay_in_time(fps, start_s, gaps_s):
    ticks = Ticks(fps)
    assert ticks.advance(start_s) == 0
    at_s, shown = start_s, 0
    for gap_s in gaps_s:
        at_s += gap_s
        shown += ticks.advance(at_s)
        assert shown == ticks.tick
        assert abs(shown / fps - (at_s - start_s)) <= 0.5 / fps + 1e-6


def test_a_time_that_goes_back_shows_nothing_twice():
    ticks = Ticks(10)
    assert [ticks.advance(at_s) for at_s in (5.0, 5.2, 5.1, 5.3)] == [0, 2, 0, 1]

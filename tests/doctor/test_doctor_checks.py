"""What is found on which machine, and that nothing a file says can stop the looking."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewright.board.memory import Disk
from edgewright.doctor.checks import CHECKS, examine
from edgewright.doctor.machine import Machine
from edgewright.run.encoders import Choice
from edgewright.run.known_encoders import BY_NAME
from edgewright.testing.boards import FakeBoard, known_trees
from examined_machines import LIMITS, codes, found, healthy, machine_of


class StoppedClock:
    def __init__(self, wall_s):
        self._wall_s = wall_s

    def monotonic_s(self):
        return 0.0

    def wall_s(self):
        return self._wall_s


def test_a_healthy_board_has_nothing_wrong(tmp_path):
    assert codes(machine_of(healthy(tmp_path))) == {}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rpi5", {"psi-off": "warning", "memory-cgroup-off": "warning", "no-h264-block": "info"}),
        ("rpi4", {"psi-off": "warning", "memory-cgroup-off": "warning"}),
        ("jetson-nano", {"psi-off": "warning", "encoder-hidden": "warning"}),
        ("orin-nano", {"no-nvenc": "warning"}),
    ],
)
def test_what_each_board_hides_as_it_comes(tmp_path, name, expected):
    machine = machine_of(FakeBoard(tmp_path, name))
    report = examine(machine)
    assert {finding.code: finding.severity for finding in report.findings} == expected
    assert report.is_well
    assert report.unproven
    machine.close()


def change(what):
    """(code, severity) <- what is done to a healthy board."""
    return pytest.param(*what, id=what[0])


def _write(path, text):
    return lambda board: board.garble(path, text.encode())


def _meminfo(before, after):
    return lambda board: board.garble("proc/meminfo", board.read("proc/meminfo").replace(before, after).encode())


def _small_cma(board):
    said = board.read("proc/meminfo").replace("524288 kB", "65536 kB").replace("503808 kB", "45056 kB")
    board.garble("proc/meminfo", said.encode())


def _hot(board):
    board.set_throttled("throttled", "soft temperature limit")
    board.set_temperature(86.0)


def _sagged(board):
    board.set_throttled("under-voltage")
    board.set_throttled()


def _was_hot(board):
    board.set_throttled("throttled")
    board.set_throttled()


def _swap_on(device, kind):
    def turn(board):
        (board.root / "proc/swaps").write_text("Filename\tType\tSize\tUsed\tPriority\n/var/swap   file\t102396\t0\t-2\n")
        mounts = board.read("proc/self/mountinfo")
        board.garble("proc/self/mountinfo", f"{mounts}21 1 179:2 / / rw,noatime - ext4 {device} rw\n".encode())
        board.write("sys/block/mmcblk0/device/type", f"{kind}\n")

    return turn


def _mounted(line):
    return lambda board: board.garble("proc/self/mountinfo", f"{board.read('proc/self/mountinfo')}{line}\n".encode())


def _limited(board):
    board.set_memory_limit(300 << 20, 100 << 20)
    board.write("sys/fs/cgroup/system.slice/edgewright.service/memory.events", "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\n")


CHANGES = [
    ("under-voltage", "error", lambda board: board.set_throttled("under-voltage")),
    ("under-voltage", "warning", _sagged),
    ("throttled", "error", _hot),
    ("throttled", "warning", _was_hot),
    ("no-swap", "warning", _meminfo("SwapTotal:", "SwapTotal:   0 kB\nOther:")),
    ("cma-small", "warning", _small_cma),
    ("swap-on-card", "warning", _swap_on("/dev/mmcblk0p2", "SD")),
    ("shm-small", "info", _mounted("40 25 0:30 / /dev/shm rw,nosuid - tmpfs shm rw,size=65536k")),
    ("few-files", "warning", _write("proc/self/limits", LIMITS.format(files=512, space="unlimited"))),
    ("few-files", "error", _write("proc/self/limits", LIMITS.format(files=64, space="unlimited"))),
    ("address-space-limited", "warning", _write("proc/self/limits", LIMITS.format(files=4096, space=2 << 30))),
    ("memory-limited", "info", _limited),
    ("oom-kills", "warning", _limited),
    ("cores-limited", "warning", _write("sys/fs/cgroup/system.slice/edgewright.service/cpu.max", "50000 100000\n")),
    ("governor-powersave", "warning", _write("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n")),
    ("not-in-video", "warning", _write("proc/self/status", "Uid:\t1000\t1000\nGid:\t1000\t1000\nGroups:\t100\n")),
    ("kernel-old", "error", _write("proc/sys/kernel/osrelease", "3.10.0\n")),
    ("proc-unreadable", "error", lambda board: board.take_away("proc/cpuinfo")),
    ("sys-unreadable", "warning", lambda board: shutil.rmtree(board.root / "sys")),
    ("sensor-doubtful", "warning", _write("sys/class/thermal/thermal_zone0/temp", "hot\n")),
    ("no-temperature", "info", lambda board: shutil.rmtree(board.root / "sys/class/thermal")),
    ("memory-cgroup-off", "warning", _write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")),
    ("psi-off", "warning", lambda board: shutil.rmtree(board.root / "proc/pressure")),
]


@pytest.mark.parametrize(("code", "severity", "turn"), [change(each) for each in CHANGES])
def test_each_thing_that_can_be_wrong_is_found(tmp_path, code, severity, turn):
    board = healthy(tmp_path)
    turn(board)
    finding = found(machine_of(board), code)
    assert finding.severity == severity
    assert finding.source
    assert finding.why_it_matters
    assert all(line and "\n" not in line for line in finding.fix)


@pytest.mark.parametrize(
    ("code", "severity", "known"),
    [
        ("no-engine", "error", {"engines": ()}),
        ("engines-missing", "info", {"engines": ("onnxruntime",)}),
        ("glibc-old", "warning", {"glibc": (2, 27)}),
        ("clock-not-synchronised", "warning", {"synchronised": False}),
        ("clock-behind", "error", {"clock": StoppedClock(0.0)}),
        ("clock-behind", "error", {"clock": StoppedClock(-1e18)}),
    ],
)
def test_what_no_file_tells(tmp_path, code, severity, known):
    assert codes(machine_of(healthy(tmp_path), **known))[code] == severity


def test_the_missing_engines_are_installed_in_one_line(tmp_path):
    finding = found(machine_of(healthy(tmp_path), engines=("onnxruntime", "ncnn")), "engines-missing")
    assert finding.fix == ("pip install 'edgewright[openvino,mnn]'",)


def test_a_clock_that_was_later_before_is_wrong(tmp_path):
    board = healthy(tmp_path)
    board.write("etc/fake-hwclock.data", "2026-03-01\n")
    stamp_s = (board.root / "etc/fake-hwclock.data").stat().st_mtime
    assert "clock-behind" in codes(machine_of(board, clock=StoppedClock(stamp_s - 7200)))
    assert "clock-behind" not in codes(machine_of(board, clock=StoppedClock(stamp_s)))


def test_without_an_encoder_ffmpeg_is_asked_for(tmp_path):
    choice = Choice(BY_NAME["opencv_vp8"], "", 0.25, (("libx264", "there is no ffmpeg"),))
    finding = found(machine_of(healthy(tmp_path), encoder=choice), "no-encoder")
    assert "there is no ffmpeg" in finding.what
    assert finding.fix == ("sudo apt-get install ffmpeg",)


def test_what_software_costs_is_said_on_a_pi_5(tmp_path):
    board = healthy(tmp_path, "rpi5")
    finding = found(machine_of(board, encoder=Choice(BY_NAME["libx264"], "", 0.006)), "no-h264-block")
    assert "libx264 takes 0.6 % of all cores" in finding.why_it_matters


def test_a_hot_pi_5_without_a_fan(tmp_path):
    board = healthy(tmp_path, "rpi5")
    board.set_temperature(79.0)
    board.set_fan(3200, 0.7)
    assert "no-fan" not in codes(machine_of(board))
    board.set_fan(0, 0.0)
    assert "79 C" in found(machine_of(board), "no-fan").what


def test_over_currents_of_a_jetson(tmp_path):
    board = healthy(tmp_path, "orin-nano")
    board.set_over_currents(3)
    assert "over-current" in codes(machine_of(board))


@pytest.mark.parametrize(("said_s", "is_old"), [(1_717_602_109, True), (1_790_000_000, False)])
def test_old_firmware(tmp_path, said_s, is_old):
    def run(words):
        said = f"2024/06/05 16:41:49\nversion 6fe0b091 (release)\ntimestamp {said_s}\nupdate-time 0\ncapabilities 0x7f\n"
        return said if words == ("vcgencmd", "bootloader_version") else None

    machine = machine_of(healthy(tmp_path), run=run, clock=StoppedClock(1_795_000_000.0))
    assert ("firmware-old" in codes(machine)) == is_old


def test_an_emmc_is_no_card(tmp_path):
    board = healthy(tmp_path)
    _swap_on("/dev/mmcblk0p2", "MMC")(board)
    assert "swap-on-card" not in codes(machine_of(board))


def test_root_needs_no_group(tmp_path):
    board = healthy(tmp_path)
    board.garble("proc/self/status", b"Uid:\t0\t0\nGid:\t0\t0\nGroups:\t0\n")
    assert "not-in-video" not in codes(machine_of(board))


@pytest.mark.parametrize(
    ("release", "arguments", "code"),
    [("4.9.253-tegra", "quiet", "psi-too-old"), ("6.12.1", "psi=1 quiet", "psi-not-built"), ("garbled", "quiet", "psi-off")],
)
def test_why_there_is_no_pressure(tmp_path, release, arguments, code):
    board = healthy(tmp_path)
    shutil.rmtree(board.root / "proc/pressure")
    board.garble("proc/sys/kernel/osrelease", release.encode())
    board.garble("proc/cmdline", arguments.encode())
    assert code in codes(machine_of(board))


@pytest.mark.parametrize(("free_bytes", "severity"), [(10 << 20, "error"), (500 << 20, "warning"), (5 << 30, None)])
def test_a_full_disk(tmp_path, monkeypatch, free_bytes, severity):
    monkeypatch.setattr("edgewright.board.sensors.disk_of", lambda folder: Disk(folder, 32 << 30, free_bytes))
    assert codes(machine_of(healthy(tmp_path))).get("disk-full") == severity


def test_a_disk_that_went_read_only(tmp_path):
    board = healthy(tmp_path)
    _mounted(f"50 1 179:2 / {tmp_path} ro,noatime - ext4 /dev/mmcblk0p2 ro")(board)
    finding = found(machine_of(board), "disk-read-only")
    assert finding.fix[0] == f"sudo mount -o remount,rw {tmp_path}"


def test_the_file_system_that_an_error_made_read_only_and_the_last_mounted_counts(tmp_path):
    board = healthy(tmp_path)
    _mounted(f"50 1 179:2 / {tmp_path} rw,noatime - ext4 /dev/mmcblk0p2 ro,errors=remount-ro")(board)
    assert "disk-read-only" in codes(machine_of(board))
    _mounted(f"51 1 179:2 / {tmp_path} rw,noatime - ext4 /dev/sda1 rw")(board)
    assert "disk-read-only" not in codes(machine_of(board))


def test_a_mount_point_cannot_smuggle_a_command(tmp_path):
    board = healthy(tmp_path)
    _mounted(f"50 1 179:2 / {tmp_path};reboot ro,noatime - ext4 /dev/sda1 ro")(board)
    machine = machine_of(board, folder=Path(f"{tmp_path};reboot"))
    assert found(machine, "disk-read-only").fix[0] == f"sudo mount -o remount,rw '{tmp_path};reboot'"


LINES = {
    "rpi5": ("boot/firmware/cmdline.txt", "console=tty1 root=PARTUUID=1 rootwait\n", "console=tty1 root=PARTUUID=1 rootwait psi=1\n"),
    "jetson-nano": (
        "boot/extlinux/extlinux.conf",
        "LABEL primary\n      LINUX /boot/Image\n      APPEND ${cbootargs} quiet\n",
        "LABEL primary\n      LINUX /boot/Image\n      APPEND ${cbootargs} quiet psi=1\n",
    ),
    "pc": ("etc/default/grub", 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="quiet"\n', 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="psi=1 quiet"\n'),
}


@pytest.mark.parametrize("name", LINES)
def test_the_line_does_what_it_says(tmp_path, name):
    path, before, after = LINES[name]
    if name == "pc":
        board = healthy(tmp_path)
        shutil.rmtree(board.root / "proc/device-tree")
        (board.root / "dev/nvhost-msenc").unlink()
    else:
        board = healthy(tmp_path, name)
    shutil.rmtree(board.root / "proc/pressure", ignore_errors=True)
    board.garble("proc/cmdline", b"quiet")
    (board.root / path).parent.mkdir(parents=True, exist_ok=True)
    (board.root / path).write_text(before)
    line = found(machine_of(board), "psi-off").fix[0]
    typed = line.replace("sudo ", "").replace(f" /{path}", f" {board.root / path}")
    subprocess.run(["/bin/sh", "-c", typed], check=True, timeout=10)
    assert (board.root / path).read_text() == after
    again = found(machine_of(board), "psi-off").fix
    assert again == (("sudo reboot",) if name != "pc" else again)


@pytest.mark.parametrize("name", known_trees())
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])  # a folder is made for each
@given(data=st.data())
def test_garbage_never_raises(name, data):
    with tempfile.TemporaryDirectory() as folder:
        board = healthy(Path(folder), name)
        board.write("proc/swaps", "x")
        paths = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(paths), max_size=12, unique=True)):
            what = data.draw(
                st.one_of(st.none(), st.binary(max_size=64), st.sampled_from([b"\xff" * 5000, b"-1\n" * 50, "٣٤".encode(), b"1e999"]))
            )
            if what is None:
                board.take_away(path)
            else:
                board.garble(path, what)
        said = data.draw(st.one_of(st.none(), st.text(max_size=40)))
        machine = machine_of(board, run=lambda _words: said)
        report = examine(machine)
        machine.close()
        report.to_json()


def test_an_empty_folder_is_a_machine_too(tmp_path):
    machine = Machine(tmp_path)
    report = examine(machine)
    machine.close()
    assert {"proc-unreadable", "sys-unreadable"} <= {finding.code for finding in report.findings}
    assert len(report.looked) == len(CHECKS) == len(set(report.looked))


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    import os

    board = healthy(tmp_path)
    for path in ("proc/swaps", "proc/cmdline", "proc/self/limits"):
        (board.root / path).unlink(missing_ok=True)
        os.mkfifo(board.root / path)
    assert codes(machine_of(board)) == {}

"""Engines, encoder, kernel and C library, and the clock: what is installed, and how old."""

import time

from edgewright.doctor.finding import Check, Finding
from edgewright.doctor.machine import Machine
from edgewright.run.known_encoders import ALWAYS_THERE, JETSON_ENCODER

EXTRAS = {"onnxruntime": "ort", "openvino": "openvino", "mnn": "mnn", "ncnn": "ncnn"}  # see pyproject.toml
OLDEST_KERNEL = (3, 17)  # memfd_create(2), which frames travel in
OLDEST_GLIBC = (2, 28)  # of the wheels of the engines (manylinux_2_28)
LEAST_WALL_S = 1_764_547_200  # 2025-12-01: no clock is right that says less
CLOCK_STAMPS = ("var/lib/systemd/timesync/clock", "etc/fake-hwclock.data")  # written when the time was last known
SLACK_S = 3600.0
HAS_ENCODER = ("NVIDIA Jetson Nano", "NVIDIA Jetson TX", "NVIDIA Jetson Xavier", "NVIDIA Jetson Orin NX", "NVIDIA Jetson AGX")
RECORDED = "640x360 at 10 frames a second"


def no_engine(machine: Machine) -> Finding | None:
    if machine.engines is None or machine.engines:
        return None
    return Finding(
        "no-engine",
        "error",
        "no engine is installed",
        "no model can run",
        ("pip install 'edgewright[ort]'",),
        "docs/reference/fit.md, --engines",
    )


def fewer_engines(machine: Machine) -> Finding | None:
    missing = [name for name in EXTRAS if name not in (machine.engines or ())]
    if not machine.engines or not missing:
        return None
    return Finding(
        "engines-missing",
        "info",
        f"not installed: {', '.join(missing)}",
        "`fit` times every engine that is there, and the quickest is often another one",
        (f"pip install 'edgewright[{','.join(EXTRAS[name] for name in missing)}]'",),
        "docs/reference/fit.md, --engines",
    )


def no_hardware_encoder(machine: Machine) -> Finding | None:
    """The board's own silence first: an Orin Nano's is dangerous, a Pi 5's merely costs."""
    if machine.is_jetson and machine.model.startswith(HAS_ENCODER) and not machine.has(JETSON_ENCODER):
        return Finding(
            "encoder-hidden",
            "warning",
            f"the board has a video encoder, which cannot be seen here (there is no /{JETSON_ENCODER})",
            f"recordings are encoded by the cores that the model wants{_cost(machine)}",
            (f"# docker: run with --runtime nvidia --device /{JETSON_ENCODER}",),
            "blakeblackshear/frigate, ffmpeg_presets.py; Jetson Linux Developer Guide, Software Encode in Orin Nano",
        )
    if machine.is_jetson and not machine.has(JETSON_ENCODER):
        return Finding(
            "no-nvenc",
            "warning",
            f"this Jetson has no video encoder (there is no /{JETSON_ENCODER})",
            "programs that ask for one all the same may freeze the board; edgewright never does, and records in software",
            (f"# in other programs use x264enc or libx264 in place of nvv4l2h264enc{_cost(machine)}",),
            "NVIDIA-AI-IOT/deepstream_python_apps, FAQ.md",
        )
    if machine.is_pi_5:
        return Finding(
            "no-h264-block",
            "info",
            "a Pi 5 has no H.264 hardware, though ffmpeg lists h264_v4l2m2m",
            f"recordings are encoded by the cores that the model wants{_cost(machine)}",
            ("# in service.toml: record less often, smaller, or with fewer frames a second",),
            "raspberrypi/rpicam-apps, encoder/encoder.cpp; motioneye-project/motioneye#3344",
        )
    return None


def no_ffmpeg(machine: Machine) -> Finding | None:
    if machine.encoder is None or machine.encoder.encoder.name != ALWAYS_THERE.name:
        return None
    tried = dict(machine.encoder.tried).get("libx264", "it failed")
    return Finding(
        "no-encoder",
        "warning",
        f"no H.264 encoder works here (libx264: {tried})",
        "films are VP8, larger and dearer, and network cameras that OpenCV does not take cannot be read",
        ("sudo apt-get install ffmpeg",),
        "docs/reference/recording.md",
    )


def old_kernel(machine: Machine) -> Finding | None:
    if machine.kernel is None or machine.kernel >= OLDEST_KERNEL:
        return None
    return Finding(
        "kernel-old",
        "error",
        "the kernel is too old ({}.{})".format(*machine.kernel),
        "frames pass between processes in memory without a name, which came with 3.17",
        ("# install a newer release of the system",),
        "man page memfd_create(2)",
    )


def old_glibc(machine: Machine) -> Finding | None:
    if machine.glibc is None or machine.glibc >= OLDEST_GLIBC:
        return None
    return Finding(
        "glibc-old",
        "warning",
        "the C library is too old for the engines' wheels (glibc {}.{}; 2.28 is asked for)".format(*machine.glibc),
        "pip finds no wheel, and begins to compile for hours",
        ("# use a container with Debian 12 or Ubuntu 22.04, or the vendor's newest release of the system",),
        "peps.python.org/pep-0600 (manylinux_2_28)",
    )


def clock_wrong(machine: Machine) -> Finding | None:
    now_s = machine.clock.wall_s()
    stamps = [stamp for path in CLOCK_STAMPS if (stamp := machine.changed_s(path)) is not None]
    if now_s + SLACK_S >= max([LEAST_WALL_S, *stamps]):
        return None
    return Finding(
        "clock-behind",
        "error",
        f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(min(max(now_s, 0.0), 4e10)))}, and it has been later before",
        "certificates are refused, records are dated wrongly, and what is kept for some days is thrown away",
        ("sudo timedatectl set-ntp true", "# without a network: sudo date -s 'YYYY-MM-DD HH:MM'"),
        "man page systemd-timesyncd.service(8), /var/lib/systemd/timesync/clock",
    )


def clock_not_kept(machine: Machine) -> Finding | None:
    if machine.synchronised is not False:
        return None
    alone = not machine.names("sys/class/rtc", "rtc")
    return Finding(
        "clock-not-synchronised",
        "warning" if alone else "info",
        f"nothing keeps the clock right{', and the board has no clock of its own that runs without power' if alone else ''}",
        "times of events on several machines do not agree, and after a power cut they begin where they ended",
        (
            "sudo timedatectl set-ntp true",
            *(
                ("echo dtoverlay=i2c-rtc,ds3231 | sudo tee -a /boot/firmware/config.txt   # with such a module",)
                if alone and machine.is_pi
                else ()
            ),
        ),
        "man pages adjtimex(2), timedatectl(1)",
    )


def _cost(machine: Machine) -> str:
    if machine.encoder is None:
        return ""
    return f"; {machine.encoder.encoder.name} takes {machine.encoder.cpu_share:.1%} of all cores for {RECORDED}".replace("%", " %")


CHECKS = (
    Check("engine", no_engine),
    Check("engines", fewer_engines),
    Check("hardware encoder", no_hardware_encoder),
    Check("ffmpeg", no_ffmpeg),
    Check("kernel", old_kernel),
    Check("C library", old_glibc),
    Check("clock", clock_wrong),
    Check("clock synchronised", clock_not_kept),
)

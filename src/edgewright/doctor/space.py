"""Memory, swap, shared memory and disk: what there is too little of, or of the wrong kind."""

import re
import shlex

from edgewright.doctor.finding import Check, Finding
from edgewright.doctor.machine import Machine

MIB, GIB = 1 << 20, 1 << 30
SMALL_BOARD_BYTES = 9 * GIB  # a Pi or a Jetson with 8 GB
SMALL_CMA_BYTES = 128 * MIB
LITTLE_CMA_BYTES = 16 * MIB
SMALL_SHM_BYTES = 64 * MIB  # what docker gives: too small for the programs that exchange frames there
NEARLY_FULL_BYTES, FULL_BYTES = 1 * GIB, 64 * MIB
NEARLY_FULL_SHARE = 0.03
SHM = "/dev/shm"  # noqa: S108 - looked at, not written
SWAP_LINE = re.compile(r"^(/\S{1,200})[ \t]+(partition|file)[ \t]+([0-9]{1,15})[ \t]", re.ASCII | re.MULTILINE)
SIZE = re.compile(r"([0-9]{1,15})([kmg]?)", re.ASCII)
UNITS = {"": 1, "k": 1 << 10, "m": MIB, "g": GIB}
CARD = re.compile(r"/dev/(mmcblk[0-9]{1,3})", re.ASCII)


def no_swap(machine: Machine) -> Finding | None:
    memory = machine.reading.memory
    if memory is None or memory.swap_total_bytes != 0 or (memory.total_bytes or 0) > SMALL_BOARD_BYTES:
        return None
    fix: tuple[str, ...]
    if machine.is_pi:
        fix = ("sudo apt-get install rpi-swap   # Raspberry Pi OS 13; before: zram-tools", "sudo reboot")
    elif machine.is_jetson:
        fix = ("sudo systemctl enable --now nvzramconfig",)
    else:
        fix = ("sudo apt-get install zram-tools", "sudo systemctl restart zramswap")
    return Finding(
        "no-swap",
        "warning",
        "there is no swap, and none that is compressed in memory",
        "whatever asks for one page too many is killed, and there is no time to shed load before that",
        fix,
        "kernel, Documentation/admin-guide/blockdev/zram.rst; openhab/openhabian#2091 (rpi-swap)",
    )


def swap_on_card(machine: Machine) -> Finding | None:
    for name, kind, _ in SWAP_LINE.findall(machine.text("proc/swaps") or ""):
        mount = machine.mount_of(name) if kind == "file" else None
        card = CARD.match(name if kind == "partition" else "" if mount is None else mount.device)
        # An eMMC has the same kind of name, and is made for more.
        if card and (machine.text(f"sys/block/{card[1]}/device/type") or "SD") == "SD":
            off = "sudo apt-get purge dphys-swapfile" if machine.has("etc/dphys-swapfile") else f"sudo swapoff {shlex.quote(name)}"
            return Finding(
                "swap-on-card",
                "warning",
                f"{name} swaps to a memory card",
                "a card takes tenths of a second for a page, in which everything waits, and wears out by it",
                (off, f"sudo apt-get install {'rpi-swap   # Raspberry Pi OS 13; before: zram-tools' if machine.is_pi else 'zram-tools'}"),
                "Telraam/Telraam-RPi#1; kernel, Documentation/admin-guide/blockdev/zram.rst",
            )
    return None


def small_cma(machine: Machine) -> Finding | None:
    """A Pi 5's camera takes other memory (the DMA heap vidbuf_cached), so it is not asked there."""
    memory = machine.reading.memory
    if not machine.is_pi or machine.is_pi_5 or memory is None or memory.cma_total_bytes is None:
        return None
    free = memory.cma_free_bytes
    used_up = free is not None and free < LITTLE_CMA_BYTES
    if memory.cma_total_bytes >= SMALL_CMA_BYTES and not used_up:
        return None
    left = "" if free is None else f", {free // MIB} MiB of it free"
    config = (
        "boot/config.txt" if machine.has("boot/config.txt") and not machine.has("boot/firmware/config.txt") else "boot/firmware/config.txt"
    )
    return Finding(
        "cma-small",
        "warning",
        f"cameras and codecs have {memory.cma_total_bytes // MIB} MiB of contiguous memory (CMA){left}",
        "a camera that changes its mode, or is opened again, finds none left and gives no more pictures",
        (f"sudo sed -i 's/^dtoverlay=vc4-kms-v3d.*/dtoverlay=vc4-kms-v3d,cma-256/' /{config}", "sudo reboot"),
        "raspberrypi/linux, arch/arm/boot/dts/overlays/README, vc4-kms-v3d; raspberrypi/picamera2#887, #1125",
    )


def small_shm(machine: Machine) -> Finding | None:
    mount = next((mount for mount in reversed(machine.mounts) if mount.point == SHM), None)
    size = None if mount is None else next((_size(option) for option in mount.options if option.startswith("size=")), None)
    if size is None or size > SMALL_SHM_BYTES:
        return None
    return Finding(
        "shm-small",
        "info",
        f"{SHM} holds {size // MIB} MiB",
        "edgewright does not use it, but programs beside it that pass frames there die with a bus error",
        (f"sudo mount -o remount,size=50% {SHM}", "# docker: run with --shm-size=512m"),
        "blakeblackshear/frigate#1354; kernel, Documentation/filesystems/tmpfs.rst",
    )


def full_disk(machine: Machine) -> Finding | None:
    disk = machine.reading.disk
    if disk is None or not disk.total_bytes:
        return None
    nearly = min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * disk.total_bytes)
    if disk.free_bytes >= max(nearly, FULL_BYTES if disk.total_bytes > 2 * FULL_BYTES else 0):
        return None
    return Finding(
        "disk-full",
        "error" if disk.free_bytes < FULL_BYTES else "warning",
        f"the disk under this folder has {disk.free_bytes // MIB} MiB left of {disk.total_bytes // MIB}",
        "films, spools and journals cannot be written, and a card that is full wears out faster",
        ("sudo apt-get clean", "sudo journalctl --vacuum-size=100M", "du -xh --max-depth=2 . | sort -h | tail"),
        "docs/reference/recording.md",
    )


def read_only_disk(machine: Machine) -> Finding | None:
    mount = machine.mount_of(str(machine.folder.absolute()))
    if mount is None or "ro" not in mount.options:
        return None
    return Finding(
        "disk-read-only",
        "error",
        f"{mount.point} is read-only",
        "nothing can be kept; a card that fails is made read-only by the kernel",
        (f"sudo mount -o remount,rw {shlex.quote(mount.point)}", "dmesg | grep -i -E 'mmc|ext4|i/o error'"),
        "man page mount(8)",
    )


def _size(option: str) -> int | None:
    """size=65536k."""
    found = SIZE.fullmatch(option.removeprefix("size="))
    return int(found[1]) * UNITS[found[2]] if found else None


CHECKS = (
    Check("swap", no_swap),
    Check("swap on a card", swap_on_card),
    Check("camera memory (CMA)", small_cma),
    Check(SHM, small_shm),
    Check("disk", full_disk),
    Check("read-only disk", read_only_disk),
)

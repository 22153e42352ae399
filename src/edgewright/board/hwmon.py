"""The chips that the kernel's hardware monitoring knows: /sys/class/hwmon/hwmon* (Documentation/hwmon/sysfs-interface.rst).

Their numbers change from one start to the next, so they are found by name.
"""

from dataclasses import dataclass

from edgewright.board.kernel_files import KernelFiles, Look

FOLDER = "sys/class/hwmon"
MOST_CHIPS = 32


@dataclass(frozen=True, slots=True)
class Chip:
    """What it calls itself ("ina3221"; empty if it does not say), and its folder."""

    name: str
    folder: str


def chips(files: KernelFiles) -> list[Chip]:
    """All of them, by number."""
    look = Look(files)
    folders = [f"{FOLDER}/{name}" for name in files.names(FOLDER, "hwmon")[:MOST_CHIPS]]
    return [Chip(look.text(f"{folder}/name") or "", folder) for folder in folders]

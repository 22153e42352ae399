"""How a word gets onto the kernel's command line, which every kind of board keeps elsewhere."""

from edgewright.doctor.machine import Machine

PI_FILES = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")  # Raspberry Pi OS since Bookworm, and before
JETSON_FILE = "boot/extlinux/extlinux.conf"
GRUB_FILE = "etc/default/grub"


def with_argument(machine: Machine, argument: str) -> tuple[str, ...]:
    """The lines for a shell that add `argument`, and restart; only the second where the file has it already."""
    path, edit = _place(machine, argument)
    if path is None:
        return (f"# add {argument} to the kernel's command line in your boot loader's settings, then restart",)
    if argument in (machine.text(path) or "").split():
        return ("sudo reboot",)
    update = ("sudo update-grub",) if path == GRUB_FILE else ()
    return (f"sudo sed -i '{edit}' /{path}", *update, "sudo reboot")


def _place(machine: Machine, argument: str) -> tuple[str | None, str]:
    if machine.is_pi:
        # One line, and it has to stay one.
        return next(filter(machine.has, PI_FILES), PI_FILES[0]), f"1 s/$/ {argument}/"
    if machine.is_jetson:
        return JETSON_FILE, f"/^[[:space:]]*APPEND /s/$/ {argument}/"
    if machine.has(GRUB_FILE):
        return GRUB_FILE, f's/^GRUB_CMDLINE_LINUX="/&{argument} /'
    return None, ""

"""Supply, heat, fan and clocks: what makes a board slower than it is."""

import re

from edgewright.board.throttle import THROTTLED, UNDER_VOLTAGE
from edgewright.doctor.finding import Check, Finding
from edgewright.doctor.machine import Machine

FIRMWARE_FLAGS = "raspberrypi.com/documentation/computers/os.html, vcgencmd get_throttled"
HOT_C = 75.0  # where a Pi 5 wants its fan at full speed (raspberrypi.com/documentation/computers/raspberry-pi.html)
CPUFREQ = "sys/devices/system/cpu/cpufreq"
GOVERN_THEMSELVES = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")  # drivers whose "powersave" still goes up to the top
TIMESTAMP = re.compile(r"^timestamp ([0-9]{1,12})$", re.ASCII | re.MULTILINE)
OLD_FIRMWARE_S = 548 * 86_400  # a year and a half


def under_voltage(machine: Machine) -> Finding | None:
    throttle = machine.reading.throttle
    if throttle is None or UNDER_VOLTAGE not in (*throttle.now, *throttle.since_start):
        return None
    volts = machine.reading.supply_v
    measured = "" if volts is None else f" ({volts:.2f} V)"
    supply = "27 W USB-C supply (5.1 V, 5 A)" if machine.is_pi_5 else "15 W USB-C supply (5.1 V, 3 A)"
    return Finding(
        "under-voltage",
        "error" if throttle.under_voltage else "warning",
        f"the supply sags now{measured}" if throttle.under_voltage else "the supply has sagged since the start",
        "the firmware lowers the clocks, figures measured meanwhile mean nothing, and memory cards get corrupted",
        (f"# use the official {supply} and a short, thick cable; power USB devices from a hub of their own", "vcgencmd get_throttled"),
        FIRMWARE_FLAGS,
    )


def over_current(machine: Machine) -> Finding | None:
    events = machine.reading.over_currents
    if not events:
        return None
    return Finding(
        "over-current",
        "warning",
        f"over-current was counted {events} times since the start",
        "the board throttles each time; on a Nano it mostly means that the supply sags",
        ("# feed it through the barrel jack (5 V, 4 A on a Nano), or choose a smaller power mode:", "sudo nvpmodel -m 1"),
        "Jetson Linux Developer Guide, Over-Current Throttling; forums.developer.nvidia.com/t/158055",
    )


def slowed_down(machine: Machine) -> Finding | None:
    throttle = machine.reading.throttle
    if throttle is None:
        return None
    now = [flag for flag in throttle.now if flag != UNDER_VOLTAGE and (flag != THROTTLED or throttle.for_heat)]
    since = [flag for flag in throttle.since_start if flag != UNDER_VOLTAGE]
    if not now and not since:
        return None
    temp_c = machine.reading.temp_c
    heat = "" if temp_c is None else f", {temp_c:.0f} C"
    return Finding(
        "throttled",
        "error" if THROTTLED in now else "warning",
        f"slowed down now ({', '.join(now)}{heat})" if now else f"has been slowed down since the start ({', '.join(since)})",
        "frames take longer than they were measured to, and latency budgets do not hold",
        ("# cool it: a fan or a heat sink, and holes in the case; or let it do less:", "edgewright board"),
        FIRMWARE_FLAGS,
    )


def no_fan(machine: Machine) -> Finding | None:
    reading = machine.reading
    turns = reading.fan is not None and (reading.fan.rpm or 0) > 0
    if not machine.is_pi_5 or turns or reading.temp_c is None or reading.temp_c < HOT_C:
        return None
    return Finding(
        "no-fan",
        "warning",
        f"{reading.temp_c:.0f} C, and no fan turns",
        "a Pi 5 without one reaches 80 C under steady work and is throttled from there",
        (
            "# plug the Active Cooler into the fan connector J17, or let the firmware drive it:",
            "echo dtparam=cooling_fan | sudo tee -a /boot/firmware/config.txt",
            "sudo reboot",
        ),
        "raspberrypi.com/documentation/computers/raspberry-pi.html, Cooling a Raspberry Pi",
    )


def slow_governor(machine: Machine) -> Finding | None:
    for policy in machine.names(CPUFREQ, "policy"):
        chosen = machine.text(f"{CPUFREQ}/{policy}/scaling_governor")
        driver = machine.text(f"{CPUFREQ}/{policy}/scaling_driver") or ""
        if chosen == "powersave" and driver not in GOVERN_THEMSELVES:
            known = (machine.text(f"{CPUFREQ}/{policy}/scaling_available_governors") or "").split()
            better = next((name for name in ("schedutil", "ondemand") if name in known), "performance")
            return Finding(
                "governor-powersave",
                "warning",
                "the processor is held at its lowest clock (cpufreq governor powersave)",
                "every frame takes as long as on a board of half the price",
                (f"echo {better} | sudo tee /{CPUFREQ}/policy*/scaling_governor",),
                "kernel, Documentation/admin-guide/pm/cpufreq.rst",
            )
    return None


def old_firmware(machine: Machine) -> Finding | None:
    if not machine.is_pi:
        return None
    found = TIMESTAMP.search(machine.run(("vcgencmd", "bootloader_version")) or "")
    if found is None or machine.clock.wall_s() - int(found[1]) < OLD_FIRMWARE_S:
        return None
    months = round((machine.clock.wall_s() - int(found[1])) / 86_400 / 30.44)
    return Finding(
        "firmware-old",
        "info",
        f"the boot loader is {months} months old",
        "clocks, fan, memory timing and power are the firmware's, and have changed since",
        ("sudo apt-get update", "sudo apt-get install --only-upgrade rpi-eeprom", "sudo rpi-eeprom-update -a", "sudo reboot"),
        "raspberrypi.com/documentation/computers/raspberry-pi.html, boot EEPROM",
    )


CHECKS = (
    Check("supply", under_voltage),
    Check("over-currents", over_current),
    Check("throttling", slowed_down),
    Check("fan", no_fan),
    Check("clock governor", slow_governor),
    Check("firmware", old_firmware),
)

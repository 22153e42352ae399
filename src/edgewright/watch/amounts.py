"""Figures as people read them: three digits and a unit."""

from typing import Final

NONE: Final = "-"  # where there is no figure


def count(value: float | None) -> str:
    """1,204; from a million on 1.20 M."""
    if value is None:
        return NONE
    if abs(value) < 1e6:
        return f"{round(value):,}"
    return f"{value / 1e6:.2f} M" if abs(value) < 1e9 else f"{value / 1e9:.2f} G"


def rate(value: float | None) -> str:
    """A number a second: 9.8, 120."""
    if value is None:
        return NONE
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def ms(value: float | None) -> str:
    """0.41, 4.1, 41, 4,100."""
    if value is None:
        return NONE
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in powers of 1024, as service.toml has them."""
    if value is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 999.5 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or abs(value) >= 9.95 else f"{value:.1f} {unit}"


def mib(value: float | None) -> str:
    """Mebibytes without the unit: beside a budget."""
    return NONE if value is None else f"{value / (1 << 20):,.0f}"


def span(seconds: float | None) -> str:
    """How long: 8 s, 12 min, 4 h 07, 3 d 04 h."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02}"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours:02} h"

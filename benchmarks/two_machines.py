"""What benchmarks/arm64.py counts: how far two machines say the same, how large a package is, and whether that is as promised."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN = 0.25  # the score above which boxes are usually drawn
ALIKE_PX, ALIKE_SCORE = 1.0, 0.01
MOST_POINTS_APART = 0.3  # of mAP50-95: the same artifact, the same pictures, there and here
MOST_MB = 220.0  # of site-packages on a board


@dataclass(frozen=True, slots=True)
class Side:
    """What on_the_board.py wrote: rows of picture, class, score, x1, y1, x2, y2, and digests a picture of what the network met and said."""

    rows: NDArray[np.float64]
    given: tuple[str, ...]
    gave: tuple[str, ...]

    @classmethod
    def load(cls, path: Path) -> "Side":
        with np.load(path) as held:
            return cls(held["rows"], tuple(held["given"].tolist()), tuple(held["gave"].tolist()))


def answers(there: Side, here: Side) -> dict[str, int]:
    """How far the same artifact says the same of the same pictures, counted in pictures and in boxes."""
    both = Counter(map(tuple, there.rows.tolist())) & Counter(map(tuple, here.rows.tolist()))
    shown_there, shown_here = (side.rows[side.rows[:, 2] > SHOWN] for side in (there, here))
    return {
        "pictures": len(here.given),
        "inputs_equal": _equal(there.given, here.given),
        "outputs_equal": _equal(there.gave, here.gave),
        "boxes_there": len(there.rows),
        "boxes_here": len(here.rows),
        "boxes_equal": both.total(),
        "shown_there": len(shown_there),
        "shown_here": len(shown_here),
        "shown_alike": min(alike(shown_here, shown_there), alike(shown_there, shown_here)),
    }


def alike(rows: NDArray[np.float64], others: NDArray[np.float64]) -> int:
    """How many boxes have one of their picture and class among the others, no side and score further off than is called alike."""
    if not len(others):
        return 0
    apart = np.abs(rows[:, None] - others[None])
    near = (apart[..., :2] == 0).all(axis=-1) & (apart[..., 2] <= ALIKE_SCORE) & (apart[..., 3:] <= ALIKE_PX).all(axis=-1)
    return int(near.any(axis=1).sum())


def _equal(some: tuple[str, ...], others: tuple[str, ...]) -> int:
    return sum(a == b for a, b in zip(some, others, strict=True))


def counted(said: str) -> dict[str, int]:
    """Of what pytest said, the counts in its last line: `2 failed, 14 passed, 1 skipped in 31.40s`."""
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    found = {kind.rstrip("s"): int(number) for number, kind in re.findall(r"(\d+) (passed|failed|skipped|errors?)", last)}
    return {kind: found.get(kind, 0) for kind in ("passed", "failed", "error", "skipped")}


def installed_size(site_packages: Path) -> dict[str, Any]:
    """Bytes of all that lies there, folders included as `du -sb` counts them, and of the files of each package; no bytecode."""
    everything = [site_packages, *site_packages.rglob("*")]
    kept = [path for path in everything if "__pycache__" not in path.parts]
    packages = {}
    for package in metadata.distributions(path=[str(site_packages)]):
        files = [Path(package.locate_file(file)) for file in package.files or ()]
        inside = [file for file in files if file.is_relative_to(site_packages) and "__pycache__" not in file.parts and file.is_file()]
        packages[package.name] = sum(file.stat().st_size for file in inside)
    largest_first = sorted(packages.items(), key=lambda each: -each[1])
    return {"bytes": sum(path.lstat().st_size for path in kept), "packages": dict(largest_first)}


def broken_promises(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each figure that is not as it must be."""
    broken = []
    for each in found["artifacts"]:
        points = each["points_apart"]["estimate"]
        if abs(points) > MOST_POINTS_APART:
            broken.append(f"{each['name']}: {points:+.2f} points of mAP50-95 there against here, more than {MOST_POINTS_APART} apart")
    if found["size"]["bytes"] > MOST_MB * 1e6:
        broken.append(f"{found['size']['bytes'] / 1e6:.1f} MB are installed, more than {MOST_MB:.0f}")
    if found["tests"]["failed"] or found["tests"]["error"] or not found["tests"]["passed"]:
        broken.append(f"of tests/engines not all pass: {found['tests']}")
    if not found["command"]["classes_there"] or not found["command"]["help_names_detect"]:
        broken.append(f"the command does not work there: {found['command']}")
    return broken

"""What a fit is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from edgewright.compress.recipes import Recipe
from edgewright.fit.budget import Budget


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What to fit, to which data, into which folder and budget.

    `images`: for calibration; `threads`: for baseline and candidates alike, 0 all cores; `board`: a name of the catalog or a file, None
    for this machine; `camera`: what calibration pictures are seen through; `recipes`: what to try, None to find out.
    """

    model: Path
    data: Path
    out: Path
    budget: Budget = field(default_factory=Budget)
    threads: int = 0
    images: int = 64
    seed: int = 0
    resume: bool = False
    board: str | None = None
    camera: str | None = None
    recipes: tuple[Recipe, ...] | None = None
    command: str = ""

"""What a fit is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from edgewright.compress.recipes import Recipe
from edgewright.fit.budget import Budget

USUAL_IMAGES = (
    64  # ranges settle with these: a recipe's mAP50-95 differs by less than half a point over five draws of 64 (docs/performance.md)
)


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What to fit, to which data, into which folder and budget.

    `images`: for calibration, None as many as are usual (`USUAL_IMAGES`), or half of the train images where that is less; `threads`: for
    baseline and candidates alike, 0 all cores; `board`: a name of the catalog or a file, None for this machine; `camera`: what
    calibration pictures are seen through; `engines`: what may run it, None every one that is installed; `sizes_wh`: input sizes to
    try beside the model's own; `frame_wh`: the camera's pictures, whose shape the input may take; `recover`: changes after which the
    network learns its answers back, as `learn.recipe` reads them, None for none, and `effort`: times as many passes over the frames as
    are usual; `recipes`: what to try, None to find out.
    """

    model: Path
    data: Path
    out: Path
    budget: Budget = field(default_factory=Budget)
    threads: int = 0
    images: int | None = None
    seed: int = 0
    resume: bool = False
    board: str | None = None
    camera: str | None = None
    engines: tuple[str, ...] | None = None
    sizes_wh: tuple[tuple[int, int], ...] = ()
    frame_wh: tuple[int, int] | None = None
    recover: str | None = None
    effort: float = 1.0
    recipes: tuple[Recipe, ...] | None = None
    command: str = ""

    def calibration_images(self, train_images: int) -> int:
        """How many pictures to calibrate with, of so many in the train split."""
        return self.images or min(USUAL_IMAGES, max(1, train_images // 2))

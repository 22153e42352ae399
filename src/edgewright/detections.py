"""What a detector says about an image, and the image it said it about.

`Detections` is a struct of arrays in the pixels of the *source* image; everything else in edgewright is a function over it.

    >>> import numpy as np
    >>> found = Detections(np.array([[0, 0, 4, 4]], np.float32), np.array([0.9], np.float32), np.array([1]), ("cat", "dog"))
    >>> found.above(0.5).names
    ['dog']
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Boxes: TypeAlias = NDArray[np.float32]  # N x 4, x1 y1 x2 y2 in pixels
Scores: TypeAlias = NDArray[np.float32]  # N
ClassIds: TypeAlias = NDArray[np.int64]  # N
ImageRgb: TypeAlias = NDArray[np.uint8]  # H x W x 3


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes of one image, best score first. `boxes_xyxy` N x 4 in source pixels, `scores` N in 0..1, `class_ids` N."""

    boxes_xyxy: Boxes
    scores: Scores
    class_ids: ClassIds
    classes: "Sequence[str]" = field(default=())

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes_xyxy.shape != (count, 4) or self.class_ids.shape != (count,):
            raise ValueError(
                f"boxes {self.boxes_xyxy.shape}, scores {self.scores.shape}, class ids {self.class_ids.shape}: not the same boxes"
            )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """The class name of each box; the number where the model carries no name for it."""
        return [self.classes[i] if i < len(self.classes) else str(i) for i in self.class_ids.tolist()]

    def above(self, score: float) -> "Detections":
        """The boxes whose score is greater than `score`."""
        return self[self.scores > score]

    def __getitem__(self, keep: NDArray[Any] | slice) -> "Detections":
        return replace(self, boxes_xyxy=self.boxes_xyxy[keep], scores=self.scores[keep], class_ids=self.class_ids[keep])

    def to_json(self) -> dict[str, Any]:
        """`boxes_xyxy`, `scores` and `classes` (names), rounded to what a box is good for."""
        return {
            "boxes_xyxy": [[round(v, 2) for v in box] for box in self.boxes_xyxy.tolist()],
            "scores": [round(s, 5) for s in self.scores.tolist()],
            "classes": self.names,
        }

    def to_supervision(self) -> Any:
        """The same boxes as `supervision.Detections`.

        Raises:
            ImportError: the package `supervision` is not installed.
        """
        import supervision  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - a guest: only those who have it pay for it

        return supervision.Detections(
            xyxy=self.boxes_xyxy, confidence=self.scores, class_id=self.class_ids, data={"class_name": np.array(self.names)}
        )

    @classmethod
    def none(cls, classes: "Sequence[str]" = ()) -> "Detections":
        """No boxes."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), classes)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a stream: RGB pixels, its number from 0 and its time in seconds from the start."""

    image_rgb: ImageRgb
    index: int
    time_s: float

"""How boxes lie in a result slot: three arrays one after the other, as many as the worker says there are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewright.detections import Detections
from edgewright.detector import MOST_BOXES

BYTES_A_BOX: Final = 4 * 4 + 4 + 8
RESULT_BYTES: Final = MOST_BOXES * BYTES_A_BOX


def write_result(slot: NDArray[np.uint8], found: Detections) -> int:
    """Boxes into a slot of `RESULT_BYTES`; how many."""
    count = min(len(found), MOST_BOXES)
    boxes, scores, class_ids = _arrays(slot, count)
    boxes[:], scores[:], class_ids[:] = found.boxes_xyxy[:count], found.scores[:count], found.class_ids[:count]
    return count


def read_result(slot: NDArray[np.uint8], count: int, classes: Sequence[str]) -> Detections:
    """The boxes of a slot, copied: the slot may be written again at once.

    Raises:
        ValueError: there cannot be so many, or they are no boxes.
        TypeError: that is no count.
    """
    if not 0 <= count <= MOST_BOXES:
        raise ValueError(f"{count} boxes in a slot for {MOST_BOXES}")
    # First copied, then looked at: whoever writes the slot may be broken, and write it meanwhile.
    boxes, scores, class_ids = _arrays(slot[: count * BYTES_A_BOX].copy(), count)
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all() and (class_ids >= 0).all()):
        raise ValueError("boxes that are no boxes")
    return Detections(boxes, scores, class_ids, classes)


def _arrays(slot: NDArray[np.uint8], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    # The widest type first, so that each array lies where its type must.
    class_ids = slot[: count * 8].view(np.int64)
    boxes = slot[count * 8 : count * 24].view(np.float32).reshape(count, 4)
    return boxes, slot[count * 24 : count * BYTES_A_BOX].view(np.float32), class_ids

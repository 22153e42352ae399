"""Procedural circuit boards with labelled defects: material for the demo and the tests, free of anybody's pictures.

The six kinds of defect are DeepPCB's, in DeepPCB's order. `draw_board` makes one picture from one seed, `write_dataset` an
Ultralytics folder of them, `conveyor_frames` a film of boards on a belt. Boards of the split `held_out` come from ranges of
layout and colour that no training board has.

>>> from edgewright.data.circuit_boards import CLASS_NAMES, draw_board
>>> picture = draw_board(3, look="binary")
>>> [CLASS_NAMES[k] for k in picture.class_ids[:2]]  # doctest: +SKIP
['spur', 'open']
"""

from edgewright.data.circuit_boards.belt import conveyor_frames
from edgewright.data.circuit_boards.dataset import write_dataset
from edgewright.data.circuit_boards.defects import CLASS_NAMES
from edgewright.data.circuit_boards.picture import BoardPicture, draw_board, draw_flawless_board

__all__ = ["CLASS_NAMES", "BoardPicture", "conveyor_frames", "draw_board", "draw_flawless_board", "write_dataset"]

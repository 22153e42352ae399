"""Where frames come from: one kind of source a module, used inside a capture process (`run.capture_child`).

>>> reader = open_reader(order)          # doctest: +SKIP
>>> while reader.next():                 # waits for the next frame   # doctest: +SKIP
...     reader.draw(picture)             # into a slot of the ring
"""

from importlib import import_module
from typing import Any

from edgewright.errors import InputError
from edgewright.run.readers.base import PictureChanged, Reader, ReaderLost, SourceOrder

__all__ = ["PictureChanged", "Reader", "ReaderLost", "SourceOrder", "open_reader"]

# Modules of this package, each with `open_source(order) -> Reader`.
READERS = ("stream", "ffmpeg", "clip", "folder", "replay", "csi")


def open_reader(order: SourceOrder) -> Reader:
    """The reader for a source.

    Raises:
        InputError: there is no such kind of source, or what is there is none.
        ReaderLost: it cannot be opened now, and may be later.
    """
    if order.kind not in READERS:
        raise InputError(f"there is no reader {order.kind!r}", expected=f"one of {', '.join(READERS)}")
    module: Any = import_module(f"edgewright.run.readers.{order.kind}")
    reader: Reader = module.open_source(order)
    return reader

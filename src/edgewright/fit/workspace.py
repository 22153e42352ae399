"""The folder a fit works in: `OUT/.fit`, in which it finds again what an earlier one had finished. See `result_folder` for the rest."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgewright.errors import DiskError
from edgewright.result_folder import FIT, empty, refuse_foreign, working_folder
from edgewright.whole_file import REFUSALS, disk_error, remove

LEARNED = "recover"
GO_ON = "on the same --out, `--resume` goes on where this stopped"


@contextmanager
def workspace(out: Path, *, resume: bool, name: str = FIT) -> Iterator[Path]:
    """The working folder `name` of `out`, which is locked; emptied unless `resume`.

    Raises:
        InputError: `out` is a file, or holds something that we did not write, or another run is at work in it.
        DiskError: something cannot be written, in here or in the block; an older result is as it was.
    """
    refuse_foreign(out)
    try:
        with working_folder(out, name) as work:
            if not resume:
                empty(work)
            yield work
    except DiskError as error:
        raise DiskError(error.what, got=error.got, expected=error.expected, fix=f"{error.fix}; {GO_ON}") from error
    except OSError as error:
        if error.errno not in REFUSALS or error.errno == errno.EIO:
            raise
        full = disk_error(error, Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else out)
        raise DiskError(full.what, got=full.got, fix=f"{full.fix}; {GO_ON}") from error


def tidy(work: Path) -> None:
    """Drop the candidates' models, which weigh most and can be made again; what is left serves a `--resume`, the networks that learned for
    an hour among it.
    """
    with os.scandir(work) as entries:
        folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False) and entry.name != LEARNED]
    for folder in folders:
        remove(folder)

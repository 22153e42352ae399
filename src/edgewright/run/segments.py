"""A folder of films that never grows beyond its cap, and what is left in it when a service was killed.

A segment is a film, `CAMERA-20261128T231500Z.mp4`, and the answers to its frames, a `.jsonl` of the same name, which is there before the
film takes its name. Beyond the cap the oldest segment goes. Oldest is who was there first: of what an earlier run left, the names say it;
whatever this run finishes is younger, though the machine's clock may have been set back since (a board without a battery begins in the
past).
"""

import os
import re
import threading
from datetime import UTC, datetime
from pathlib import Path

from edgewright.run.encoding import CUT, keep_what_plays, unfinished_of
from edgewright.whole_file import OURS, is_own_file, make_folder, telling_of_the_disk

NAME = re.compile(r"(?P<camera>[A-Za-z0-9_.-]+)-(?P<stamp>\d{8}T\d{6}Z)(?P<again>-\d{1,4})?(?P<cut>-cut)?\.(?:mp4|webm)")
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
LONGEST_CAMERA = 80
MOST_OF_A_SECOND = 1000  # segments of one camera that begin in the same second of a clock that is set back again and again
SIDECAR = ".jsonl"
PIECE = 1 << 16


def sidecar_of(film: Path) -> Path:
    """The answers beside a film."""
    return film.with_suffix(SIDECAR)


def file_name_of(camera: str) -> str:
    """A camera's name as it stands in names of files."""
    return UNSAFE.sub("_", camera)[:LONGEST_CAMERA].lstrip(".") or "camera"


class Segments:
    """The films of one output, of all its cameras; any thread may ask. What a killed run left unfinished is taken in first.

    Raises:
        DiskError: the folder cannot be made or looked through.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self.removed = 0
        self._turn = threading.Lock()
        self._open: dict[Path, int] = {}
        make_folder(folder)
        self.recovered = self._take_in()
        found = sorted(self._films(), key=lambda film: _stamp(film.name))
        self._kept = {film: _bytes_of(film) for film in found}  # oldest first

    @property
    def total_bytes(self) -> int:
        """Of films and answers, those that are still written as well."""
        with self._turn:
            return self._total()

    @property
    def films(self) -> list[Path]:
        """Those that are finished, oldest first."""
        with self._turn:
            return list(self._kept)

    def begin(self, camera: str, wall_s: float, suffix: str) -> Path:
        """The name of a film that begins now; nobody else gets it.

        Raises:
            FileExistsError: all of this second are taken.
        """
        stem = f"{file_name_of(camera)}-{datetime.fromtimestamp(wall_s, UTC):%Y%m%dT%H%M%SZ}"
        with self._turn:
            for again in range(1, MOST_OF_A_SECOND):
                film = self.folder / f"{stem}{'' if again == 1 else f'-{again}'}{suffix}"
                if not self._is_taken(film):
                    self._open[film] = 0
                    return film
        raise FileExistsError(f"{stem} has been begun {MOST_OF_A_SECOND} times")

    def grew(self, film: Path) -> bool:
        """Look how large a film is by now, and make room for it; False where nothing is left to go but what is being written."""
        with self._turn:
            self._open[film] = _bytes_of(film)
            self._make_room()
            return self._total() <= self.most_bytes

    def finish(self, film: Path) -> int:
        """A film has its name; returns its bytes, with those of its answers."""
        with self._turn:
            self._open.pop(film, None)
            self._kept[film] = size = _bytes_of(film)
            self._make_room()
            return size

    def give_up(self, film: Path) -> int:
        """A film was not finished: what of it plays is kept, under a name that says so; returns its bytes.

        Raises:
            DiskError: it can be neither kept nor removed.
        """
        with self._turn:
            self._open.pop(film, None)
            kept = self._recover(film)
            if kept is None:
                return 0
            self._kept[kept] = size = _bytes_of(kept)
            self._make_room()
            return size

    def _make_room(self) -> None:
        while self._kept and self._total() > self.most_bytes:
            film = next(iter(self._kept))
            # The film last: where it cannot be removed, it is tried again next time.
            with telling_of_the_disk(film):
                sidecar_of(film).unlink(missing_ok=True)
                film.unlink(missing_ok=True)
            del self._kept[film]
            self.removed += 1

    def _total(self) -> int:
        return sum(self._kept.values()) + sum(self._open.values())

    def _is_taken(self, film: Path) -> bool:
        stems = (film, film.with_stem(f"{film.stem}{CUT}"))  # a board without a clock begins each day at the same second
        names = [each.with_suffix(suffix) for each in stems for suffix in (".mp4", ".webm", SIDECAR)]
        names += [unfinished_of(name) for name in names]
        return any(film.stem == begun.stem for begun in self._open) or any(os.path.lexists(name) for name in names)

    def _films(self) -> list[Path]:
        with telling_of_the_disk(self.folder), os.scandir(self.folder) as entries:
            return [Path(entry.path) for entry in entries if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]

    def _take_in(self) -> list[Path]:
        """What killed runs left: films that play are kept, all else goes; who is still being written stays."""
        with telling_of_the_disk(self.folder), os.scandir(self.folder) as entries:
            names = [entry.name.removeprefix(OURS) for entry in entries if entry.name.startswith(OURS)]
        kept = [self._recover(self.folder / name) for name in names if NAME.fullmatch(name)]
        for name in names:
            film = self.folder / Path(name).with_suffix(".mp4").name
            if name.endswith(SIDECAR) and NAME.fullmatch(film.name) and not self._is_written(film):
                unfinished_of(self.folder / name).unlink(missing_ok=True)
        return [film for film in kept if film is not None]

    def _is_written(self, film: Path) -> bool:
        return any(os.path.lexists(unfinished_of(film.with_suffix(suffix))) for suffix in (".mp4", ".webm"))

    def _recover(self, film: Path) -> Path | None:
        """The film and its answers under a name with `-cut`; None where nothing plays, or somebody still writes it."""
        unfinished = unfinished_of(film)
        kept = keep_what_plays(unfinished, film) if is_own_file(unfinished) else None
        if os.path.lexists(unfinished):
            return None
        # The answers may have had their name already when the film had not.
        answers = next((path for path in (unfinished_of(sidecar_of(film)), sidecar_of(film)) if is_own_file(path)), None)
        if answers is not None and not os.path.lexists(film):
            with telling_of_the_disk(answers):
                if kept is None:
                    answers.unlink()
                else:
                    drop_torn_line(answers)
                    os.replace(answers, sidecar_of(kept))  # noqa: PTH105 - the atomic replace is the point
        return kept


def drop_torn_line(path: Path) -> None:
    """A file of lines ends with its last whole one."""
    with path.open("r+b") as stream:
        at = stream.seek(0, os.SEEK_END)
        while at:
            begin = max(0, at - PIECE)
            stream.seek(begin)
            end = stream.read(at - begin).rfind(b"\n")
            if end >= 0:
                at = begin + end + 1
                break
            at = begin
        stream.truncate(at)


def _stamp(name: str) -> tuple[str, int, str]:
    found = NAME.fullmatch(name)
    return (found["stamp"], int((found["again"] or "-0")[1:]), name) if found else ("", 0, name)


def _bytes_of(film: Path) -> int:
    """What a film and its answers take, finished or not."""
    return sum(_size(path) for whole in (film, sidecar_of(film)) for path in (whole, unfinished_of(whole)))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0

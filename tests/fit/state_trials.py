"""Hand mangled files of a working folder to what goes on with them, in a process of bounded memory: the inner loop of
`test_mangled_journal`.

`python state_trials.py KIND FIRST COUNT` prints a JSON object: how many were refused or done again, and what was wrong with how.
"""

import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgewright.accuracy.predictions import Boxed, Predictions
from edgewright.compress.calibrate import TensorStatistics, load_statistics, save_statistics
from edgewright.errors import EdgewrightError
from edgewright.fit.journal import Journal, digest_of

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "data")]
from text_mutations import BYTE_CHANGES, changed_tree, mutated  # noqa: E402 - found in the folder beside

MOST_S = 20
MORE_MEMORY = 1 << 30  # bytes, beyond what the imports took
STEPS = ("open", "calibrate", "select")


class WrongAnswerError(Exception):
    """It was believed, and is not what was written."""


def _work(folder: Path, name: str, done: list[str]) -> Callable[[], tuple[dict, list[Path]]]:
    def work() -> tuple[dict, list[Path]]:
        done.append(name)
        (folder / f"{name}.txt").write_text(name)
        return {"map": 0.5, "of": [1, None, name]}, [folder / f"{name}.txt"]

    return work


def _go_on(folder: Path, read: Callable[[dict], object]) -> list[str]:
    done: list[str] = []
    journal = Journal(folder)
    for name in STEPS:
        journal.step(name, {"seed": 0}, _work(folder, name, done), read)
    assert journal.seconds >= 0
    return done


def _plain(result: dict) -> object:
    """As a caller reads a step: by its keys, and by their types."""
    if not isinstance(result["map"], float) or len(result["of"]) != 3:
        raise TypeError
    return result


def journal(folder: Path, rng: random.Random) -> bool:
    """Mangled as text: a line that is not exactly as it was is done again."""
    work = folder / "out/.fit"
    path, sound = _sound_journal(work)
    path.write_bytes(mutated(sound, "lines", rng.randrange(2**32)) if rng.random() < 0.5 else _mangled_line(sound, rng, signed=False))
    done = _go_on(work, _plain)
    whole = path.read_bytes()
    if _go_on(work, _plain) or path.read_bytes() != whole:
        raise WrongAnswerError(f"it was not mended: {whole!r}")
    for line in whole.splitlines():
        if json.loads(line)["step"] in STEPS and json.loads(line)["result"] != _work(work, json.loads(line)["step"], [])()[0]:
            raise WrongAnswerError(line.decode())
    _refuse_strays(folder, work)
    return bool(done)


def signed_journal(folder: Path, rng: random.Random) -> bool:
    """Mangled by somebody who knows how a line is signed: he may be believed, but nothing breaks and nothing outside is touched."""
    work = folder / "out/.fit"
    path, sound = _sound_journal(work)
    path.write_bytes(_mangled_line(sound, rng, signed=True))
    done = _go_on(work, _plain)
    _refuse_strays(folder, work)
    return bool(done)


def _sound_journal(work: Path) -> tuple[Path, bytes]:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _go_on(work, _plain)
    return work / "journal.jsonl", (work / "journal.jsonl").read_bytes()


def _mangled_line(sound: bytes, rng: random.Random, *, signed: bool) -> bytes:
    lines = sound.splitlines()
    at = rng.randrange(len(lines))
    document = changed_tree(json.loads(lines[at]), rng)
    if signed and isinstance(document, dict):
        document.pop("digest", None)
        document["digest"] = digest_of(document)[:16]
    lines[at] = json.dumps(document).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n" * rng.randint(0, 1)


def _refuse_strays(folder: Path, work: Path) -> None:
    found = {path for path in folder.rglob("*") if path.is_file()}
    expected = {work / "journal.jsonl", *(work / f"{name}.txt" for name in STEPS)}
    if found - expected:
        raise WrongAnswerError(f"files elsewhere: {found - expected}")


def predictions(folder: Path, rng: random.Random) -> bool:
    """An archive of boxes: it is read as something that all of accuracy can walk, or refused."""
    path = folder / "predictions.npz"
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6]], np.float32)
    found = Boxed(boxes, np.array([0, 1, 0]), np.array([0, 2, 3]), np.array([0.9, 0.5, 0.1], np.float32))
    truth = Boxed(boxes[:2], np.array([1, 0]), np.array([0, 1, 2]), crowd=np.zeros(2, bool), areas=np.full(2, 16, np.float32))
    Predictions(found, truth, ("a", "b"), ("one.png", "two.png"), ("broken",)).save(path)
    path.write_bytes(mangled_archive(path.read_bytes(), rng))
    read = Predictions.load(path)
    for image in range(read.images):
        assert len(read.shown(image, 0.0)) <= 3
        assert len(read.truth.boxes_xyxy[read.truth.rows(image)]) == len(read.truth.class_ids[read.truth.rows(image)])
    return False


def statistics(folder: Path, rng: random.Random) -> bool:
    """An archive of histograms: read as something that ranges can be taken from, or refused."""
    path = folder / "statistics.npz"
    held = {name: TensorStatistics() for name in ("images", "out")}
    held["images"].add(np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4))
    held["out"].add(np.linspace(0, 2, 8, dtype=np.float32))
    save_statistics(held, path)
    path.write_bytes(mangled_archive(path.read_bytes(), rng))
    read = load_statistics(path)
    assert all(each.low <= each.high and each.counts.min() >= 0 and each.reach > 0 for each in read.values())
    return False


def mangled_archive(sound: bytes, rng: random.Random) -> bytes:
    """Bytes of the archive, or of what is packed in it, or whole arrays of another kind."""
    if rng.random() < 0.3:
        return rng.choice(BYTE_CHANGES)(sound, "lines", rng)
    with zipfile.ZipFile(io.BytesIO(sound)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    if rng.random() < 0.4:
        members[name] = rng.choice(BYTE_CHANGES)(members[name], "lines", rng)
    elif rng.random() < 0.2:
        del members[name]
    else:
        members[name] = _strange_array(np.load(io.BytesIO(members[name])), rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
            if rng.random() < 0.02:
                archive.writestr(f"../{member}", content)
    return packed.getvalue()


def _strange_array(array: np.ndarray, rng: random.Random) -> bytes:
    numbers = (0, -1, 1, 2**31, 2**62, -(2**62), np.nan, np.inf, -np.inf, 1e300, 0.5)
    with np.errstate(all="ignore"):
        changed = rng.choice(
            (
                lambda: array[:-1],
                lambda: np.concatenate([array, array]),
                lambda: array.reshape(-1),
                lambda: array[..., None],
                lambda: np.full_like(array, "\ud800" * 3) if array.dtype.kind == "U" else _filled(array, rng.choice(numbers)),
                lambda: array.astype("U8"),
                lambda: np.zeros(array.shape, rng.choice(("f2", "f8", "i1", "u8", "c8", "?", "M8[s]", "S3", "V5"))),
                lambda: np.zeros((0, *array.shape[1:]), array.dtype),
                lambda: np.zeros((), array.dtype),
                lambda: np.zeros((5000, *array.shape[1:]), array.dtype),
                lambda: array.astype(array.dtype.newbyteorder(">")),
            )
        )()
    stream = io.BytesIO()
    np.lib.format.write_array(stream, changed, allow_pickle=False)
    return stream.getvalue()


def _filled(array: np.ndarray, value: float) -> np.ndarray:
    found = array.copy()
    if found.size:
        with np.errstate(all="ignore"):
            found.flat[-1] = np.array(value).astype(found.dtype)
    return found


TRIALS: dict[str, Callable[[Path, random.Random], bool]] = {
    trial.__name__: trial for trial in (journal, signed_journal, predictions, statistics)
}


class TookTooLong(BaseException):
    """The hang guard."""


def _give_up(*_signal: object) -> None:
    raise TookTooLong


def _what_is_wrong(kind: str, folder: Path, seed: int) -> tuple[bool, str | None]:
    try:
        return TRIALS[kind](folder, random.Random(seed)), None
    except EdgewrightError as error:
        sentence = str(error)
        sound = error.exit_code in (2, 3) and sentence.isprintable() and len(sentence) < 2000
        return True, None if sound else ascii(sentence[:500])
    except TookTooLong:
        return False, f"took more than {MOST_S} s"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return False, f"{type(error).__name__}: {ascii(str(error))[:500]}"


def main(kinds: list[str], first: int, count: int) -> dict[str, object]:
    """Hand out `count` mutations of each kind, the first of them with the seed `first`."""
    signal.signal(signal.SIGALRM, _give_up)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MORE_MEMORY, in_use + MORE_MEMORY))
    refused, wrong = dict.fromkeys(kinds, 0), []
    for kind in kinds:
        # In memory where there is such a folder: a journal is synced to the disk line by line.
        folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        for seed in range(first, first + count):
            signal.alarm(MOST_S)
            said_no, what = _what_is_wrong(kind, folder, seed)
            signal.alarm(0)
            refused[kind] += said_no
            if what is not None:
                wrong.append(f"{kind} {seed}: {what}")
        shutil.rmtree(folder)
    return {"refused": refused, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1].split(","), int(sys.argv[2]), int(sys.argv[3]))))

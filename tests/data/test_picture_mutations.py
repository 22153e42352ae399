"""Whatever is done to a picture, it is sound, damaged or refused with one sentence; never a crash, never gigabytes."""

import json
import re
import struct
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.picture_mutations import CHANGES, Original, bombs, coded_from, encoded, mutations, tiff
from edgewright.data.images import MOST_PIXELS, read_image
from edgewright.errors import DataError

SOAK_SEEDS = range(1, 4)
MOST_MIB = 400  # of a process that reads every bomb: Python, NumPy and OpenCV take some 100


def judged(path: Path, content: bytes) -> tuple[str, np.ndarray | None, str]:
    """The verdict, the pixels and what was said."""
    path.write_bytes(content)
    damaged: list[str] = []
    try:
        pixels = read_image(path, damaged=damaged)
    except DataError as error:
        return "refused", None, str(error)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert len(damaged) <= 1
    return ("damaged" if damaged else "sound"), pixels, "".join(damaged)


def check(folder: Path, seed: int, given: tuple[Original, ...] = ()) -> Counter:
    """Judge every mutation of a seed; how many of each suffix got each verdict."""
    counts, wrong, pixels_of = Counter(), [], {}
    for mutation in mutations(seed, given=given):
        verdict, pixels, said = judged(folder / f"a{mutation.suffix}", mutation.content)
        counts[verdict] += 1
        if verdict not in mutation.may or (verdict == "refused" and not re.search(mutation.says, said)):
            wrong.append((mutation.name, verdict, said))
        if verdict != "sound":
            assert f"a{mutation.suffix} " in said
            assert said.isprintable()
        elif mutation.same_pixels:
            original = mutation.original
            if original.name not in pixels_of:
                pixels_of[original.name] = judged(folder / f"a{original.suffix}", original.content)[1]
            if not np.array_equal(pixels, pixels_of[original.name]):
                wrong.append((mutation.name, "sound with other pixels", said))
    assert not wrong
    return counts


def test_every_mutation_gets_a_verdict_that_can_be_right(tmp_path):
    counts = check(tmp_path, seed=0)
    assert counts.total() >= 500
    assert min(counts["sound"], counts["refused"]) > 150
    assert counts["damaged"] > 15


def real(test_data: Path, count: int) -> tuple[Original, ...]:
    files = sorted((test_data / "coco").rglob("*.jpg"))[::60][:count] + sorted((test_data / "deeppcb").rglob("*.jpg"))[::300][:count]
    return tuple(Original(f"{path.stem} jpg", ".jpg", path.read_bytes()) for path in files)


def test_mutations_of_real_photographs(tmp_path, test_data):
    assert check(tmp_path, seed=0, given=real(test_data, 1)).total() > 650


@pytest.mark.soak
def test_thousands_of_mutations(tmp_path, test_data):
    counts = sum((check(tmp_path, seed, real(test_data, 5)) for seed in SOAK_SEEDS), Counter())
    print(dict(counts))
    assert counts.total() >= 2000


def test_the_same_seed_makes_the_same_files():
    one, other = ([(each.name, each.content) for each in mutations(5)] for _ in range(2))
    assert one == other
    assert one != [(each.name, each.content) for each in mutations(6)]


def test_what_opencv_reads_is_read_alike(tmp_path):
    """A sound JPEG has the pixels that trainers' cv2.imread gives it, whichever way the camera was held."""
    seen = 0
    for mutation in mutations(0):
        if mutation.suffix != ".jpg":
            continue
        verdict, pixels, _ = judged(tmp_path / "a.jpg", mutation.content)
        if verdict == "sound":
            expected = cv2.imdecode(np.frombuffer(mutation.content, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert np.array_equal(pixels, expected), mutation.name
            seen += 1
    assert seen > 50


IN_A_CHILD = """
import json, sys
from pathlib import Path
from edgewright.data.images import read_image
from edgewright.errors import DataError
said = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[path.name] = str(read_image(path).shape)
    except DataError as error:
        said[path.name] = str(error)
# Not ru_maxrss: that one starts at the parent's size, across fork and exec (getrusage(2), BUGS).
held = next(line for line in Path("/proc/self/status").read_text("ascii").splitlines() if line.startswith("VmHWM:"))
print(json.dumps({"said": said, "peak_mib": int(held.split()[1]) / 1024}))
"""


def read_in_a_child(folder: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", IN_A_CHILD, str(folder)], capture_output=True, text=True, check=True, timeout=200)
    return json.loads(done.stdout)


def test_bombs_take_no_memory(tmp_path):
    for number, bomb in enumerate(bombs()):
        (tmp_path / f"{number}{bomb.suffix}").write_bytes(bomb.content)
    found = read_in_a_child(tmp_path)
    assert all(re.search("claims to be too large|would take too long", said) for said in found["said"].values()), found
    assert len(found["said"]) == 7
    assert found["peak_mib"] < MOST_MIB


@pytest.mark.soak
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_largest_that_is_read_takes_its_pixels_and_what_the_decoder_holds_beside_them(tmp_path, suffix):
    """A progressive JPEG is the worst: libjpeg holds two bytes for each sample of each component until the last scan."""
    side = int(MOST_PIXELS**0.5)
    if suffix == ".jpg":
        small = encoded(
            ".jpg", np.zeros((16, 16, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111
        )
        (tmp_path / "a.jpg").write_bytes(small.replace(b"\x00\x10\x00\x10", struct.pack(">HH", side, side), 1))
    else:
        (tmp_path / "a.png").write_bytes(encoded(".png", np.zeros((side, side), np.uint8)))
    found = read_in_a_child(tmp_path)
    print(found)
    assert found["said"][f"a{suffix}"] == f"({side}, {side}, 3)"
    assert found["peak_mib"] < MOST_MIB + (3 + 6) * MOST_PIXELS / 2**20


def test_threads_do_not_mix_what_they_say(tmp_path):
    """Each picture's damage is told to whoever reads it, and OpenCV's log comes back as it was."""
    level = log_level()
    sound = encoded(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    files = {"sound.jpg": sound, "damaged.jpg": sound[:900] + b"\xff\xd9" + sound[900:], "cut.tiff": tiff({256: 8, 257: 8})}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def verdict(name: str) -> str:
        damaged: list[str] = []
        try:
            read_image(tmp_path / name, damaged=damaged)
        except DataError:
            return "cut.tiff"
        return "damaged.jpg" if damaged else "sound.jpg"

    with ThreadPoolExecutor(4) as pool:
        names = [*files] * 40
        assert list(pool.map(verdict, names)) == names
    assert log_level() == level


def log_level() -> int:
    return cv2.utils.logging.getLogLevel() if hasattr(cv2.utils, "logging") else cv2.getLogLevel()


def test_nothing_but_our_sentence_is_heard(tmp_path, capfd):
    """What is changed on its way is known before a decoder could print that; only a PNG whose checksums were made to fit is not."""
    for mutation in mutations(0):
        if "checksum too" not in mutation.name:
            judged(tmp_path / f"a{mutation.suffix}", mutation.content)
    assert capfd.readouterr() == ("", "")


@pytest.mark.soak
@pytest.mark.parametrize("folder", ["coco", "deeppcb"])
def test_how_much_of_the_damage_in_coded_data_can_be_known(tmp_path, test_data, folder):
    """JPEG has no checksum: a changed bit that leaves valid codes is seen by nobody. docs/reference/data.md has these figures."""
    rng = np.random.default_rng(0)
    told = {}
    for how, change in CHANGES.items():
        other = known = 0
        for path in sorted((test_data / folder).rglob("*.jpg"))[::12][:40]:
            content = path.read_bytes()
            _, original, _ = judged(tmp_path / "a.jpg", content)
            for _ in range(6):
                at = int(rng.integers(coded_from(content), len(content) - 20))
                verdict, pixels, _ = judged(tmp_path / "a.jpg", change(rng, content, at))
                changed = not np.array_equal(pixels, original) if pixels is not None else True
                other += changed
                known += changed and verdict != "sound"
        told[how] = round(known / other, 2)
    print(folder, told)
    assert told["zeros"] > 0.6
    assert told["16 random bytes"] > 0.4
    assert 0.05 < told["a bit flipped"] < 0.6

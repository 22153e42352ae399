"""Models that nobody thought of: refused in one sentence, or sound enough to run once, in bounded time and memory.

A crash that was found here once is a test by name in `test_lint.py`, `test_inspect.py` or `test_wire.py`.
"""

from collections import Counter
from pathlib import Path

import pytest

from graph.model_examiner import OURS, Examiner
from graph.model_fuzz import mutate
from tiny_detector import build_tiny_detector

SHAPES = ("yolov8", "yolov5", "yolox", "yolox decoded", "end2end", "nms")
LONGEST = 700  # characters of a refusal
MOST_MIB = 768
MOST_S = 20.0


def detectors() -> list[bytes]:
    return [build_tiny_detector(family=family, size=32).SerializeToString() for family in SHAPES]


def examine(seeds: range, folder: Path) -> Counter:
    """How far the mutants of these seeds came; every one must end in a sentence, or in an answer."""
    path, bases, far = folder / "net.onnx", detectors(), Counter()
    with Examiner() as examiner:
        for seed in seeds:
            path.write_bytes(mutate(bases[seed % len(bases)], seed))
            seen = examiner.examine(path)
            assert seen.fault is None, (seed, seen)
            # What a runtime does with a sound file is the door's business: it dies there, in a child.
            assert seen.died is None or seen.step not in OURS, (seed, seen)
            assert seen.peak_mib < MOST_MIB, (seed, seen)
            assert seen.seconds < MOST_S, (seed, seen)
            said = seen.refusal or ""
            assert seen.step not in OURS or (said.isprintable() and 0 < len(said) <= LONGEST), (seed, seen)
            far[f"{seen.step}: {'died' if seen.died is not None else 'refused' if said else 'done'}"] += 1
    return far


def test_mutants_of_every_family_are_refused_or_run(tmp_path):
    far = examine(range(150), tmp_path)

    assert far["run: done"] > 10  # else it would not try what it says
    assert far["load: refused"] > 10
    assert far["lint: refused"] > 10


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousands_of_mutants_are_refused_or_run(tmp_path):
    far = examine(range(1000, 4000), tmp_path)

    print("3,000 mutants:", dict(sorted(far.items())))


def test_the_same_seed_makes_the_same_mutant():
    base = detectors()[0]

    assert [mutate(base, seed) for seed in range(20)] == [mutate(base, seed) for seed in range(20)]
    assert len({mutate(base, seed) for seed in range(20)}) > 15

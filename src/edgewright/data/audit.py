"""Is a calibration set fit for its purpose? Looked at beside the split it was drawn from, the judging split and, if there are any,
frames of the deployed camera.

Rules are pure and stated with their thresholds; pictures are looked at once each, small, one at a time, and at most 2,000 a side.

- Too few: with fewer than 59 pictures it is less than 95 % certain that any of them shows what one picture in twenty shows
  (0.95^59 < 0.05: the one-sided tolerance limit of Wilks, Annals of Mathematical Statistics 12, 1941).
- The same: equal bytes. Looks the same: of 64 bits of a DCT hash (Zauner, Implementation and benchmarking of perceptual image hash
  functions, 2010) at most 6 differ. Of 8,000 pairs of unrelated COCO pictures and 22,000 of drawn boards the nearest differ in 12; pairs
  of DeepPCB up to 6 are the same place of the same layout, from 8 on they no longer always are; recompressed at half the size, 19 of
  20 pictures stay within 4.
- Looks like another domain: a feature whose two distributions are further apart than 0.5 (Kolmogorov-Smirnov), further than chance
  allows (1 in 1,000 over all features), and by more than an eye sees. Random halves of COCO, DeepPCB and drawn boards are at most 0.38
  apart; sets chosen to spread brightness evenly at most 0.42 from their val split; one of these three against another 0.8 and more.
"""

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgewright.artifact import sha256_of
from edgewright.data.calibration import BRIGHTNESS_BINS, MOST_CONSIDERED, CalibrationSet
from edgewright.data.dataset import Dataset, Sample
from edgewright.data.images import SUFFIXES, Shrink, open_picture
from edgewright.detections import ImageRgb
from edgewright.errors import DataError
from edgewright.graph.finding import Finding, error, warning
from edgewright.printable import printable
from edgewright.progress import Progress, unseen

FEWEST_IMAGES = 59
SAME_BITS = 6  # of 64
APART = 0.5  # Kolmogorov-Smirnov distance, 0..1
SIGNIFICANCE = 0.001
COMMON = 0.05  # the share of the train pictures that makes a brightness worth having
MOST_LISTED = 100  # pairs of each kind
SIDE_PX = 320  # the longer side of what is looked at
FLAT = 2.0  # grey levels of deviation; a picture flatter than that has no shapes to compare

# With each feature the least difference of the medians that means anything: two pictures without colour can be told apart by a
# hundredth of a grey level of it, every time. Grey levels 0..255; sharpness in decimal logarithms.
LEAST_SHIFT = {"brightness": 5.0, "contrast": 5.0, "warmth": 5.0, "saturation": 5.0, "sharpness": 0.15}
FEATURES = tuple(LEAST_SHIFT)


@dataclass(frozen=True, slots=True)
class Looks:
    """What is held of N pictures: their paths, file digests, hashes (`shaped` is false where a picture is too flat for one), and
    features [N, 5] in the order of `FEATURES`; and a sentence for each other that is broken, and for each of the N that is damaged.
    """

    paths: tuple[Path, ...]
    sha256: tuple[str, ...]
    hashes: NDArray[np.uint64]
    shaped: NDArray[np.bool_]
    features: NDArray[np.float64]
    broken: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures that are the same (`bits` is None: byte for byte) or look the same."""

    first: str
    second: str
    bits: int | None


@dataclass(frozen=True, slots=True)
class Alike:
    """Pairs of the same file and pairs that look the same: how many, of how many pictures of the set, and the first of them."""

    same_pairs: int
    near_pairs: int
    same_pictures: int
    near_pictures: int
    same: tuple[Pair, ...]
    near: tuple[Pair, ...]

    @property
    def pairs(self) -> int:
        return self.same_pairs + self.near_pairs

    @property
    def listed(self) -> tuple[Pair, ...]:
        """The first of them, the same files before those that only look the same."""
        return (*self.same, *self.near)[:MOST_LISTED]


NOTHING_ALIKE = Alike(0, 0, 0, 0, (), ())


@dataclass(frozen=True, slots=True)
class FeatureShift:
    """How far a feature's distribution is from another set's: the Kolmogorov-Smirnov distance, 0..1, and both medians."""

    distance: float
    calibration_median: float
    other_median: float
    differs: bool


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of how many train pictures looked at, and of how many calibration pictures, something is true."""

    train: int
    calibration: int


@dataclass(frozen=True, slots=True)
class BrightnessCoverage(Coverage):
    """The pictures whose mean grey is from `low` up to `high`."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Audit:
    """Every figure of the audit, and what follows from them. Keys: docs/reference/calibrate.md."""

    considered: dict[str, int | None]
    duplicates: tuple[Pair, ...]
    duplicate_pairs: int
    leakage: tuple[Pair, ...]
    leaking_pairs: int
    domain: dict[str, dict[str, FeatureShift] | None]
    classes: dict[str, Coverage]
    brightness: tuple[BrightnessCoverage, ...]
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing in it is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        limits = {"images": FEWEST_IMAGES, "hash_bits": SAME_BITS, "distance": APART, "significance": SIGNIFICANCE, "shift": LEAST_SHIFT}
        return {"limits": limits, **asdict(self)}


def audit(dataset: Dataset, calibration: CalibrationSet, *, against: Sequence[Path] = (), progress: Progress = unseen) -> Audit:
    """Look at the calibration set, the train and val splits, and the frames `against`, and say what is wrong with the set.

    Raises:
        DataError: no picture of a side can be decoded.
    """
    rng = np.random.default_rng(calibration.seed)
    chosen, train, val = (_some(samples, rng) for samples in (calibration.samples, dataset.split("train"), dataset.splits.get("val", ())))
    frames = _some(tuple(against), rng)
    look = _Looker(len(chosen) + len(train) + len(val) + len(frames), progress)
    clean, pool = (look.at(name, [sample.image for sample in samples]) for name, samples in (("calibration", chosen), ("train", train)))
    judging = look.at("val", [sample.image for sample in val]) if val else None
    deployed = look.at("given", frames) if frames else None
    seen = clean if calibration.camera is None else _through_camera(calibration, chosen, clean)
    return conclude(clean, seen, pool, judging, deployed, _class_coverage(dataset, train, chosen))


def conclude(clean: Looks, seen: Looks, pool: Looks, judging: Looks | None, deployed: Looks | None, classes: dict[str, Coverage]) -> Audit:
    """The audit of what was looked at: the set's files (`clean`) and the same through its camera (`seen`)."""
    duplicates = alike_within(clean)
    leakage = NOTHING_ALIKE if judging is None else alike_between(clean, judging)
    domain = {name: None if other is None else shifts(seen, other) for name, other in (("judging", judging), ("against", deployed))}
    brightness = _brightness_coverage(pool, clean)
    findings = [
        *_few(len(clean)),
        *(
            finding
            for side, looks in (("train", pool), ("judging", judging), ("given", deployed))
            if looks
            for finding in _unsound(side, looks)
        ),
        *_duplicated(duplicates),
        *_leaked(leakage, len(clean)),
        *(finding for name, of in domain.items() if of for finding in _mismatched(name, of)),
        *_classes_missing(classes),
        *_brightness_missing(brightness, len(pool)),
    ]
    sizes = {"calibration": clean, "train": pool, "judging": judging, "against": deployed}
    return Audit(
        considered={name: None if looks is None else len(looks) for name, looks in sizes.items()},
        duplicates=duplicates.listed,
        duplicate_pairs=duplicates.pairs,
        leakage=leakage.listed,
        leaking_pairs=leakage.pairs,
        domain=domain,
        classes=classes,
        brightness=brightness,
        findings=tuple(findings),
    )


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, in order.

    Raises:
        DataError: it is no folder, or holds none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()) if folder.is_dir() else []
    if not found:
        got = "no pictures in it" if folder.is_dir() else "no such folder"
        raise DataError(f"{folder} has no frames to compare with", got=got, expected=f"files ending in {', '.join(sorted(SUFFIXES))}")
    return found


# --- looking ----------------------------------------------------------------------------------------------------------------------------


class _Looker:
    """Looks at the pictures of all sides, and counts them together."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def at(self, side: str, paths: Sequence[Path]) -> Looks:
        """The looks of the pictures that can be decoded."""
        broken, damaged = list[str](), list[str]()
        looks = looks_of(self._counted(paths), partial(read_small, broken=broken, damaged=damaged))
        if not len(looks):
            raise DataError(f"no {side} picture can be decoded", got=f"{len(paths)} files; the first: {broken[0]}")
        return replace(looks, broken=tuple(broken), damaged=tuple(damaged))

    def _counted(self, paths: Sequence[Path]) -> Iterator[Path]:
        for path in paths:
            yield path
            self._done += 1
            self._progress(self._done, self._total)


def looks_of(paths: "Iterator[Path] | Sequence[Path]", read: Callable[[Path], ImageRgb | None]) -> Looks:
    """Look at each picture that `read` gives, one at a time."""
    seen: list[Path] = []
    digests: list[str] = []
    hashes: list[int] = []
    features = array("d")
    for path in paths:
        image_rgb = read(path)
        if image_rgb is None:
            continue
        small = _shrunk(image_rgb)
        seen.append(path)
        digests.append(sha256_of(path))
        hashes.append(perceptual_hash(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)))
        features.extend(features_of(small))
    table = np.array(features, np.float64).reshape(-1, len(FEATURES))
    shaped = table[:, FEATURES.index("contrast")] >= FLAT
    return Looks(tuple(seen), tuple(digests), np.array(hashes, np.uint64), shaped, table)


def read_small(path: Path, *, broken: list[str] | None = None, damaged: list[str] | None = None) -> ImageRgb | None:
    """The picture at no less than `SIDE_PX`, if it has that; a JPEG decodes to a fraction of its size in a fraction of the time.

    None where it cannot be decoded; `broken` says why, and `damaged` what is wrong with one that can.
    """
    said: list[str] = []
    try:
        picture = open_picture(path)
        # A photograph takes about a byte for each four pixels: this guesses large ones, and a wrong guess is decoded again.
        shrink: Shrink = 4 if len(picture.structure.to_decode) > 1 << 20 else 2
        if max(picture.structure.size_wh) <= (SIDE_PX - 1) * shrink:
            shrink = 1
        pixels = picture.decode(shrink=shrink, damaged=said)
    except DataError as unreadable:
        if broken is not None:
            broken.append(str(unreadable))
        return None
    if damaged is not None:
        damaged.extend(said)
    return pixels


def perceptual_hash(grey: NDArray[Any]) -> int:
    """64 bits: which of the lowest 8 x 8 frequencies of the picture, at 32 x 32, are above their median (Zauner 2010, section 3.2.1)."""
    tiny = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(tiny)[:8, :8].reshape(-1)
    # The first is the mean brightness: not a shape, and so large that it has no say in the median.
    above = low > np.median(low[1:])
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def features_of(image_rgb: ImageRgb) -> tuple[float, ...]:
    """The row of `FEATURES`: mean grey, its deviation, red minus blue, largest minus smallest channel (all 0..255), and the energy of
    the Laplacian as a share of the variance, as a decimal logarithm (fine detail, whatever the contrast).
    """
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    red, _, blue = (float(image_rgb[..., channel].mean()) for channel in range(3))
    variance = float(grey.var())
    detail = float(np.square(cv2.Laplacian(grey, cv2.CV_32F)).mean())
    saturation = float((image_rgb.max(axis=2).astype(np.int16) - image_rgb.min(axis=2)).mean())
    return float(grey.mean()), math.sqrt(variance), red - blue, saturation, math.log10((detail + 1) / (variance + 1))


def _shrunk(image_rgb: ImageRgb) -> ImageRgb:
    high, wide = image_rgb.shape[:2]
    scale = SIDE_PX / max(high, wide)
    if scale >= 1:
        return image_rgb
    size_wh = (max(1, round(wide * scale)), max(1, round(high * scale)))
    return cv2.resize(image_rgb, size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _through_camera(calibration: CalibrationSet, chosen: Sequence[Sample], clean: Looks) -> Looks:
    sample_of = {sample.image: sample for sample in chosen}
    return looks_of(clean.paths, lambda path: calibration.read(sample_of[path]))


def _some(pictures: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """All of them, or as many as are considered, drawn."""
    if len(pictures) <= MOST_CONSIDERED:
        return list(pictures)
    return [pictures[at] for at in sorted(rng.choice(len(pictures), MOST_CONSIDERED, replace=False).tolist())]


def _class_coverage(dataset: Dataset, train: Sequence[Sample], chosen: Sequence[Sample]) -> dict[str, Coverage]:
    count = len(dataset.classes)

    def held(samples: Sequence[Sample]) -> NDArray[np.int64]:
        totals = np.zeros(count, np.int64)
        for sample in samples:
            totals[np.unique(sample.class_ids(count))] += 1
        return totals

    pairs = zip(dataset.classes, held(train).tolist(), held(chosen).tolist(), strict=True)
    return {name: Coverage(in_train, in_chosen) for name, in_train, in_chosen in pairs}


# --- comparing --------------------------------------------------------------------------------------------------------------------------


def shifts(seen: Looks, other: Looks) -> dict[str, FeatureShift]:
    """How far each feature of the set is from the other's."""
    # Kolmogorov's limit for two samples, shared among the features (Bonferroni).
    chance = math.sqrt(-math.log(SIGNIFICANCE / len(FEATURES) / 2) / 2 * (1 / len(seen) + 1 / len(other)))
    found = {}
    for at, name in enumerate(FEATURES):
        ours, theirs = seen.features[:, at], other.features[:, at]
        distance = ks_distance(ours, theirs)
        medians = float(np.median(ours)), float(np.median(theirs))
        differs = distance > max(APART, chance) and abs(medians[0] - medians[1]) >= LEAST_SHIFT[name]
        found[name] = FeatureShift(round(distance, 4), round(medians[0], 3), round(medians[1], 3), differs)
    return found


def ks_distance(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float:
    """The largest gap between the two empirical distributions, 0..1."""
    at = np.concatenate([ours, theirs])
    below = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (ours, theirs)]
    return float(np.abs(below[0] - below[1]).max())


def alike_within(looks: Looks) -> Alike:
    """The pairs of pictures of one set that are or look the same."""
    return _alike(looks, looks, lambda first: first + 1)


def alike_between(ours: Looks, theirs: Looks) -> Alike:
    """The pairs, one picture of each set, that are or look the same."""
    return _alike(ours, theirs, lambda _first: 0)


def _alike(ours: Looks, theirs: Looks, start_of: Callable[[int], int]) -> Alike:
    # Of a camera that stands still every picture may look like every other: pairs are counted, and only the first ones held.
    pairs, pictures, listed = {True: 0, False: 0}, {True: 0, False: 0}, {True: list[Pair](), False: list[Pair]()}
    digests = np.array(theirs.sha256, "S64")
    for first, digest in enumerate(ours.sha256):
        start = start_of(first)
        bits = np.bitwise_count(theirs.hashes[start:] ^ ours.hashes[first])
        same = digests[start:] == digest.encode()
        near = (bits <= SAME_BITS) & theirs.shaped[start:] & ours.shaped[first] & ~same
        for exact, found in ((True, np.flatnonzero(same)), (False, np.flatnonzero(near))):
            pairs[exact] += len(found)
            pictures[exact] += bool(len(found))
            for at in found[: MOST_LISTED - len(listed[exact])].tolist():
                differing = None if exact else int(bits[at])
                listed[exact].append(Pair(str(ours.paths[first]), str(theirs.paths[start + at]), differing))
    return Alike(pairs[True], pairs[False], pictures[True], pictures[False], tuple(listed[True]), tuple(listed[False]))


def _brightness_coverage(pool: Looks, clean: Looks) -> tuple[BrightnessCoverage, ...]:
    edges = np.linspace(0, 256, BRIGHTNESS_BINS + 1)
    counts = [np.histogram(looks.features[:, 0], edges)[0].tolist() for looks in (pool, clean)]
    return tuple(
        BrightnessCoverage(in_train, in_chosen, low, high)
        for in_train, in_chosen, low, high in zip(*counts, edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    )


# --- what follows -----------------------------------------------------------------------------------------------------------------------


def _few(images: int) -> Iterator[Finding]:
    if images < FEWEST_IMAGES:
        missed = 0.95**images
        what = f"{images} pictures: what one picture in twenty shows is in none of them with a chance of {missed:.0%}"
        yield warning("few-images", "calibration", what, f"take at least {FEWEST_IMAGES} (--images)")


def _duplicated(found: Alike) -> Iterator[Finding]:
    if found.pairs:
        pairs = f"{found.same_pairs} pairs of the set are the same file and {found.near_pairs} look the same"
        what = f"{pairs}, for example {_example(found.listed)}: one adds nothing to the other"
        yield warning("duplicates", "calibration", what, "remove copies from the train split, or take more pictures (--images)")


def _unsound(side: str, looks: Looks) -> Iterator[Finding]:
    images = len(looks) + len(looks.broken)
    chosen = ", and none of them is chosen" if side == "train" else ""
    if looks.broken:
        what = f"{len(looks.broken)} of {images} {side} pictures cannot be used{chosen}; the first: {looks.broken[0]}"
        yield warning("broken-pictures", side, what, "remove them, or fetch them again")
    if looks.damaged:
        what = f"{len(looks.damaged)} of {images} {side} pictures are damaged{chosen}; the first: {looks.damaged[0]}"
        yield warning("damaged-pictures", side, what, "remove them, or fetch them again")


def _leaked(found: Alike, images: int) -> Iterator[Finding]:
    if found.same:
        what = f"{found.same_pictures} of {images} pictures are in the judging split as well, for example {_example(found.same)}"
        yield error("leakage", "judging", what, "remove them from train or val: an accuracy judged on them flatters")
    if found.near:
        what = f"{found.near_pictures} of {images} pictures look like one of the judging split, for example {_example(found.near)}"
        yield warning(
            "near-leakage", "judging", what, "split by board, place or day instead of by picture, or read the accuracy as flattered"
        )


def _mismatched(name: str, found: dict[str, FeatureShift]) -> Iterator[Finding]:
    apart = {feature: shift for feature, shift in found.items() if shift.differs}
    if not apart:
        return
    figures = ", ".join(
        f"{feature} {shift.calibration_median:.3g} against {shift.other_median:.3g} (distance {shift.distance:.2f})"
        for feature, shift in sorted(apart.items(), key=lambda each: -each[1].distance)
    )
    other, fix = {
        "judging": ("the judging split", "judge through the same camera (--camera), or calibrate on pictures like those judged"),
        "against": ("the given frames", "choose a --camera that makes them alike, or put such frames into the train split"),
    }[name]
    yield warning(f"domain-{name}", name, f"the set does not look like {other}: median {figures}", fix)


def _classes_missing(classes: dict[str, Coverage]) -> Iterator[Finding]:
    missing = [name for name, each in classes.items() if each.train and not each.calibration]
    if missing:
        names = ", ".join(printable(name, 40) for name in missing[:8]) + (", ..." if len(missing) > 8 else "")
        what = f"{len(missing)} of {sum(each.train > 0 for each in classes.values())} classes are in no picture of the set: {names}"
        yield warning("classes-missing", "calibration", what, "take more pictures (--images)")


def _brightness_missing(brightness: Sequence[BrightnessCoverage], pool: int) -> Iterator[Finding]:
    missing = [each for each in brightness if each.train >= max(1, COMMON * pool) and not each.calibration]
    if missing:
        spans = ", ".join(f"{each.low:.0f} to {each.high:.0f} ({each.train} train pictures)" for each in missing)
        what = f"no picture of the set has a mean grey of {spans}"
        yield warning("brightness-missing", "calibration", what, "take more pictures (--images)")


def _example(pairs: Sequence[Pair]) -> str:
    return f"{printable(Path(pairs[0].first).name)} and {printable(Path(pairs[0].second).name)}"

"""What to change so that a model takes less, each thing tried, in the order of what it gave."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgewright.board.profile import Board
from edgewright.compress.calibrate import observe
from edgewright.compress.candidates import make_model
from edgewright.compress.recipes import INT8
from edgewright.doctor.limit import Limiter
from edgewright.doctor.trial import Attempt, Trial, try_out
from edgewright.doctor.variants import Size, Variants, smaller_sizes
from edgewright.engines import Engine, installed_engines, open_engine
from edgewright.engines.conversion import convert
from edgewright.errors import EngineError, InputError
from edgewright.progress import Progress, unseen

MADE_ON_NOISE = "made on noise: what it takes is true, what it answers is not; `edgewright fit` does it well"


@dataclass(frozen=True, slots=True)
class Advice:
    """One change. `peak_bytes`: with it; `saved_bytes`: less than without it (below zero: it takes more); both None where it could not be
    tried, and `why_not` says why.
    """

    what: str
    peak_bytes: int | None = None
    saved_bytes: int | None = None
    why_not: str | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Way:
    """A change to try, alone, on the model as it is wanted."""

    what: str
    batch: int
    size_wh: Size | None
    threads: int
    engine: str | None = None
    integers: bool = False
    note: str | None = None


def advise(
    variants: Variants,
    limiter: Limiter,
    limit_bytes: int,
    threads: int,
    batch: int,
    fitting_wh: Size | None,
    progress: Progress = unseen,
) -> tuple[Advice, ...]:
    """Try each change under `limit_bytes`, which is not the tight one: what does not fit has no figure.

    `batch`: how many pictures are wanted at once; `fitting_wh`: the largest size that fits under the tight limit.
    """
    given = variants.given
    before = _tried(variants, _Way("", batch, given.size_wh, threads), limiter, limit_bytes)
    ways, found = list(_ways(variants, batch, fitting_wh, threads)), []
    for done, way in enumerate(ways, 1):
        after = _tried(variants, way, limiter, limit_bytes)
        found.append(_advice(way, before, after))
        progress(done, len(ways))
    return tuple(sorted(found, key=lambda each: (each.saved_bytes is None, -(each.saved_bytes or 0))))


def _ways(variants: Variants, batch: int, fitting_wh: Size | None, threads: int) -> Iterator[_Way]:
    given = variants.given
    if given.size_wh is not None:
        sizes = smaller_sizes(given.size_wh)
        size_wh = fitting_wh if fitting_wh not in (None, given.size_wh) else sizes[max(0, len(sizes) // 2 - 1)]
        if size_wh is not None and size_wh != given.size_wh:
            yield _Way("a smaller picture: {}x{}".format(*size_wh), batch, size_wh, threads)
    if batch > 1:
        yield _Way("one picture at once", 1, given.size_wh, threads)
    if threads > 1:
        yield _Way("one thread", batch, given.size_wh, 1)
    if not given.precision.startswith("int8"):
        yield _Way("INT8", batch, given.size_wh, threads, integers=True, note=MADE_ON_NOISE)
    for engine in installed_engines():
        if engine != given.engine:
            yield _Way(f"another engine: {engine}", batch, given.size_wh, threads, engine=engine)


def _tried(variants: Variants, way: _Way, limiter: Limiter, limit_bytes: int) -> Trial | str:
    """What came of it; a text, where it could not even be made."""
    given = variants.given
    try:
        path = _integers(variants, way) if way.integers else variants.make(way.batch, way.size_wh)
        if way.engine is not None:
            folder = variants.folder / way.engine
            folder.mkdir(exist_ok=True)
            path = convert(way.engine, path, folder, precision="float32")[0]
        precision = "int8" if way.integers else given.precision
        return try_out(Attempt(path, way.engine or given.engine, precision, way.threads), limiter, limit_bytes)
    except (EngineError, InputError) as error:
        return str(error)


def _advice(way: _Way, before: Trial | str, after: Trial | str) -> Advice:
    if isinstance(after, str):
        return Advice(way.what, why_not=after)
    if not after.fits:
        return Advice(way.what, why_not="it does not fit even so", note=way.note)
    if isinstance(before, str) or not before.fits or before.peak_bytes is None or after.peak_bytes is None:
        return Advice(way.what, after.peak_bytes, why_not="the model as it is could not be measured beside it", note=way.note)
    return Advice(way.what, after.peak_bytes, before.peak_bytes - after.peak_bytes, note=way.note)


def _integers(variants: Variants, way: _Way) -> Path:
    """The detector in integers, as `fit` makes it, but on noise.

    Raises:
        ModelError: it is no float detector whose decode is understood, or it is wanted for several pictures at once.
    """
    if way.batch != 1:
        raise InputError("integers are tried for one picture", got=f"{way.batch} pictures", fix="see what one picture takes")
    forms = variants.float_forms()
    spec = forms.baseline.input
    noise = np.random.default_rng(0).random(spec.shape, np.float32) * np.float32(255 * spec.scale)

    def opened(path: Path) -> Engine:
        return open_engine("onnxruntime", path, threads=way.threads)

    target = variants.folder / "int8.onnx"
    statistics = observe(forms.cut, [{spec.name: noise.astype(spec.dtype)}], opened, variants.folder / "observed.onnx")
    make_model(forms, INT8, statistics, {}, Board.detect(), target)
    return target

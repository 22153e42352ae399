"""What a fit tried and why the winner won, in plain sentences: a pure function of evidence.json.

The sentences follow the rules by which a fit explores and chooses (`fit.explore`, `fit.choose`) and say only what the document's
figures bear out; where the document is older and lacks a part, so does the story.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewright.bench.figures import Document, Figure, Name, Path, Words, how_many, listed

# The rule of choice that the words rest on (`fit.choose`); a document that names its own (`rules`) is believed.
ABOUT_AS_FAST = 1.06  # times the fastest one's p50
BASELINE, INTEGERS_ALONE = "baseline", "int8"  # names among the candidates
FLOAT_SET = re.compile(r", \d+ layers? float$")  # behind the name of the recipe that the layers go back to float in
LAYERS_NAMED = 3
MOST_NAMED = 6  # names in a sentence; more are counted


@dataclass(frozen=True, slots=True)
class Story:
    """The sentences of each step, in the order of the work; a step that was not taken has none."""

    ranges: tuple[Words, ...]
    layers: tuple[Words, ...]
    survey: tuple[Words, ...]
    float_sets: tuple[Words, ...]
    candidates: tuple[Words, ...]
    choice: tuple[Words, ...]


def tell_story(document: Document) -> Story:
    """What was tried, and why this one won."""
    return Story(
        ranges=(*_scales(document), *_ranges(document)),
        layers=tuple(_layers(document)),
        survey=tuple(_survey(document)),
        float_sets=tuple(_float_sets(document)),
        candidates=(*_candidates(document), *_front(document)),
        choice=(*_choice(document), *_judging(document), *_reserves(document)),
    )


def measure_of(document: Document) -> str:
    """What accuracy means here: without labels it is agreement with the float model."""
    return "agreement" if document.at("baseline", "map50_95") is None else "mAP50-95"


# --- how ranges were read ---------------------------------------------------------------------------------------------------------------


def _scales(document: Document) -> Iterable[Words]:
    for path in document.paths("exploration", "scales"):
        ratio = document.figure("fixed 0", *path, "ratio")
        mended = str(document.at(*path, "mended") or "left as it is")
        where = Name(str(document.at(*path, "where")))
        yield (where, " would force one scale on ranges ", ratio, f" times apart, in which the smaller one drowns; it is {mended}.")


def _ranges(document: Document) -> Iterable[Words]:
    looks = [path for path in document.paths("exploration", "ranges") if document.number(*path, "error") is not None]
    if not looks:
        if document.at("exploration") is not None:
            yield ("No ways of reading ranges and no single layers were compared beforehand: the candidates below are all that was tried.",)
        return
    images = document.figure("fixed 0", "exploration", "images")
    yield (
        "Integers need a range for every tensor, and there are several ways to read one. ",
        how_many(looks),
        f" {_plural(len(looks), 'was', 'were')} tried on ",
        images,
        f" {_plural(images.value, 'picture', 'pictures')}, by how far the integer model then disagrees with the float model.",
    )
    ordered = sorted(looks, key=lambda path: document.number(*path, "error") or 0.0)
    best, worst = ordered[0], ordered[-1]
    if len(looks) > 1:
        yield ("Closest was ", *_with_error(document, best), "; furthest off was ", *_with_error(document, worst), ".")
    chosen = next((path for path in looks if document.at(*path, "chosen")), None)
    if chosen == best:
        yield ("So the integer candidates are made as it is.",)
    elif chosen is not None:
        yield ("The integer candidates are made as ", *_with_error(document, chosen), " is.")


def _with_error(document: Document, path: Path) -> Words:
    return (_name(document, path), " (", document.figure("fixed 4", *path, "error"), ")")


# --- which layers hurt ------------------------------------------------------------------------------------------------------------------


def layers_kept_float(document: Document) -> list[Path]:
    """The layers that the fitted model keeps in float."""
    kept = {str(node) for node in document.rows("fitted", "float_nodes")}
    return [path for path in layer_paths(document) if str(document.at(*path, "layer")) in kept]


def layer_paths(document: Document) -> list[Path]:
    """Every layer that was asked, in the order of the network."""
    return document.paths("exploration", "sensitivity", "layers")


def _layers(document: Document) -> Iterable[Words]:
    layers = [path for path in layer_paths(document) if _gain(document, path) is not None]
    if not layers:
        return
    regions = region_paths(document)
    yield (
        "All in integers the network is ",
        document.figure("fixed 4", "exploration", "sensitivity", "error"),
        " from the float model. ",
        how_many(layers),
        f" {_plural(len(layers), 'layer was', 'layers were')} asked: once alone in integers, to see its share of that (its gain in float; ",
        "noise adds up in squares, so shares are of the square), and, where that is a thousandth or more, once alone in float, to see how ",
        "much longer the whole network then takes (its charge).",
    )
    start = start_region(document)
    if start is not None:
        yield (
            how_many(regions),
            f" {_plural(len(regions), 'group was', 'groups were')} timed together. ",
            *_gain_for_charge(document, start),
            " is worth most, so it was in float while the other layers were timed.",
        )
    hurting = [path for path in sorted(layers, key=lambda path: -(_gain(document, path) or 0.0)) if (_gain(document, path) or 0.0) > 0]
    if hurting:
        named = listed([_gain_for_charge(document, path) for path in hurting[:LAYERS_NAMED]])
        yield ("Quantization hurts most in ", *named, ".")
    else:
        yield ("None of them alone brings the two closer.",)
    kept = layers_kept_float(document)
    if kept:
        yield (f"The {_fitted_word(document)} keeps ", how_many(kept), f" of these {_plural(len(layers), 'layer', 'layers')} in float.")


def region_paths(document: Document) -> list[Path]:
    """Layers that were asked together: the beginning of the network, the end of its head."""
    return document.paths("exploration", "sensitivity", "regions")


def start_region(document: Document) -> Path | None:
    """The region that was in float while the other layers were timed."""
    start = document.at("exploration", "sensitivity", "start")
    return next((path for path in region_paths(document) if document.at(*path, "layer") == start), None)


def _gain(document: Document, path: Path) -> float | None:
    return document.number(*path, "gain")


def _charge(document: Document, path: Path) -> float | None:
    return document.number(*path, "charge")


def _gain_for_charge(document: Document, path: Path) -> Words:
    if _charge(document, path) is None:
        return (Name(str(document.at(*path, "layer"))), " (", document.figure("points, fixed 1", *path, "gain"), " % of the disagreement)")
    gain, charge = document.figure("points, fixed 1", *path, "gain"), document.figure("points, signed 1", *path, "charge")
    return (Name(str(document.at(*path, "layer"))), " (", gain, " % of the disagreement, for ", charge, " % of the time)")


# --- what was timed and never judged -----------------------------------------------------------------------------------------------------


def overtaken_paths(document: Document) -> list[Path]:
    """Every point that was timed and left behind, the fastest first."""
    paths = [path for path in document.paths("overtaken") if isinstance(document.at(*path), Mapping)]
    return sorted(paths, key=lambda path: _p50(document, path))


def engines(document: Document) -> list[str]:
    """The engines of all that was timed, that of the model as given first."""
    paths = [*candidate_paths(document), *overtaken_paths(document)]
    return list(dict.fromkeys(engine for path in paths if (engine := _engine(document, path)) is not None))


def _survey(document: Document) -> Iterable[Words]:
    """Who was timed where, and who went before anybody looked at accuracy (`fit.survey`)."""
    candidates, gone = candidate_paths(document), overtaken_paths(document)
    every, in_engines = [*candidates, *gone], engines(document)
    if document.at("overtaken") is None or not candidates or (not gone and len(in_engines) < 2):
        return  # there was nothing to leave behind
    shares = [(how_many([path for path in every if _engine(document, path) == engine]), " in ", Name(engine)) for engine in in_engines]
    where: Words = (", ", *listed(shares)) if len(shares) > 1 else (", all in ", Name(in_engines[0])) if shares else ()
    yield (how_many(every), " points were timed", *where, ".")
    if not gone:
        yield ("Nothing was clearly slower than another that computes at least as exactly, so all of them were judged.",)
        return
    yield (
        how_many(gone),
        f" {_plural(len(gone), 'was', 'were')} not judged, because another that computes at least as exactly, on no smaller a picture, is ",
        "clearly faster: ",
        *listed(_behind_whom(document, gone)),
        ". Single precision counts as more exact than half precision, that as more exact than integers, and of integers whoever keeps ",
        "more layers in float. What a less exact one loses only an accuracy run can tell, so it drives out none that is more exact.",
    )


def _behind_whom(document: Document, gone: Sequence[Path]) -> list[Words]:
    """How many went behind each, the most first; of a long list, the rest together."""
    behind: dict[str, list[Path]] = {}
    for path in gone:
        behind.setdefault(str(document.at(*path, "by")), []).append(path)
    ordered = sorted(behind.items(), key=lambda each: -len(each[1]))
    told: list[Words] = [(how_many(paths), " behind ", Name(by)) for by, paths in ordered[:LAYERS_NAMED]]
    rest = [path for _, paths in ordered[LAYERS_NAMED:] for path in paths]
    return [*told, (how_many(rest), " behind others")] if rest else told


def _engine(document: Document, path: Path) -> str | None:
    engine = document.at(*path, "engine")
    return None if engine is None else str(engine)


# --- which layers to keep in float ------------------------------------------------------------------------------------------------------


def _float_sets(document: Document) -> Iterable[Words]:
    if document.at("exploration", "sensitivity") is None:
        return
    alone = _row_named(document, integers_alone(document))
    enough = None if alone is None else "accuracy" not in (document.at(*alone, "binding") or ())
    tried = [path for path in document.paths("exploration", "float_sets") if document.at(*path, "within_budget") is not None]
    if alone is not None and enough:
        yield (
            "Integers alone keep the accuracy budget (",
            *_points(document, alone),
            " on the selection split). ",
            "So only sets of layers that cost next to nothing were worth trying, to agree with the float model more closely"
            if tried
            else "No set of layers was cheap enough to be worth trying beside them",
            ".",
        )
    elif alone is not None:
        yield (
            "Integers alone do not keep the accuracy budget (",
            *_points(document, alone),
            " on the selection split, ",
            document.figure("negated, signed 2", "budget", "max_drop"),
            " allowed). So layers went back into float: first what costs no time there, then more and more of those that gain most ",
            "for their time.",
        )
    if not tried:
        if alone is None or not enough:
            yield ("No set of layers was tried.",)
        return
    within = [path for path in tried if document.at(*path, "within_budget")]
    if len(tried) == 1:
        yield (how_many(tried), f" set was tried, and it {'keeps' if within else 'does not keep'} the accuracy budget.")
    elif 0 < len(within) < len(tried):
        yield (
            how_many(tried),
            " sets were tried; ",
            how_many(within),
            f" of them {_plural(len(within), 'keeps', 'keep')} the accuracy budget.",
        )
    else:
        yield (how_many(tried), f" sets were tried; {'all of them keep' if within else 'none of them keeps'} the accuracy budget.")
    if within:
        smallest = min(within, key=lambda path: document.number(*path, "layers") or 0.0)
        yield ("The smallest that does is ", *_set_in_words(document, smallest), ".")
    else:
        closest = max(tried, key=lambda path: -math.inf if (points := document.number(*path, "delta_points")) is None else points)
        yield ("Closest to it came ", *_set_in_words(document, closest), ".")


def integers_alone(document: Document) -> str | None:
    """The candidate all in integers that layers were brought back to float in: the sets carry its name.

    Where no set was tried and there are several engines, the document does not say in which one it would have been.
    """
    for path in document.paths("exploration", "float_sets"):
        name = str(document.at(*path, "name"))
        return FLOAT_SET.sub("", name) if FLOAT_SET.search(name) else INTEGERS_ALONE
    return INTEGERS_ALONE if len(engines(document)) < 2 else None


def _set_in_words(document: Document, path: Path) -> Words:
    charge = document.figure("points, signed 1", *path, "expected_charge")
    return (_name(document, path), ": ", *_points(document, path), ", for an expected ", charge, " % of the time")


# --- who was left -----------------------------------------------------------------------------------------------------------------------


def candidate_paths(document: Document) -> list[Path]:
    """Every candidate's row."""
    return [path for path in document.paths("candidates") if isinstance(document.at(*path), Mapping)]


def _candidates(document: Document) -> Iterable[Words]:
    rows = candidate_paths(document)
    if not rows:
        return
    images = document.figure("fixed 0", "calibration", "selection_images")
    split = ("the ", images, " pictures of the selection split") if images.value is not None else ("the selection split",)
    yield (how_many(rows), f" {_plural(len(rows), 'candidate', 'candidates')}, the model as given among them, met ", *split, ".")
    out = [path for path in rows if document.at(*path, "binding")]
    if not out:
        if any(document.at(*path, "binding") is not None for path in rows):
            yield ("All of them are within the budget.",)
        return
    reasons: dict[tuple[str, ...], list[Path]] = {}
    for path in out:
        reasons.setdefault(tuple(str(each) for each in document.at(*path, "binding")), []).append(path)
    groups = [
        (f"{'; ' if at else ''}on {' and '.join(broken)} ", *_named_or_counted(document, paths))
        for at, (broken, paths) in enumerate(reasons.items())
    ]
    whole = ("None is within the budget. Out ",) if len(out) == len(rows) else (how_many(out), f" {_plural(len(out), 'is', 'are')} out: ")
    yield (*whole, *(word for group in groups for word in group), ".")


def _named_or_counted(document: Document, paths: Sequence[Path]) -> Words:
    return listed([(_name(document, path),) for path in paths]) if len(paths) <= MOST_NAMED else (how_many(paths), " of them")


def measure_on_selection(document: Document) -> str:
    """The key of the candidates' accuracy on the selection split."""
    known = any(document.number(*path, "map50_95") is not None for path in candidate_paths(document))
    return "map50_95" if known else "agreement"


def front_paths(document: Document) -> list[Path]:
    """The candidates that no other beats: none is as fast and as accurate, and more so in one of the two. The fastest first."""
    measure = measure_on_selection(document)
    places = [
        (p50, -accuracy, path)
        for path in candidate_paths(document)
        if (p50 := document.number(*path, "p50_ms")) is not None and (accuracy := document.number(*path, measure)) is not None
    ]
    beaten = [any(b[0] <= a[0] and b[1] <= a[1] and b[:2] != a[:2] for b in places) for a in places]
    return [path for *_, path in sorted(place for place, lost in zip(places, beaten, strict=True) if not lost)]


def _front(document: Document) -> Iterable[Words]:
    front = front_paths(document)
    if len(front) < 2 or len(candidate_paths(document)) < 3:
        return
    yield (
        "On the front, where none of the others is at once as fast and as accurate, ",
        "are " if len(front) <= MOST_NAMED else "stand ",
        *_named_or_counted(document, front),
        ".",
    )


# --- why this one -----------------------------------------------------------------------------------------------------------------------


def _choice(document: Document) -> Iterable[Words]:
    rows = [path for path in candidate_paths(document) if document.number(*path, "p50_ms") is not None]
    fitted = _row_named(document, document.at("fitted", "name"))
    if fitted is None or all(document.at(*path, "binding") is None for path in rows):
        return
    fit = [path for path in rows if not document.at(*path, "binding")]
    if not fit:
        yield from _nearest(document, rows, fitted)
        return
    fastest = min(fit, key=lambda path: _p50(document, path))
    peers = [path for path in fit if _p50(document, path) <= _p50(document, fastest) * _about_as_fast(document)]
    first = _closest(document, peers)
    if fitted == first:
        yield from _won(document, fastest, peers, first)
    elif fitted == _fastest_float(document) and document.at("verdict") != "refuse":
        yield from _won(document, fastest, peers, first)
        yield (
            _name(document, first),
            " did not keep the accuracy budget on the judging split. The fastest float candidate within the budget took its place: ",
            _name(document, fitted),
            ".",
        )
    else:
        yield (_name(document, fitted), " is the one that met the judging split.")


def _won(document: Document, fastest: Path, peers: Sequence[Path], winner: Path) -> Iterable[Words]:
    """By the rule: of those about as fast as the fastest within the budget, the one closest to the float model."""
    share = document.derived("percent above one, fixed 0", ("rules", "about_as_fast"))
    about: Words = ("about as fast",) if share.value is None else ("about as fast (within ", share, " %)")
    takes = (" (", document.figure("fixed 2", *fastest, "p50_ms"), " ms)")
    if document.at(*winner, "name") == BASELINE:
        yield ("Nothing within the budget is faster than the model as given by more than a little, so the model as given stays.",)
        return
    yield ("Of those within the budget ", _name(document, fastest), " is the fastest", *takes, ".")
    others = [path for path in peers if path != fastest]
    if not others:
        yield ("No other is ", *about, ", so it was taken.")
        return
    measure = _closeness(document, peers)
    closest = "is closest to" if measure == "disagreement" else "agrees most with"
    figure = document.figure("fixed 4", *winner, measure)
    if winner == fastest:
        names = listed([_with_closeness(document, path, measure) for path in others])
        yield (
            "Also ",
            *about,
            f" {_plural(len(others), 'is', 'are')} ",
            *names,
            ". Of these ",
            _name(document, winner),
            f" {closest} the float model ({measure} ",
            figure,
            "), so it was taken.",
        )
        return
    rest = [path for path in others if path != winner]
    beside = (" Also about as fast: ", *listed([_with_closeness(document, path, measure) for path in rest]), ".") if rest else ()
    yield (
        _name(document, winner),
        " (",
        document.figure("fixed 2", *winner, "p50_ms"),
        " ms) is ",
        *about,
        f" and {closest} the float model ({measure} ",
        figure,
        " against ",
        document.figure("fixed 4", *fastest, measure),
        "), so it was taken: a difference in speed that small changes from day to day.",
        *beside,
    )


def _closeness(document: Document, peers: Sequence[Path]) -> str:
    """What tells those about as fast apart: disagreement where it is known of all of them, else agreement."""
    return "disagreement" if all(document.number(*path, "disagreement") is not None for path in peers) else "agreement"


def _closest(document: Document, peers: Sequence[Path]) -> Path:
    measure = _closeness(document, peers)
    sign = 1.0 if measure == "disagreement" else -1.0
    return min(peers, key=lambda path: (sign * (document.number(*path, measure) or 0.0), _p50(document, path)))


def _with_closeness(document: Document, path: Path, measure: str) -> Words:
    return (_name(document, path), f" ({measure} ", document.figure("fixed 4", *path, measure), ")")


def _nearest(document: Document, rows: Sequence[Path], fitted: Path) -> Iterable[Words]:
    """None is within the budget: the one that breaks fewest of its limits, the fastest of those."""
    nearest = min(rows, key=lambda path: (len(document.at(*path, "binding")), _p50(document, path)))
    if nearest != fitted:
        yield ("No candidate is within the budget. ", _name(document, fitted), " is the one that met the judging split.")
        return
    yield (
        "No candidate is within the budget. ",
        _name(document, fitted),
        " comes nearest: it breaks fewest of the limits (",
        " and ".join(str(each) for each in document.at(*fitted, "binding")),
        ") and is the fastest that breaks so few (",
        document.figure("fixed 2", *fitted, "p50_ms"),
        " ms).",
    )


def _judging(document: Document) -> Iterable[Words]:
    """What became of it on the judging split."""
    change = document.figure("signed 2", "delta", "map50_95", "estimate")
    name = document.at("fitted", "name")
    if change.value is None or name is None:
        return
    allowed = document.figure("negated, signed 2", "budget", "max_drop")
    limit: Words = () if allowed.value is None else (" (", allowed, " allowed)")
    ratio = document.figure("fixed 2", "speedup", "p50", "estimate")
    speed: Words = () if ratio.value is None else ("; it runs ", ratio, " times as fast as the model as given")
    yield (
        "On the judging split, which no choice was made on, ",
        Name(str(name)),
        f" changes {measure_of(document)} by ",
        change,
        " points",
        *limit,
        *speed,
        ".",
    )
    if document.at("verdict") == "refuse" and (broken := document.at("binding")):
        yield (f"That breaks the budget on {' and '.join(str(each) for each in broken)}, so nothing is released.", *_no_float(document))


def _no_float(document: Document) -> Words:
    """A winner that loses too much is followed by the fastest float candidate within the budget, once."""
    if "accuracy" not in (document.at("binding") or ()):
        return ()
    second = _fastest_float(document)
    if second is None:
        return (" There was no float candidate within the budget to fall back on.",)
    if document.at(*second, "name") == document.at("fitted", "name"):
        return ()
    return (" ", _name(document, second), ", the fastest float candidate within the budget, was tried after it and did not keep it either.")


def _fastest_float(document: Document) -> Path | None:
    floats = [path for path in candidate_paths(document) if document.at(*path, "precision") != "int8" and not document.at(*path, "binding")]
    return min(floats, key=lambda path: _p50(document, path), default=None)


def _reserves(document: Document) -> Iterable[Words]:
    """What the choice rests on without having been measured."""
    if document.at("baseline") is not None and measure_of(document) == "agreement":
        yield ("The pictures have no labels: accuracy here is agreement with the float model, which may itself be wrong.",)
    board = document.at("board")
    if isinstance(board, Mapping):
        yield ("Everything was measured on this machine, not on ", Name(str(board.get("name") or "the board")), ".")


# --- small words ------------------------------------------------------------------------------------------------------------------------


def _name(document: Document, path: Path) -> Name:
    return Name(str(document.at(*path, "name")))


def _row_named(document: Document, name: Any) -> Path | None:
    return next((path for path in candidate_paths(document) if name is not None and document.at(*path, "name") == name), None)


def _p50(document: Document, path: Path) -> float:
    return document.number(*path, "p50_ms") or 0.0


def _points(document: Document, path: Path) -> Words:
    change: Figure = document.figure("signed 2", *path, "delta_points")
    return (change, " points")


def _about_as_fast(document: Document) -> float:
    return document.number("rules", "about_as_fast") or ABOUT_AS_FAST


def _fitted_word(document: Document) -> str:
    return "nearest candidate" if document.at("verdict") == "refuse" else "fitted model"


def _plural(count: float | None, one: str, many: str) -> str:
    return one if count == 1 else many

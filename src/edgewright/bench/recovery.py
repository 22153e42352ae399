"""What a report says of networks that have learned: what each change bought and cost, the fronts without and with them, the curves.

That part of the document is what `fit.recovered.recovery_story` makes. A key that is missing or garbled leaves its figure out, and
nothing else; where no change can be told, there is no such part.
"""

from collections.abc import Iterable, Mapping

from edgewright.bench.charts import Point, Role
from edgewright.bench.figures import Document, Path, Words, how_many, ordinal
from edgewright.bench.recovery_charts import Check, Curve
from edgewright.bench.story import candidate_paths, measure_of

GIVEN_SHAPE, CHANGED_SHAPE = 0, 1  # marks of the given network's candidates, and of a changed one's
WITHOUT, WITH = "without", "with"


def stage_paths(document: Document) -> list[Path]:
    """Every change that a network learned after, in the order in which they were made."""
    return [path for path in document.paths("recovery", "stages") if isinstance(document.at(*path), Mapping)]


def recovery_words(document: Document) -> tuple[Words, ...]:
    """How the changed networks came about, what accuracy means here, and how the front moved."""
    stages = stage_paths(document)
    return tuple(_words(document, stages)) if stages else ()


def _words(document: Document, stages: list[Path]) -> Iterable[Words]:
    is_one = len(stages) == 1
    yield (
        how_many(stages),
        " change was made to the network" if is_one else " changes were made to the network, one upon the other",
        "; after " + ("it" if is_one else "each"),
        " the network learned the given model's answers back, from train pictures that no candidate is chosen on and without their labels.",
    )
    if measure_of(document) == "agreement":
        yield (
            "There are no labels: accuracy here is agreement with the given model, no mAP. A mistake that both make counts as right, ",
            "and what only the changed network finds counts as wrong.",
        )
    before, after = (front_names(document, which) for which in (WITHOUT, WITH))
    known = {str(document.at(*path, "name")): path for path in candidate_paths(document)}
    if before and after:
        learned = [known[name] for name in after if name in known and document.at(*known[name], "source")]
        yield (
            "Without the changed networks the front has ",
            how_many(before.values()),
            " candidates, with them " if len(before) != 1 else " candidate, with them ",
            how_many(after.values()),
            "; ",
            how_many(learned) if learned else "none",
            " of these ",
            "is of a changed network." if len(learned) <= 1 else "are of changed networks.",
        )


def front_names(document: Document, which: str) -> dict[str, Path]:
    """The candidates of a front by name, and where the document names them."""
    return {str(document.at(*path)): path for path in document.paths("recovery", "front", which)}


def front_points(document: Document, roles: Mapping[int, Role]) -> dict[str, list[Point]]:
    """The candidates on the front without the changed networks and on that with them, fastest first.

    Their accuracy is the change against the given model, in points. `roles`: by their place among the candidates.
    """
    fronts = {which: front_names(document, which) for which in (WITHOUT, WITH)}
    found: dict[str, list[Point]] = {which: [] for which in fronts}
    for path in candidate_paths(document):
        name = str(document.at(*path, "name"))
        latency, change = document.figure("fixed 2", *path, "p50_ms"), document.figure("signed 2", *path, "delta_points")
        if latency.value is None or change.value is None:
            continue
        point = Point(
            ordinal(path),
            name,
            latency,
            change,
            roles.get(int(path[1]), "other"),
            engine=str(document.at(*path, "engine") or ""),
            shape=CHANGED_SHAPE if document.at(*path, "source") else GIVEN_SHAPE,
            front=name in fronts[WITH],
        )
        for which, names in fronts.items():
            if name in names:
                found[which].append(point)
    return {which: sorted(points, key=lambda point: point.latency_ms) for which, points in found.items()}


def curves(document: Document) -> list[Curve]:
    """How near each network came to its teacher while it learned, on pictures held back from learning."""
    return [
        Curve(
            str(document.at(*path, "change")),
            tuple(
                Check(
                    document.figure("fixed 0", *check, "step"),
                    document.figure("fixed 3", *check, "agreement"),
                    document.figure("fixed 3", *check, "map50_95"),
                )
                for check in document.paths(*path, "checks")
            ),
        )
        for path in stage_paths(document)
    ]

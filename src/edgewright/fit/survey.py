"""Which points of the search are worth an accuracy run: pure rules over a first look at their speed.

A runtime, a precision, a scheme and an input size make dozens of models; timing one takes a second, judging its accuracy a minute. So all
are timed first, in rounds that grow longer while the field grows smaller (successive halving; Jamieson and Talwalkar, arXiv 1502.07943).
A point goes when another is clearly faster that computes at least as exactly: float32 before half precision before integers, and among
integers whoever keeps more layers in float. Whether less exact points lose accuracy nobody knows yet, so they never drive out others; and
of two networks, one of which the other was taught by, nobody knows which is right more often.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewright.artifact import Artifact

# A round: how often each model has its turn, for how many milliseconds, and how many times slower than another a point may be to stay.
ROUNDS = ((2, 60.0, 1.4), (4, 100.0, 1.12))
EXACTNESS = {"float32": 3.0, "float16": 2.0, "bfloat16": 2.0}
INTEGERS = 1.0
MANY_LAYERS = 1000.0  # more convolutions than any detector has: so that float layers never make integers as exact as halves


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the search: what network it computes, how exactly, by rank, on how many pixels, and its p50."""

    name: str
    network: str
    exactness: float
    pixels: int
    p50_ms: float


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A point that was left behind, the faster one that computes at least as exactly, and both p50s."""

    name: str
    by: str
    p50_ms: float
    by_p50_ms: float
    baseline_p50_ms: float

    @property
    def why(self) -> str:
        """In words."""
        return f"{self.by} computes at least as exactly and ran {self.p50_ms / self.by_p50_ms:.2f}x as fast"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "by": self.by,
            "p50_ms": round(self.p50_ms, 3),
            "speedup": round(self.baseline_p50_ms / self.p50_ms, 3),
            "why": self.why,
        }


def exactness(artifact: Artifact) -> float:
    """How exactly a candidate computes, as a rank: higher is more exact.

    Zero points put all 256 levels to use, and count as half a layer.
    """
    scheme = artifact.scheme or {}
    kept = len(scheme.get("float_nodes", ())) + (0.0 if (scheme.get("encoding") or {}).get("symmetric", True) else 0.5)
    return EXACTNESS.get(artifact.precision, INTEGERS + kept / MANY_LAYERS)


def overtaken(points: Sequence[Point], slower: float) -> Mapping[str, Point]:
    """The points that another of at least their pixels and exactness leaves behind by more than `slower`, and the fastest that does."""
    found = {}
    for point in points:
        better = [
            other
            for other in points
            if other.network == point.network
            and other.p50_ms * slower < point.p50_ms
            and other.exactness >= point.exactness
            and other.pixels >= point.pixels
        ]
        if better:
            found[point.name] = min(better, key=lambda each: each.p50_ms)
    return found

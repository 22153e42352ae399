"""Figures as Prometheus reads them: text format 0.0.4, base units, `_total` for what only grows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal

from edgewright.run.figures import Histogram
from edgewright.run.recent import BOUNDS_S

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Labels = Mapping[str, str]


@dataclass(slots=True)
class Family:
    """A metric with its samples, one for each set of labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, /, **labels: str) -> "Family":
        self.lines.append(f"{self.name}{_labels(labels)} {_number(value)}")
        return self

    def add_histogram(self, histogram: Histogram, /, **labels: str) -> "Family":
        return self.add_buckets(histogram.counts, histogram.total_s, **labels)

    def add_buckets(self, counts: Sequence[int], total_s: float, /, **labels: str) -> "Family":
        bounds = [*map(_number, BOUNDS_S), "+Inf"]
        for bound, count in zip(bounds, accumulate(counts), strict=True):
            self.lines.append(f"{self.name}_bucket{_labels({**labels, 'le': bound})} {count}")
        self.lines.append(f"{self.name}_sum{_labels(labels)} {_number(total_s)}")
        self.lines.append(f"{self.name}_count{_labels(labels)} {sum(counts)}")
        return self

    def add_counts(self, counts: Mapping[int, int], bounds: Sequence[int], /, **labels: str) -> "Family":
        """A histogram of whole numbers: how often each was seen."""
        for bound in bounds:
            count = sum(times for number, times in counts.items() if number <= bound)
            self.lines.append(f"{self.name}_bucket{_labels({**labels, 'le': _number(bound)})} {count}")
        self.lines.append(f"{self.name}_bucket{_labels({**labels, 'le': '+Inf'})} {sum(counts.values())}")
        self.lines.append(f"{self.name}_sum{_labels(labels)} {sum(number * times for number, times in counts.items())}")
        self.lines.append(f"{self.name}_count{_labels(labels)} {sum(counts.values())}")
        return self


def exposed(families: Iterable[Family]) -> str:
    """The page."""
    found = []
    for family in families:
        found += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}", *family.lines]
    return "\n".join(found) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1 << 53 else repr(float(value))

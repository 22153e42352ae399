"""Now and then, a line on how it goes: for whoever looks at the log."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgewright.clock import Clock
from edgewright.run.figures import CameraFigures, PairFigures

FIRST_S, EVERY_S = 10.0, 60.0


@dataclass(slots=True)
class Summary:
    """What has changed since the last line."""

    clock: Clock
    _said_s: float = field(init=False)
    _due_s: float = field(init=False)
    _answered: dict[tuple[str, str], int] = field(init=False, default_factory=dict)
    _dropped: dict[tuple[str, str], Counter[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._said_s = self.clock.monotonic_s()
        self._due_s = self._said_s + FIRST_S

    def look(self, figures: Mapping[str, CameraFigures]) -> str | None:
        """The line, where one is due: ten seconds after the start, then every minute."""
        now_s = self.clock.monotonic_s()
        if now_s < self._due_s:
            return None
        elapsed_s, self._said_s, self._due_s = now_s - self._said_s, now_s, now_s + EVERY_S
        pairs = [(name, model, camera, pair) for name, camera in figures.items() for model, pair in camera.models.items()]
        return "; ".join(self._of(name, model, camera, pair, elapsed_s) for name, model, camera, pair in pairs) or "no camera has a model"

    def _of(self, name: str, model: str, camera: CameraFigures, pair: PairFigures, elapsed_s: float) -> str:
        key = name, model
        answered = pair.answered - self._answered.get(key, 0)
        dropped = camera.dropped + pair.dropped
        lately = dropped - self._dropped.get(key, Counter())
        self._answered[key], self._dropped[key] = pair.answered, dropped
        words = [f"{name} ({model}): {answered / elapsed_s:.1f} answers a second"]
        age = pair.age.quantiles_ms()
        if answered and age["p50"] is not None:
            words.append(f"age {age['p50']:.0f} ms, p99 {age['p99']:.0f}")
        words += [f"{count} {reason}" for reason, count in sorted(lately.items())]
        return ", ".join(words)

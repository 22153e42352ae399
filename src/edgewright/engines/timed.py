"""Where the time of a detection goes: before the network, in it, after it."""

import time
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgewright.engines.base import Engine, EngineDescription


class TimedEngine:
    """An engine that notes when its last run began and ended: within one `detect`, what lies before and after is the rest of the path."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.began_s = self.ended_s = 0.0

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """As the engine does."""
        self.began_s = time.perf_counter()
        outputs = self._engine.run(feeds)
        self.ended_s = time.perf_counter()
        return outputs

    def describe(self) -> EngineDescription:
        """As the engine does."""
        return self._engine.describe()

    def close(self) -> None:
        """As the engine does."""
        self._engine.close()

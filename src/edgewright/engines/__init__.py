"""Runtimes behind one protocol; see `base`."""

from edgewright.engines.base import (
    ENGINES,
    Engine,
    EngineDescription,
    Precision,
    TensorSpec,
    engine_module,
    installed_engines,
    is_installed,
    open_artifact,
    open_engine,
)

__all__ = [
    "ENGINES",
    "Engine",
    "EngineDescription",
    "Precision",
    "TensorSpec",
    "engine_module",
    "installed_engines",
    "is_installed",
    "open_artifact",
    "open_engine",
]

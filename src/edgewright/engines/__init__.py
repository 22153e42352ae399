"""Runtimes behind one protocol; see `base`."""

from edgewright.engines.base import ENGINES, Engine, EngineDescription, TensorSpec, open_engine

__all__ = ["ENGINES", "Engine", "EngineDescription", "TensorSpec", "open_engine"]

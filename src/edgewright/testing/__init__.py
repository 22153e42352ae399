"""Conformance checks that ship: what every engine, and every engine of yours, has to pass."""

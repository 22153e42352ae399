"""Frames to answers, for weeks: cameras, workers, tracking, rules and outputs."""

"""The recipe of the built-in demonstration detector: model, material, lesson, export. Losses and loop are edgewright's own.

Not part of the wheel.
"""

CHECKPOINT = "checkpoint.safetensors"  # in the folder that training writes to

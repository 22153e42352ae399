"""The recipe of the built-in demonstration detector: model, losses, material, loop, export. Not part of the wheel."""

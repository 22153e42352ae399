"""How fast, how big: measured, in turn, each model in a process of its own."""

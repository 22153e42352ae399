"""Before the firmware has to: heat, memory and weak power are answered by doing less, step by step, and each step says why."""

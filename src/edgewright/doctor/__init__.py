"""What is wrong with this machine, and the exact line that mends it; and why a model does not fit into its memory."""

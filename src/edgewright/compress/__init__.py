"""Make it small: from a float graph to an integer one that answers the same."""

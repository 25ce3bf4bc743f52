"""Physics-informed networks, forward and inverse, beside published references."""

"""Neural operators beside the solvers that made their data."""

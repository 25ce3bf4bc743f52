"""Neural operators beside the solvers that computed their data."""

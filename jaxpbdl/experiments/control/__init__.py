"""Forces and shapes found by gradients through a solver."""

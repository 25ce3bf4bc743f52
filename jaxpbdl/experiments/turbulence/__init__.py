"""Coarse solvers of turbulence that learn from fine ones."""

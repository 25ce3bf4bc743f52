"""Potentials, and energies beyond a cheap method."""

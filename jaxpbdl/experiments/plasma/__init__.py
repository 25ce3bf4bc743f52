"""Kinetic plasma beside its exact rates; equilibria in a torus."""

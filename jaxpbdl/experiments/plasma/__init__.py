"""Kinetic plasma beside its exact rates."""

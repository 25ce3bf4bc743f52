"""Plasmas in a torus."""

"""Compressible flow with shocks."""

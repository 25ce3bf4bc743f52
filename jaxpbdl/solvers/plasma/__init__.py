"""Equilibria of a magnetised plasma in a torus."""

from jaxpbdl.solvers.plasma import exact
from jaxpbdl.solvers.plasma.delta_star import DeltaStar
from jaxpbdl.solvers.plasma.rectangle import Rectangle

__all__ = ["DeltaStar", "Rectangle", "exact"]

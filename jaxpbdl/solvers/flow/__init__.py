"""Incompressible flow with walls and bodies on staggered grids; `jaxpbdl.solvers` names it."""

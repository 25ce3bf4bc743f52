"""The pressure of incompressible flow by networks and solvers together."""

"""Sets of particles: which parton a jet is of, and clustering."""

"""Wakes of a cylinder: forecast by an ensemble, corrected through the solver."""

"""Experiments with the best estimate of a state from a model and measurements."""

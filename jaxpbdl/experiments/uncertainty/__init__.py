"""Experiments on what a model does not know."""

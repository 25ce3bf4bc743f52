"""Generative models on distributions that are known exactly."""

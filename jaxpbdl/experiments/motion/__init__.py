"""Mechanical systems, measured."""

"""Waves with exact solutions."""

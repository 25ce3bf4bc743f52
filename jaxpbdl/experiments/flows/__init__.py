"""Flows with published figures."""

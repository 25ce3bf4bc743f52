"""Plasma: kinetic waves beside their exact rates, and equilibria of a wanted shape."""

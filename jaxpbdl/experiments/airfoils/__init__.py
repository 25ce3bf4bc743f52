"""Flows about airfoils: surrogates, and drag with its gradients."""

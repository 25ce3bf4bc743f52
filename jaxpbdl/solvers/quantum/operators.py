"""Operators of few levels, as NumPy arrays: Pauli's matrices and those of a ladder."""

from functools import reduce

import numpy as np

from jaxpbdl import checks

pauli_x = np.array([[0, 1], [1, 0]], complex)
pauli_y = np.array([[0, -1j], [1j, 0]], complex)
pauli_z = np.array([[1, 0], [0, -1]], complex)


def lowering(levels: int) -> np.ndarray:
    """a with a |n> = sqrt(n) |n - 1>, cut off at a number of levels; a^dagger is its transpose, and
    a^dagger a the number of quanta."""
    levels = checks.count("levels", levels, minimum=2)
    return np.diag(np.sqrt(np.arange(1.0, levels)), 1).astype(complex)


def transition(levels: int, lower: int, upper: int) -> np.ndarray:
    """|lower><upper| + |upper><lower|, the coupling of two levels, counted from 0."""
    levels = checks.count("levels", levels, minimum=2)
    for name, level in (("lower", lower), ("upper", upper)):
        if not 0 <= level < levels or lower == upper:
            raise ValueError(f"{name} must be another level of 0..{levels - 1}, got {level}")
    coupling = np.zeros((levels, levels), complex)
    coupling[lower, upper] = coupling[upper, lower] = 1
    return coupling


def tensor(*operators: np.ndarray) -> np.ndarray:
    """The product of operators of separate systems, the first of them the slowest index."""
    return reduce(np.kron, operators)

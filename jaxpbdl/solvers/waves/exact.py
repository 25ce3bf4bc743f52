"""Exact solutions to hold the scheme against: its own dispersion, slabs, and scattering by a
circular cylinder.

Frequencies are angular, times are those of exp(-i w t), the speed of light is one.
"""

from collections.abc import Sequence

import numpy as np

from jaxpbdl import checks


def numerical_wavenumber(
    frequency: float, direction: Sequence[float], widths: Sequence[float], dt: float
) -> float:
    """The wavenumber of a plane wave of Yee's scheme in vacuum along a unit vector: the root of

        sum over axes of (sin(k n_a h_a / 2) / h_a)^2 = (sin(w dt / 2) / dt)^2

    (A. Taflove and S. C. Hagness, Computational Electrodynamics, 3rd ed. 2005, eq. 4.12), by
    Newton's method from the exact one. The phase velocity is w / k.
    """
    checks.positive("frequency", frequency)
    n, h = np.asarray(direction, float), np.asarray(widths, float)
    if n.shape != h.shape or abs(np.sum(n**2) - 1) > 1e-9:
        raise ValueError(f"direction must be a unit vector of {len(h)} entries, got {direction}")
    right = (np.sin(frequency * dt / 2) / dt) ** 2
    k = frequency
    for _ in range(50):
        value = np.sum((np.sin(k * n * h / 2) / h) ** 2) - right
        change = value / np.sum(n * np.sin(k * n * h) / (2 * h))
        k = k - change
        if abs(change) < 1e-14 * k:
            return float(k)
    raise ValueError(
        f"frequency must be one that the grid carries, with more than two cells a wavelength, got "
        f"{frequency}"
    )


def slab(
    frequency: np.ndarray, permittivity: np.ndarray, thickness: float
) -> tuple[np.ndarray, np.ndarray]:
    """Complex reflection and transmission of E by a slab in vacuum at normal incidence, both at its
    faces (M. Born and E. Wolf, Principles of Optics, section 1.6.4).

    `permittivity`: complex, of each frequency; its imaginary part is positive where it absorbs.
    """
    index = np.sqrt(np.asarray(permittivity, complex))
    face = (1 - index) / (1 + index)
    across = np.exp(1j * np.asarray(frequency) * index * thickness)
    several = 1 - (face * across) ** 2
    return face * (1 - across**2) / several, (1 - face**2) * across / several


def cylinder_efficiency(size: float, permittivity: complex) -> float:
    """Scattering efficiency of a circular cylinder at normal incidence, E along its axis (TM): the
    power that it scatters over that which falls on its diameter,

        Q = 2/x sum over n of |b_n|^2,
        b_n = (J_n(mx) J_n'(x) - m J_n'(mx) J_n(x)) / (J_n(mx) H_n'(x) - m J_n'(mx) H_n(x))

    (C. F. Bohren and D. R. Huffman, Absorption and Scattering of Light by Small Particles, 1983,
    section 8.4).

    **Arguments:** `size` x, the circumference over the wavelength; `permittivity` m^2.
    """
    from scipy import special  # waits for its first use

    checks.positive("size", size)
    m = np.sqrt(complex(permittivity))
    orders = np.arange(int(np.ceil(size + 4 * size ** (1 / 3) + 10)) + 1)
    inner, slope = special.jv(orders, m * size), special.jvp(orders, m * size)
    above = inner * special.jvp(orders, size) - m * slope * special.jv(orders, size)
    below = inner * special.h1vp(orders, size) - m * slope * special.hankel1(orders, size)
    terms = np.abs(above / below) ** 2
    return float(2 / size * (terms[0] + 2 * np.sum(terms[1:])))

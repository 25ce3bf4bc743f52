"""Exact solutions to hold the scheme against: its own dispersion, slabs and stacks of them, guided
modes, rings, and scattering by a circular cylinder and by a sphere.

Frequencies are angular, times are those of exp(-i w t), the speed of light is one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

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


def stack(
    frequency: np.ndarray, permittivities: Sequence[complex], thicknesses: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Complex reflection and transmission of E by layers in vacuum at normal incidence, at the
    first and the last face, as the product of the matrices of the layers that take E and H from
    face to face (Born and Wolf, section 1.6.2).

    `permittivities`: of the layers in their order, the imaginary part positive where one absorbs.
    """
    if len(permittivities) != len(thicknesses):
        raise ValueError(
            f"thicknesses must have {len(permittivities)} entries, one for each permittivity, got "
            f"{len(thicknesses)}"
        )
    w = np.asarray(frequency, float)
    total = np.broadcast_to(np.eye(2, dtype=complex), (*w.shape, 2, 2))
    for eps, thickness in zip(permittivities, thicknesses, strict=True):
        index = np.sqrt(complex(eps))
        phase = w * index * thickness
        cosine, sine = np.cos(phase), -1j * np.sin(phase)
        rows = ((cosine, sine / index), (sine * index, cosine))
        total = total @ np.stack([np.stack(row, -1) for row in rows], -2)
    # 1 + r and 1 - r are E and H (turned to be 1 ahead) before, t is both behind.
    field, magnetic = total[..., 0, 0] + total[..., 0, 1], total[..., 1, 0] + total[..., 1, 1]
    return (field - magnetic) / (field + magnetic), 2 / (field + magnetic)


def tm_guided_index(
    frequency: float, core: float, cladding: float, thickness: float, order: int = 0
) -> float:
    """Effective index of a mode of a slab waveguide, E out of the plane (the components `tm`): the
    root n between the indices of both media of

        k d = order pi + 2 arctan(g / k),   k^2 = w^2 (core - n^2),  g^2 = w^2 (n^2 - cladding)

    (D. Marcuse, Theory of Dielectric Optical Waveguides, 2nd ed. 1991, chapter 1). `core` and
    `cladding` are permittivities.

    **Raises:** ValueError for a core that is not above the cladding, and an order that the guide
    does not carry.
    """
    return _guided_index(frequency, core, cladding, thickness, order, 1.0)


def te_guided_index(
    frequency: float, core: float, cladding: float, thickness: float, order: int = 0
) -> float:
    """As `tm_guided_index`, H out of the plane (the components `te`): with core / cladding times
    g / k."""
    return _guided_index(frequency, core, cladding, thickness, order, core / cladding)


def _guided_index(
    frequency: float, core: float, cladding: float, thickness: float, order: int, contrast: float
) -> float:
    from scipy import optimize  # waits for its first use

    checks.positive("frequency", frequency)
    checks.positive("cladding", cladding)
    checks.positive("thickness", thickness)
    checks.count("order", order, 0)
    if core <= cladding:
        raise ValueError(f"core must be above the cladding, {cladding}, got {core}")
    most = frequency * thickness * (core - cladding) ** 0.5
    if order * np.pi >= most:
        raise ValueError(
            f"order must be below {most / np.pi:.4g} in this guide at this frequency, got {order}"
        )

    def phase(square: float) -> float:
        inner, outer = np.sqrt(core - square), np.sqrt(square - cladding)
        turned = 2 * np.arctan2(contrast * outer, inner)
        return frequency * thickness * inner - order * np.pi - turned

    found = optimize.root_scalar(phase, bracket=(cladding, core), xtol=1e-14)
    return float(np.sqrt(found.root))


def ring_frequency(
    inner: float, outer: float, permittivity: float, order: int, guess: complex
) -> complex:
    """The complex angular frequency near `guess` at which a ring in vacuum resonates, E out of the
    plane and proportional to cos(order phi): the root of the determinant of the conditions that E
    and dE/dr be continuous at both radii, with J_m(w r) inside, J_m and Y_m of sqrt(eps) w r in the
    ring, H_m(w r) outside, by secants.

    **Raises:** ValueError for radii that do not rise from above 0, and a guess that leads nowhere.
    """
    from scipy import special  # waits for its first use

    checks.positive("inner", inner)
    checks.positive("permittivity", permittivity)
    checks.count("order", order, 0)
    if outer <= inner:
        raise ValueError(f"outer must be above inner, {inner}, got {outer}")
    index = permittivity**0.5

    def determinant(w: complex) -> complex:
        rows = []
        for radius, outside in ((inner, (special.jv, special.jvp)),
                                (outer, (special.hankel1, special.h1vp))):  # fmt: skip
            x = w * radius
            value, slope = (one(order, x) for one in outside)
            ring = [
                [function(order, index * x) for function in (special.jv, special.yv)],
                [index * function(order, index * x) for function in (special.jvp, special.yvp)],
            ]
            column = (value, 0) if radius == inner else (0, value)
            other = (slope, 0) if radius == inner else (0, slope)
            rows += [(*column, *ring[0]), (*other, *ring[1])]
        return complex(np.linalg.det(np.asarray(rows)))

    w, before = complex(guess), complex(guess) * (1 + 1e-4)
    value, last = determinant(w), determinant(before)
    for _ in range(60):
        if value == last:
            break
        w, before = w - value * (w - before) / (value - last), w
        value, last = determinant(w), value
        if abs(w - before) < 1e-12 * abs(w):
            break
    if not abs(w - before) < 1e-9 * abs(w):
        raise ValueError(f"guess must be nearer to a resonance, got {guess}")
    return w


Coefficients = Callable[[float, complex], np.ndarray]
"""Of the scattered waves of order 0, 1, 2, ... of a cylinder, from its size parameter and its
permittivity."""


def tm_coefficients(size: float, permittivity: complex) -> np.ndarray:
    """Of a circular cylinder at normal incidence, E along its axis (TM),

        b_n = (J_n(mx) J_n'(x) - m J_n'(mx) J_n(x)) / (J_n(mx) H_n'(x) - m J_n'(mx) H_n(x))

    (C. F. Bohren and D. R. Huffman, Absorption and Scattering of Light by Small Particles, 1983,
    section 8.4).

    **Arguments:** `size` x, the circumference over the wavelength; `permittivity` m^2, its
    imaginary part positive where it absorbs.
    """
    return _cylinder_coefficients(size, permittivity, 1.0, np.sqrt(complex(permittivity)))


def te_coefficients(size: float, permittivity: complex) -> np.ndarray:
    """Of a circular cylinder at normal incidence, H along its axis (TE),

        a_n = (m J_n(mx) J_n'(x) - J_n'(mx) J_n(x)) / (m J_n(mx) H_n'(x) - J_n'(mx) H_n(x))

    (Bohren and Huffman 1983, section 8.4), of the arguments of `tm_coefficients`.
    """
    return _cylinder_coefficients(size, permittivity, np.sqrt(complex(permittivity)), 1.0)


def _cylinder_coefficients(
    size: float, permittivity: complex, of_value: complex, of_slope: complex
) -> np.ndarray:
    from scipy import special  # waits for its first use

    checks.positive("size", size)
    inside = np.sqrt(complex(permittivity)) * size
    orders = np.arange(_orders(size) + 1)
    value = of_value * special.jv(orders, inside)
    slope = of_slope * special.jvp(orders, inside)
    above = value * special.jvp(orders, size) - slope * special.jv(orders, size)
    below = value * special.h1vp(orders, size) - slope * special.hankel1(orders, size)
    return above / below


def _orders(size: float) -> int:
    """The highest order that counts (Bohren and Huffman 1983, appendix A, and a margin)."""
    return int(np.ceil(size + 4 * size ** (1 / 3) + 10))


def cylinder_efficiency(
    size: float, permittivity: complex, coefficients: Coefficients = tm_coefficients
) -> float:
    """Scattering efficiency of a circular cylinder at normal incidence: the power that it scatters
    over that which falls on its diameter,

        Q = 2/x (|c_0|^2 + 2 sum over n > 0 of |c_n|^2)

    with the `coefficients` c_n of a polarisation, TM by default (Bohren and Huffman 1983, section
    8.4). `size` and `permittivity` as in `tm_coefficients`.
    """
    terms = np.abs(coefficients(size, permittivity)) ** 2
    return float(2 / size * (terms[0] + 2 * np.sum(terms[1:])))


def cylinder_extinction(
    size: float, permittivity: complex, coefficients: Coefficients = tm_coefficients
) -> float:
    """Extinction efficiency, of what the cylinder scatters and absorbs,

        Q = 2/x Re(c_0 + 2 sum over n > 0 of c_n)

    (Bohren and Huffman 1983, section 8.4), of the arguments of `cylinder_efficiency`.
    """
    terms = np.real(coefficients(size, permittivity))
    return float(2 / size * (terms[0] + 2 * np.sum(terms[1:])))


def cylinder_pattern(
    size: float,
    permittivity: complex,
    angles: np.ndarray,
    coefficients: Coefficients = tm_coefficients,
) -> np.ndarray:
    """Scattering efficiency of a cylinder per radian at angles from the direction of travel,

        dQ/dphi = |c_0 + 2 sum over n > 0 of c_n cos(n phi)|^2 / (pi x)

    (Bohren and Huffman 1983, section 8.4), of the arguments of `cylinder_efficiency`; its integral
    over the circle is that efficiency.
    """
    terms = coefficients(size, permittivity)
    orders = np.arange(1, len(terms))
    waves = terms[0] + 2 * np.cos(np.multiply.outer(angles, orders)) @ terms[1:]
    return np.abs(waves) ** 2 / (np.pi * size)


class Sphere(NamedTuple):
    """Efficiencies of scattering and of extinction, over the cross-section of the sphere, and the
    mean cosine of the angle of what is scattered."""

    scattering: float
    extinction: float
    asymmetry: float


def sphere(size: float, permittivity: complex) -> Sphere:
    """Scattering by a sphere, with psi_n(z) = z j_n(z) and xi_n(z) = z h_n(z),

        a_n = (m psi_n(mx) psi_n'(x) - psi_n(x) psi_n'(mx))
              / (m psi_n(mx) xi_n'(x) - xi_n(x) psi_n'(mx))
        b_n = (psi_n(mx) psi_n'(x) - m psi_n(x) psi_n'(mx))
              / (psi_n(mx) xi_n'(x) - m xi_n(x) psi_n'(mx))
        Q_sca = 2/x^2 sum (2n + 1) (|a_n|^2 + |b_n|^2),  Q_ext = 2/x^2 sum (2n + 1) Re(a_n + b_n)

    (Mie's series; Bohren and Huffman 1983, section 4.4, the asymmetry in section 4.5).

    **Arguments:** `size` x, the circumference over the wavelength; `permittivity` m^2, its
    imaginary part positive where it absorbs.
    """
    from scipy import special  # waits for its first use

    checks.positive("size", size)
    m = np.sqrt(complex(permittivity))
    n = np.arange(1, _orders(size) + 1)

    def riccati(z: complex) -> tuple[np.ndarray, np.ndarray]:
        value, slope = special.spherical_jn(n, z), special.spherical_jn(n, z, derivative=True)
        return z * value, value + z * slope

    inner, inner_slope = riccati(m * size)
    outer, outer_slope = riccati(size)
    second = special.spherical_yn(n, size)
    wave = outer + 1j * size * second
    wave_slope = outer_slope + 1j * (second + size * special.spherical_yn(n, size, derivative=True))
    a = (m * inner * outer_slope - outer * inner_slope) / (
        m * inner * wave_slope - wave * inner_slope
    )
    b = (inner * outer_slope - m * outer * inner_slope) / (
        inner * wave_slope - m * wave * inner_slope
    )
    scattering = 2 / size**2 * np.sum((2 * n + 1) * (np.abs(a) ** 2 + np.abs(b) ** 2))
    extinction = 2 / size**2 * np.sum((2 * n + 1) * np.real(a + b))
    pairs = a[:-1] * np.conj(a[1:]) + b[:-1] * np.conj(b[1:])
    crossed = a * np.conj(b) * (2 * n + 1) / (n * (n + 1))
    order = n[:-1]
    moment = np.sum(order * (order + 2) / (order + 1) * np.real(pairs)) + np.sum(np.real(crossed))
    return Sphere(float(scattering), float(extinction), float(4 / size**2 * moment / scattering))

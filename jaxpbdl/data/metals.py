"""Poles of dispersion from a measured permittivity: a Drude and a Lorentz pole,

    eps(w) = e - w_p^2 / (w^2 + i w g) + c w_0^2 / (w_0^2 - w^2 - i w g_0)

by least squares of the relative error over the logarithms of all six numbers, so that each is above
0 and the medium is passive at every frequency, not only where it was measured.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxpbdl.inference import least_squares
from jaxpbdl.solvers.waves.media import Pole, drude, lorentz

NOISE = 0.02
"""Relative error of measured permittivities, about what Johnson and Christy state of theirs."""


class Dispersion(NamedTuple):
    """The permittivity of high frequencies, the poles, and the largest relative error of the fit at
    the wavelengths that it was made for."""

    permittivity: float
    poles: tuple[Pole, ...]
    error: float

    def at(self, wavelengths: np.ndarray) -> np.ndarray:
        """The permittivity at wavelengths in vacuum."""
        w = 2 * np.pi / np.asarray(wavelengths, float)
        parts = [
            float(pole.strength)
            / (float(pole.resonance) ** 2 - w**2 - 1j * w * float(pole.damping))
            for pole in self.poles
        ]
        return self.permittivity + np.sum(parts, axis=0)


def fitted_metal(
    wavelengths: np.ndarray, permittivity: np.ndarray, largest_error: float = 0.05
) -> Dispersion:
    """A Drude and a Lorentz pole for a metal.

    **Arguments:** `wavelengths` in vacuum, in the unit of length, and the complex `permittivity`
    there, its imaginary part positive where it absorbs; `largest_error`, relative, that the fit may
    have.

    **Raises:** ValueError for fewer than four wavelengths, for a permittivity of a medium that is
    not passive or no metal, and for a fit that is further off than `largest_error`.
    """
    waves, measured = np.asarray(wavelengths, float), np.asarray(permittivity, complex)
    above, below = np.imag(measured), np.real(measured)
    if waves.shape != measured.shape or waves.ndim != 1 or len(waves) < 4:
        raise ValueError(
            f"wavelengths and permittivity must be at least four of each, got {waves.shape} and "
            f"{measured.shape}"
        )
    if not np.all(above >= 0):
        raise ValueError(
            f"permittivity must have an imaginary part >= 0, got {above.min():.6g}: such a "
            "medium is not passive"
        )
    if not np.any(below < 0):
        raise ValueError(
            f"permittivity of a metal must be below 0 somewhere, got {below.min():.6g}"
        )
    w = jnp.asarray(2 * np.pi / waves)
    real, imaginary, size = (jnp.asarray(x) for x in (below, above, abs(measured)))

    def residuals(logarithms: Array) -> Array:
        model = _permittivity(jnp.exp(logarithms), w)
        return jnp.concatenate([(model.real - real) / size, (model.imag - imaginary) / size])

    # From the free electrons alone at the longest wavelength; bound ones beyond the shortest.
    shortest, longest = 2 * np.pi / waves.min(), 2 * np.pi / waves.max()
    plasma = longest * np.sqrt(5 + abs(measured[np.argmax(waves)]))
    start = jnp.log(jnp.asarray([5, plasma, longest / 20, 1.5, 1.1 * shortest, shortest / 5]))
    numbers = jnp.exp(least_squares(residuals, start, noise=NOISE).values)
    found = np.asarray(_permittivity(numbers, w))
    error = float(np.max(abs(found - measured) / abs(measured)))
    if not error <= largest_error:
        raise ValueError(
            f"permittivity has no passive fit of a Drude and a Lorentz pole within "
            f"{largest_error}: the best is {error:.3g} off at one of the wavelengths "
            f"{waves.min():.6g}..{waves.max():.6g}; use a narrower range"
        )
    e, plasma, damping, change, resonance, width = (float(x) for x in numbers)
    return Dispersion(e, (drude(plasma, damping), lorentz(resonance, change, width)), error)


def _permittivity(numbers: Array, w: Array) -> Array:
    e, plasma, damping, change, resonance, width = numbers
    free = plasma**2 / (w**2 + 1j * w * damping)
    bound = change * resonance**2 / (resonance**2 - w**2 - 1j * w * width)
    return e - free + bound

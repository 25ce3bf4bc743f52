"""Waves of a uniform plasma of electrons: the plasma dispersion function and its roots.

    k^2 + chi(omega / k) = 0,   chi(c) = -integral of f0'(v) / (v - c) dv   (Landau's contour)

for waves `exp(i (k x - omega t))` of the Vlasov-Poisson system, times in 1/omega_p and lengths in
units in which the mean density is one. A Maxwellian of width s has chi = (1 + z Z(z)) / s^2 with
z = (c - drift) / (sqrt(2) s) and Z the plasma dispersion function of Fried and Conte (1961),
`Z(z) = i sqrt(pi) w(z)`. The Faddeeva function w is by the rational series of Weideman, SIAM J.
Numer. Anal. 31 (1994) 1497, continued below the real axis by `w(z) = 2 exp(-z^2) - w(-z)`.
"""

from math import pi

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float

from jaxpbdl import checks

TERMS = 44
"""Of the rational series; the error of w is then about 1e-13."""
ITERATIONS = 40
"""Of Newton's method."""
FASTEST, STEEPEST = 4.0, 1.0
"""Frequencies and growth rates from which `leading_wave` starts, in plasma frequencies."""


def _series() -> tuple[float, np.ndarray]:
    """The scale of the map of the upper half plane to the unit disc, and the coefficients there,
    the highest first."""
    scale = (TERMS / 2**0.5) ** 0.5
    angles = pi / (2 * TERMS) * np.arange(1 - 2 * TERMS, 2 * TERMS)
    points = scale * np.tan(angles / 2)
    values = np.exp(-(points**2)) * (scale**2 + points**2)
    powers = np.arange(1, TERMS + 1)[:, None]
    return scale, np.mean(values * np.cos(powers * angles), axis=1)[::-1] * (1 - 1 / (4 * TERMS))


_SCALE, _COEFFICIENTS = _series()


def faddeeva(z: Complex[Array, "*points"]) -> Complex[Array, "*points"]:
    """`w(z) = exp(-z^2) erfc(-i z)`, analytic in the whole plane."""
    above = z.imag >= 0
    upper = jnp.where(above, z, -z)
    below = _SCALE - 1j * upper
    powers = (_SCALE + 1j * upper) / below
    series = jnp.polyval(jnp.asarray(_COEFFICIENTS, z.real.dtype), powers, unroll=1)
    value = 2 * series / below**2 + pi**-0.5 / below
    # The exponential would overflow far above the axis, where it is not needed.
    lower = jnp.where(above, 0, z)
    return jnp.where(above, value, 2 * jnp.exp(-(lower**2)) - value)


def plasma_dispersion(z: Complex[Array, "*points"]) -> Complex[Array, "*points"]:
    """Fried and Conte's `Z(z)`; its derivative is `-2 (1 + z Z)`."""
    return 1j * pi**0.5 * faddeeva(z)


class VelocityDistribution(eqx.Module):
    """A uniform state of the electrons, a density of velocities."""

    trainable_fields = ()

    def response(self, speed: Complex[Array, ""]) -> Complex[Array, ""]:
        """`chi` at a complex phase velocity: k^2 times the permittivity less one."""
        raise NotImplementedError(f"{type(self).__name__} must define response")


class Maxwellians(VelocityDistribution):
    """A sum of Maxwellians: `densities`, mean velocities `drifts` and standard deviations `widths`
    of each. Callable at a velocity."""

    densities: Float[Array, " beams"]
    drifts: Float[Array, " beams"]
    widths: Float[Array, " beams"]

    def __init__(
        self, densities: ArrayLike = 1.0, drifts: ArrayLike = 0.0, widths: ArrayLike = 1.0
    ):
        """Numbers for all beams or one each. Raises ValueError for densities or widths that are
        not above 0."""
        checks.positive("densities", densities)
        checks.finite("drifts", drifts)
        checks.positive("widths", widths)
        given = (jnp.atleast_1d(checks.as_floats(one)) for one in (densities, drifts, widths))
        self.densities, self.drifts, self.widths = jnp.broadcast_arrays(*given)

    def __call__(self, velocity: Float[Array, ""]) -> Float[Array, ""]:
        scaled = (velocity - self.drifts) / self.widths
        return jnp.sum(self.densities / self.widths * jnp.exp(-(scaled**2) / 2)) / (2 * pi) ** 0.5

    def response(self, speed: Complex[Array, ""]) -> Complex[Array, ""]:
        z = (speed - self.drifts) / (2**0.5 * self.widths)
        return jnp.sum(self.densities / self.widths**2 * (1 + z * plasma_dispersion(z)))


class HollowMaxwellian(VelocityDistribution):
    """`v^2 exp(-v^2 / 2) / sqrt(2 pi)`: two streams without a parameter. It is the Maxwellian plus
    its second derivative, and so is its response."""

    def __call__(self, velocity: Float[Array, ""]) -> Float[Array, ""]:
        return velocity**2 * jnp.exp(-(velocity**2) / 2) / (2 * pi) ** 0.5

    def response(self, speed: Complex[Array, ""]) -> Complex[Array, ""]:
        z = speed / 2**0.5
        dispersion = plasma_dispersion(z)
        single = 1 + z * dispersion
        # d^2/dc^2 = 1/2 d^2/dz^2 of 1 + z Z, by Z' = -2 (1 + z Z).
        return single - 2 * single - z * (dispersion - 2 * z * single)


class ColdBeams(VelocityDistribution):
    """Beams without a width: `densities` and velocities `drifts`."""

    densities: Float[Array, " beams"]
    drifts: Float[Array, " beams"]

    def __init__(self, densities: ArrayLike, drifts: ArrayLike):
        """Raises ValueError for densities that are not above 0."""
        checks.positive("densities", densities)
        checks.finite("drifts", drifts)
        given = (jnp.atleast_1d(checks.as_floats(one)) for one in (densities, drifts))
        self.densities, self.drifts = jnp.broadcast_arrays(*given)

    def response(self, speed: Complex[Array, ""]) -> Complex[Array, ""]:
        return -jnp.sum(self.densities / (speed - self.drifts) ** 2)


def wave_frequency(
    distribution: VelocityDistribution, wavenumber: ArrayLike, guess: ArrayLike
) -> Complex[Array, ""]:
    """The complex frequency of the wave near `guess`, by Newton's method; its imaginary part is
    the rate of growth. Derivatives to the distribution and the wavenumber are by the implicit
    function theorem.

    NaN, or no root, where the guess is too far. **Raises** ValueError for a wavenumber that is not
    above 0.
    """
    checks.positive("wavenumber", wavenumber)
    k = checks.as_floats(wavenumber)
    start = jnp.asarray(guess, jnp.result_type(k.dtype, jnp.complex64)) / k

    def newton(speed: Array, _: None) -> tuple[Array, None]:
        return _improved(distribution, k, speed), None

    return k * _improved(
        distribution, k, lax.stop_gradient(lax.scan(newton, start, None, length=ITERATIONS)[0])
    )


def _improved(distribution: VelocityDistribution, k: Array, speed: Array) -> Array:
    """One step of Newton's method for a phase velocity; at a root, the root with the derivatives of
    the implicit function."""
    value, change = jax.jvp(distribution.response, (speed,), (jnp.ones_like(speed),))
    return speed - (k**2 + value) / lax.stop_gradient(change)


def leading_wave(distribution: VelocityDistribution, wavenumber: ArrayLike) -> Complex[Array, ""]:
    """The frequency of the wave that grows fastest or is damped least: the largest imaginary part
    among the roots that Newton's method finds from a lattice of guesses, with the largest real
    part of those that grow alike. NaN if it finds none.

    **Raises** ValueError for a wavenumber that is not above 0.
    """
    checks.positive("wavenumber", wavenumber)
    k = checks.as_floats(wavenumber)
    real = jnp.linspace(-FASTEST, FASTEST, 33, dtype=k.dtype)
    imaginary = jnp.linspace(-STEEPEST, STEEPEST, 10, dtype=k.dtype)
    guesses = (real[:, None] + 1j * imaginary).reshape(-1)
    found = jax.vmap(lambda guess: wave_frequency(distribution, k, guess))(guesses)
    left = jnp.abs(1 + jax.vmap(distribution.response)(found / k) / k**2)
    small = 1e4 * jnp.finfo(k.dtype).eps
    rank = jnp.where(left < small, found.imag + 10 * small * found.real, -jnp.inf)
    best = jnp.argmax(rank)
    # Apart from the other guesses, whose NaN would spoil its derivatives.
    speed = lax.stop_gradient(jnp.where(jnp.isfinite(rank[best]), found[best], jnp.nan) / k)
    return k * _improved(distribution, k, speed)

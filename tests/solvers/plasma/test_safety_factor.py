"""Flux surfaces and the safety factor on exact equilibria; profiles from tables."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from jaxpbdl.solvers.plasma import Rectangle, Tabulated, flux_surface, safety_factor
from jaxpbdl.solvers.plasma.circuits import MU_0

pytestmark = pytest.mark.x64

# Solov'ev: psi = a (R^2 Z^2 / k^2 + (R^2 - R_0^2)^2 / 4), whose surfaces are
# R^2 = R_0^2 + 2 c cos t, R Z = k c sin t with a flux of a c^2.
A, K, R0 = 0.7, 1.6, 1.1


def solovev(r, z, a=A, k=K, r0=R0):
    return a * (r**2 * z**2 / k**2 + (r**2 - r0**2) ** 2 / 4)


def exact_q(c, f):
    """dl / (R |grad psi|) = dR / (R psi_Z), which leaves an integral over t."""
    turn = quad(lambda t: (R0**2 + 2 * c * np.cos(t)) ** -1.5, 0, 2 * np.pi, epsabs=1e-13)[0]
    return f * K / (2 * A) * turn / (2 * np.pi)


def plane():
    return Rectangle((65, 81), (0.5, -1.1), (1.6, 1.1))


def flux(grid, a=A):
    r, z = grid.coordinates
    return solovev(r, z, a=a)


@pytest.mark.parametrize("sign", [1, -1])
def test_safety_factor_of_solovev(sign):
    """At three surfaces, of a flux that rises and of one that falls from the axis; at the axis it
    is F k / (2 a R_0^3)."""
    grid = plane()
    psi, axis = sign * flux(grid), jnp.asarray([R0, 0.0])
    every = np.array([1e-3, 0.2, 0.4])
    find = eqx.filter_jit(jax.vmap(lambda level: safety_factor(grid, psi, axis, level, -2.5)))
    found = find(jnp.asarray(sign * A * every**2))
    np.testing.assert_allclose(found, [exact_q(c, -2.5) for c in every], rtol=2e-6)
    assert float(found[0]) == pytest.approx(-2.5 * K / (2 * A * R0**3), rel=1e-5)


def test_points_of_a_surface():
    """They lie on it, at equal angles from the axis, also where that is not its middle."""
    grid = plane()
    axis, c = jnp.asarray([R0 + 0.03, 0.02]), 0.3
    points = flux_surface(grid, flux(grid), axis, jnp.asarray(A * c**2), rays=7)
    assert points.shape == (7, 2)
    np.testing.assert_allclose(solovev(points[:, 0], points[:, 1]), A * c**2, rtol=1e-7)
    angles = np.arctan2(*(np.asarray(points) - np.asarray(axis)).T[::-1])
    np.testing.assert_allclose(np.mod(angles, 2 * np.pi), 2 * np.pi * (np.arange(7) + 0.5) / 7)


def test_derivatives_are_those_of_the_exact_factor():
    """With respect to the level, the flux and F."""
    grid, axis, c = plane(), jnp.asarray([R0, 0.0]), 0.3

    def q(level, a, f):
        return safety_factor(grid, flux(grid, a=a), axis, level, f)

    level = jnp.asarray(A * c**2)
    value, (by_level, by_a, by_f) = jax.jit(jax.value_and_grad(q, argnums=(0, 1, 2)))(level, A, 2.0)
    h = 1e-4
    slope = (exact_q(c + h, 2.0) - exact_q(c - h, 2.0)) / (2 * h)
    assert float(value) == pytest.approx(exact_q(c, 2.0), rel=1e-6)
    # level = a c^2: at a fixed level c falls as a rises.
    assert float(by_level) == pytest.approx(slope / (2 * A * c), rel=1e-4)
    assert float(by_a) == pytest.approx(-exact_q(c, 2.0) / A - slope * c / (2 * A), rel=1e-5)
    assert float(by_f) == pytest.approx(exact_q(c, 1.0), rel=1e-6)


def test_a_level_without_a_surface():
    grid, axis = plane(), jnp.asarray([R0, 0.0])
    psi = flux(grid)
    with pytest.raises(ValueError, match="level must be the flux of a closed surface.*got -0.1, "
                       "which 256 of 256 rays"):  # fmt: skip
        safety_factor(grid, psi, axis, jnp.asarray(-0.1), 1.0)
    with pytest.raises(ValueError, match="of 8 rays from the axis do not meet"):
        flux_surface(grid, psi, axis, jnp.asarray(0.6), rays=8)
    with pytest.raises(ValueError, match="rays must be an integer >= 3, got 2"):
        flux_surface(grid, psi, axis, jnp.asarray(0.1), rays=2)
    inside = eqx.filter_jit(safety_factor)(grid, psi, axis, jnp.asarray(-0.1), 1.0)
    assert np.isnan(inside)


def test_tables_of_a_profile():
    """Linear between their entries, with the current given and the two parts in their ratio."""
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(6, 5)))
    radius, inside, area = jnp.linspace(0.8, 1.5, 6)[:, None], x < 0.9, 0.02
    one, two = jnp.asarray([3e4, 2e4, 0.0]), jnp.asarray([0.1, -0.02, 0.05])
    found = Tabulated(pressure_slope=one, field_slope=two, current=2e5).density(
        radius, x, inside, jnp.asarray(0.3), area
    )
    pressure = np.where(x < 0.5, 3e4 - 2e4 * x, 4e4 * (1 - x))
    field = np.where(x < 0.5, 0.1 - 0.24 * x, -0.02 + 0.14 * (x - 0.5))
    parts = [np.where(inside, part, 0) for part in (radius * pressure, field / (MU_0 * radius))]
    factor = 2e5 / (area * (parts[0] + parts[1]).sum())
    np.testing.assert_allclose(found.values, factor * (parts[0] + parts[1]), rtol=1e-12)
    np.testing.assert_allclose(found.strength, factor, rtol=1e-12)
    np.testing.assert_allclose(found.share, factor * area * parts[0].sum() / 2e5, rtol=1e-12)
    with pytest.raises(ValueError, match=r"field_slope must have shape \(3,\), got \(2,\)"):
        Tabulated(pressure_slope=one, field_slope=two[:2], current=2e5)
    with pytest.raises(ValueError, match="pressure_slope must be finite"):
        Tabulated(pressure_slope=one / 0, field_slope=two, current=2e5)
    with pytest.raises(ValueError, match="magnitude of current must be finite and > 0, got 0"):
        Tabulated(pressure_slope=one, field_slope=two, current=0.0)
    with pytest.raises(ValueError, match="tables must have 2 entries or more, got 1"):
        Tabulated(pressure_slope=one[:1], field_slope=two[:1], current=2e5)

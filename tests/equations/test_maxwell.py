"""The residual of Maxwell's equations: zero for exact waves, and notices every wrong term."""

import jax
import jax.numpy as jnp
import pytest

from jaxpbdl.equations import Maxwell

pytestmark = pytest.mark.x64


def plane_wave(index=1.5):
    """An oblique wave with a polarisation that is not along an axis."""
    direction = jnp.array([2.0, 3.0, 6.0]) / 7
    electric = jnp.array([3.0, -2.0, 0.0]) / 13**0.5

    def field(point):
        phase = jnp.sin(2.0 * (index * point[:3] @ direction - point[3]))
        return jnp.concatenate([electric, index * jnp.cross(direction, electric)]) * phase

    return field


def test_a_wave_in_three_dimensions():
    point = jnp.array([0.3, -0.2, 0.5, 0.7])
    residual = jax.jit(lambda eps: Maxwell(eps).residual(plane_wave(), point))
    assert jnp.max(jnp.abs(residual(2.25))) < 1e-12
    assert jnp.max(jnp.abs(residual(2.0))) > 0.1


def test_a_wave_that_decays():
    """E_y and H_z along x: n^2 = eps + i sigma / w."""
    frequency, eps, sigma = 2.0, 1.5, 0.8
    n = jnp.sqrt(eps + 1j * sigma / frequency)

    def field(point):
        wave = jnp.exp(1j * frequency * (n * point[0] - point[1]))
        return jnp.zeros(6).at[1].set(wave.real).at[5].set((n * wave).real)

    point = jnp.array([0.3, 0.2])
    assert jnp.max(jnp.abs(Maxwell(eps, sigma).residual(field, point))) < 1e-12
    assert jnp.max(jnp.abs(Maxwell(eps).residual(field, point))) > 0.1


def test_a_profile_and_a_divergence():
    """E = (0, 0, x t), H = (x^2, 0, x t^2 / 2): terms by hand, eps = 2 (1 + x)."""
    equation = Maxwell(2.0, 0.5, profile=lambda position: 1 + position[0])

    def field(point):
        x, t = point[0], point[2]
        return jnp.stack([0 * x, 0 * x, x * t, x**2, 0 * x, x * t**2 / 2])

    found = equation.residual(field, jnp.array([0.3, 0.4, 0.7]))
    expected = [0, 0.7**2 / 2, 2 * 1.3 * 0.3 + 0.5 * 0.21, 0, -0.7, 0.3 * 0.7, 0.6]
    assert jnp.allclose(found, jnp.array(expected), atol=1e-12)


def test_refused():
    with pytest.raises(ValueError, match="permittivity must be finite and > 0, got 0"):
        Maxwell(0.0)
    with pytest.raises(ValueError, match="point must have 1 to 3 coordinates and time, got 1"):
        Maxwell().residual(lambda p: jnp.zeros(6), jnp.zeros(1))

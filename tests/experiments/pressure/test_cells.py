"""Stencils on staggered cells: their laws, in a periodic and in a closed box."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.pressure.cells import divergence, gradient, laplacian, solve

SHAPES = [(9,), (8, 6), (4, 5, 6)]
pytestmark = [
    pytest.mark.x64,
    pytest.mark.parametrize("shape", SHAPES),
    pytest.mark.parametrize("periodic", [True, False]),
]


def flow(shape, periodic):
    """A random velocity; in a closed box none through its walls."""
    velocity = np.array(jax.random.normal(jax.random.key(0), (len(shape), *shape)))
    for axis in range(0 if periodic else len(shape)):
        np.moveaxis(velocity[axis], axis, 0)[0] = 0
    return jnp.asarray(velocity)


def test_the_gradient_is_minus_the_adjoint_of_the_divergence(shape, periodic):
    velocity, pressure = flow(shape, periodic), jax.random.normal(jax.random.key(1), shape)
    work = jnp.sum(divergence(velocity, periodic) * pressure)
    np.testing.assert_allclose(work, -jnp.sum(velocity * gradient(pressure, periodic)), atol=1e-12)


def test_what_leaves_a_cell_enters_another(shape, periodic):
    np.testing.assert_allclose(jnp.sum(divergence(flow(shape, periodic), periodic)), 0, atol=1e-12)


def test_the_pressure_takes_the_divergence_away(shape, periodic):
    velocity = flow(shape, periodic)
    pressure = solve(divergence(velocity, periodic), periodic)
    projected = velocity - gradient(pressure, periodic)
    np.testing.assert_allclose(divergence(projected, periodic), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.mean(pressure), 0, atol=1e-12)


def test_waves_are_eigenvectors(shape, periodic):
    x = (jnp.arange(shape[0]) + (0 if periodic else 0.5)) / shape[0]
    wave = jnp.cos((2 if periodic else 1) * jnp.pi * x)
    wave = jnp.broadcast_to(wave.reshape(-1, *[1] * (len(shape) - 1)), shape)
    angle = (1 if periodic else 0.5) * np.pi / shape[0]
    expected = -((2 * np.sin(angle)) ** 2) * wave
    np.testing.assert_allclose(laplacian(wave, periodic), expected, atol=1e-12)

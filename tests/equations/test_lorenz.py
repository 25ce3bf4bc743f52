"""Lorenz' models: rates by their indices, fixed points, published growth of errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Lorenz63, Lorenz96
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import explicit

pytestmark = pytest.mark.x64


def test_rates_of_1963():
    equation = Lorenz63(prandtl=9.0, rayleigh=20.0, aspect=2.0)
    np.testing.assert_allclose(equation.rates(jnp.array([1.0, 3.0, 5.0])), [18.0, 12.0, -7.0])
    states = equation.fixed_points()
    assert np.abs(states[1]).min() > 1 and np.abs(states[1] - states[2]).max() > 1
    np.testing.assert_allclose(jax.vmap(equation.rates)(states), 0, atol=1e-12)


def test_rates_of_1996():
    x = np.random.default_rng(0).normal(size=7)
    expected = [(x[(i + 1) % 7] - x[i - 2]) * x[i - 1] - x[i] + 3.0 for i in range(7)]
    np.testing.assert_allclose(Lorenz96(forcing=3.0, size=7).rates(jnp.asarray(x)), expected)


def test_the_residual_of_a_solution():
    """Of a field that solves the equation by its own definition: x = forcing (1 - exp(-t))
    everywhere, as equal values carry nothing along; in 1963, the axis z alone decays."""

    def uniform(point):
        return jnp.full(5, 8.0) * (1 - jnp.exp(-point[0]))

    def axis(point):
        return jnp.array([0.0, 0.0, 4.0]) * jnp.exp(-8 / 3 * point[0])

    point = jnp.array([0.7])
    np.testing.assert_allclose(Lorenz96(size=5).residual(uniform, point), 0, atol=1e-12)
    np.testing.assert_allclose(Lorenz63().residual(axis, point), 0, atol=1e-12)
    apart = Lorenz63().residual(lambda p: axis(2 * p), point)
    np.testing.assert_allclose(apart[2], -8 / 3 * 4 * np.exp(-16 / 3 * 0.7), rtol=1e-10)


def test_the_growth_of_errors():
    """The leading Lyapunov exponent: 0.906 (Sprott, Chaos and Time-Series Analysis, 2003) and 1.68
    (Lorenz and Emanuel, J. Atmos. Sci. 55 (1998) 399: errors double in 2.1 days)."""
    for equation, start, dt, time, expected, error in (
        (Lorenz63(), jnp.array([1.5, -1.5, 25.0]), 0.01, 200.0, 0.906, 0.06),
        (Lorenz96(), jnp.zeros(40).at[0].set(1.0) + 8.0, 0.05, 200.0, 1.68, 0.1),
    ):
        step, steps = explicit(equation.rates, dt), round(time / dt)
        start = rollout(step, start, 400)[-1]

        @jax.jit
        def growth(start, tangent, step=step, steps=steps):
            def turn(carry, _):
                state, tangent = jax.jvp(step, carry[:1], carry[1:])
                size = jnp.linalg.norm(tangent)
                return (state, tangent / size), jnp.log(size)

            return jax.lax.scan(turn, (start, tangent), None, length=steps)[1]

        logarithms = growth(start, jnp.ones_like(start))
        assert float(jnp.sum(logarithms[200:]) / (len(logarithms) - 200) / dt) == pytest.approx(
            expected, abs=error
        )


def test_bad_input():
    with pytest.raises(ValueError, match="size must be an integer >= 4, got 3"):
        Lorenz96(size=3)
    with pytest.raises(ValueError, match="rayleigh must be finite, got nan"):
        Lorenz63(rayleigh=float("nan"))

"""Laws of steady diffusion: second order, a symmetric operator, exact gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Darcy
from jaxpbdl.fields import expanded
from jaxpbdl.solvers import elliptic
from jaxpbdl.solvers.elliptic import arithmetic, divergence, faces, harmonic, solve_poisson

CASES = [((33,), (2.0,)), ((17, 22), (1.0, 1.5)), ((9, 12, 11), (1.0, 0.7, 1.2))]
every_case = pytest.mark.parametrize(("shape", "lengths"), CASES)


solve = jax.jit(elliptic.solve, static_argnames=("lengths", "mean", "iterations"))


def random(seed, shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def nodes(shape, lengths):
    axes = [np.linspace(0, side, n) for side, n in zip(lengths, shape, strict=True)]
    return jnp.asarray(np.stack(np.meshgrid(*axes, indexing="ij"), -1))


def medium(point):
    return jnp.exp(jnp.sin(jnp.sum(2 * point) + 0.3 * point[0]))


def manufactured(lengths):
    """A field that vanishes on the boundary, and the source that makes it the solution."""

    def pressure(point):
        return jnp.prod(jnp.sin(jnp.pi * point / jnp.asarray(lengths))) * jnp.exp(point[0])

    def source(point):
        return Darcy(medium, lambda x: 0.0 * x[0]).residual(pressure, point)

    return pressure, source


def values(field, shape, lengths):
    for _ in shape:
        field = jax.vmap(field)
    return jax.jit(field)(nodes(shape, lengths))


@pytest.mark.x64
@pytest.mark.parametrize("mean", [arithmetic, harmonic])
@every_case
def test_second_order(shape, lengths, mean):
    pressure, source = manufactured(lengths)

    def error(factor):
        finer = tuple(factor * (n - 1) + 1 for n in shape)
        a, f, u = (values(g, finer, lengths) for g in (medium, source, pressure))
        solution = solve(a, f, lengths, mean=mean)
        assert solution.error < 1e-11
        return jnp.linalg.norm(solution.values - u) / jnp.linalg.norm(u)

    coarse, fine = error(1), error(2)
    assert fine < 5e-3
    assert 3.6 < coarse / fine < 4.5


@pytest.mark.x64
def test_the_residual_is_the_same_through_an_expansion():
    pressure, source = manufactured((1.0, 1.5))
    darcy, point = Darcy(medium, source), jnp.asarray([0.3, 0.8])
    np.testing.assert_allclose(darcy.residual(pressure, point), 0, atol=1e-12)
    wrong = lambda x: pressure(x) + x[0] ** 2  # noqa: E731
    np.testing.assert_allclose(
        expanded(darcy.residual, wrong, point), darcy.residual(wrong, point), rtol=1e-12
    )
    assert abs(darcy.residual(wrong, point)) > 1


@pytest.mark.x64
@every_case
def test_the_operator_is_symmetric_and_positive(shape, lengths):
    spacing = tuple(side / (n - 1) for side, n in zip(lengths, shape, strict=True))
    conductances = faces(jnp.exp(random(0, shape)), spacing, harmonic)
    u, v = (random(seed, tuple(n - 2 for n in shape)) for seed in (1, 2))
    left, right = jnp.vdot(v, divergence(conductances, u)), jnp.vdot(u, divergence(conductances, v))
    np.testing.assert_allclose(left, right, rtol=1e-10)
    assert jnp.vdot(u, divergence(conductances, u)) > 0
    plain = faces(jnp.ones(shape), spacing, arithmetic)
    np.testing.assert_allclose(divergence(plain, solve_poisson(u, spacing)), u, atol=1e-10)


@pytest.mark.x64
@every_case
def test_gradients_are_those_of_finite_differences(shape, lengths):
    weights = random(3, shape)

    @jax.jit
    def functional(a, f):
        return jnp.sum(weights * elliptic.solve(jnp.exp(a), f, lengths).values)

    a, f = 0.5 * random(0, shape), 1 + random(1, shape)
    slopes = jax.jit(jax.grad(functional, (0, 1)))(a, f)
    for place, slope in enumerate(slopes):
        direction = random(4 + place, shape)
        ahead, behind = [list((a, f)), list((a, f))]
        ahead[place], behind[place] = (
            (a, f)[place] + 1e-5 * direction,
            (a, f)[place] - 1e-5 * direction,
        )
        difference = (functional(*ahead) - functional(*behind)) / 2e-5
        np.testing.assert_allclose(jnp.vdot(slope, direction), difference, rtol=1e-6)


@every_case
def test_vmap_is_the_loop_in_float32(shape, lengths):
    a, f = jnp.exp(random(0, (3, *shape))), random(1, (3, *shape))
    together = jax.jit(jax.vmap(lambda a, f: solve(a, f, lengths)))(a, f)
    for i in range(3):
        one = solve(a[i], f[i], lengths)
        assert one.values.dtype == jnp.float32 and one.error < 1e-5
        np.testing.assert_allclose(together.values[i], one.values, rtol=1e-3, atol=1e-6)


def test_a_jump_of_materials_in_one_dimension():
    """Layers in series: the harmonic mean gives the flux of the exact solution."""
    a = jnp.where(jnp.arange(41) <= 20, 1.0, 10.0)  # jumps halfway between two nodes
    u = solve(a, jnp.zeros(41).at[10].set(40.0), mean=harmonic).values
    # Unit source at x = 1/4; resistances to the left 1/4, to the right of it the rest.
    right = (20.5 - 10) / 40 + (40 - 20.5) / 400
    np.testing.assert_allclose(u[10], 0.25 * right / (0.25 + right), rtol=1e-4)


def test_too_few_iterations_show_in_the_error():
    a = jnp.exp(random(0, (30, 31)))
    f = jnp.ones((30, 31))
    assert solve(a, f, iterations=2).error > 1e-3
    assert solve(a, f).error < 1e-4
    nothing = solve(a, 0 * f)
    assert nothing.error == 0 and jnp.all(nothing.values == 0)


def test_bad_input():
    ones = jnp.ones((5, 6))
    with pytest.raises(ValueError, match=r"at least 3 nodes, got shape \(5, 2\)"):
        elliptic.solve(ones[:, :2], ones[:, :2])
    with pytest.raises(ValueError, match=r"source must have shape \(5, 6\)"):
        elliptic.solve(ones, ones[1:])
    with pytest.raises(ValueError, match="coefficient must be finite and > 0"):
        elliptic.solve(ones.at[2, 2].set(0.0), ones)
    with pytest.raises(ValueError, match="lengths must be one number or 2"):
        elliptic.solve(ones, ones, (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="source must hold real"):
        elliptic.solve(ones, jnp.ones((5, 6), int))

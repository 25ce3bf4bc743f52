"""The weak form agrees with the strong one where both make sense, and measures jumps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl import equations as eq
from jaxpbdl.fields import Box, divergence, gradient, grid_points, weak_residual
from jaxpbdl.learning import weak_loss
from jaxpbdl.networks import Dense

pytestmark = pytest.mark.x64

BALANCES = {
    "advection": eq.AdvectionDiffusion(1.5),
    "transport-2d": eq.AdvectionDiffusion((1.0, -2.0), 0.3),
    "heat-3d": eq.AdvectionDiffusion(diffusivity=0.2),
    "burgers": eq.Burgers(0.1),
    "kdv": eq.KortewegDeVries(),
    "allen-cahn": eq.AllenCahn(0.1),
    "fisher-kpp-2d": eq.FisherKPP(0.1),
}
DIMS = {"transport-2d": 3, "heat-3d": 4, "fisher-kpp-2d": 3}


def smooth(point):
    return jnp.sin(jnp.sum(point * jnp.arange(1.0, point.size + 1)) + 0.3) + point[0] * point[-1]


@pytest.mark.parametrize("name", BALANCES)
def test_divergence_of_the_flux_is_residual_and_production(name):
    equation, point = BALANCES[name], jnp.linspace(0.2, 0.7, DIMS.get(name, 2))
    balance = divergence(lambda p: equation.space_time_flux(smooth, p))(point)
    expected = equation.residual(smooth, point) + equation.production(smooth, point)
    np.testing.assert_allclose(balance, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["burgers", "allen-cahn", "transport-2d"])
def test_weak_residual_is_the_average_of_the_strong_one(name):
    equation, dim = BALANCES[name], DIMS.get(name, 2)
    centre, size = jnp.linspace(0.1, 0.5, dim), tuple(np.linspace(0.6, 0.4, dim))
    found = weak_residual(equation, smooth, centre, size, tests=2, nodes=9)
    # The same average by the midpoint rule, on the residual itself.
    count = 40
    xi = (np.arange(count) + 0.5) / count * 2 - 1
    polynomials = np.polynomial.legendre.legvander(xi, 3).T
    tests = polynomials[2:] - polynomials[:2]
    tests /= np.sqrt([[1 / 5 + 1], [1 / 7 + 1 / 3]])
    unit = np.stack([a.ravel() for a in np.meshgrid(*[xi] * dim, indexing="ij")], axis=-1)
    points = centre + unit * np.asarray(size) / 2
    strong = jax.vmap(lambda p: equation.residual(smooth, p))(points).reshape((count,) * dim)
    for _ in range(dim):
        strong = jnp.moveaxis(jnp.tensordot(tests, strong, axes=(1, 0)), 0, -1) / count
    np.testing.assert_allclose(found, strong.ravel(), rtol=0.01, atol=1e-3)


def test_a_moving_jump_has_no_weak_residual_if_its_speed_is_right():
    def shock(speed):
        return lambda p: jnp.where(p[0] < speed * p[1], 1.0, 0.0) + 0 * p[0]

    def weak(speed):
        centre, size = jnp.array([0.25, 0.5]), (1.0, 1.0)
        values = weak_residual(eq.Burgers(0.0), shock(speed), centre, size, 3, nodes=60)
        return float(jnp.linalg.norm(values))

    assert weak(0.5) < 0.02 < 0.1 < weak(0.2)  # Rankine and Hugoniot: half the jump


def test_loss_and_gradient():
    network = Dense((2, 8, 1), key=jax.random.key(0))
    centres = grid_points(Box((-0.8, 0.1), (0.8, 0.9)), (5, 3))
    equation, size = eq.Burgers(0.05), (0.4, 0.2)

    def loss(network):
        return weak_loss(equation, lambda p: network(p)[0], centres, size, 2, chunk=4)

    def plain(network):
        field = lambda p: network(p)[0]  # noqa: E731
        each = jax.vmap(lambda c: weak_residual(equation, field, c, size, 2))(centres)
        return jnp.mean(jnp.sum(each**2, axis=-1))

    for ours, theirs in zip(
        jax.tree.leaves(jax.value_and_grad(loss)(network)),
        jax.tree.leaves(jax.value_and_grad(plain)(network)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_bad_input():
    point = jnp.zeros(2)
    with pytest.raises(ValueError, match="2 lengths"):
        weak_residual(eq.Burgers(), smooth, point, (0.1,))
    with pytest.raises(ValueError, match="size"):
        weak_residual(eq.Burgers(), smooth, point, (0.1, 0.0))
    with pytest.raises(ValueError, match="KuramotoSivashinsky .* no flux"):
        weak_residual(eq.KuramotoSivashinsky(), smooth, point, (0.1, 0.1))
    assert gradient(smooth)(point).shape == (2,)

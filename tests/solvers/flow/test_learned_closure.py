"""The learned eddy viscosity: what its network sees, what it keeps, that it can be trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids import Cells
from jaxpbdl.networks import Dense
from jaxpbdl.solvers.flow import (
    LearnedViscosity,
    Smagorinsky,
    incompressible,
    semi_implicit,
)
from jaxpbdl.solvers.flow.closures import strain_rate
from jaxpbdl.solvers.flow.learned_closure import invariants
from jaxpbdl.trainable import trainable

FREE = [None] * 3


def space():
    return Cells((6, 5, 4), (3.0, 2.0, 1.0), periodic=True)


def random_flow(grid, seed=0):
    random = np.random.default_rng(seed)
    return tuple(jnp.asarray(random.normal(size=grid.shape), grid.dtype) for _ in grid.shape)


def network(seed=0, **options):
    return Dense([4, 6, 1], key=jax.random.key(seed), **options)


def seen(gradient, ndim=3):
    """The numbers in an inner cell of the flow u_a = gradient[a, b] x_b."""
    gradient = jnp.asarray(gradient, float)
    grid = Cells((6,) * ndim, periodic=True)
    velocity = grid.velocity(lambda point: gradient @ (point - 0.5))
    found = invariants(strain_rate(velocity, [None] * ndim, grid), grid)
    return np.asarray(found[(slice(None), *[3] * ndim)])


@pytest.mark.x64
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_what_it_sees_of_known_flows(axes):
    """Whatever the axes are called, and however fast it is."""

    def turned(matrix):
        return 7.0 * np.asarray(matrix, float)[np.ix_(axes, axes)]

    np.testing.assert_allclose(seen(turned(np.diag([2, -1, -1]))), [0, 1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(seen(turned(np.diag([1, 1, -2]))), [0, -1, 0, 1], atol=1e-12)
    shear = np.zeros((3, 3))
    shear[0, 1] = 1.0
    np.testing.assert_allclose(seen(turned(shear)), [0.5, 0, 0, 1], atol=1e-12)
    # A vortex along the axis that is stretched, twice as strong as the strain.
    vortex = np.diag([2.0, -1, -1])
    vortex[1, 2], vortex[2, 1] = 3.0, -3.0
    np.testing.assert_allclose(seen(turned(vortex)), [18 / 24, 1, 2 / np.sqrt(6), 1], atol=1e-12)


def test_in_the_plane():
    np.testing.assert_allclose(seen([[0, 2], [-1, 0]], 2), [9 / 10, 0, 0, 1], atol=1e-6)


def test_noise_is_told_from_what_the_cells_resolve():
    grid = Cells((16, 16, 16), periodic=True)
    wave = grid.velocity(lambda p: jnp.stack([jnp.sin(2 * jnp.pi * p[1]), 0 * p[0], 0 * p[0]]))
    mean = [
        float(jnp.mean(invariants(strain_rate(u, FREE, grid), grid)[3]))
        for u in (wave, random_flow(grid))
    ]
    assert mean[0] > 0.7 and mean[1] < 0.15


@pytest.mark.x64
def test_before_training_it_is_smagorinskys():
    grid = space()
    velocity = random_flow(grid)
    learned = LearnedViscosity(network(zero_last=True), 0.2)
    expected = Smagorinsky(0.2)(velocity, FREE, grid)
    for one, other in zip(learned(velocity, FREE, grid), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.x64
def test_whatever_the_network_it_keeps_momentum_and_takes_energy():
    grid = space()
    velocity = random_flow(grid)
    learned = LearnedViscosity(lambda numbers: 50 * jnp.sin(7 * numbers[:1]), 0.2)
    rates = learned(velocity, FREE, grid)
    ratio = np.asarray(
        learned.viscosity(velocity, FREE, grid) / Smagorinsky(0.2).viscosity(velocity, FREE, grid)
    )
    assert ratio.min() < 0.1 and 3.9 < ratio.max() <= 4.0
    assert all(abs(float(jnp.sum(rate))) < 1e-10 for rate in rates)
    power = sum(float(jnp.sum(u * rate)) for u, rate in zip(velocity, rates, strict=True))
    assert power < -1.0


def test_its_network_is_what_a_fit_trains():
    grid = space()
    step = incompressible(IncompressibleFlow(0.1), grid, 1e-2, closure=LearnedViscosity(network()))
    for one in (step, semi_implicit(step)):
        offered = jax.tree.leaves(eqx.filter(one, trainable(one)))
        assert sorted(leaf.shape for leaf in offered) == [(1,), (4, 6), (6,), (6, 1)]
    plain = incompressible(IncompressibleFlow(0.1), grid, 1e-2, closure=Smagorinsky())
    assert not any(jax.tree.leaves(trainable(plain)))


@pytest.mark.x64
def test_gradients():
    """To the weights beside differences; at rest there is none, and it is no nan."""
    grid = space()
    closure, velocity = LearnedViscosity(network(), 0.5), random_flow(grid)

    @jax.jit
    def power(size):
        weights = closure.network.weights[0]
        moved = eqx.tree_at(lambda c: c.network.weights[0], closure, weights + size)
        rates = moved(velocity, FREE, grid)
        return sum(jnp.sum(u * rate) for u, rate in zip(velocity, rates, strict=True))

    found = float(jax.grad(power)(0.1))
    assert found == pytest.approx(float(power(0.1001) - power(0.0999)) / 2e-4, rel=1e-6)
    still = jax.grad(lambda u: sum(map(jnp.sum, closure(u, FREE, grid))))(grid.velocity())
    assert all(bool(jnp.all(part == 0)) for part in still)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="constant must be finite and >= 0, got -1"):
        LearnedViscosity(network(), -1.0)

"""States of any structure through windows, losses, hybrids and evaluation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import (
    Corrected,
    Varied,
    Varying,
    Windows,
    evaluate,
    one_step,
    pushforward,
    residual_of,
    trainable,
    unrolled,
)
from jaxpbdl.networks import ConvNet


def turning(state):
    """Two arrays of different shapes that turn into each other."""
    one, (other,) = state
    return 0.8 * one + 0.1 * other[:3], (0.9 * other - 0.1 * jnp.pad(one, (0, 2)),)


def trajectories(count=4, snapshots=6):
    key = jax.random.key(0)
    start = jax.random.normal(key, (count, 3)), (jax.random.normal(key, (count, 5)),)
    return jax.vmap(lambda state: jp.rollout(turning, state, snapshots - 1))(start)


def packed(state):
    one, (other,) = state
    return jnp.concatenate([one, other], axis=-1)


def turning_packed(vector):
    return packed(turning((vector[:3], (vector[3:],))))


@pytest.mark.parametrize("loss", [one_step, unrolled, pushforward])
def test_losses_of_a_tree_are_those_of_all_its_values(loss):
    states = trajectories()
    key = jax.random.key(1)
    tree = Windows(states, steps=3, batch=5)(key)
    vector = Windows(packed(states), steps=3, batch=5)(key)
    np.testing.assert_array_equal(packed(tree), vector)
    assert loss(turning, tree) < 1e-12

    def wrong(state):
        return jax.tree.map(lambda leaf: leaf + 0.1 * leaf**2, turning(state))

    def wrong_packed(vector):
        return (lambda leaf: leaf + 0.1 * leaf**2)(turning_packed(vector))

    np.testing.assert_allclose(loss(wrong, tree), loss(wrong_packed, vector), rtol=1e-5)
    part = loss(wrong, tree, measure=lambda state: state[1])
    assert not np.isclose(part, loss(wrong, tree), rtol=1e-3)


def test_evaluation_of_a_tree():
    states, times = trajectories(), np.arange(6.0)

    def wrong(state):
        return jax.tree.map(lambda leaf: 1.1 * leaf, turning(state))

    def wrong_packed(vector):
        return 1.1 * turning_packed(vector)

    tree, vector = evaluate(wrong, states, times), evaluate(wrong_packed, packed(states), times)
    np.testing.assert_allclose(tree.relative_l2, vector.relative_l2, rtol=1e-5)
    np.testing.assert_allclose(tree.correlation, vector.correlation, rtol=1e-5)
    with pytest.raises(ValueError, match="of the structure of the reference"):
        jp.learning.compare(states, packed(states), times)


def test_windows_refuse_leaves_that_do_not_belong_together():
    with pytest.raises(ValueError, match=r"\(2, 5, 3\), \(2, 6, 3\)"):
        Windows((jnp.ones((2, 5, 3)), jnp.ones((2, 6, 3))), 1, 1)
    with pytest.raises(ValueError, match="no array"):
        Windows({}, 1, 1)


def test_a_flow_is_corrected_without_divergence():
    """The default correction of a solver keeps what the solver keeps."""
    grid = jp.grids.Cells((8, 8), 1.0, periodic=(True, False))
    step = jp.solvers.flow.incompressible(jp.equations.IncompressibleFlow(0.02), grid, 0.02)
    network = ConvNet(2, 2, 2, width=4, depth=1, key=jax.random.key(0))
    hybrid = Corrected(step, network, scale=0.5)
    after = hybrid(step.start(lambda p: jnp.stack([p[1], 0.0 * p[0]])))
    plain = step(step.start(lambda p: jnp.stack([p[1], 0.0 * p[0]])))
    assert jnp.max(jnp.abs(after.velocity[0] - plain.velocity[0])) > 1e-2
    assert jnp.max(jnp.abs(step.divergence(after.velocity))) < 1e-5
    assert after.time == plain.time
    with pytest.raises(ValueError, match="give `features`"):
        Corrected(turning, network)(jax.tree.map(lambda leaf: leaf[0, 0], trajectories()))


def test_one_dimensional_systems_need_no_features():
    """Two components in 1D are two channels, not an image of two rows."""
    grid = jp.grids.Periodic(16)
    gray_scott = jp.equations.GrayScott((0.2, 0.1))
    step = jp.solvers.spectral.semilinear(gray_scott, grid, 0.1)
    network = ConvNet(1, 2, 2, width=4, depth=1, key=jax.random.key(0))
    state = jnp.ones((2, 16))
    change = Corrected(step, network)(state) - step(state)
    np.testing.assert_allclose(change, network(step(state)), atol=1e-6)
    burgers = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), grid, 0.1)
    assert burgers.channels(jnp.ones(16)).shape == (1, 16)


def test_a_part_that_travels_in_the_state():
    grid = jp.grids.Periodic(16)
    solver = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.1), grid, 0.05)
    family = Varying(solver, lambda step: step.scheme.propagator)
    other = jp.solvers.spectral.semilinear(jp.equations.Burgers(0.3), grid, 0.05)
    start = jnp.sin(grid.axes[0])
    after = family(Varied(start, other.scheme.propagator))
    expected = eqx.tree_at(lambda s: s.scheme.propagator, solver, other.scheme.propagator)(start)
    np.testing.assert_allclose(after.state, expected, atol=1e-6)
    assert jnp.max(jnp.abs(after.state - solver(start))) > 1e-3
    assert not any(jax.tree.leaves(trainable(family)))


def test_a_step_without_an_equation_says_so():
    with pytest.raises(ValueError, match="FunctionStep solves no equation"):
        residual_of(jp.step.as_step(turning), trajectories(), np.arange(6.0))

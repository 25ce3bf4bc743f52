"""Wakes under control: what an action does, what is seen, gradients, many at once."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.environments import LENGTHS, as_gymnasium, cost, cylinder_wake
from jaxpbdl.equations import IncompressibleFlow
from jaxpbdl.grids import Cells
from jaxpbdl.shapes import Ball
from jaxpbdl.solvers.flow import force_on_body, incompressible, inflow, outflow, slip

pytestmark = pytest.mark.x64
SMALL = {"cells": (40, 20), "spin_up": 4.0, "phases": 3, "interval": 0.5}


@pytest.fixture(scope="module")
def wake():
    with jax.enable_x64(True):
        return cylinder_wake(80.0, probes=((3.6, 2.1), (6.1, 3.4)), **SMALL)


@pytest.fixture(scope="module")
def flow(wake):
    with jax.enable_x64(True):
        return wake.reset(jax.random.key(0))


@pytest.fixture(scope="module")
def act(wake):
    return eqx.filter_jit(lambda flow, action: wake.act(flow, action))


def test_the_push_turns_the_fluid_and_gives_it_no_momentum(wake):
    along, across = wake.profile
    assert np.all(across == 0)
    assert abs(float(along.sum())) < 1e-12
    y = wake.step.grid.centres[1]
    above = np.asarray(along)[:, y > 2.5].sum() * 0.25**2
    assert above == pytest.approx(2 * 2 * np.pi * 0.15**2, rel=0.15)  # of a Gaussian, but a corner
    turning = -np.sum(np.asarray(along) * (y - 2.5))
    assert turning < 0  # along the stream above the axis: clockwise
    inside = np.asarray(wake.step.body.open[0]) == 0
    assert inside.sum() == 8 and np.all(np.asarray(along)[inside] == 0)


def test_what_is_seen(wake, flow, act):
    """Means over the steps of the action, one after the other; probes in the right cells."""
    after, seen = act(flow, jnp.asarray(0.4))
    push = tuple(0.4 * part for part in wake.profile)
    state, forces, powers = flow, [], []
    for _ in range(wake.substeps):
        state = wake.step(state, push)
        forces.append(2 * force_on_body(wake.step, state, push))
        work = sum(jnp.sum(u * f) for u, f in zip(state.velocity, push, strict=True))
        powers.append(2 * work * 0.25**2)
    chex.assert_trees_all_close(after, state, rtol=1e-9, atol=1e-12)
    drag, lift = jnp.stack(forces).T
    np.testing.assert_allclose(seen.drag, drag.mean(), rtol=1e-9)
    np.testing.assert_allclose(seen.lift, lift.mean(), rtol=1e-9)
    np.testing.assert_allclose(seen.lift_squared, (lift**2).mean(), rtol=1e-9)
    np.testing.assert_allclose(seen.power, jnp.mean(jnp.stack(powers)), rtol=1e-9)
    u, v = wake.step.grid.to_cells(after.velocity)
    np.testing.assert_allclose(seen.probes, [u[14, 8], u[24, 13], v[14, 8], v[24, 13]])
    assert cost(seen) == pytest.approx(float(seen.drag + 0.2 * seen.lift_squared + abs(seen.power)))
    assert float(wake.interval) == pytest.approx(0.5)


def test_force_under_an_input_is_that_under_the_same_forcing():
    """The pressure that an acceleration makes pushes the body too."""
    grid, sides = Cells((20, 10), LENGTHS), ((inflow((1.0, 0.0)), outflow()), slip())

    def push(x):
        near = jnp.exp(-jnp.sum((x - jnp.array([3.2, 3.2])) ** 2))
        return jnp.stack([near, 0.5 * near])

    body = Ball((2.5, 2.5), 0.8)
    plain, forced = (
        incompressible(IncompressibleFlow(0.02, forcing=forcing), grid, 0.05, sides, body=body)
        for forcing in (None, push)
    )
    state = plain.start((1.0, 0.0))
    found = force_on_body(plain, state, grid.velocity(push))
    np.testing.assert_allclose(found, force_on_body(forced, state), rtol=1e-10)
    assert np.all(np.abs(found - force_on_body(plain, state)) > 1e-3)


def test_actions_beyond_their_limits_are_cut_off(flow, act):
    chex.assert_trees_all_equal(act(flow, jnp.asarray(1.0)), act(flow, jnp.asarray(7.0)))
    lifts = [float(act(flow, jnp.asarray(a))[1].lift) for a in (-1.0, 0.0, 1.0)]
    assert lifts[0] < lifts[1] < lifts[2]


def test_gradient_through_an_episode(wake, flow):
    actions = jnp.asarray([0.3, -0.2])

    @jax.jit
    def paid(actions):
        _, seen = jax.lax.scan(wake.act, flow, actions)
        return jnp.sum(cost(seen))

    slope = jax.grad(paid)(actions)
    for index in range(2):
        nudge = jnp.zeros(2).at[index].set(1e-5)
        difference = (paid(actions + nudge) - paid(actions - nudge)) / 2e-5
        np.testing.assert_allclose(slope[index], difference, rtol=1e-6)


def test_a_step_with_inputs(wake, flow, act):
    """As `rollout` takes it, for many wakes at once."""
    actions = jnp.asarray([0.5, -0.5])
    last = jax.tree.map(lambda leaf: leaf[-1], jp.rollout(wake, flow, 2, 2, inputs=actions))
    expected = act(act(flow, actions[0])[0], actions[1])[0]
    chex.assert_trees_all_close(last, expected, rtol=1e-9, atol=1e-12)
    many = jax.vmap(lambda a: wake.act(flow, a)[1].drag)(actions)
    alone = [act(flow, a)[1].drag for a in actions]
    np.testing.assert_allclose(many, alone, rtol=1e-9)


def test_starts_are_of_different_times(wake):
    times = {float(wake.reset(jax.random.key(seed)).time) for seed in range(20)}
    assert len(times) == 3 and min(times) > 4.0
    assert np.ptp(np.diff(sorted(times))) < 1e-9


def test_gymnasium(wake):
    check_env = pytest.importorskip("gymnasium.utils.env_checker").check_env
    environment = as_gymnasium(wake, actions=2)
    check_env(environment, skip_render_check=True)
    first, _ = environment.reset(seed=3)
    again, _ = environment.reset(seed=3)
    np.testing.assert_array_equal(first, again)
    observation, reward, ended, cut, measured = environment.step(np.array([0.2], np.float32))
    assert observation.shape == (4,) and not ended and not cut
    assert reward < -measured["drag"]
    assert environment.step(np.array([0.0], np.float32))[3]


def test_bad_input():
    with pytest.raises(ValueError, match=r"probes must lie in the box .* got \[11.0, 2.0\]"):
        cylinder_wake(probes=((11.0, 2.0),))
    with pytest.raises(ValueError, match="reynolds must be finite and > 0, got -1"):
        cylinder_wake(-1.0)
    with pytest.raises(ValueError, match="phases must be"):
        cylinder_wake(phases=0)

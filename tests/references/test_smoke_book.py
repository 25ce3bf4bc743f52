"""Smoke of the Physics-based Deep Learning book: a plume, and the start of a flow from where its
smoke is 20 steps later.

The book's solver pads a velocity with a row of zeros beyond its walls. That is a slip length of
half a cell, with which its figures come out to six digits; with none they differ by 0.2 % (plume)
and 2 % (first loss). It solves for the pressure directly on so small a grid, so exactly as we do,
whatever the tolerance it is given.

The slow test takes two minutes: `pytest -m slow tests/references/test_smoke_book.py`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.grids.cells import Cells
from jaxpbdl.learning import fit
from jaxpbdl.solvers.flow import maccormack, stable_fluids

SMOKE = jp.equations.Scalar(buoyancy=jnp.array([0.0, 1.0]))


def ball(centre, radius, value):
    """A value in the cells whose centre lies in a ball."""
    return lambda p: jnp.where(jnp.sum((p - jnp.asarray(centre)) ** 2) <= radius**2, value, 0.0)


def largest_velocities(slip_length):
    """Of eleven steps of the plume, and the mean of the smoke after the first."""
    grid, dt = Cells((32, 40), (80.0, 100.0)), 1.5
    flow = jp.equations.IncompressibleFlow(viscosity=0.01, scalars={"smoke": SMOKE})
    source = ball((30.0, 15.0), 10.0, 0.2 / dt)  # the book adds 0.2 a step
    step = stable_fluids(flow, grid, dt, sources={"smoke": source}, slip_length=slip_length)

    def look(state):
        return jnp.maximum(*(jnp.max(u) for u in state.velocity)), jnp.mean(state.scalars["smoke"])

    speed, smoke = jp.rollout(step, step.start(), 11, observe=look)
    return speed[1:], smoke[1]


def test_plume_of_the_book():
    printed = [0.1558497, 0.463001, 0.896646, 1.409888, 2.041127, 2.927957, 3.839480]
    printed += [4.526943, 4.867982, 5.131079, 5.483874]
    speed, smoke = largest_velocities(slip_length=1.25)
    np.testing.assert_allclose(speed, printed, rtol=5e-6)
    assert float(smoke) == pytest.approx(0.008125, rel=1e-5)
    np.testing.assert_allclose(largest_velocities(slip_length=0.0)[0], printed, rtol=2e-3)


class Start(eqx.Module):
    """What is sought: the velocity of three flows, components first."""

    velocity: tuple[jax.Array, ...]


class Misfit(eqx.Module):
    """Half the sum of squares by which the smoke of three flows misses that of a fourth, which
    starts from rest and is fed from another place, after 20 steps."""

    grid: Cells
    target: jax.Array
    slip_length: float = eqx.field(static=True)

    def __init__(self, slip_length: float = 0.5):
        self.grid = Cells((32, 40), (32.0, 40.0))
        self.slip_length = slip_length
        self.target = eqx.filter_jit(self.smoke)(jnp.array([16.0, 5.0]), self.grid.velocity())

    def smoke(self, centre, velocity):
        flow = jp.equations.IncompressibleFlow(scalars={"smoke": SMOKE})
        step = stable_fluids(
            flow,
            self.grid,
            1.0,
            scalar_transport=maccormack,
            sources={"smoke": ball(centre, 3.0, 1 / 3)},
            slip_length=self.slip_length,
        )
        start = step.start()._replace(velocity=velocity)
        return jp.rollout(
            step, start, 20, 20, observe=lambda state: state.scalars["smoke"], checkpoint=False
        )[-1]

    def __call__(self, start, batch=None):
        centres = jnp.array([[12.0, 4.0], [13.0, 6.0], [14.0, 5.0]])
        reached = jax.vmap(self.smoke)(centres, start.velocity)
        return jnp.sum((reached - self.target) ** 2) / 2

    def rest(self):
        return Start(jax.tree.map(lambda u: jnp.zeros((3, *u.shape)), self.grid.velocity()))


def descended(loss, optimiser, updates):
    """The loss before each update."""
    _, history = fit(
        loss.rest(),
        loss,
        lambda key: jnp.zeros(()),
        optimiser,
        updates,
        key=jax.random.key(0),
        progress=False,
    )
    return history.loss


def test_first_losses_of_the_book():
    losses = descended(Misfit(), optax.sgd(1e-3), 3)
    np.testing.assert_allclose(losses, [298.286163, 291.454376, 276.057831], rtol=2e-4)
    np.testing.assert_allclose(losses[:2], [298.286163, 291.454376], rtol=1e-5)


def test_descent_of_the_book_and_a_better_one():
    """The clamps make the loss jagged: within ten updates rounding decides, here as in the book's
    own solver, which run again has 247.4 where 233.7 is printed. The book ends at 169.94; in four
    runs gradient descent stood at 162.4 to 165.9 after as many updates, Adam in one at 25.2 after
    300.
    """
    assert descended(Misfit(), optax.sgd(1e-3), 81).min() < 169.94
    rate = optax.cosine_decay_schedule(0.3, 300)
    assert descended(Misfit(), optax.adam(rate), 300)[-1] < 35

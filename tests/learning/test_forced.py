"""A learned force: every stage sees it, it is held over the substeps, a flow keeps its volume."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import Forced, Windows, fit, unrolled
from jaxpbdl.networks import Constant, PatchNet
from jaxpbdl.solvers.time import adams_bashforth

GRID = jp.grids.Cells((8, 8), periodic=True)
FLOW = jp.equations.IncompressibleFlow(0.02)


def solver(dt=0.05, **options):
    return jp.solvers.flow.incompressible(FLOW, GRID, dt, (None, None), **options)


def start(step):
    return step.start(lambda x: jnp.stack([jnp.sin(2 * jnp.pi * x[1]), 0.0 * x[0]]))


class Network(Constant):
    """The same output whatever it sees."""

    def __call__(self, features):
        return super().__call__()


def test_a_known_force_is_that_of_the_equation():
    """A network that gives a field of force in the cells, against the same field in the equation:
    all stages see it, or third order would be lost."""
    points = GRID.points
    field = jnp.stack([0.0 * points[..., 0], jnp.cos(2 * jnp.pi * points[..., 0])])
    step = solver()
    forced = Forced(step, Network(field), scale=0.5, force=GRID.to_faces, substeps=3)
    assert forced.interval == pytest.approx(0.15)
    faces = GRID.to_faces(0.5 * field)
    expected = start(step)
    for _ in range(6):
        expected = step(expected, faces)
    found = jax.jit(forced)(jax.jit(forced)(start(step)))
    for mine, other in zip(found.velocity, expected.velocity, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5)
    plain = jp.repeat(step, 6)(start(step))
    assert jnp.abs(plain.velocity[1] - expected.velocity[1]).max() > 0.05
    assert jnp.abs(step.divergence(found.velocity)).max() < 1e-5


def test_the_force_is_held_and_made_of_the_first_state():
    decay = jp.step.FunctionStep(lambda u, push: 0.5 * u + push)
    forced = Forced(decay, lambda u: 10 * u, scale=0.1, features=lambda u: u + 1, substeps=2)
    # f = 0.1 * 10 * (2 + 1) = 3; 2 -> 1 + 3 -> 2 + 3
    assert forced(jnp.asarray(2.0)) == pytest.approx(5.0)


def test_it_learns_a_force_through_the_solver():
    """One mode of a force that the solver does not have."""
    step = solver()
    push = GRID.to_faces(jnp.stack([0.0 * GRID.points[..., 0], jnp.ones(GRID.shape)]))
    truth = jp.rollout(jp.step.FunctionStep(lambda u: step(u, push)), start(step), 8)
    windows = Windows(jax.tree.map(lambda leaf: leaf[None], truth), steps=2, batch=2)
    network = PatchNet(2, 2, 2, width=4, depth=2, zero_last=True, key=jax.random.key(0))
    forced = Forced(step, network, force=GRID.to_faces)
    fitted, history = fit(
        forced,
        lambda model, batch: unrolled(model, batch, measure=lambda flow: flow.velocity),
        windows,
        optax.adam(0.03),
        40,
        key=jax.random.key(1),
        progress=False,
    )
    assert history.loss[-1] < 0.05 * history.loss[0]
    assert fitted.solver == forced.solver


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="substeps"):
        Forced(solver(), Network(jnp.ones(2)), substeps=0)
    many = Forced(solver(0.02, scheme=adams_bashforth), Network(jnp.ones(2)))
    with pytest.raises(ValueError, match="remembers rates"):
        many(start(solver()))
    with pytest.raises(ValueError, match="the learned force"):
        Forced(solver(), Network(jnp.ones(2)))(start(solver()), jnp.ones(2))

"""Windows of trajectories that were driven: losses and evaluation hand each step its own input."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import Driven, Windows, evaluate, fit, one_step, pushforward, unrolled
from jaxpbdl.learning.ensemble import stack
from jaxpbdl.networks import Dense
from jaxpbdl.uncertainty import Together, crps_unrolled
from jaxpbdl.uncertainty.noise import noisy_crps

GRID = jp.grids.Periodic(16)
STEPS = 12


def solver(viscosity=0.1):
    return jp.solvers.spectral.semilinear(jp.equations.Burgers(viscosity), GRID, 0.05)


@pytest.fixture(scope="module")
def driven():
    """Trajectories and the forces that made them, another one at each step."""
    x = GRID.axes[0]
    sizes = jax.random.normal(jax.random.key(0), (5, STEPS, 1))
    forces = sizes * jnp.cos(x) + jnp.arange(5.0)[:, None, None] * jnp.sin(x)
    starts = jnp.sin(x + jnp.arange(5.0)[:, None])
    step = solver()
    run = jax.jit(jax.vmap(lambda u, f: jp.rollout(step, u, STEPS, inputs=f)))
    return run(starts, forces), forces


@pytest.fixture(scope="module")
def batch(driven):
    truth, forces = driven
    return Windows(truth, steps=4, batch=6, inputs=forces)(jax.random.key(1))


def test_states_and_inputs_of_a_window_belong_together(driven, batch):
    assert batch.states.shape == (6, 5, 16) and batch.inputs.shape == (6, 4, 16)
    step = solver()
    for states, inputs in zip(*batch, strict=True):
        for before, given, after in zip(states[:-1], inputs, states[1:], strict=True):
            np.testing.assert_allclose(step(before, given), after, atol=1e-5)


@pytest.mark.parametrize("loss", [one_step, unrolled, pushforward])
def test_the_true_model_has_no_loss_and_needs_its_inputs(batch, loss):
    judge = jax.jit(lambda states, inputs: loss(solver(), Driven(states, inputs)))
    assert judge(*batch) < 1e-9
    assert judge(batch.states, batch.inputs[:, ::-1]) > 5e-5  # the last state of all feels little
    assert judge(batch.states, batch.inputs[::-1]) > 1e-3


def test_an_unrolled_loss_against_a_loop(batch):
    step = solver(0.3)
    errors = []
    for states, inputs in zip(*batch, strict=True):
        state = states[0]
        for given, truth in zip(inputs, states[1:], strict=True):
            state = step(state, given)
            errors.append(jnp.mean((state - truth) ** 2))
    for options in ({}, {"checkpoint": True}, {"stop_gradient": True}):
        np.testing.assert_allclose(unrolled(step, batch, **options), np.mean(errors), rtol=1e-5)
    members = Together(stack([step, solver(0.2)]))
    assert crps_unrolled(Together(stack([solver(), solver()])), batch) < 1e-4
    assert crps_unrolled(members, batch) > 1e-3


class Controlled(jp.Step):
    """A pendulum whose unknown response to a control is a network."""

    network: Dense

    def advance(self, working, control):
        angle, speed = working
        speed = speed - 0.1 * jnp.sin(angle) + self.network(control[None])[0]
        return jnp.stack([angle + 0.1 * speed, speed])


def test_a_model_learns_what_its_inputs_do():
    controls = jax.random.uniform(jax.random.key(2), (8, 20), minval=-1, maxval=1)

    def ahead(state, control):
        speed = state[1] - 0.1 * jnp.sin(state[0]) + 0.2 * jnp.tanh(2 * control)
        return jnp.stack([state[0] + 0.1 * speed, speed])

    truth = jax.vmap(lambda c: jp.rollout(ahead, jnp.zeros(2), 20, inputs=c))(controls)
    batches = Windows(truth, steps=5, batch=8, inputs=controls)
    model = Controlled(Dense((1, 16, 1), key=jax.random.key(3)))
    trained, _ = fit(
        model, unrolled, batches, optax.adam(1e-2), 400, key=jax.random.key(4), progress=False
    )
    times = 0.1 * np.arange(21)
    before, after = (evaluate(m, truth, times, inputs=controls) for m in (model, trained))
    assert after.error_at(2.0) < 0.05 < 0.5 * before.error_at(2.0)
    response = jax.vmap(lambda c: trained.network(c[None])[0])(jnp.linspace(-1, 1, 9))
    np.testing.assert_allclose(response, 0.2 * np.tanh(2 * np.linspace(-1, 1, 9)), atol=0.02)


def test_inputs_that_do_not_fit_are_refused(driven, batch):
    truth, forces = driven
    with pytest.raises(ValueError, match=r"inputs must have leaves \(5, 12, '\.\.'\)"):
        Windows(truth, steps=4, batch=2, inputs=forces[:, 1:])
    with pytest.raises(ValueError, match="stride 1; .* with stride 2"):
        Windows(truth, steps=4, batch=2, stride=2, inputs=forces)
    with pytest.raises(ValueError, match="no inputs"):
        noisy_crps(solver(), batch, jax.random.key(0))

"""Steps that hold a network, their losses and their measure."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxpbdl as jp
from jaxpbdl.learning import (
    Corrected,
    Emulator,
    Windows,
    dynamic_modes,
    one_step,
    pushforward,
    trainable,
    unrolled,
)
from jaxpbdl.networks import Constant, ConvNet

GRID = jp.grids.Periodic((8, 8))
FLOW = jp.equations.NavierStokes2D(0.05, drag=0.1, forcing=jp.equations.kolmogorov(2))
SOLVER = jp.solvers.spectral.semilinear(FLOW, GRID, 0.05)


def state(seed=0):
    return jp.initial_states.random_vorticity(jax.random.key(seed), GRID, 2.0)


def network(seed=0, **options):
    return ConvNet(2, 1, 1, width=4, depth=3, key=jax.random.key(seed), **options)


def truth(count=3, snapshots=6):
    """Trajectories of another viscosity: something for a corrector to learn."""
    other = jp.solvers.spectral.semilinear(
        eqx.tree_at(lambda f: f.viscosity, FLOW, 0.2), GRID, 0.05
    )
    return jnp.stack([jp.rollout(other, state(seed), snapshots - 1) for seed in range(count)])


def test_a_network_of_zero_output_leaves_the_solver_as_it_is():
    hybrid = Corrected(SOLVER, network(zero_last=True), substeps=3)
    expected = jp.rollout(SOLVER, state(), 6, 3)
    np.testing.assert_allclose(jp.rollout(hybrid, state(), 2), expected, atol=1e-5)


def test_the_correction_is_added_after_the_substeps():
    net = network()
    hybrid = Corrected(SOLVER, net, scale=0.3, substeps=2)
    solved = jp.rollout(SOLVER, state(), 2, 2)[-1]
    np.testing.assert_allclose(hybrid(state()), solved + 0.3 * net(solved[None])[0], atol=1e-5)
    expected = state() + 0.3 * net(state()[None])[0]
    emulator = Emulator(net, features=SOLVER.channels, scale=0.3)
    np.testing.assert_allclose(emulator(state()), expected, atol=1e-6)


def test_only_the_network_is_trained():
    hybrid = Corrected(SOLVER, network(), scale=0.1)
    changed = trainable(hybrid)
    assert all(jax.tree.leaves(changed.network))
    assert not any(jax.tree.leaves((changed.solver, changed.scale)))
    windows = Windows(truth(), steps=2, batch=4)
    fitted, history = jp.learning.fit(
        hybrid, unrolled, windows, optax.adam(1e-2), 30, key=jax.random.key(0), progress=False
    )
    assert eqx.tree_equal(fitted.solver, hybrid.solver)
    assert np.mean(history.loss[-5:]) < 0.5 * np.mean(history.loss[:5])


class Mixed(jp.Step):
    """A hybrid that a user writes, which declares nothing."""

    solvers: tuple
    network: ConvNet

    def advance(self, working):
        ahead = self.solvers[0](working)
        return 0.5 * (ahead + self.solvers[1](working)) + 0.1 * self.network(ahead[None])[0]


class Outer(eqx.Module):
    """Not even a step, with the tables of a spectral solver in the open."""

    spectrum: jp.grids.Spectrum
    fixed: Constant
    inner: Mixed

    def __call__(self, state):
        kept = self.spectrum.to_grid(self.spectrum.to_modes(state))
        return self.inner(kept) + 0 * self.fixed()


def test_the_solver_of_a_hybrid_of_ones_own_is_left_alone():
    """Masks, tables and parameters of its solvers stay bit for bit; the network learns."""
    other = jp.solvers.spectral.semilinear(FLOW, GRID, 0.05, jp.solvers.time.etdrk2)
    model = Outer(
        jp.grids.Spectrum(GRID, 2 / 3), Constant(jnp.ones(())), Mixed((SOLVER, other), network())
    )
    windows = Windows(truth(), steps=2, batch=4)
    fitted, history = jp.learning.fit(
        model, unrolled, windows, optax.adam(1e-2), 20, key=jax.random.key(0), progress=False
    )
    assert eqx.tree_equal(
        eqx.tree_at(lambda m: m.inner.network, fitted, None),
        eqx.tree_at(lambda m: m.inner.network, model, None),
    )
    assert history.loss[-1] < 0.8 * history.loss[0]
    with pytest.raises(ValueError, match="no float array to fit; its parts SpectralStep are not"):
        jp.learning.fit(SOLVER, unrolled, windows, optax.adam(1e-2), 1, key=jax.random.key(0))


STEPS = {
    "spectral": lambda: SOLVER,
    "incompressible": lambda: jp.solvers.flow.incompressible(
        jp.equations.IncompressibleFlow(0.1), jp.grids.Cells((8, 8)), 0.01
    ),
    "stable_fluids": lambda: jp.solvers.flow.stable_fluids(
        jp.equations.IncompressibleFlow(0.1), jp.grids.Cells((8, 8)), 0.01
    ),
    "semi_lagrangian": lambda: jp.solvers.spectral.semi_lagrangian(
        jp.equations.Burgers(0.1), jp.grids.Periodic(8), 0.01
    ),
    "dynamic_modes": lambda: dynamic_modes(jnp.stack([state(0), state(1), state(2)]), rank=1),
    "verlet": lambda: jp.solvers.molecular.verlet(lambda x: jnp.sum(x**2), jnp.ones(3), 0.1),
}


@pytest.mark.parametrize("name", STEPS)
def test_no_solver_offers_anything_to_train(name):
    assert not any(jax.tree.leaves(trainable(STEPS[name]())))


def test_what_is_no_network_can_be_declared():
    class Scaled(eqx.Module):
        trainable_fields = ("factor", "absent")

        factor: jax.Array
        absent: jax.Array | None
        other: jax.Array

    marks = trainable(Scaled(jnp.ones(2), None, jnp.ones(3)))
    assert marks.factor is True and marks.other is False and marks.absent is None


def test_gradients_to_the_physics_are_as_before():
    """What is not trained by `fit` is still differentiated."""

    def energy(viscosity):
        flow = eqx.tree_at(lambda f: f.viscosity, FLOW, viscosity)
        hybrid = Corrected(jp.solvers.spectral.semilinear(flow, GRID, 0.05), network())
        return jnp.sum(hybrid(state()) ** 2)

    assert jnp.abs(jax.grad(energy)(jnp.asarray(0.05))) > 1.0


WRONG_TRAJECTORIES = {
    (5,): r"got \(5,\)",
    (4, 5): r"got \(4, 5\)",
    (0, 5, 8): "with at least one trajectory",
    (2, 5, 8): "a window of 5 steps of 1 snapshots needs 6 of them, the trajectories have 5",
}


@pytest.mark.parametrize("shape", WRONG_TRAJECTORIES, ids=str)
def test_fault_16_trajectories_without_windows_are_refused(shape):
    with pytest.raises(ValueError, match=WRONG_TRAJECTORIES[shape]):
        Windows(np.ones(shape), 5, 2)


def test_what_is_no_array_of_trajectories_is_named():
    read = jp.data.Trajectories(np.ones((1, 4, 1, 8)), np.arange(4.0), (np.arange(8.0),), ("u",))
    with pytest.raises(TypeError, match=r"got Trajectories; give its values\[:\]"):
        Windows(read, 1, 2)
    with pytest.raises(ValueError, match="at least one sample"):
        jp.learning.Samples(np.ones((0, 2)), np.ones((0, 2)), batch=1)


def test_windows_are_cuts_of_the_trajectories():
    trajectories = jnp.arange(2 * 20).reshape(2, 20, 1).astype(float)
    cuts = Windows(trajectories, steps=3, batch=50, stride=2)(jax.random.key(0))[..., 0]
    assert cuts.shape == (50, 4)
    np.testing.assert_array_equal(np.diff(cuts, axis=1), 2)  # never across two trajectories
    assert {float(c) for c in cuts[:, 0]} <= {float(i) for i in range(14)} | {
        20.0 + i for i in range(14)
    }


def test_one_unrolled_step_is_one_step():
    hybrid = Corrected(SOLVER, network(), scale=0.1)
    windows = Windows(truth(), steps=1, batch=3)(jax.random.key(0))
    values = [float(loss(hybrid, windows)) for loss in (one_step, unrolled, pushforward)]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_unrolled_loss_and_gradient_against_a_loop():
    hybrid = Corrected(SOLVER, network(), scale=0.1)
    windows = Windows(truth(), steps=3, batch=2)(jax.random.key(0))

    def loop(model):
        errors = []
        for window in windows:
            current = window[0]
            for target in window[1:]:
                current = model(current)
                errors.append(jnp.mean((current - target) ** 2))
        return jnp.mean(jnp.stack(errors))

    def gradient(loss):
        value, grads = eqx.filter_value_and_grad(loss)(hybrid)
        return value, grads.network.layers[0].weight

    expected = gradient(loop)
    for options in ({}, {"checkpoint": True}):
        value, grads = gradient(lambda m, o=options: unrolled(m, windows, **o))
        np.testing.assert_allclose(value, expected[0], rtol=1e-5)
        np.testing.assert_allclose(grads, expected[1], rtol=2e-4, atol=1e-7)
    value, grads = gradient(lambda m: unrolled(m, windows, stop_gradient=True))
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    assert not np.allclose(grads, expected[1], rtol=1e-3)


def test_pushforward_looks_at_the_last_step_alone():
    windows = Windows(truth(), steps=3, batch=2)(jax.random.key(0))
    reached = jnp.stack([jp.rollout(SOLVER, window[0], 3)[-1] for window in windows])
    expected = jnp.mean((reached - windows[:, -1]) ** 2)
    np.testing.assert_allclose(pushforward(SOLVER, windows), expected, rtol=1e-5)


def test_evaluation_of_a_perfect_and_a_worse_step():
    times = 0.05 * np.arange(11)
    reference = jnp.stack([jp.rollout(SOLVER, state(seed), 10) for seed in range(2)])
    perfect = jp.learning.evaluate(SOLVER, reference, times)
    assert perfect.time_above(0.95) == times[-1]
    assert perfect.error_at(0.5) < 1e-5
    worse = jp.learning.evaluate(lambda w: w, reference, times)
    np.testing.assert_allclose(worse.prediction[:, -1], reference[:, 0])
    assert worse.error_at(0.5) > worse.error_at(0.1) > 0
    broken = jp.learning.evaluate(lambda w: w * jnp.nan, reference, times)
    assert broken.time_above(0.95) < 0.05 and broken.error_at(0.5) == np.inf


def test_evaluation_on_another_grid():
    fine = jp.grids.Periodic((16, 16))
    step = jp.solvers.spectral.semilinear(FLOW, fine, 0.025)
    initial = jnp.stack([jp.initial_states.random_vorticity(jax.random.key(5), fine, 2.0)])
    observe = partial(jp.grids.resample, source=fine, target=GRID)
    trajectory = jp.rollout(step, initial[0], 8, 2, observe=observe)
    result = jp.learning.evaluate(
        step, trajectory[None], 0.05 * np.arange(5), 2, initial=initial, observe=observe
    )
    assert result.error_at(0.2) < 1e-5


def test_bad_input():
    with pytest.raises(ValueError, match="needs 7 of them, the trajectories have 6"):
        Windows(truth(), steps=3, batch=1, stride=2)
    with pytest.raises(ValueError, match="substeps must be an integer >= 1, got 0"):
        Corrected(SOLVER, network(), substeps=0)
    with pytest.raises(ValueError, match="step must be a callable"):
        Corrected(3.0, network())

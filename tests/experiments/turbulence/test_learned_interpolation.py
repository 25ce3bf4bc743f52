"""The experiment at a tiny size, and what holds for any stencils a network may give."""

import json
from dataclasses import replace
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxpbdl as jp
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.turbulence import learned_interpolation
from jaxpbdl.experiments.turbulence.learned_interpolation import EXPERIMENT, Config, interpolated

TINY = Config(
    viscosity=0.02, coarse=12, fine=18, reference=24, marks=(1.5,), mark_steps=(5, 8), warm_up=1.0,
    train_trajectories=2, train_time=2.0, test_trajectories=2, test_time=2.0, width=4, depth=2,
    unroll=2, pretraining=2, training=replace(Config.training, batch=2, updates=4),
)  # fmt: skip


def test_the_whole_run(tmp_path):
    contract.execute(EXPERIMENT, "quick", TINY, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    for name in ("coarse", "interpolated", "corrected", "corrected_spectral", "coarse_spectral"):
        assert 0 < metrics[f"{name}.time_095"] <= 2.0
    for name in ("interpolated", "corrected", "corrected_spectral"):  # over its own members alone
        members = [metrics[f"{name}_{number}.error_t1"] for number in range(TINY.members)]
        assert metrics[f"{name}.error_t1"] == pytest.approx(np.mean(members))
    assert 1 <= metrics["effective_refinement"] <= 2
    assert (tmp_path / "stencils.png").stat().st_size > 1000


@pytest.mark.x64
@pytest.mark.stand_ins
def test_what_the_network_sees():
    """The vorticity at the corners of the cells, from velocities on their faces."""
    u, v = np.random.default_rng(0).normal(size=(2, 8, 8))
    flow = SimpleNamespace(velocity=(jnp.asarray(u), jnp.asarray(v)))
    found = learned_interpolation.Faces(jnp.asarray(3.0))(flow)
    side = 2 * np.pi / 8
    for i, j in ((0, 0), (2, 5), (7, 0)):
        circulation = side * (v[i, j] - v[i - 1, j] - u[i, j] + u[i, j - 1])
        assert float(found[0, i, j]) == pytest.approx(circulation / side**2 / 3)
    np.testing.assert_array_equal(found[1:], [u, v])


@pytest.mark.x64
def test_any_network_conserves_and_an_untrained_one_is_the_solver():
    hybrid = interpolated(TINY, jnp.asarray(2.0), jax.random.key(0))
    start = jp.initial_states.random_vorticity(jax.random.key(1), hybrid.solver.grid, 3.0)
    solver, steps = TINY.volumes(TINY.coarse)
    plain = jp.rollout(solver, start, steps, steps)[-1]
    np.testing.assert_allclose(hybrid(start), plain, atol=1e-12)

    def shaken(leaf):
        shape = leaf.shape
        noise = jnp.sin(jnp.arange(leaf.size, dtype=float)).reshape(shape)
        return leaf + 0.2 * noise

    network = jax.tree.map(
        lambda leaf: shaken(leaf) if eqx.is_inexact_array(leaf) else leaf, hybrid.network
    )
    wild = eqx.tree_at(lambda model: model.network, hybrid, network)
    working = wild.advance(wild.enter(start))
    assert float(jnp.max(jnp.abs(wild.leave(working) - plain))) > 1e-3
    assert float(jnp.max(jnp.abs(wild.solver.flow.divergence(working.velocity)))) < 1e-12
    for u in working.velocity:  # no mean flow arises: the force has none
        assert abs(float(jnp.mean(u))) < 1e-13

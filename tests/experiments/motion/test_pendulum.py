"""Pendulums: the chain beside Lagrange's equations, known gravity found again, a small run."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import savemat

from jaxpbdl.checks import DataError
from jaxpbdl.data.pendulums import read_swings
from jaxpbdl.experiments import contract
from jaxpbdl.experiments.motion import pendulum
from jaxpbdl.experiments.motion.chain import Chain, chain
from jaxpbdl.experiments.motion.pendulum import (
    EXPERIMENT,
    Config,
    Pendulum,
    conserved_drift,
    fit_gravity,
    judged,
    windows,
)
from jaxpbdl.experiments.training import Training
from jaxpbdl.learning import HamiltonianNetwork, lagrangian_acceleration
from jaxpbdl.rollouts import rollout
from jaxpbdl.solvers.time import explicit

pytestmark = pytest.mark.x64


def double(gravity=9.7):
    return Chain(
        jnp.asarray(gravity),
        jnp.log(jnp.array([0.35, 0.19])),
        jnp.log(jnp.array([2.1])),
        jnp.array([0.02, 0.005]),
        (0.17,),
    )


def test_the_chain_moves_by_lagrange_s_equations():
    """Point masses on rods: velocities and heights in the plane, and the friction of each joint."""
    lengths, masses, k = np.array([0.17, 0.2, 0.1]), np.array([0.3, 0.5, 0.2]), [0.02, 0.01, 0.03]

    def lagrangian(q, v):
        across = jnp.cumsum(lengths * jnp.cos(q) * v)
        up = -jnp.cumsum(lengths * jnp.sin(q) * v)
        kinetic = jnp.sum(masses * (across**2 + up**2)) / 2
        return kinetic - 9.7 * jnp.sum(masses * jnp.cumsum(lengths * jnp.cos(q)))

    behind = np.cumsum(masses[::-1])[::-1]
    last = masses[2] * lengths[2]
    model = Chain(
        jnp.asarray(9.7),
        jnp.log(behind * lengths**2 / last),
        jnp.log(behind * lengths / last)[:2],
        jnp.array(k) / last,
        (0.17, 0.2),
    )
    q, v = jnp.array([2.6, 3.5, 1.0]), jnp.array([7.0, -2.0, 3.0])
    joints = np.array(k) * np.array([7.0, -9.0, 5.0])
    force = jnp.asarray([joints[1] - joints[0], joints[2] - joints[1], -joints[2]])
    expected = jax.jit(lambda *a: lagrangian_acceleration(lagrangian, *a))(q, v, force)
    found = eqx.filter_jit(model)(jnp.concatenate([q, v]))
    np.testing.assert_allclose(found[:3], v)
    np.testing.assert_allclose(found[3:], expected, rtol=1e-9)
    energy = 2 * lagrangian(q, v) - 2 * lagrangian(q, 0 * v)
    height = lagrangian(jnp.full(3, np.pi), 0 * v) - lagrangian(q, 0 * v)
    total = float(energy / 2 + height) / last
    assert float(model.energy(jnp.concatenate([q, v]))) == pytest.approx(total, rel=1e-9)


def swung(model, starts, steps, dt=0.01):
    step = explicit(model, dt)
    return np.asarray(jax.jit(jax.vmap(lambda one: rollout(step, one, steps)))(jnp.asarray(starts)))


def test_known_gravity_is_found():
    """Of a double pendulum whose arms are known only by the length of the first; noise of a
    milliradian puts it within a few standard errors."""
    starts = np.array([[2.2, 3.9, 1.0, -2.0], [3.6, 2.6, -2.0, 3.0]])
    runs = swung(double(), starts, 120)
    noise = 1e-3 * np.random.default_rng(0).normal(size=runs.shape)
    fitted = fit_gravity(
        Pendulum((0.17, 0.2), 9.81, (0.02, 0.005), 0.5, 1.0),
        tuple(runs + noise),
        Config(groups=3, windows=2),
        0.01,
    )
    values = np.asarray(fitted.models.gravity)
    assert fitted.gravity == pytest.approx(values.mean())
    assert fitted.error == pytest.approx(values.std(ddof=1) / np.sqrt(3))
    assert fitted.half_width == pytest.approx(4.302653 * fitted.error, rel=1e-6)
    assert abs(fitted.gravity - 9.7) < max(4 * fitted.error, 0.02) and fitted.error < 0.1
    assert fitted.left == pytest.approx(1e-3, rel=0.3)
    np.testing.assert_allclose(jnp.exp(fitted.model.log_inertias), [0.35, 0.19], rtol=0.03)
    assert fitted.model.gravity == pytest.approx(fitted.gravity)


def test_windows_are_spread():
    runs = tuple(100.0 * n + np.arange(50.0)[:, None] for n in range(2))
    found = windows(runs, 10, 6)[:, :, 0]
    assert found.shape == (6, 11) and np.all(np.diff(found, axis=1) == 1)
    assert list(found[:, 0] // 100) == [0, 0, 0, 1, 1, 1]
    assert list(np.diff(found[:3, 0])) == [13, 13]
    many = windows(tuple(100.0 * n + np.arange(50.0)[:, None] for n in range(8)), 10, 4)[:, 0, 0]
    assert list(many // 100) == [1, 3, 5, 7] and len(set(many % 100)) == 4


def test_what_is_judged():
    """Off by a fifth of the swing in all angles; energies 2 and 3 where the truth has 4."""
    truth = np.zeros((2, 3, 4))
    truth[:, :, :2] = np.pi + 0.5
    truth[:, -1, 3] = 4.0
    found = truth.copy()
    found[:, :, :2] += 0.1
    found[:, -1, 3] = [2.0, 3.0]
    metrics = judged(found, truth, lambda state: state[3])
    assert metrics["forecast_error"] == pytest.approx(0.2)
    assert metrics["energy_drift"] == pytest.approx(np.sqrt(2.5) / 4)


def test_the_energy_of_a_network_is_kept():
    """The scheme is of fourth order: half the dt, a sixteenth of the drift."""
    network = HamiltonianNetwork(1, 4, speed=8.0, key=jax.random.key(0))
    bias = network.potential.weights[-1] + 1.0
    network = jax.tree.map(lambda leaf: bias if leaf is network.potential.weights[-1] else leaf,
                           network)  # fmt: skip
    start = jnp.array([2.0, 1.0])
    drifts = [conserved_drift(network, start, dt) for dt in (0.02, 0.01)]
    assert 10 < drifts[0] / drifts[1] < 24 and drifts[0] < 1e-2


def test_the_reader_refuses(tmp_path):
    path = tmp_path / "swings.mat"
    cells = np.empty((2, 1), object)
    cells[0, 0], cells[1, 0] = np.ones((4, 9)), np.ones((2, 9))
    savemat(path, {"Y_id": cells, "Y_vad": cells, "dt": 0.001})
    with pytest.raises(DataError, match=r"angles and as many velocities expected, got \(9, 4\)"):
        read_swings(path)
    cells[1, 0] = np.full((4, 9), np.nan)
    savemat(path, {"Y_id": cells, "Y_vad": cells, "dt": 0.001})
    with pytest.raises(DataError, match="a run is not finite"):
        read_swings(path)
    cells[1, 0] = 2 * np.ones((4, 7))
    savemat(path, {"Y_id": cells, "Y_vad": cells[:1], "dt": 0.001})
    found = read_swings(path)
    assert [run.shape for run in found.fitted] == [(9, 4), (7, 4)] and len(found.held_out) == 1
    assert found.interval == 0.001


def test_settings():
    with pytest.raises(ValueError, match="networks must be of single, double, triple, got 'four'"):
        Config(networks=("four",))
    with pytest.raises(ValueError, match="lengths must be finite and > 0"):
        chain((0.0, 1.0))


def test_a_small_run(tmp_path, monkeypatch, real_data):
    """Two windows a group of the measured single pendulum, and networks of a few updates."""
    file = real_data("pendulum-experiment/SinglePendulumDataForParameterEstimation.mat")
    monkeypatch.setenv("JAXPBDL_DATA", str(file.parents[1]))
    single = {"single": pendulum.PENDULUMS["single"]._replace(window=1.0, horizon=0.2)}
    monkeypatch.setattr(pendulum, "PENDULUMS", single)
    monkeypatch.setattr(pendulum, "CONSERVED", 1.0)
    config = Config(
        groups=2, windows=2, width=4, networks=("single",), unrolled=2,
        training=Training(20, 8, 1e-3),
    )  # fmt: skip
    contract.execute(EXPERIMENT, "quick", config, tmp_path)
    metrics = json.loads((tmp_path / "result.json").read_text())["metrics"]
    assert metrics["single.gravity"] == pytest.approx(9.81, rel=0.02)
    assert 0 < metrics["single.gravity_error"] < 0.2
    assert metrics["single.friction_1"] == pytest.approx(0.0086, rel=0.2)
    assert 0 < metrics["single.friction_1_error"] < 0.005
    assert metrics["single_chain.forecast_error"] < 0.02
    for kind in ("structured", "plain"):
        assert metrics[f"single_{kind}.forecast_error"] > 0.02
    assert metrics["single_structured.conserved_drift"] < 0.1
    assert (tmp_path / "forecasts.png").stat().st_size > 5000

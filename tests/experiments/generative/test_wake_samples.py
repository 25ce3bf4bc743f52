"""Wakes by flow matching: modes, fields, updates from measurements, a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.generative import wake_measurements as measurements
from jaxpbdl.experiments.generative import wake_samples as ws
from jaxpbdl.experiments.generative import wake_states as states
from jaxpbdl.experiments.training import Training
from jaxpbdl.experiments.wakes.data import Wake
from jaxpbdl.experiments.wakes.flow import LENGTHS

CELLS = (32, 16)


def wake(numbers, count=9):
    """Streams that oscillate, faster at larger Reynolds numbers."""
    x, y = (np.linspace(0, length, n + 1) for length, n in zip(LENGTHS, CELLS, strict=True))
    phase = np.linspace(0, 2 * np.pi, count)[:, None, None]
    wave = np.sin(np.pi * y / LENGTHS[1]) * np.cos(x[:, None] - phase)
    streams = np.stack([y + 0.002 * number * wave for number in numbers])
    reynolds = jnp.asarray(numbers, jnp.float32)
    starts = jnp.asarray(streams[:, :1], jnp.float32)
    return Wake(jnp.asarray(streams, jnp.float32), starts, reynolds, jnp.zeros(len(numbers)))


def test_modes_hold_the_states_and_their_mirror_images():
    known = wake((60.0, 100.0))
    modes, samples = states.leading_modes(known, 2)
    found = samples(known)
    assert found.coefficients.shape == (36, 2) and found.condition.shape == (36, 1)
    np.testing.assert_allclose(found.coefficients.var(0), 1, rtol=1e-3)
    back = jax.vmap(modes.decode)(found.coefficients)
    np.testing.assert_allclose(back[:9], known.streams[0], atol=1e-3)
    np.testing.assert_allclose(back[18:27], jax.vmap(states.mirrored)(known.streams[0]), atol=1e-3)
    np.testing.assert_allclose(found.condition[9], states.condition(100.0), rtol=1e-6)


def test_velocities_and_probes():
    x, y = (np.linspace(0, length, n + 1) for length, n in zip(LENGTHS, CELLS, strict=True))
    stream = jnp.asarray(3 * y - 2 * x[:, None], jnp.float32)
    found = states.velocities(stream)
    np.testing.assert_allclose(found[0], 3, rtol=1e-4)
    np.testing.assert_allclose(found[1], 2, rtol=1e-4)
    marked = jnp.zeros((2, *CELLS)).at[:, 12, 8].set(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(measurements.at_place(marked, (4.0, 2.5)), [1, 2])
    assert measurements.Measured(None)(stream).shape == (6,)


def test_fields_between_simulations():
    fields = [states.Fields(jnp.full((2, 3, 3), m), jnp.full((2, 3, 3), m / 2)) for m in (1.0, 3.0)]
    found = states.interpolated(90.0, [80.0, 120.0], fields)
    np.testing.assert_allclose(found.mean, 1.5)
    truth = states.Fields(2 * found.mean, 2 * found.deviation)
    assert states.errors_of(found, truth)["deviation_error"] == pytest.approx(0.5)


def test_updates_from_measurements_are_those_of_a_normal_prior():
    """States N(0, 1), measured with noise of variance 1: the posterior is N(value / 2, 1 / 2)."""
    prior = jax.random.normal(jax.random.key(0), (4000, 1, 1))
    seen, values = prior[:, 0], jnp.array([1.2])
    keys = jax.random.split(jax.random.key(1), 2000)
    for method in (measurements.weighted, measurements.kalman):
        found = method(prior, seen, values, 1.0, keys)
        assert float(found.mean()) == pytest.approx(0.6, abs=0.06)
        assert float(found.std()) == pytest.approx(0.5**0.5, rel=0.08)


def test_a_misfit_knows_what_will_still_change():
    modes = states.Modes(jnp.zeros((33, 17)), jnp.zeros((2, 33, 17)))
    values, prior = jnp.full(6, 0.4), jnp.full(6, 3.0)
    cost = measurements.Misfit(measurements.Measured(None), modes, values, prior, 0.1)
    end, begin = cost(jnp.zeros(2), jnp.ones(())), cost(jnp.zeros(2), jnp.zeros(()))
    assert float(end) == pytest.approx(6 * 0.16 / 0.01 / 2, rel=1e-4)
    assert float(begin) == pytest.approx(6 * 0.16 / 3.01 / 2, rel=1e-4)


def test_a_tiny_run(tmp_path, monkeypatch):
    """On waves that no solver made, but one goes on with."""
    monkeypatch.setattr(ws, "wakes", lambda where, setting, finer, numbers, *rest: wake(numbers))
    monkeypatch.setattr(ws, "STEPS", (1, 4))
    monkeypatch.setattr(ws, "WEIGHTED", 20)
    config = ws.Config(
        train=(60.0, 120.0), validation=(80.0,), test=(100.0,), cells=CELLS, modes=2,
        members=1, width=16, layers=1, states=1, drawn=3, guided_steps=12,
        training=Training(updates=40, batch=16, learning_rate=1e-3, average=0.9),
    )  # fmt: skip
    found = execute(ws.EXPERIMENT, "quick", config, tmp_path).metrics
    assert found["one_answer.deviation_error"] == pytest.approx(1, abs=1e-3)
    assert 0 < found["interpolated.mean_error"] < 0.5
    for problem in ("probes", "later"):
        for method in ("prior", "kalman", "weighted", "guided"):
            assert np.isfinite(found[f"{problem}_{method}.rmse"])
    assert (tmp_path / "deviation.png").exists() and (tmp_path / "posterior.png").exists()

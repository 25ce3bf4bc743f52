"""Wakes by flow matching: modes, fields, updates from measurements, a tiny run."""

from types import SimpleNamespace

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


@pytest.mark.x64
def test_the_gain_of_an_ensemble():
    """Beside the gain in full, of states of six numbers and measurements of two."""
    generator = np.random.default_rng(0)
    prior, seen = generator.normal(size=(30, 3, 2)), generator.normal(size=(30, 2))
    seen += prior[:, 0]
    values, noise, keys = np.asarray([1.0, -2.0]), 0.7, jax.random.split(jax.random.key(1), 5)
    found = measurements.kalman(*(jnp.asarray(each) for each in (prior, seen, values)), noise, keys)
    off, apart = (each - each.mean(axis=0) for each in (prior.reshape(30, 6), seen))
    gain = off.T @ apart / 30 @ np.linalg.inv(apart.T @ apart / 30 + noise**2 * np.eye(2))
    noises = noise * np.asarray(jax.random.normal(keys[0], (5, 2)))
    moved = prior[:5].reshape(5, 6) + (values + noises - seen[:5]) @ gain.T
    np.testing.assert_allclose(found.reshape(5, 6), moved, rtol=1e-9)


def test_the_likely_states_are_drawn():
    """Of three states, the third nine times as often as the first, the second never."""
    seen = jnp.asarray([[1.0, 1.0], [30.0, 0.0], [0.0, 0.0]])
    noise = float(np.sqrt(1 / np.log(9)))  # exp(-2 / (2 noise^2)) is a ninth
    prior, keys = jnp.arange(3.0), jax.random.split(jax.random.key(0), 4000)
    drawn = measurements.weighted(prior, seen, jnp.zeros(2), noise, keys)
    shares = np.bincount(np.asarray(drawn, int), minlength=3) / 4000
    np.testing.assert_allclose(shares, [0.1, 0, 0.9], atol=0.02)


def test_the_weight_of_the_guidance():
    found = measurements.pull(jnp.asarray([0.01, 0.05, 0.5, 1.0]))
    np.testing.assert_allclose(found, [19.8, 19, 1, 0], rtol=1e-5)


@pytest.mark.stand_ins
def test_the_loss_of_one_answer():
    answers = jnp.asarray([[1.0, 2.0], [3.0, 5.0]])
    found = ws.square_loss(
        lambda given: 2 * given, (answers, jnp.asarray([[0.0, 1.0], [1.0, 2.0]]))
    )
    assert float(found) == pytest.approx((1 + 0 + 1 + 1) / 4)


@pytest.mark.stand_ins
def test_scores_of_known_samples():
    """The mean is 1 off everywhere, the samples 2 to both sides of it."""
    truth = jnp.zeros((2, 3, 3))
    samples = truth + 1 + jnp.reshape(jnp.asarray([-2.0, 2.0]), (2, 1, 1, 1))
    error, score, ratio = ws._judged(samples, truth, jnp.asarray(4.0))
    assert error == pytest.approx(1 / 4)
    # Of each sample 1 and 3 off, less half the mean distance of two different ones.
    assert score == pytest.approx((2 - 4 / 2) / 4, abs=1e-6)
    assert ratio == pytest.approx(float(ws.spread_skill(samples, truth)))


@pytest.mark.stand_ins
def test_rows_of_the_distribution(monkeypatch):
    """Numbers for fields: errors are differences; means over Reynolds numbers and networks."""
    monkeypatch.setattr(ws, "fields_of", lambda streams: float(jnp.mean(streams)))
    monkeypatch.setattr(
        ws, "errors_of", lambda found, truth: {"mean_error": abs(float(found) - truth)}
    )

    def interpolated(reynolds, numbers, fields):
        assert numbers == [60.0, 100.0] and fields == [6.0, 10.0]
        return 0.1 * reynolds + 1

    monkeypatch.setattr(ws, "interpolated", interpolated)
    monkeypatch.setattr(ws, "member", lambda stacked, number: number)

    begun = {}

    def drawn(model, modes, reynolds, keys, steps):
        begun[model] = jax.random.key_data(keys).tolist()
        return jnp.full(len(keys), 0.1 * float(reynolds) + model + 1 / steps)

    monkeypatch.setattr(ws, "drawn", drawn)
    monkeypatch.setattr(ws, "condition", lambda reynolds: reynolds)
    config = ws.Config(train=(100.0, 60.0), test=(70.0, 80.0, 90.0), members=2)
    half = jnp.asarray([-1.0, -1, 1, 1])
    known = SimpleNamespace(streams=jnp.asarray([[10.0] * 4, [6.0] * 4]))
    test = SimpleNamespace(streams=jnp.stack([7 + half, 8 + half, 9 + 4 * half]))
    modes = SimpleNamespace(decode=lambda coefficients: jnp.asarray(coefficients))
    found, fields = ws.distribution(
        config, None, lambda reynolds: 0.1 * reynolds - 3, modes, known, test
    )
    assert begun[0] != begun[1]  # networks do not share their noise
    assert found["half_the_simulation.mean_error"] == pytest.approx((2 + 2 + 8) / 3)
    assert found["interpolated.mean_error"] == pytest.approx(1)
    assert found["one_answer.mean_error"] == pytest.approx(3, rel=1e-5)
    for steps in ws.STEPS:
        assert found[f"matching_{steps}.mean_error"] == pytest.approx(0.5 + 1 / steps, rel=1e-4)
        assert found[f"matching_{steps}.seconds"] >= 0
    assert fields["simulation"] == 8 and fields["interpolated"] == pytest.approx(9)


@pytest.mark.stand_ins
def test_rows_of_the_inverse_problems(monkeypatch):
    """States that are numbers: every method is judged on the states chosen from begin to end."""
    streams = jnp.stack([jnp.arange(5.0), 10 + jnp.arange(5.0)])
    monkeypatch.setattr(
        ws, "fields_of", lambda streams: SimpleNamespace(deviation=jnp.asarray([3.0, 4.0]))
    )
    begun = set()

    def drawn(model, modes, number, keys, steps):
        begun.add(str(jax.random.key_data(keys).tolist()))
        return jnp.full(len(keys), float(steps))

    monkeypatch.setattr(ws, "drawn", drawn)
    monkeypatch.setattr(ws, "all_measured", lambda measured, states: states[:, None])
    monkeypatch.setattr(ws, "Measured", lambda step: "measured")
    monkeypatch.setattr(ws, "at", lambda base, reynolds: None)
    monkeypatch.setattr(ws.Config, "setting", SimpleNamespace(solver=lambda dt: None))
    monkeypatch.setattr(ws, "velocities", lambda state: state)
    monkeypatch.setattr(ws, "Misfit", lambda *given: given)
    monkeypatch.setattr(ws, "Guided", lambda model, cost, pull: cost)
    update = lambda prior, seen, values, noise, keys: jnp.full(len(keys), 7.0)  # noqa: E731
    monkeypatch.setattr(ws, "kalman", update)
    monkeypatch.setattr(ws, "weighted", update)
    judged = []

    def score(samples, truth, deviation):
        judged.append((len(samples), float(truth)))
        assert float(deviation) == pytest.approx(12.5**0.5)
        return float(samples[0]), float(truth), 1.0

    monkeypatch.setattr(ws, "_judged", score)
    config = ws.Config(test=(75.0, 130.0), states=3, drawn=4, cells=CELLS, guided_steps=2)
    test = SimpleNamespace(streams=streams)
    found, picture = ws.inverse_problems(config, None, None, test)
    assert len(begun) == 2 + 2 * 3  # noise of its own for each prior and each state
    assert judged == [
        (4, 10.0 * index + place)
        for index in range(2) for _ in range(2) for place in (0, 2, 4) for _ in range(4)
    ]  # fmt: skip
    for problem in ("probes", "later"):
        for method, value in {"prior": 100, "kalman": 7, "weighted": 7, "guided": 2}.items():
            assert found[f"{problem}_{method}.rmse"] == value
            assert found[f"{problem}_{method}.crps"] == pytest.approx(7)
            assert found[f"{problem}_{method}.spread_skill"] == 1
    assert picture["truth"] == 10 and set(picture) == {
        "truth", "prior", "kalman", "weighted", "guided"
    }  # fmt: skip


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


@pytest.mark.stand_ins
def test_the_misfit_knows_how_far_a_state_is_on_its_way():
    """At first what is left to change is all of the prior, at the end nothing, half way half."""
    modes = SimpleNamespace(decode=lambda coefficients: 2 * coefficients)
    measured = lambda state: state + 1  # noqa: E731
    known = jnp.array([0.0, 3.0]), jnp.array([0.5, 0.25])
    misfit = measurements.Misfit(measured, modes, *known, 0.5)
    at = [float(misfit(jnp.array([0.5, 0.0]), jnp.asarray(t))) for t in (0.0, 0.5, 1.0)]
    apart = np.array([4.0, 4.0])
    expected = [np.sum(apart / (0.25 + left * known[1])) / 2 for left in (1.0, 0.5, 0.0)]
    np.testing.assert_allclose(at, expected, rtol=1e-6)

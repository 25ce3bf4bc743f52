"""With and without the equation: the exact solution, the data, the losses, the scores, a tiny
run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpbdl.equations import Burgers
from jaxpbdl.experiments.contract import execute
from jaxpbdl.experiments.uncertainty.physics_shrinks import (
    DOMAIN,
    EXPERIMENT,
    PLACES,
    SPEEDS,
    VISCOSITY,
    Config,
    Informed,
    Misfit,
    Score,
    deviations,
    exact,
    score,
    summary,
    untrained,
)
from jaxpbdl.fields import uniform
from jaxpbdl.learning import residual_at, residual_loss
from jaxpbdl.uncertainty import Prediction


@pytest.mark.x64
def test_the_solution_obeys_the_equation_and_has_two_fronts():
    points = uniform(jax.random.key(0), DOMAIN, 50)
    assert float(jnp.max(residual_at(Burgers(VISCOSITY), exact, points))) < 1e-12
    assert float(residual_loss(Burgers(2 * VISCOSITY), exact, points)) > 1e-2
    x = jnp.array([-3.0, PLACES[0], 0.0, PLACES[1], 3.0])
    start = jax.vmap(exact)(jnp.stack([x, jnp.zeros(5)], 1))
    fast, middle, slow = SPEEDS
    expected = [fast, (fast + middle) / 2, middle, (middle + slow) / 2, slow]
    np.testing.assert_allclose(start, expected, atol=0.02)


def test_the_data_of_the_members():
    config = Config(measurements=(5, 400), repetitions=2, members=3, noise=0.2, width=30)
    models = untrained(config)
    assert [int(m.seen.sum()) for m in models] == [5] * 6 + [400] * 6
    assert all(np.all(np.diff(m.seen) <= 0) for m in models)
    same, other, far = models[6], models[7], models[9]
    np.testing.assert_array_equal(same.where, other.where)
    assert np.all(same.where != far.where)
    missed = np.stack([m.values - jax.vmap(exact)(m.where) for m in models[6:9]])
    # The noise of the data is common, that of the members their own, both of the same size.
    assert np.std(missed) == pytest.approx(0.2 * 2**0.5, rel=0.1)
    assert np.mean(missed[0] * missed[1]) == pytest.approx(0.04, rel=0.25)
    weights = np.stack([m.anchor.network.weights[0] for m in models])
    assert np.std(weights) == pytest.approx(config.steepness / 2**0.5, rel=0.1)
    second = np.stack([m.field.network.weights[1] for m in models])
    assert np.std(second) == pytest.approx(1 / 30**0.5, rel=0.05)
    assert np.std([m.field.network.biases[0] for m in models]) == pytest.approx(3, rel=0.1)
    assert len({float(w[0, 0]) for w in weights}) == 12


def test_the_losses():
    config = Config(measurements=(3, 7), repetitions=2, members=2, noise=0.2, width=4)
    one = untrained(config)[0]
    points = uniform(jax.random.key(1), DOMAIN, 9)
    misfit = Misfit(0.2, 3.0, 9)
    missed = np.asarray(jax.vmap(one)(one.where) - one.values)[:3] / 0.2
    at_anchor = float(misfit(one, points))
    assert at_anchor == pytest.approx(np.sum(missed**2) / 18, rel=1e-5)
    network = one.field.network
    moved = jax.tree.map(lambda w, s: w + 0.5 * s, network, deviations(network, 3.0))
    field = type(one.field)(moved)
    other = type(one)(field, one.anchor, one.where, one.values, one.seen)
    missed = np.asarray(jax.vmap(other)(one.where) - one.values)[:3] / 0.2
    count = 2 * 4 + 4 + 4 * 4 + 4 + 4 + 1
    expected = (np.sum(missed**2) + 0.25 * count) / 18
    assert float(misfit(other, points)) == pytest.approx(expected, rel=1e-5)
    residual = float(residual_loss(Burgers(VISCOSITY), field, points))
    informed = Informed(misfit, 0.5)(other, points)
    assert float(informed) == pytest.approx(expected + residual / (2 * 0.25), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_an_ensemble_that_is_right(seed):
    """The truth could be one of the members."""
    key, again = jax.random.split(jax.random.key(seed))
    few = 0.5 * jax.random.normal(key, (5, 20_000))
    found = score(Prediction(few[1:]), few[0], 0.1, again)
    assert found.spread == pytest.approx(0.5 * 1.25**0.5, rel=0.02)
    assert found.error == pytest.approx(0.5 * 1.25**0.5, rel=0.02)
    assert found.field_coverage_95 == pytest.approx(0.95, abs=0.006)
    many = 0.5 * jax.random.normal(key, (101, 20_000))
    found = score(Prediction(many[1:]), many[0], 0.5, again)
    assert found.coverage_95 == pytest.approx(0.95, abs=0.006)


def test_the_summary():
    """Two numbers of measurements, two repetitions."""
    scores = {
        "without": {
            10: [Score(0.4, 0.3, 0.9, 0.8), Score(0.6, 0.5, 1.0, 1.0)],
            30: [Score(0.3, 0.3, 0.9, 0.9), Score(0.3, 0.3, 0.9, 0.9)],
        },
        "with": {
            10: [Score(0.1, 0.2, 0.9, 0.7), Score(0.1, 0.2, 0.8, 0.5)],
            30: [Score(0.1, 0.1, 0.9, 0.9), Score(0.1, 0.1, 0.9, 0.9)],
        },
    }
    found = summary(scores)
    assert found["without_10.spread"] == pytest.approx(0.5)
    assert found["without_10.spread_std"] == pytest.approx(0.2 / 2**0.5)
    assert found["without_10.spread_skill"] == pytest.approx((0.52 / 0.34) ** 0.5)
    assert found["with_10.field_coverage_95"] == pytest.approx(0.6)
    assert found["shrinkage"] == pytest.approx((5 + 3) / 2)
    assert found["error_shrinkage"] == pytest.approx((2 + 3) / 2)
    assert found["with.coverage_95"] == pytest.approx(0.875)
    assert found["with.smallest_field_coverage_95"] == pytest.approx(0.6)


def test_a_tiny_run(tmp_path):
    config = Config(
        measurements=(12,), repetitions=2, members=3, width=8, points=40, draws=2, updates=60
    )
    found = execute(EXPERIMENT, "quick", config, tmp_path).metrics
    assert found["with_12.spread"] < found["without_12.spread"]
    assert found["with_12.error"] < found["without_12.error"]
    assert found["shrinkage"] == pytest.approx(found["without_12.spread"] / found["with_12.spread"])
    assert found["without_12.coverage_95"] > 0.7
    assert (tmp_path / "shrinks.png").exists()


def test_bad_settings():
    with pytest.raises(ValueError, match="measurements must be different numbers in rising order"):
        Config(measurements=(30, 10))
    with pytest.raises(ValueError, match="updates must be a multiple of draws, got 10 and 3"):
        Config(updates=10)
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        Config(members=1)

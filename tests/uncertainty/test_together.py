"""Members that are trained by one score: its value, its minimum, the spread that is set right."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit, stack
from jaxpbdl.uncertainty import Together, crps_unrolled, ensemble_crps, rescaled, spread_skill


class Decay(eqx.Module):
    """state -> rate state"""

    rate: jax.Array

    def __call__(self, state):
        return self.rate * state


def ensemble(*rates):
    return Together(stack([Decay(jnp.asarray(rate)) for rate in rates]))


def test_the_score_of_rollouts():
    windows = jnp.stack([jnp.array([[1.0], [0.7], [0.5]]), jnp.array([[2.0], [1.0], [0.8]])])
    model = ensemble(0.5, 0.8)
    ahead = jnp.array([[[0.5, 0.25], [1.0, 0.5]], [[0.8, 0.64], [1.6, 1.28]]])[..., None]
    for fairness in (0.0, 1.0):
        expected = jnp.mean(ensemble_crps(ahead, windows[:, 1:], fairness=fairness))
        found = crps_unrolled(model, windows, fairness=fairness)
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


def test_states_may_be_trees():
    windows = {"a": jnp.ones((3, 2, 4)), "b": jnp.ones((3, 2))}

    class Both(eqx.Module):
        rate: jax.Array

        def __call__(self, state):
            return jax.tree.map(lambda leaf: self.rate * leaf, state)

    model = Together(stack([Both(jnp.asarray(r)) for r in (0.5, 1.5)]))
    # |x - 1| = 0.5 for both members, half their distance 0.25.
    assert float(crps_unrolled(model, windows)) == pytest.approx(0.25)


def test_members_spread_as_far_as_the_truth_does():
    """Rates of decay that differ from trajectory to trajectory: two members find the two places
    where the score of two points is lowest, the quartiles."""
    rates = jnp.linspace(0.2, 1.0, 400)[:, None]
    windows = jnp.stack([jnp.ones_like(rates), rates], 1)
    schedule = optax.exponential_decay(0.02, 100, 0.5)
    fitted, _ = fit(
        ensemble(0.59, 0.61), crps_unrolled, lambda key: windows, optax.adam(schedule), 400,
        key=jax.random.key(0), progress=False,
    )  # fmt: skip
    np.testing.assert_allclose(np.sort(fitted.members.rate), [0.4, 0.8], atol=0.02)


def test_rescaled_spread_equals_skill():
    members = jax.random.normal(jax.random.key(0), (5, 300, 7)) * jnp.linspace(0.3, 3, 7)
    truth = jax.random.normal(jax.random.key(1), (300, 7))
    factor = 1 / spread_skill(members, truth, axis=0)
    again = rescaled(members, factor)
    np.testing.assert_allclose(spread_skill(again, truth, axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(again.mean(0), members.mean(0), atol=1e-5)

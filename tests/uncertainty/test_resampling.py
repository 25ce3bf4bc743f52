"""Members that learn from rows of their own."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxpbdl.learning import fit_ensemble, members
from jaxpbdl.uncertainty import Pool, Resampled, bootstrap, folds, on_own_rows


class Level(eqx.Module):
    value: jax.Array

    def __call__(self, inputs):
        return self.value


def test_each_member_learns_from_its_own_rows():
    """The mean of its rows and of no others is what a constant learns."""
    data = jnp.arange(10.0)
    seen, held = folds(np.arange(10), 5)
    rows = zip(jnp.asarray(seen), jnp.asarray(held), strict=True)
    models = [Resampled(Level(jnp.zeros(())), *own) for own in rows]

    def loss(model, batch):
        return jnp.mean((model.value - batch) ** 2)

    schedule = optax.exponential_decay(0.2, 100, 0.5)
    fitted, _ = fit_ensemble(
        models, on_own_rows(loss), Pool(data, 64), optax.sgd(schedule), 800,
        keys=jax.random.split(jax.random.key(0), 5), progress=False,
    )  # fmt: skip
    expected = [np.mean(np.delete(np.arange(10.0), [2 * m, 2 * m + 1])) for m in range(5)]
    np.testing.assert_allclose(fitted.model.value, expected, atol=0.1)
    np.testing.assert_array_equal(members(fitted)[3].held, [6, 7])


def test_every_row_is_drawn_alike():
    own = Resampled(Level(jnp.zeros(())), jnp.array([4, 7, 9]), jnp.array([0]))
    count = on_own_rows(lambda model, batch: jnp.sum(batch))
    pool = Pool(jax.nn.one_hot(jnp.arange(10), 10), 3000)
    draw = pool(jax.random.key(0))
    share = jax.grad(lambda weights: count(own, draw._replace(data=draw.data * weights)))(
        jnp.ones(10)
    )
    np.testing.assert_allclose(share[jnp.array([4, 7, 9])], 1000, rtol=0.1)
    assert float(jnp.sum(share)) == 3000


def test_folds_and_bootstrap():
    rows = np.random.default_rng(0).permutation(23)
    seen, held = folds(rows, 4)
    assert seen.shape == (4, 18) and held.shape == (4, 5)
    for one, other in zip(seen, held, strict=True):
        assert sorted([*one, *other]) == list(range(23))
    assert len(np.unique(held)) == 20
    drawn = bootstrap(jax.random.key(0), 1000, 3)
    shares = [len(np.unique(row)) / 1000 for row in np.asarray(drawn)]
    np.testing.assert_allclose(shares, 1 - np.exp(-1), atol=0.04)


def test_bad_input():
    with pytest.raises(ValueError, match="members must be an integer >= 2, got 1"):
        folds(np.arange(4), 1)
    with pytest.raises(ValueError, match="rows must be at least 5, the members, got 4"):
        folds(np.arange(4), 5)
    with pytest.raises(ValueError, match="batch must be an integer >= 1, got 0"):
        Pool(jnp.ones(3), 0)

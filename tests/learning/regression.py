"""A regression whose solution is known, for fits that take a second."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


class Linear(eqx.Module):
    """`x @ weight + bias`, with one array that is no parameter."""

    weight: jax.Array
    bias: jax.Array
    order: jax.Array

    def __init__(self, key):
        self.weight = jax.random.normal(key, (3,))
        self.bias = jnp.zeros(())
        self.order = jnp.arange(3)

    def __call__(self, x):
        return x[self.order] @ self.weight + self.bias


class Batches(eqx.Module):
    """Eight random rows of a table; the whole table with `whole`."""

    x: jax.Array
    y: jax.Array
    whole: bool = eqx.field(static=True, default=False)

    def __call__(self, key):
        if self.whole:
            return self.x, self.y
        rows = jax.random.randint(key, (8,), 0, len(self.x))
        return self.x[rows], self.y[rows]


def mean_square(model, batch):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32) + 0.7 + 0.3 * rng.normal(size=64)
    return x, y.astype(np.float32)

"""Random batches of what is known."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from jaxpbdl import checks


class Samples(eqx.Module):
    """Random samples of a data set: `Samples(inputs, outputs, batch=8)(key)` gives 8 inputs and
    their outputs, `Samples(states, batch=8)(key)` 8 states.

    Each is drawn independently of the others.

    **Arguments:** `data`: one or more arrays, or trees of them, with the samples along axis 0. A
    list is no tree: it may be meant for samples to be stacked. `batch`: samples of a draw.

    **Raises** ValueError for unequal numbers of samples, or none; TypeError for a list and for what
    has no axis.
    """

    data: tuple[PyTree, ...]
    batch: int = eqx.field(static=True)

    def __init__(self, *data: PyTree, batch: int):
        checks.count("batch", batch)
        if any(isinstance(tree, list) for tree in data):
            raise TypeError("data must be arrays or trees of them, got a list: stack it, or unpack")
        self.data, self.batch = jax.tree.map(jnp.asarray, data), batch
        leaves = jax.tree.leaves(self.data)
        if any(leaf.ndim == 0 for leaf in leaves):
            raise TypeError("all data must hold the samples along axis 0, got a single number")
        counts = [len(leaf) for leaf in leaves]
        if len(set(counts)) > 1:
            raise ValueError(f"all data must hold equally many samples, got {counts}")
        if not counts or not counts[0]:
            raise ValueError("there must be at least one sample, got none")

    def __call__(self, key: PRNGKeyArray) -> PyTree:
        count = len(jax.tree.leaves(self.data)[0])
        chosen = jax.random.randint(key, (self.batch,), 0, count)

        def taken(leaf: Array) -> Array:
            return leaf[chosen]

        drawn = jax.tree.map(taken, self.data)
        return drawn[0] if len(drawn) == 1 else drawn

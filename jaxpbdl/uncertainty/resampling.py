"""Members that learn from different samples: each carries the rows that are its own.

`fit_ensemble` trains members on the same batches. Here a batch is the whole data set, which all
members share, with random places; a member finds its own rows at these places.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from jaxpbdl import checks


class Resampled(eqx.Module):
    """A model that learns from some rows of a data set, and is judged by others."""

    trainable_fields = ("model",)

    model: Any
    rows: Int[Array, " rows"]
    held: Int[Array, " held"]

    def __call__(self, inputs: PyTree) -> PyTree:
        return self.model(inputs)


class Draw(NamedTuple):
    """Data with leaves `(samples, ..)`, and places in the rows of whoever learns, in [0, 1)."""

    data: PyTree
    places: Float[Array, " batch"]


class Pool(eqx.Module):
    """Batches for `fit_ensemble` of `Resampled` members: `batch` rows at a time."""

    data: PyTree
    batch: int = eqx.field(static=True)

    def __init__(self, data: PyTree, batch: int):
        self.data, self.batch = jax.tree.map(jnp.asarray, data), checks.count("batch", batch)

    def __call__(self, key: PRNGKeyArray) -> Draw:
        return Draw(self.data, jax.random.uniform(key, (self.batch,)))


def on_own_rows(loss: Callable[[Any, PyTree], Array]) -> Callable[[Resampled, Draw], Array]:
    """The loss of `Resampled` members over draws of a `Pool`: `loss(member.model, batch)` of the
    rows that are the member's own."""

    def own(member: Resampled, draw: Draw) -> Array:
        at = (draw.places * len(member.rows)).astype(int)
        rows = member.rows[at]
        return loss(member.model, jax.tree.map(lambda leaf: leaf[rows], draw.data))

    return own


def bootstrap(key: PRNGKeyArray, samples: int, members: int) -> Int[Array, "members samples"]:
    """Rows drawn with replacement, as many as there are samples, for each member (Efron, Ann. Stat.
    7 (1979) 1). A member sees about 63 % of the samples."""
    checks.counts(samples=samples, members=members)
    return jax.random.randint(key, (members, samples), 0, samples)


def folds(
    rows: Int[np.ndarray, " samples"], members: int
) -> tuple[Int[np.ndarray, "members rows"], Int[np.ndarray, "members held"]]:
    """For each member the rows that it learns from and those that it does not see: cross-validation
    with as many folds as members. Of rows that cannot be shared out evenly, the last ones are held
    back by nobody. Raises ValueError for fewer than two members, or fewer rows than members.
    """
    checks.count("members", members, 2)
    if len(rows) < members:
        raise ValueError(f"rows must be at least {members}, the members, got {len(rows)}")
    held = rows[: len(rows) // members * members].reshape(members, -1)
    seen = np.stack(
        [rows[~np.isin(np.arange(len(rows)) // held.shape[1], m)] for m in range(members)]
    )
    return seen, held

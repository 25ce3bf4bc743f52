"""SWAG: the weights that a training at constant learning rate passes through, as a normal
distribution.

    mean  m = <w>        variance  v = <w^2> - <w>^2        deviations  d_i = w_i - m_i

    draws  m + sqrt(v / 2) z + sum_i d_i y_i / sqrt(2 (K - 1)),   z, y_i standard normal

with the running mean `m_i` after the weights `w_i`, and the last `K` deviations: half of the
covariance is the diagonal one, half has the directions in which the weights moved (Maddox et al.,
NeurIPS 2019). How wide it is depends on the learning rate and the size of the batches.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.learning import update
from jaxpbdl.learning.fit import check_key, prepare
from jaxpbdl.trainable import trainable


class Swag(eqx.Module):
    """Mean, variance and last deviations of the models that were collected.

    Attributes:
        mean: of the trained arrays, a tree like the model with None elsewhere.
        scatter: sum of the squared deviations of each number from the mean.
        deviations: the last ones, along axis 0 of each array; zeros where none is yet.
        count: of the models.
        rest: what is not trained.
    """

    mean: PyTree
    scatter: PyTree
    deviations: PyTree
    count: Int[Array, ""]
    rest: PyTree

    @property
    def variance(self) -> PyTree:
        """Of each trained number, over all models that were collected."""
        return jax.tree.map(lambda leaf: leaf / self.count, self.scatter)

    @property
    def rank(self) -> int:
        """The number of deviations that are kept."""
        return jax.tree.leaves(self.deviations)[0].shape[0]

    def update(self, model: PyTree) -> "Swag":
        """With one more model."""
        params = eqx.filter(model, trainable(model))
        mean = jax.tree.map(lambda m, w: m + (w - m) / (self.count + 1), self.mean, params)
        # By Welford's sums: the difference of two mean squares is lost to rounding where weights
        # move little.
        scatter = jax.tree.map(
            lambda s, w, before, after: s + (w - before) * (w - after),
            self.scatter, params, self.mean, mean,
        )  # fmt: skip
        place = self.count % self.rank
        deviations = jax.tree.map(
            lambda d, w, m: d.at[place].set(w - m), self.deviations, params, mean
        )
        return Swag(mean, scatter, deviations, self.count + 1, self.rest)

    def sample(self, key: PRNGKeyArray, count: int) -> PyTree:
        """`count` models drawn from the distribution, stacked for `predict`. Raises ValueError for
        a count below one, or fewer than two models collected."""
        checks.count("count", count)
        # Inside jit even a comparison of known numbers would be traced.
        if checks.is_concrete(self.count) and int(self.count) < 2:
            raise ValueError(f"a spread needs at least two models, collected were {self.count}")
        columns = jnp.minimum(self.count, self.rank)
        return eqx.filter_vmap(lambda key: self._one(key, columns))(jax.random.split(key, count))

    def _one(self, key: PRNGKeyArray, columns: Int[Array, ""]) -> PyTree:
        along, own = jax.random.split(key)
        means, structure = jax.tree.flatten(self.mean)
        keys = jax.tree.unflatten(structure, list(jax.random.split(own, len(means))))

        def draw(mean: Array, variance: Array, deviations: Array, key: PRNGKeyArray) -> Array:
            moved = jax.random.normal(along, (self.rank,), mean.dtype)
            alone = jax.random.normal(key, mean.shape, mean.dtype)
            together = jnp.tensordot(moved, deviations, 1) / jnp.sqrt(2.0 * (columns - 1))
            return (mean + jnp.sqrt(variance / 2) * alone + together).astype(mean.dtype)

        drawn = jax.tree.map(draw, self.mean, self.variance, self.deviations, keys)
        return eqx.combine(drawn, self.rest)


def collect(model: PyTree, rank: int = 20) -> Swag:
    """The beginning of a collection, with one model in it; `update` adds others.

    Raises ValueError for a rank below two, or a model without trainable or with complex arrays.
    """
    checks.count("rank", rank, 2)
    params, rest = eqx.partition(model, trainable(model))
    if not jax.tree.leaves(params):
        raise ValueError("model must hold at least one trainable array of floats, got none")
    for leaf in jax.tree.leaves(params):
        checks.real("model", leaf)
    zeros = jax.tree.map(jnp.zeros_like, params)
    deviations = jax.tree.map(lambda leaf: jnp.zeros((rank, *leaf.shape), leaf.dtype), params)
    return Swag(zeros, zeros, deviations, jnp.zeros((), int), rest).update(model)


def swag(
    model: PyTree,
    loss: Callable[..., Array],
    batches: update.Batches | update.PerChunk,
    optimiser: optax.GradientTransformation,
    steps: int,
    every: int,
    key: PRNGKeyArray,
    rank: int = 20,
) -> Swag:
    """The models of a training that goes on, collected after every `every` updates.

    **Arguments**

    - `model`: trained already.
    - `loss`, `batches`, `key`: as those of `learning.fit`.
    - `optimiser`: at a constant learning rate, such as `optax.sgd(1e-2)`.
    - `steps`: updates, a multiple of `every`.
    - `rank`: deviations that are kept.

    **Raises** `checks.BlowUp` naming the first update that is not finite; ValueError for
    inadmissible numbers or fewer than two models; else as `fit`.
    """
    checks.counts(steps=steps, every=every)
    checks.count("rank", rank, 2)
    if steps % every or steps < 2 * every:
        raise ValueError(
            f"steps must be a multiple of every, at least twice as many, got {steps} and {every}"
        )
    check_key("key", key)
    task, params, constants = prepare(model, loss, batches, optimiser, None, None, None)
    found, bad_step = _collected(task, params, constants, key, steps // every, every, rank)
    if bad_step >= 0:
        raise checks.BlowUp(
            "swag: the loss, its gradient or the new parameters were not finite at update "
            f"{bad_step}; try a smaller learning rate"
        )
    return found


@eqx.filter_jit
def _collected(
    task: update.Task,
    params: PyTree,
    constants: PyTree,
    key: PRNGKeyArray,
    models: int,
    every: int,
    rank: int,
) -> tuple[Swag, Int[Array, ""]]:
    def advanced(member: update.Member, index: int | Array) -> update.Member:
        begin = jnp.asarray(index) * every
        return update.advance(task, constants, key, member, begin, begin + every, every)[0]

    member = advanced(update.start(task, params), 0)
    arrays, static = eqx.partition(
        collect(task.model(member.params, constants), rank), eqx.is_array
    )

    def body(index: Array, carry: tuple[update.Member, PyTree]) -> tuple[update.Member, PyTree]:
        member = advanced(carry[0], index)
        found = eqx.combine(carry[1], static).update(task.model(member.params, constants))
        return member, eqx.filter(found, eqx.is_array)

    member, arrays = lax.fori_loop(1, models, body, (member, arrays))
    return eqx.combine(arrays, static), member.bad_step

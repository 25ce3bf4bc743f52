"""Members that are trained by one score of all of them, and a spread that is set right.

An ensemble whose members are each trained on their own errors knows nothing of its spread. A
proper score of the whole ensemble is lowest where the members are as far apart as they are from the
truth: the last part of a training by it is enough (Lang et al., arXiv:2412.15832).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxpbdl.learning.losses import Measure, Windowed, itself, parted
from jaxpbdl.rollouts import rollout
from jaxpbdl.uncertainty.scores import ensemble_crps


class Together(eqx.Module):
    """Steps stacked along axis 0 of their arrays, as one model: `fit(Together(stacked), ...)`."""

    members: PyTree


def crps_unrolled(
    model: Together, windows: Windowed, *, fairness: float = 0.0, measure: Measure = itself
) -> Float[Array, ""]:
    """The mean continuous ranked probability score of the members' rollouts from the first state
    of each window, over all values and steps: a loss for `fit`.

    The members are trained as the very ones that will forecast, so the score is that of their
    values as a distribution (`fairness` 0 of `ensemble_crps`). The fair one is for members that
    draw noise: fixed ones win it by keeping one of them far off. `measure` gives what of a state
    counts.
    """
    arrays, static = eqx.partition(model.members, eqx.is_array)
    states, inputs = parted(windows)
    starts = jax.tree.map(lambda leaf: leaf[:, 0], states)
    truth = measured_later(states, measure)
    steps = jax.tree.leaves(states)[0].shape[1] - 1

    def forecast(arrays: PyTree) -> PyTree:
        step = eqx.combine(arrays, static)

        def one(start: PyTree, *given: PyTree) -> PyTree:
            driven = {"inputs": given[0]} if given else {}
            return rollout(step, start, steps, observe=measure, checkpoint=False, **driven)

        return jax.vmap(one)(starts, *inputs)

    found = jax.tree.map(lambda leaf: leaf[:, :, 1:], jax.vmap(forecast)(arrays))
    return mean_crps(found, truth, fairness)


def measured_later(states: PyTree, measure: Measure) -> PyTree:
    """What counts of windows or trajectories, leaves `(batch, snapshots, ..)`, after their first
    states."""
    return jax.vmap(jax.vmap(measure))(jax.tree.map(lambda leaf: leaf[:, 1:], states))


def mean_crps(members: PyTree, truth: PyTree, fairness: float) -> Float[Array, ""]:
    """`ensemble_crps` of trees, its mean over all values of all leaves."""
    scores = jax.tree.map(lambda x, y: ensemble_crps(x, y, fairness=fairness), members, truth)
    leaves = jax.tree.leaves(scores)
    return jnp.stack([jnp.sum(leaf) for leaf in leaves]).sum() / sum(leaf.size for leaf in leaves)


def rescaled(
    members: Float[Array, "members *shape"], factor: Float[Array, "..."]
) -> Float[Array, "members *shape"]:
    """The members at `factor` times their distance from their mean. With the factor
    `1 / spread_skill` of samples that were not trained on, one for each time of a forecast, say,
    spread and skill agree."""
    mean = jnp.mean(members, axis=0)
    return mean + factor * (members - mean)

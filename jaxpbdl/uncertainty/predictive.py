"""`predict`: what the members of an ensemble say together, and how far they do not know.

The members are one distribution, a mixture with equal weights, whose variance has two parts:

    Var y = <variance of the noise>   aleatoric: more data would not lower it
          + Var <y>                   epistemic: what the members disagree on

(the law of total variance; Lakshminarayanan, Pritzel and Blundell, NeurIPS 2017).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.distributed import map_members
from jaxpbdl.uncertainty.heads import Normal


class Prediction(eqx.Module):
    """The outputs of all members, an array or a tree of arrays of one output.

    Attributes:
        members: the mean that each member predicts, stacked along the first axis.
        noise: the variance of the noise that each member predicts, or None for members that predict
            none.
    """

    members: PyTree[Float[Array, "members ..."]]
    noise: PyTree[Float[Array, "members ..."]] | None = None

    @property
    def mean(self) -> PyTree[Array]:
        """Of the mixture."""
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), self.members)

    @property
    def aleatoric(self) -> PyTree[Array]:
        """The variance of the noise, averaged over the members; zeros where none is predicted."""
        if self.noise is None:
            return jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), self.members)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), self.noise)

    @property
    def epistemic(self) -> PyTree[Array]:
        """The variance of the members' means."""
        return jax.tree.map(lambda leaf: jnp.var(leaf, axis=0), self.members)

    @property
    def variance(self) -> PyTree[Array]:
        """Of the mixture: aleatoric and epistemic part."""
        return jax.tree.map(jnp.add, self.aleatoric, self.epistemic)

    @property
    def deviation(self) -> PyTree[Array]:
        """The standard deviation of the mixture."""
        return jax.tree.map(jnp.sqrt, self.variance)

    def sample(self, key: PRNGKeyArray) -> PyTree[Array]:
        """One output: a member at random, with its noise. All values of an output are of one
        member, so that they belong together; the noise of each value is its own."""
        which, noise = jax.random.split(key)
        leaves, structure = jax.tree.flatten(self.members)
        index = jax.random.randint(which, (), 0, leaves[0].shape[0])
        drawn = [leaf[index] for leaf in leaves]
        if self.noise is not None:
            keys = jax.random.split(noise, len(leaves))
            drawn = [
                mean + jnp.sqrt(variance[index]) * jax.random.normal(key, mean.shape, mean.dtype)
                for mean, variance, key in zip(
                    drawn, jax.tree.leaves(self.noise), keys, strict=True
                )
            ]
        return jax.tree.unflatten(structure, drawn)


def call(model: Callable[[PyTree], Any], inputs: PyTree) -> Any:
    """A model on one input."""
    return model(inputs)


def batch(model: Callable[[PyTree], Any], inputs: PyTree) -> Any:
    """A model on many inputs, along the first axis."""
    return jax.vmap(model)(inputs)


def predict(
    members: PyTree,
    inputs: PyTree,
    apply: Callable[[Any, PyTree], Any] = call,
    *,
    mesh: Mesh | None = None,
) -> Prediction:
    """What an ensemble predicts for `inputs`.

        predict(networks, x)                                   # one input
        predict(networks, xs, batch)                           # many
        predict(hybrids, start, lambda step, s: rollout(step, s, 100))
        predict(pinns, points, batch); predict(potentials, atoms)

    **Arguments:**

    - `members`: models stacked along axis 0 of their arrays, as `fit_ensemble` returns them and
      `learning.ensemble.stack` makes them of a list.
    - `apply`: `apply(model, inputs)` gives an array or a tree of arrays, or a `Normal` of such for
      members that know their noise (`Heteroscedastic`).
    - `mesh`: devices that share the members (`distributed.map_members`).

    **Returns** the `Prediction`.

    **Raises:** ValueError for fewer than two members, members that are all the same, and a member
    whose prediction is not finite. Under jit or vmap only the number of members is looked at.
    """
    arrays, static = eqx.partition(members, eqx.is_array)
    leaves = jax.tree.leaves(arrays)
    count = min((len(leaf) if leaf.ndim else 0 for leaf in leaves), default=0)
    if count < 2:
        raise ValueError(
            f"an ensemble needs at least two members along axis 0 of its arrays, got {count}"
        )
    if checks.is_concrete(leaves) and all(bool(jnp.all(leaf == leaf[:1])) for leaf in leaves):
        raise ValueError(
            f"the {count} members are copies of one another: their spread says nothing"
        )
    outputs = map_members(eqx.Partial(_output, apply, static, inputs), arrays, mesh=mesh)
    _refuse_not_finite(outputs)
    if isinstance(outputs, Normal):
        return Prediction(outputs.mean, outputs.variance)
    return Prediction(outputs)


def _output(apply: Callable, static: PyTree, inputs: PyTree, arrays: PyTree) -> PyTree:
    return apply(eqx.combine(arrays, static), inputs)


def _refuse_not_finite(outputs: PyTree) -> None:
    leaves = jax.tree.leaves(outputs)
    if not checks.is_concrete(leaves):
        return
    for leaf in leaves:
        finite = np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"members {np.flatnonzero(~finite).tolist()} of {len(leaf)} predict values that "
                "are not finite; leave them out (learning.ensemble.members, stack)"
            )

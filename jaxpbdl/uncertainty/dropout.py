"""Monte Carlo dropout: networks of which each has some units switched off, as an ensemble.

    layer  x -> activation((m x) @ weight + bias),   m = 0 with probability p, else 1 / (1 - p)

Trained with new masks `m` for every sample and judged with many of them, a network gives draws of
an approximate posterior of its function (Gal and Ghahramani, ICML 2016). The mean of a mask is one.
The spread depends on `p` and need not vanish with more data: choose `p` by data that were held
back. The noise of the targets is not part of the spread.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from jaxpbdl import checks
from jaxpbdl.networks import Dense

Model = TypeVar("Model")


class Masked(eqx.Module):
    """A network with a mask for the inputs of each of its layers."""

    trainable_fields = ("network",)

    network: Dense
    masks: tuple[Float[Array, " _units"], ...]

    def __call__(self, x: Float[Array, " in"]) -> Float[Array, " out"]:
        weights, biases = self.network.weights, self.network.biases
        for weight, bias, mask in zip(weights[:-1], biases[:-1], self.masks[:-1], strict=True):
            x = self.network.activation((x * mask) @ weight + bias)
        return (x * self.masks[-1]) @ weights[-1] + biases[-1]


def masked(model: Model, p: float, key: PRNGKeyArray, *, inputs: float = 0.0) -> Model:
    """The model with a random mask for every layer of each `Dense` in it.

    **Arguments**

    - `model`: a `Dense`, or a module that holds some, such as `Heteroscedastic(Dense(...))`.
    - `p`: the probability that a hidden unit is switched off.
    - `inputs`: the same of a network's inputs; coordinates of a field are best left alone.

    **Raises** ValueError for a probability outside of [0, 1), or a model without a `Dense`.
    """
    for name, value in {"p": p, "inputs": inputs}.items():
        if checks.is_concrete(value) and not 0 <= value < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}")
    leaves, structure = jax.tree.flatten(model, is_leaf=_is_dense)
    if not any(_is_dense(leaf) for leaf in leaves):
        raise ValueError(f"model must hold at least one Dense, got {type(model).__name__}")
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure,
        [
            _masked(leaf, p, inputs, key) if _is_dense(leaf) else leaf
            for leaf, key in zip(leaves, keys, strict=True)
        ],
    )


def dropout_members(
    model: Model, p: float, key: PRNGKeyArray, count: int, *, inputs: float = 0.0
) -> Model:
    """`count` copies of a trained model, each with masks of its own that stay as they are: stacked
    members for `predict`. Arguments and errors are those of `masked`; ValueError for a count below
    one."""
    checks.count("count", count)
    keys = jax.random.split(key, count)
    return eqx.filter_vmap(lambda key: masked(model, p, key, inputs=inputs))(keys)


def dropout_loss(
    loss: Callable[[Model, PyTree], Array], p: float, *, inputs: float = 0.0
) -> Callable[[Model, PyTree, PRNGKeyArray], Array]:
    """A loss for `fit`, which gives it a key: the mean over a batch of `loss(model, sample)`, with
    masks drawn for each sample. Arguments and errors are those of `masked`."""

    def mean(model: Model, batch: PyTree, key: PRNGKeyArray) -> Array:
        keys = jax.random.split(key, len(jax.tree.leaves(batch)[0]))

        def one(key: PRNGKeyArray, sample: PyTree) -> Array:
            return loss(masked(model, p, key, inputs=inputs), sample)

        return jnp.mean(jax.vmap(one)(keys, batch))

    return mean


def _masked(network: Dense, p: float, inputs: float, key: PRNGKeyArray) -> Masked:
    keys = jax.random.split(key, len(network.weights))
    rates = [inputs, *[p] * (len(network.weights) - 1)]
    return Masked(
        network,
        tuple(
            jax.random.bernoulli(k, 1 - rate, weight.shape[:1]).astype(weight.dtype) / (1 - rate)
            for k, rate, weight in zip(keys, rates, network.weights, strict=True)
        ),
    )


def _is_dense(node: object) -> bool:
    return isinstance(node, Dense)

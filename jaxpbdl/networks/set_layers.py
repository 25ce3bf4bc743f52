"""Layers on sets that answer particle by particle, and pooling by attention.

A layer is **equivariant** if permuted particles give permuted answers. The linear ones are all of
the form `lambda I + gamma 1 1^T` in the particles, with a matrix each in the features (Zaheer et
al., "Deep Sets", NeurIPS 2017); attention goes beyond them (Lee et al., "Set Transformer", ICML
2019, arXiv:1810.00825). Every layer takes `(particles, mask)` and gives particles, zero in the
padding. Padding changes no answer, and a set without particles gives zeros, not NaN.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense
from jaxpbdl.networks.sets import present, sums

Particles = Float[Array, "particles features"]
Mask = Bool[Array, " particles"]
Layer = Callable[[Array, Array], Array]


class Equivariant(eqx.Module):
    """`x_i A + mean_j(x_j) B + b`: with the mean, not the sum, sizes do not grow with the set."""

    alone: Dense
    together: Dense

    def __init__(self, features: int, outputs: int, *, key: PRNGKeyArray):
        first, second = jax.random.split(key)
        self.alone = Dense((features, outputs), key=first)
        self.together = Dense((features, outputs), key=second)

    def __call__(
        self, particles: Particles, mask: Mask | None = None
    ) -> Float[Array, "particles outputs"]:
        particles, mask = present(self.alone, particles, mask)
        mean = jnp.sum(particles, axis=0) / jnp.maximum(jnp.sum(mask), 1)
        answers = jax.vmap(self.alone)(particles) + self.together(mean)
        return jnp.where(mask[:, None], answers, 0)


class SelfAttention(eqx.Module):
    """`v <- x + attention(norm x)`, `v <- v + network(norm v)`, every particle to every other."""

    first: eqx.nn.LayerNorm
    query: Dense
    key: Dense
    value: Dense
    out: Dense
    second: eqx.nn.LayerNorm
    network: Dense
    heads: int = eqx.field(static=True)

    def __init__(self, width: int, heads: int = 4, *, key: PRNGKeyArray):
        """Raises ValueError for a width that the heads do not divide."""
        _divide(width, heads)
        keys = jax.random.split(key, 5)
        self.query, self.key, self.value, self.out = (
            Dense((width, width), key=key) for key in keys[:4]
        )
        self.network = Dense((width, 2 * width, width), activation=jax.nn.gelu, key=keys[4])
        self.first, self.second = eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)
        self.heads = heads

    def __call__(
        self, particles: Float[Array, "particles width"], mask: Mask | None = None
    ) -> Float[Array, "particles width"]:
        particles, mask = present(self.query, particles, mask)
        normal = jax.vmap(self.first)(particles)
        query, key, value = (
            jax.vmap(part)(normal).reshape(len(normal), self.heads, -1)
            for part in (self.query, self.key, self.value)
        )
        scores = jnp.einsum("qhc,khc->hqk", query, key) / key.shape[-1] ** 0.5
        taken = jnp.einsum("hqk,khc->qhc", _shares(scores, mask), value)
        particles = particles + jax.vmap(self.out)(taken.reshape(particles.shape))
        particles = particles + jax.vmap(lambda one: self.network(self.second(one)))(particles)
        return jnp.where(mask[:, None], particles, 0)


class ParticleTagger(eqx.Module):
    """Answers for every particle in the light of all others: layers, with an activation between
    equivariant linear ones, then a network on each particle alone.

    `ParticleTagger.linear` and `ParticleTagger.attention` build the two usual kinds.
    """

    lift: Dense
    layers: tuple[Layer, ...]
    out: Dense
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(
        self, particles: Particles, mask: Mask | None = None
    ) -> Float[Array, "particles outputs"]:
        particles, mask = present(self.lift, particles, mask)
        latent = jax.vmap(self.lift)(particles)
        for layer in self.layers:
            latent = self.activation(layer(latent, mask))
        return jnp.where(mask[:, None], jax.vmap(self.out)(latent), 0)

    @classmethod
    def linear(
        cls, features: int, outputs: int, *, width: int = 64, depth: int = 3, key: PRNGKeyArray
    ) -> "ParticleTagger":
        """With `depth` layers `Equivariant` and relu."""
        build = lambda key: Equivariant(width, width, key=key)  # noqa: E731
        return cls._stacked(build, features, outputs, width, depth, jax.nn.relu, key)

    @classmethod
    def attention(
        cls,
        features: int,
        outputs: int,
        *,
        width: int = 64,
        depth: int = 2,
        heads: int = 4,
        key: PRNGKeyArray,
    ) -> "ParticleTagger":
        """With `depth` layers `SelfAttention`."""
        build = lambda key: SelfAttention(width, heads, key=key)  # noqa: E731
        return cls._stacked(build, features, outputs, width, depth, _same, key)

    @classmethod
    def _stacked(
        cls,
        build: Callable[[PRNGKeyArray], Layer],
        features: int,
        outputs: int,
        width: int,
        depth: int,
        activation: Callable[[Array], Array],
        key: PRNGKeyArray,
    ) -> "ParticleTagger":
        checks.counts(features=features, outputs=outputs, width=width, depth=depth)
        first, last, *keys = jax.random.split(key, depth + 2)
        lift = Dense((features, width), key=first)
        out = Dense((width, width, outputs), activation=jax.nn.relu, key=last)
        return cls(lift, tuple(build(key) for key in keys), out, activation)


class AttentionPooling(eqx.Module):
    """A set as one vector: every head asks by a query of its own and takes the mean of the values
    with the weights `softmax_i(query . key_i)`; pooling by multi-head attention with one seed.

    A mean does not know how many there are; the logarithm of the number is the last output.
    """

    queries: Float[Array, "heads size"]
    key: Dense
    value: Dense

    def __init__(self, features: int, width: int, heads: int = 4, *, key: PRNGKeyArray):
        """Raises ValueError for a width that the heads do not divide."""
        _divide(width, heads)
        first, second, third = jax.random.split(key, 3)
        self.queries = jax.random.normal(first, (heads, width // heads))
        self.key, self.value = (Dense((features, width), key=k) for k in (second, third))

    def __call__(
        self, particles: Particles, mask: Mask | None = None
    ) -> Float[Array, " width_and_one"]:
        particles, mask = present(self.key, particles, mask)
        scores, values = self._scores_and_values(particles)
        pooled = jnp.einsum("hk,khc->hc", _shares(scores.T, mask), values)
        return _with_number(pooled, jnp.sum(mask))

    def ragged(
        self, particles: Float[Array, "total features"], owner: Int[Array, " total"], sets: int
    ) -> Float[Array, "sets width_and_one"]:
        """The same of many sets at once (see `jaxpbdl.networks.sets`)."""
        scores, values = self._scores_and_values(particles)
        most = jax.ops.segment_max(scores, owner, sets, indices_are_sorted=True)
        # The largest score only guards against overflow: no gradient goes through it.
        most = jax.lax.stop_gradient(jnp.where(jnp.isfinite(most), most, 0))
        held = (owner < sets)[:, None]
        weights = jnp.exp(jnp.where(held, scores - most[jnp.minimum(owner, sets - 1)], 0))
        total = sums(weights, owner, sets)
        weighted = sums(weights[..., None] * values, owner, sets)
        pooled = weighted / jnp.where(total > 0, total, 1)[..., None]
        return jax.vmap(_with_number)(pooled, sums(jnp.ones(len(owner)), owner, sets))

    def _scores_and_values(self, particles: Array) -> tuple[Array, Array]:
        heads, size = self.queries.shape
        key, value = (
            jax.vmap(part)(particles).reshape(len(particles), heads, size)
            for part in (self.key, self.value)
        )
        return jnp.einsum("khc,hc->kh", key, self.queries) / size**0.5, value


class AttentionFlow(eqx.Module):
    """`F(pooling_i Phi(p_i))`: as `ParticleFlow`, with attention in place of the sum."""

    inner: Dense
    pooling: AttentionPooling
    outer: Dense
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        inner: Sequence[int] = (100, 100),
        width: int = 128,
        heads: int = 8,
        outer: Sequence[int] = (100, 100),
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        first, second, third = jax.random.split(key, 3)
        scale = 2**0.5
        self.inner = Dense((features, *inner), activation=activation, scale=scale, key=first)
        self.pooling = AttentionPooling(inner[-1], width, heads, key=second)
        sizes = (width + 1, *outer, outputs)
        self.outer = Dense(sizes, activation=activation, scale=scale, key=third)
        self.activation = activation

    def __call__(self, particles: Particles, mask: Mask | None = None) -> Float[Array, " outputs"]:
        particles, mask = present(self.inner, particles, mask)
        latent = self.activation(jax.vmap(self.inner)(particles))
        return self.outer(self.pooling(latent, mask))

    def ragged(
        self, particles: Float[Array, "total features"], owner: Int[Array, " total"], sets: int
    ) -> Float[Array, "sets outputs"]:
        """The same of many sets at once (see `jaxpbdl.networks.sets`)."""
        latent = self.activation(jax.vmap(self.inner)(particles))
        return jax.vmap(self.outer)(self.pooling.ragged(latent, owner, sets))


def _shares(scores: Float[Array, "... particles"], mask: Mask) -> Float[Array, "... particles"]:
    """Softmax over the particles that are there; zero, not NaN, if there is none."""
    most = jnp.max(scores, axis=-1, keepdims=True, where=mask, initial=jnp.finfo(scores.dtype).min)
    weights = jnp.where(mask, jnp.exp(jnp.where(mask, scores - jax.lax.stop_gradient(most), 0)), 0)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return weights / jnp.where(total > 0, total, 1)


def _with_number(pooled: Array, number: Array) -> Array:
    return jnp.append(pooled.ravel(), jnp.log1p(number).astype(pooled.dtype))


def _divide(width: int, heads: int) -> None:
    checks.counts(width=width, heads=heads)
    if width % heads:
        raise ValueError(f"width must be a multiple of heads = {heads}, got {width}")


def _same(values: Array) -> Array:
    return values

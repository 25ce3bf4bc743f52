"""A transformer between functions on any points: attention among slices of the domain.

Each point belongs to every one of a few slices by some share; a slice's token is the mean of its
points, the tokens attend to each other, and each point takes the tokens back by its shares:

    w_ig = softmax_g(slice(v_i) / temperature),  z_g = sum_i w_ig v_i / sum_i w_ig,
    v_i <- sum_g w_ig attention(z)_g

The cost grows with the number of points once, not twice (Wu, Luo, Wang, Wang, Long, "Transolver: a
fast transformer solver for PDEs on general geometries", ICML 2024, arXiv:2402.02366).
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense


class PhysicsAttention(eqx.Module):
    """The attention above with several heads, each with slices of its own."""

    values: Dense
    keys: Dense
    slices: Dense
    attend: Dense
    out: Dense
    temperature: Float[Array, " heads"]

    def __init__(self, width: int, heads: int, slices: int, *, key: PRNGKeyArray):
        first, second, third, fourth, fifth = jax.random.split(key, 5)
        size = width // heads
        self.values = Dense((width, width), key=first)
        self.keys = Dense((width, width), key=second)
        self.slices = Dense((size, slices), key=third)
        self.attend = Dense((size, 3 * size), key=fourth)
        self.out = Dense((width, width), key=fifth)
        self.temperature = jnp.full(heads, 0.5)

    def __call__(
        self, field: Float[Array, "points width"], measure: Float[Array, " points"]
    ) -> Float[Array, "points width"]:
        heads = self.temperature.shape[0]
        split = lambda rows: rows.reshape(len(rows), heads, -1)  # noqa: E731
        keys, values = (split(jax.vmap(part)(field)) for part in (self.keys, self.values))
        scores = jax.vmap(jax.vmap(self.slices))(keys)
        # Near zero a temperature would leave no slope; it starts at a half.
        scores = scores / jnp.clip(self.temperature, 0.1, 5.0)[:, None]
        shares = jax.nn.softmax(scores, axis=-1)
        parts = shares * measure[:, None, None]
        parts = parts / (jnp.sum(parts, axis=0) + jnp.finfo(parts.dtype).tiny)
        tokens = jnp.einsum("phs,phc->shc", parts, values)
        query, key, value = jnp.split(jax.vmap(jax.vmap(self.attend))(tokens), 3, axis=-1)
        tokens = jax.nn.dot_product_attention(query, key, value)
        back = jnp.einsum("phs,shc->phc", shares, tokens)
        return jax.vmap(self.out)(back.reshape(field.shape))


class Block(eqx.Module):
    """`v <- v + attention(norm v)`, `v <- v + network(norm v)`."""

    first: eqx.nn.LayerNorm
    attention: PhysicsAttention
    second: eqx.nn.LayerNorm
    network: Dense

    def __call__(self, field: Array, measure: Array) -> Array:
        field = field + self.attention(jax.vmap(self.first)(field), measure)
        return field + jax.vmap(lambda one: self.network(self.second(one)))(field)


class Transolver(eqx.Module):
    """From values at points to values at the same points, whatever their number, order or place.

    **Arguments**

    - `dim`: coordinates of a point, which are lifted together with the values there.
    - `width`: channels, a multiple of `heads`; `depth`: blocks; `slices`: tokens of a head.
    - `hidden`: of the networks at every point.

    Points on a grid are `grid.points.reshape(-1, dim)` and their values
    `field.reshape(channels, -1).T`.
    """

    lift: Dense
    blocks: tuple[Block, ...]
    norm: eqx.nn.LayerNorm
    project: Dense

    def __init__(
        self,
        dim: int,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        slices: int = 32,
        hidden: int = 128,
        activation: Callable[[Array], Array] = jax.nn.gelu,
        key: PRNGKeyArray,
    ):
        """Raises ValueError for sizes below one, or a width that the heads do not divide."""
        checks.counts(
            dim=dim, in_channels=in_channels, out_channels=out_channels, width=width, depth=depth,
            heads=heads, slices=slices, hidden=hidden,
        )  # fmt: skip
        if width % heads:
            raise ValueError(f"width must be a multiple of heads = {heads}, got {width}")
        first, last, *keys = jax.random.split(key, depth + 2)

        def block(key: PRNGKeyArray) -> Block:
            attention, network = jax.random.split(key)
            return Block(
                eqx.nn.LayerNorm(width),
                PhysicsAttention(width, heads, slices, key=attention),
                eqx.nn.LayerNorm(width),
                Dense((width, hidden, width), activation=activation, key=network),
            )

        self.lift = Dense((dim + in_channels, hidden, width), activation=activation, key=first)
        self.blocks = tuple(block(k) for k in keys)
        self.norm = eqx.nn.LayerNorm(width)
        self.project = Dense((width, out_channels), key=last)

    def __call__(
        self,
        values: Float[Array, "points in_channels"],
        points: Float[Array, "points dim"],
        measure: Float[Array, " points"] | None = None,
    ) -> Float[Array, "points out_channels"]:
        """`measure` is the part of the domain that each point stands for, up to a factor; by
        default all count alike. Raises ValueError for shapes that do not fit."""
        count, inputs = len(points), self.lift.weights[0].shape[0]
        measure = jnp.ones(count, values.dtype) if measure is None else measure
        checks.shape("measure", measure, (count,))
        if points.ndim != 2 or values.ndim != 2 or len(values) != count:
            raise ValueError(
                "values and points must have shapes (points, in_channels) and (points, dim), got "
                f"{values.shape} and {points.shape}; use jax.vmap for a batch"
            )
        if values.shape[1] + points.shape[1] != inputs:
            raise ValueError(
                f"channels and coordinates must be {inputs} together, got {values.shape[1]} and "
                f"{points.shape[1]}"
            )
        field = jax.vmap(self.lift)(jnp.concatenate([values, points], axis=1))
        for block in self.blocks:
            field = block(field, measure)
        return jax.vmap(lambda one: self.project(self.norm(one)))(field)

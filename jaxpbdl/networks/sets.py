"""Functions of sets of particles: their order does not matter, and neither does their number.

    particle flow   F(sum_i Phi(p_i))             any function of a set
    energy flow     F(sum_i z_i Phi(direction_i)) those safe against soft and collinear particles

(Zaheer et al., "Deep Sets", NeurIPS 2017; Komiske, Metodiev, Thaler, JHEP 01 (2019) 121.)
`z` is the share of a particle in the energy of its set. A particle of vanishing `z` adds nothing to
an energy flow, and one split in two of the same direction changes nothing: what perturbation theory
can compute. `jaxpbdl.networks.set_layers` has layers that keep the particles apart, and attention.

A set comes **dense**, `(particles, features)` with a mask that is false in the padding, one set a
call; or **ragged**, the particles of many sets one after another with the number of the set that
each belongs to (`owner`, ascending; a number beyond the sets drops the particle). The ragged form
spends nothing on padding. On a CPU, `jax.lax.map(network, sets, batch_size=25)` beats vmap over
hundreds of dense sets, whose hidden layers do not fit into the cache.
"""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense


class ParticleFlow(eqx.Module):
    """`F(sum_i Phi(p_i))` of particles with any features.

    **Arguments**

    - `features`: of a particle; `outputs`: of a set.
    - `inner`: widths of the layers of Phi, each with the activation, the last one's too: its size
      is the number of sums taken; `outer`: of the hidden layers of F.
    """

    inner: Dense
    outer: Dense
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        inner: Sequence[int] = (100, 100, 256),
        outer: Sequence[int] = (100, 100, 100),
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        self.inner, self.outer = _halves(features, outputs, inner, outer, activation, key)
        self.activation = activation

    def __call__(
        self,
        particles: Float[Array, "particles features"],
        mask: Bool[Array, " particles"] | None = None,
    ) -> Float[Array, " outputs"]:
        """Raises ValueError unless this is one set of particles with these features."""
        particles, mask = present(self.inner, particles, mask)
        latent = self.activation(jax.vmap(self.inner)(particles))
        return self.outer(mask.astype(latent.dtype) @ latent)

    def ragged(
        self,
        particles: Float[Array, "total features"],
        owner: Int[Array, " total"],
        sets: int,
    ) -> Float[Array, "sets outputs"]:
        """The same of many sets at once."""
        latent = self.activation(jax.vmap(self.inner)(particles))
        return jax.vmap(self.outer)(sums(latent, owner, sets))


class EnergyFlow(eqx.Module):
    """`F(sum_i z_i Phi(direction_i))`; arguments as of `ParticleFlow`, features of a direction."""

    inner: Dense
    outer: Dense
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        outputs: int,
        *,
        inner: Sequence[int] = (100, 100, 256),
        outer: Sequence[int] = (100, 100, 100),
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKeyArray,
    ):
        self.inner, self.outer = _halves(features, outputs, inner, outer, activation, key)
        self.activation = activation

    def __call__(
        self,
        shares: Float[Array, " particles"],
        directions: Float[Array, "particles features"],
        mask: Bool[Array, " particles"] | None = None,
    ) -> Float[Array, " outputs"]:
        """Without a mask, the padding is where shares are zero. Raises ValueError unless this is
        one set of particles with one share each and these directions."""
        checks.shape("shares", shares, directions.shape[:1])
        directions, mask = present(self.inner, directions, mask)
        latent = self.activation(jax.vmap(self.inner)(directions))
        return self.outer(jnp.where(mask, shares, 0) @ latent)

    def ragged(
        self,
        shares: Float[Array, " total"],
        directions: Float[Array, "total features"],
        owner: Int[Array, " total"],
        sets: int,
    ) -> Float[Array, "sets outputs"]:
        """The same of many sets at once."""
        latent = self.activation(jax.vmap(self.inner)(directions))
        return jax.vmap(self.outer)(sums(shares[:, None] * latent, owner, sets))


def present(
    network: Dense, particles: Array, mask: Array | None
) -> tuple[Float[Array, "particles features"], Bool[Array, " particles"]]:
    """Particles with zeros in the padding, whatever stood there, and the mask.

    Not a product with the mask: that would let NaN through, forwards and in the gradient.
    """
    expected = network.weights[0].shape[0]
    if particles.ndim != 2 or particles.shape[1] != expected:
        raise ValueError(
            f"one set has shape (particles, {expected}), got shape {tuple(particles.shape)}; use "
            "jax.vmap, or jax.lax.map with a batch_size, for many sets"
        )
    if mask is None:
        return particles, jnp.ones(len(particles), bool)
    checks.shape("mask", mask, particles.shape[:1])
    return jnp.where(mask[:, None], particles, 0), mask


def _halves(
    features: int,
    outputs: int,
    inner: Sequence[int],
    outer: Sequence[int],
    activation: Callable[[Array], Array],
    key: PRNGKeyArray,
) -> tuple[Dense, Dense]:
    if not inner:
        raise ValueError("inner must name at least one width, got none")
    first, second = jax.random.split(key)
    scale = 2**0.5
    return (
        Dense((features, *inner), activation=activation, scale=scale, key=first),
        Dense((inner[-1], *outer, outputs), activation=activation, scale=scale, key=second),
    )


def sums(rows: Array, owner: Array, sets: int) -> Array:
    """Of the rows of each set, the owners ascending."""
    return jax.ops.segment_sum(rows, owner, sets, indices_are_sorted=True)

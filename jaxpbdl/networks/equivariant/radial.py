"""Functions of a distance: Bessel and Gaussian bases, a smooth cutoff, and a network of them."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.dense import Dense

Basis: TypeAlias = Callable[[Float[Array, "*edges"], int, float], Float[Array, "*edges count"]]


def bessel(distance: Float[Array, "*edges"], count: int, cutoff: float) -> Array:
    """`sqrt(2 / c) sin(n pi r / c) / r` for n = 1 to `count`: waves in a ball that vanish at the
    cutoff c (Gasteiger, Gross, Guennemann, ICLR 2020). Diverges at coincident atoms."""
    wavenumbers = jnp.arange(1, count + 1, dtype=distance.dtype) * (jnp.pi / cutoff)
    r = distance[..., None]
    return (2 / cutoff) ** 0.5 * jnp.sin(wavenumbers * r) / r


def gaussian(distance: Float[Array, "*edges"], count: int, cutoff: float) -> Array:
    """Bells `exp(-(r - m)^2 / (2 w^2))` at `count` equal distances from 0 to the cutoff, as wide as
    they are apart (Schuett et al., J. Chem. Phys. 148 (2018) 241722)."""
    centres = jnp.linspace(0.0, cutoff, count, dtype=distance.dtype)
    width = cutoff / max(count - 1, 1)
    return jnp.exp(-0.5 * ((distance[..., None] - centres) / width) ** 2)


def polynomial_cutoff(distance: Float[Array, "*edges"], cutoff: float, power: int = 6) -> Array:
    """One at r = 0 and zero beyond the cutoff, with `power - 1` derivatives at zero and two at the
    cutoff that vanish (Gasteiger, Gross, Guennemann, ICLR 2020, equation 8)."""
    p, u = power, distance / cutoff
    inside = (
        1
        - (p + 1) * (p + 2) / 2 * u**p
        + p * (p + 2) * u ** (p + 1)
        - p * (p + 1) / 2 * u ** (p + 2)
    )
    return jnp.where(u < 1, inside, 0.0)


class Radial(eqx.Module):
    """`functions` learned functions of the distance that vanish smoothly at the cutoff:

        phi_b(r) = network_b(basis(r)) envelope(r)

    They are few and shared by all channels, which mix them linearly: see `Convolution`.
    """

    network: Dense
    basis: Basis = eqx.field(static=True)
    size: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def __init__(
        self,
        cutoff: float,
        *,
        functions: int = 8,
        basis: Basis = bessel,
        size: int = 8,
        hidden: Sequence[int] = (32, 32),
        key: PRNGKeyArray,
    ):
        checks.positive("cutoff", cutoff)
        checks.counts(functions=functions, size=size)
        sizes = (size, *hidden, functions)
        self.network = Dense(sizes, activation=jax.nn.silu, scale=2**0.5, key=key)
        self.basis, self.size, self.cutoff = basis, size, float(cutoff)

    def __call__(self, distance: Float[Array, "*edges"]) -> Float[Array, "*edges functions"]:
        flat = distance.reshape(-1)
        values = jax.vmap(self.network)(self.basis(flat, self.size, self.cutoff))
        values = values * polynomial_cutoff(flat, self.cutoff)[:, None]
        return values.reshape(*distance.shape, values.shape[-1])

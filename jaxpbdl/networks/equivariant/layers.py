"""Layers of equivariant networks: a convolution, then what makes it nonlinear."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl.networks.equivariant.algebra import SCALAR, Irrep, Mix, MixBySpecies, places, show
from jaxpbdl.networks.equivariant.contraction import SymmetricContraction
from jaxpbdl.networks.equivariant.convolution import Convolution

OneHot = Float[Array, "atoms species"]


class Gate(eqx.Module):
    """Scalars through silu (odd ones through tanh), all else multiplied by a sigmoid of scalars:
    the nonlinearity of NequIP (Batzner et al. 2022), after Weiler et al. (NeurIPS 2018)."""

    gates: Float[Array, "channels gated_channels"]
    irreps: tuple[Irrep, ...] = eqx.field(static=True)

    def __init__(self, irreps: tuple[Irrep, ...], channels: int, *, key: PRNGKeyArray):
        """Raises ValueError if there is no scalar 0e to gate the others."""
        if SCALAR not in irreps:
            raise ValueError(f"a gate needs the scalar 0e, got {show(irreps)}")
        gated = sum(irrep.l > 0 for irrep in irreps)
        self.gates = jax.random.normal(key, (channels, gated * channels)) / channels**0.5
        self.irreps = irreps

    def __call__(self, features: Float[Array, "atoms components channels"]) -> Array:
        where = places(self.irreps)
        scalars = features[:, where[self.irreps.index(SCALAR)]]
        gates = iter(jnp.split(jax.nn.sigmoid(scalars @ self.gates), max(1, self.gated), axis=-1))
        blocks = []
        for irrep, place in zip(self.irreps, where, strict=True):
            block = features[:, place]
            if irrep.l > 0:
                blocks.append(block * next(gates))
            else:
                blocks.append(jax.nn.silu(block) if irrep.p == 1 else jnp.tanh(block))
        return jnp.concatenate(blocks, axis=1)

    @property
    def gated(self) -> int:
        return sum(irrep.l > 0 for irrep in self.irreps)


class GatedLayer(eqx.Module):
    """NequIP's interaction: `gate(convolution(x) + x mixed by species)`."""

    convolution: Convolution
    own: MixBySpecies | None
    gate: Gate
    before: tuple[Irrep, ...] = eqx.field(static=True)
    after: tuple[Irrep, ...] = eqx.field(static=True)

    def __call__(self, features: Array, one_hot: OneHot, around: "Around") -> Array:
        heard = self.convolution(features, around.senders, around.harmonics, around.functions)
        return self.gate(add_own(heard, self.own, features, one_hot, self.before, self.after))


class ContractedLayer(eqx.Module):
    """MACE's interaction: `mix(contraction(convolution(x))) + x mixed by species`, without any
    further nonlinearity."""

    convolution: Convolution
    contraction: SymmetricContraction
    mix: Mix
    own: MixBySpecies | None
    before: tuple[Irrep, ...] = eqx.field(static=True)
    after: tuple[Irrep, ...] = eqx.field(static=True)

    def __call__(self, features: Array, one_hot: OneHot, around: "Around") -> Array:
        heard = self.convolution(features, around.senders, around.harmonics, around.functions)
        update = self.mix(self.contraction(heard, one_hot))
        return add_own(update, self.own, features, one_hot, self.before, self.after)


class Around(eqx.Module):
    """What a layer knows of the neighbours."""

    senders: Int[Array, "atoms slots"]
    harmonics: Float[Array, "atoms slots harmonics"]
    functions: Float[Array, "atoms slots functions"]


Layer = GatedLayer | ContractedLayer
MakeLayer = Callable[..., Layer]
"""`make(before, after, edges=, channels=, species=, functions=, neighbours=, key=)`."""


def gated_layer(
    before: tuple[Irrep, ...],
    after: tuple[Irrep, ...],
    *,
    edges: tuple[Irrep, ...],
    channels: tuple[int, int],
    species: int,
    functions: int,
    neighbours: float,
    key: PRNGKeyArray,
) -> GatedLayer:
    """A layer of the NequIP family from irreps `before` to `after` (and the scalar 0e, which gates
    them), which must be reached by one coupling with the harmonics `edges`."""
    keys = jax.random.split(key, 3)
    after = after if SCALAR in after else (SCALAR, *after)
    return GatedLayer(
        Convolution(
            before, edges, after, channels=channels, functions=functions, size=neighbours**0.5,
            key=keys[0],
        ),
        own_of(before, after, species, channels, keys[1]),
        Gate(after, channels[1], key=keys[2]),
        before,
        after,
    )  # fmt: skip


def contracted_layer(order: int) -> MakeLayer:
    """Layers of the MACE family: symmetric powers up to `order` of messages with the irreps of the
    harmonics `edges`."""

    def make(
        before: tuple[Irrep, ...],
        after: tuple[Irrep, ...],
        *,
        edges: tuple[Irrep, ...],
        channels: tuple[int, int],
        species: int,
        functions: int,
        neighbours: float,
        key: PRNGKeyArray,
    ) -> ContractedLayer:
        keys = jax.random.split(key, 4)
        return ContractedLayer(
            Convolution(
                before, edges, edges, channels=channels, functions=functions, size=neighbours**0.5,
                key=keys[0],
            ),
            SymmetricContraction(
                edges, after, order=order, species=species, channels=channels[1], key=keys[1]
            ),
            Mix(after, channels[1], channels[1], key=keys[2]),
            own_of(before, after, species, channels, keys[3]),
            before,
            after,
        )  # fmt: skip

    return make


def own_of(
    before: tuple[Irrep, ...],
    after: tuple[Irrep, ...],
    species: int,
    channels: tuple[int, int],
    key: PRNGKeyArray,
) -> MixBySpecies | None:
    common = tuple(irrep for irrep in after if irrep in before)
    return MixBySpecies(common, species, *channels, key=key) if common else None


def add_own(
    update: Array,
    own: MixBySpecies | None,
    features: Array,
    one_hot: OneHot,
    before: tuple[Irrep, ...],
    after: tuple[Irrep, ...],
) -> Array:
    """`update` plus the atom's own features of the irreps that both have."""
    if own is None:
        return update
    theirs = dict(zip(before, places(before), strict=True))
    kept = jnp.concatenate([features[:, theirs[irrep]] for irrep in own.irreps], axis=1)
    added = own(kept, one_hot)
    starts = dict(zip(own.irreps, places(own.irreps), strict=True))
    blocks = [
        update[:, place] + added[:, starts[irrep]] if irrep in starts else update[:, place]
        for irrep, place in zip(after, places(after), strict=True)
    ]
    return jnp.concatenate(blocks, axis=1)

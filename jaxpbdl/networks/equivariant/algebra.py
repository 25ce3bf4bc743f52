"""Features that turn with the molecule: which irreducible representations, linear maps, products.

Features of an atom are `(components, channels)`. The components are those of a list of irreps of
O(3), each once: `"0e + 1o + 2e"` has 1 + 3 + 5. Every irrep has all the channels, which come last,
where loops over them are fast. The algebra, and the order and sign of components, is that of
e3nn-jax (Geiger, Smidt, arXiv:2207.09453), whose Clebsch-Gordan coefficients are used.
"""

from collections.abc import Iterable
from typing import NamedTuple

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Irrep = e3nn.Irrep
SCALAR = Irrep(0, 1)
AnyIrreps = str | e3nn.Irreps | Iterable[e3nn.Irrep]


def kinds(irreps: AnyIrreps) -> tuple[Irrep, ...]:
    """The different irreps, sorted by degree, of a list as text or of e3nn-jax.

    Raises ValueError if one appears twice: multiplicity is the number of channels.
    """
    try:
        given = [item.ir for item in e3nn.Irreps(irreps) for _ in range(item.mul)]  # type: ignore
    except (ValueError, TypeError, AssertionError) as error:
        raise ValueError(f"irreps are written like '0e + 1o + 2e', got {irreps!r}") from error
    if len(set(given)) != len(given) or not given:
        raise ValueError(
            f"irreps must be named, each once (channels are set apart), got {irreps!r}"
        )
    return tuple(sorted(given, key=lambda irrep: (irrep.l, -irrep.p)))


def show(irreps: Iterable[Irrep]) -> str:
    """Irreps as text."""
    return " + ".join(map(str, irreps))


def harmonics_of(degree: int) -> tuple[Irrep, ...]:
    """The irreps of the spherical harmonics up to a degree."""
    return tuple(Irrep(l, (-1) ** l) for l in range(degree + 1))  # noqa: E741


def places(irreps: tuple[Irrep, ...]) -> list[slice]:
    """Where the components of each irrep lie."""
    ends = np.cumsum([0, *(irrep.dim for irrep in irreps)]).tolist()
    return [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]


def dimension(irreps: tuple[Irrep, ...]) -> int:
    return sum(irrep.dim for irrep in irreps)


class Path(NamedTuple):
    """One way to couple two irreps to a third: their places in their lists, and the irreps."""

    left: int
    right: int
    out: int
    irreps: tuple[Irrep, Irrep, Irrep]

    @property
    def coefficients(self) -> Float[np.ndarray, "left right out"]:
        """Clebsch-Gordan coefficients, scaled so that independent inputs of unit variance give
        outputs of unit variance."""
        a, b, c = self.irreps
        return e3nn.clebsch_gordan(a.l, b.l, c.l) * c.dim**0.5


def paths(left: tuple[Irrep, ...], right: tuple[Irrep, ...], out: tuple[Irrep, ...]) -> list[Path]:
    """All ways to couple an irrep of `left` with one of `right` to one of `out`, by `left`."""
    return [
        Path(i, j, k, (a, b, c))
        for i, a in enumerate(left)
        for j, b in enumerate(right)
        for k, c in enumerate(out)
        if c in a * b
    ]


class Mix(eqx.Module):
    """A linear map of the channels of each irrep, which is all that a linear equivariant map can
    do: `y[m, k'] = sum_k x[m, k] weight_irrep[k, k']`."""

    weights: tuple[Float[Array, "_channels_in channels_out"], ...]
    irreps: tuple[Irrep, ...] = eqx.field(static=True)

    def __init__(
        self, irreps: tuple[Irrep, ...], before: int | list[int], after: int, *, key: PRNGKeyArray
    ):
        each = [before] * len(irreps) if isinstance(before, int) else before
        keys = jax.random.split(key, len(irreps))
        self.weights = tuple(
            jax.random.normal(k, (b, after)) / b**0.5 for k, b in zip(keys, each, strict=True)
        )
        self.irreps = irreps

    def __call__(
        self, features: Float[Array, "atoms components channels"]
    ) -> Float[Array, "atoms components out"]:
        blocks = [features[:, place] for place in places(self.irreps)]
        return self.blocks(blocks)

    def blocks(self, blocks: list[Array]) -> Float[Array, "atoms components out"]:
        """The same of a block of features for each irrep, with channels of different number."""
        pairs = zip(blocks, self.weights, strict=True)
        return jnp.concatenate([block @ weight for block, weight in pairs], axis=1)


class MixBySpecies(eqx.Module):
    """`Mix` with weights of its own for each species."""

    weights: tuple[Float[Array, "species channels_in channels_out"], ...]
    irreps: tuple[Irrep, ...] = eqx.field(static=True)

    def __init__(
        self, irreps: tuple[Irrep, ...], species: int, before: int, after: int, *, key: PRNGKeyArray
    ):
        keys = jax.random.split(key, len(irreps))
        self.weights = tuple(
            jax.random.normal(k, (species, before, after)) / before**0.5 for k in keys
        )
        self.irreps = irreps

    def __call__(
        self,
        features: Float[Array, "atoms components channels"],
        one_hot: Float[Array, "atoms species"],
    ) -> Float[Array, "atoms components out"]:
        blocks = []
        for place, weight in zip(places(self.irreps), self.weights, strict=True):
            # All species in one product, then the atom's own: cheaper than weights for every atom.
            of_all = jnp.einsum("nmk,skc->nmsc", features[:, place], weight)
            blocks.append(jnp.einsum("nmsc,ns->nmc", of_all, one_hot))
        return jnp.concatenate(blocks, axis=1)

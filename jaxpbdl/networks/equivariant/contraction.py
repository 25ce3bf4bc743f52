"""Higher body order: symmetric powers of an atom's features, coupled to irreps (MACE)."""

from functools import lru_cache
from math import factorial

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.equivariant.algebra import Irrep, dimension, show


class SymmetricContraction(eqx.Module):
    """`B[m, k] = sum over nu, eta of W_nu[species, eta, k] U_(nu, eta)[m; A[k], ..., A[k]]`

    with every independent symmetric coupling `U` of 1 to `order` copies of the features `A` to the
    irreps `after`: messages of body order `order + 1` (Batatia et al., NeurIPS 2022). The couplings
    multiply powers of one degree less as one matrix product over all atoms and channels, whose
    result the last factor weighs.
    """

    weights: tuple[tuple[Float[Array, "species _couplings channels"], ...], ...]
    before: tuple[Irrep, ...] = eqx.field(static=True)
    after: tuple[Irrep, ...] = eqx.field(static=True)

    def __init__(
        self,
        before: tuple[Irrep, ...],
        after: tuple[Irrep, ...],
        *,
        order: int,
        species: int,
        channels: int,
        key: PRNGKeyArray,
    ):
        """Raises ValueError if one of `after` cannot be reached."""
        checks.counts(order=order, species=species, channels=channels)
        sizes = [[u.shape[1] for u in couplings(before, after, nu + 1)] for nu in range(order)]
        for irrep, counts in zip(after, zip(*sizes, strict=True), strict=True):
            if not any(counts):
                raise ValueError(
                    f"irrep {irrep} cannot be reached by products of up to {order} of "
                    f"{show(before)}"
                )
        keys = iter(jax.random.split(key, order * len(after)))
        # Powers of standard normal numbers grow; each order begins with an equal share.
        self.weights = tuple(
            tuple(
                jax.random.normal(next(keys), (species, n, channels)) / max(n * order, 1) ** 0.5
                for n in of_irreps
            )
            for of_irreps in sizes
        )
        self.before, self.after = before, after

    def __call__(
        self,
        features: Float[Array, "atoms components channels"],
        one_hot: Float[Array, "atoms species"],
    ) -> Float[Array, "atoms out channels"]:
        factors = jnp.moveaxis(features, 1, 0)  # components first: `U` multiplies from the left
        size, atoms, channels = factors.shape
        products = jnp.ones((1, atoms, channels), features.dtype)
        found = [jnp.zeros((), features.dtype)] * len(self.after)
        for nu, of_irreps in enumerate(self.weights):
            if nu:
                products = (products[:, None] * factors).reshape(-1, atoms, channels)
            tables = couplings(self.before, self.after, nu + 1)
            for place, (table, weight) in enumerate(zip(tables, of_irreps, strict=True)):
                parts, count = table.shape[:2]  # (components, couplings, last factor, the others)
                if count == 0:
                    continue
                matrix = jnp.asarray(table.reshape(parts * count * size, -1), features.dtype)
                rows = matrix @ products.reshape(-1, atoms * channels)
                rows = rows.reshape(parts, count, size, atoms, channels)
                chosen = jnp.einsum("ns,sck->cnk", one_hot, weight)
                found[place] = found[place] + jnp.einsum(
                    "mcznk,znk,cnk->mnk", rows, factors, chosen
                )
        return jnp.moveaxis(jnp.concatenate(found, axis=0), 0, 1)


@lru_cache
def couplings(
    before: tuple[Irrep, ...], after: tuple[Irrep, ...], degree: int
) -> tuple[np.ndarray, ...]:
    """For each irrep of `after` the coefficients `(components, couplings, size, size^(degree - 1))`
    of the independent symmetric couplings of `degree` copies of `before`, of dimension `size`."""
    irreps = e3nn.Irreps([(1, irrep) for irrep in before])
    basis = e3nn.reduced_symmetric_tensor_product_basis(irreps, degree, keep_ir=list(after))
    size = dimension(before)
    # A product of independent standard normal numbers has a variance of about degree!.
    table = np.asarray(basis.array, dtype=np.float64) / factorial(degree) ** 0.5
    table = table.reshape(size, size ** (degree - 1), -1)
    out = []
    for irrep in after:
        found = [
            table[..., where].reshape(*table.shape[:2], -1, irrep.dim)
            for (_, kind), where in zip(basis.irreps, basis.irreps.slices(), strict=True)
            if kind == irrep
        ]
        empty = np.zeros((*table.shape[:2], 0, irrep.dim))
        out.append(np.transpose(np.concatenate([empty, *found], axis=2), (3, 2, 0, 1)))
    return tuple(out)

"""Messages between neighbours: a tensor product with spherical harmonics, summed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.networks.equivariant.algebra import Irrep, Mix, Path, paths, places, show


class Convolution(eqx.Module):
    """What an atom hears of its neighbours,

        A_i[p, m, k] = sum_b W[p, b, k] sum_j phi_b(r_ij) sum_(m1, m2) C_p[m1, m2, m]
                       x_j[m1, k] Y[m2](r_ij) / size

    for every path `p` by Clebsch-Gordan coefficients `C`, then mixed to `out` channels an irrep. It
    is the interaction of NequIP (Batzner et al., Nat. Commun. 13 (2022) 2453) and MACE with radial
    weights of low rank: `b` functions shared by all channels instead of one for each channel and
    path. The sum over neighbours is then one matrix product an atom.
    """

    up: Mix
    radial: Float[Array, "paths functions channels"]
    down: Mix
    couplings: tuple[Path, ...] = eqx.field(static=True)
    edges: tuple[Irrep, ...] = eqx.field(static=True)
    size: float = eqx.field(static=True)

    def __init__(
        self,
        before: tuple[Irrep, ...],
        edges: tuple[Irrep, ...],
        after: tuple[Irrep, ...],
        *,
        channels: tuple[int, int],
        functions: int,
        size: float,
        key: PRNGKeyArray,
    ):
        """From irreps `before` of `channels[0]` channels to irreps `after` of `channels[1]`;
        `size` is that of the sum before it is divided by it. Raises ValueError if one of `after`
        has no path.
        """
        checks.positive("size", size)
        known = paths(before, edges, after)
        for place, irrep in enumerate(after):
            if all(path.out != place for path in known):
                reachable = sorted({str(c) for a in before for b in edges for c in a * b})
                raise ValueError(
                    f"irrep {irrep} cannot be reached from {show(before)} by spherical harmonics "
                    f"{show(edges)}: these lead to {', '.join(reachable)}"
                )
        keys = jax.random.split(key, 3)
        self.up = Mix(before, channels[0], channels[1], key=keys[0])
        shape = (len(known), functions, channels[1])
        self.radial = jax.random.normal(keys[1], shape) / functions**0.5
        each = [channels[1] * sum(p.out == place for p in known) for place in range(len(after))]
        self.down = Mix(after, each, channels[1], key=keys[2])
        self.couplings, self.edges, self.size = tuple(known), edges, float(size)

    def __call__(
        self,
        features: Float[Array, "atoms components channels"],
        senders: Int[Array, "atoms slots"],
        harmonics: Float[Array, "atoms slots harmonics"],
        functions: Float[Array, "atoms slots functions"],
    ) -> Float[Array, "atoms out channels_out"]:
        theirs = self.up(features)[senders] / self.size
        found: dict[int, list[Array]] = {}
        for left, place in enumerate(places(self.up.irreps)):
            some = [(i, path) for i, path in enumerate(self.couplings) if path.left == left]
            if not some:
                continue
            coupled = neighbour_sum(
                [path for _, path in some], self.edges, theirs[:, :, place], harmonics, functions
            )
            start = 0
            for index, path in some:
                rows = coupled[:, start : start + path.irreps[2].dim]
                start += path.irreps[2].dim
                message = jnp.einsum("nmbk,bk->nmk", rows, self.radial[index])
                found.setdefault(path.out, []).append(message)
        blocks = [jnp.concatenate(found[out], axis=-1) for out in sorted(found)]
        return self.down.blocks(blocks)


def neighbour_sum(
    couplings: list[Path],
    edges: tuple[Irrep, ...],
    theirs: Float[Array, "atoms slots components channels"],
    harmonics: Float[Array, "atoms slots harmonics"],
    functions: Float[Array, "atoms slots functions"],
) -> Float[Array, "atoms rows functions channels"]:
    """Couplings of one irrep of the neighbours, summed over them; the rows are the components of
    one path after another.

    What multiplies the channels is small and the same for all of them: put together first, it turns
    the sum over neighbours and components into a matrix product.
    """
    atoms, slots, components, channels = theirs.shape
    where = places(edges)
    turned = [
        jnp.einsum("nsj,ijm->nmsi", harmonics[..., where[path.right]], path.coefficients)
        for path in couplings
    ]
    matrix = jnp.einsum("nmsi,nsb->nmbsi", jnp.concatenate(turned, axis=1), functions)
    rows, count = matrix.shape[1], functions.shape[-1]
    flat = matrix.reshape(atoms, rows * count, slots * components)
    summed = flat @ theirs.reshape(atoms, slots * components, channels)
    return summed.reshape(atoms, rows, count, channels)

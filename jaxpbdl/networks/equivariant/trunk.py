"""The common trunk: a graph in, features of every atom after every layer out."""

from collections.abc import Sequence

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import Graph, displacements
from jaxpbdl.networks.equivariant.algebra import (
    SCALAR,
    AnyIrreps,
    Irrep,
    dimension,
    harmonics_of,
    kinds,
    show,
)
from jaxpbdl.networks.equivariant.layers import (
    Around,
    Layer,
    MakeLayer,
    contracted_layer,
)
from jaxpbdl.networks.equivariant.radial import Basis, Radial, bessel


class Trunk(eqx.Module):
    """Layers of messages between neighbours, for any quantity that turns with the molecule.

    **Arguments**

    - `species`: how many there are; a graph names them by their place.
    - `cutoff`: Angstrom, that of the graph or less; messages vanish smoothly there.
    - `hidden`: irreps between layers, as text: "0e" knows distances only, "0e + 1o" also
      directions. `degree` is that of the spherical harmonics of an edge, at most; 0 with hidden
      "0e" is a network of distances only.
    - `after`: irreps of the last layer.
    - `channels`: of each irrep. `layers`: how many.
    - `make`: the family, `contracted_layer(3)` (MACE) or `gated_layer` (NequIP).
    - `neighbours`: the mean number of neighbours in the data.
    - `functions`, `basis`, `size`: see `Radial`.

    **Raises** ValueError for an irrep that cannot be reached, or written otherwise.
    """

    embedding: Float[Array, "species channels"]
    radials: tuple[Radial, ...]
    layers: tuple[Layer, ...]
    edges: tuple[Irrep, ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)

    def __init__(
        self,
        species: int,
        cutoff: float,
        *,
        hidden: AnyIrreps = "0e + 1o",
        degree: int = 2,
        after: AnyIrreps = "0e",
        channels: int = 32,
        layers: int = 2,
        make: MakeLayer | None = None,
        neighbours: float = 10.0,
        functions: int = 8,
        basis: Basis = bessel,
        size: int = 8,
        network: Sequence[int] = (32, 32),
        key: PRNGKeyArray,
    ):
        checks.counts(species=species, channels=channels, layers=layers)
        checks.count("degree", degree, 0)
        self.edges, self.cutoff = harmonics_of(degree), float(cutoff)
        keys = jax.random.split(key, 2 * layers + 1)
        self.embedding = jax.random.normal(keys[0], (species, channels))
        make, between, last = make or contracted_layer(3), kinds(hidden), kinds(after)
        self.radials = tuple(
            Radial(cutoff, functions=functions, basis=basis, size=size, hidden=network, key=k)
            for k in keys[1::2]
        )
        built: list[Layer] = []
        for index, k in enumerate(keys[2::2]):
            before = built[-1].after if built else (SCALAR,)
            # The first layers, which know scalars only, need not have all irreps yet.
            goal = last if index == layers - 1 else reached(before, self.edges, between)
            built.append(
                make(
                    before, goal, edges=self.edges, channels=(channels, channels),
                    species=species, functions=functions, neighbours=neighbours, key=k,
                )
            )  # fmt: skip
        self.layers = tuple(built)
        missing = set(between).difference(*(layer.after for layer in built[:-1]))
        if layers > 1 and missing:
            raise ValueError(
                f"hidden irreps {show(missing)} cannot be reached in {layers - 1} "
                f"layers before the last by spherical harmonics of degree {degree} or less"
            )

    def __call__(self, graph: Graph) -> list[Float[Array, "atoms _components _channels"]]:
        """The features after each layer, whose irreps are `layers[i].after`. Those of padding atoms
        mean nothing."""
        mask = graph.edge_mask
        # Padding is put beyond the cutoff, where nothing is seen and all derivatives exist.
        away = jnp.asarray([2 * self.cutoff, 0.0, 0.0], graph.positions.dtype)
        vectors = jnp.where(mask[..., None], displacements(graph), away)
        distances = jnp.linalg.norm(vectors, axis=-1)
        harmonics = e3nn.spherical_harmonics(
            e3nn.Irreps([(1, irrep) for irrep in self.edges]),
            e3nn.IrrepsArray("1o", vectors),
            True,
            normalization="component",
        ).array
        one_hot = jax.nn.one_hot(graph.species, len(self.embedding), dtype=vectors.dtype)
        around = [Around(graph.senders, harmonics, radial(distances)) for radial in self.radials]
        return self._through(one_hot, around)

    def alone(self) -> list[Float[Array, "species _components _channels"]]:
        """The same of one atom of each species without any neighbour."""
        species, dtype = len(self.embedding), self.embedding.dtype
        # No slots at all: the sums over neighbours are empty, and compiled away.
        senders = jnp.zeros((species, 0), int)
        harmonics = jnp.zeros((species, 0, dimension(self.edges)), dtype)
        distances = jnp.zeros((species, 0), dtype)
        around = [Around(senders, harmonics, radial(distances)) for radial in self.radials]
        return self._through(jnp.eye(species, dtype=dtype), around)

    def _through(
        self, one_hot: Float[Array, "atoms species"], around: Sequence[Around]
    ) -> list[Float[Array, "atoms _components _channels"]]:
        features = (one_hot @ self.embedding)[:, None]
        found = []
        for layer, neighbours in zip(self.layers, around, strict=True):
            features = layer(features, one_hot, neighbours)
            found.append(features)
        return found


def reached(
    before: tuple[Irrep, ...], edges: tuple[Irrep, ...], wanted: tuple[Irrep, ...]
) -> tuple[Irrep, ...]:
    """Those of the wanted irreps that one coupling leads to."""
    return tuple(irrep for irrep in wanted if any(irrep in a * b for a in before for b in edges))

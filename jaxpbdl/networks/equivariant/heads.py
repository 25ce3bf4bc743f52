"""What is read from the features of atoms: energies, or tensors of any irreps."""

from functools import lru_cache
from typing import Any

import e3nn_jax as e3nn
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks
from jaxpbdl.molecules.atoms import Graph, total
from jaxpbdl.networks.dense import Dense
from jaxpbdl.networks.equivariant.algebra import SCALAR, Irrep, places
from jaxpbdl.networks.equivariant.trunk import Trunk
from jaxpbdl.trainable import Constant


class Potential(eqx.Module):
    """The energy of each component as a sum over its atoms, in eV,

        E = sum_i shift[species_i]
                  + scale sum over layers of (readout(scalars_i) - readout(scalars of a lone atom))

    Turning, reflecting and moving a molecule or exchanging like atoms leaves it as it is. `scale`
    and `shift` are those of the training data (eV) and are not fitted. Energies are relative to
    `data.reference_energies`, which are too large for float32. Forces and stress are derivatives:
    see `molecules.energy_and_forces`.

    An atom without a neighbour within the cutoff has the energy `shift[species]`, whatever the
    weights, so a molecule that falls apart ends at the sum of its references and shifts. With the
    references of isolated atoms and `shift = 0` that is the energy of the isolated atoms; a `shift`
    fitted to molecules (`molecules.scale_and_shift`) starts the training closer to their energies
    and moves that end by as much.
    """

    trunk: Trunk
    linear: tuple[Float[Array, " channels"], ...]
    last: Dense
    scale: Constant
    shift: Constant

    def __init__(
        self,
        species: int,
        cutoff: float,
        *,
        scale: checks.Numbers = 1.0,
        shift: checks.Numbers = 0.0,
        width: int = 16,
        key: PRNGKeyArray,
        **trunk: Any,
    ):
        """`width` is that of the last readout, `trunk` what `Trunk` takes, but `after`."""
        checks.positive("scale", scale)
        checks.finite("shift", shift)
        keys = jax.random.split(key, 3)
        self.trunk = Trunk(species, cutoff, after="0e", key=keys[0], **trunk)
        channels, layers = self.trunk.embedding.shape[1], len(self.trunk.layers)
        self.linear = tuple(
            jax.random.normal(k, (channels,)) / channels**0.5
            for k in jax.random.split(keys[1], layers - 1)
        )
        self.last = Dense((channels, width, 1), activation=jax.nn.silu, key=keys[2])
        self.scale = Constant(jnp.asarray(scale, dtype=float))
        self.shift = Constant(jnp.broadcast_to(jnp.asarray(shift, dtype=float), (species,)))

    def atomic(self, graph: Graph) -> Float[Array, " atoms"]:
        """The energy of each atom, eV; zero for padding."""
        alone = self._readout(self.trunk.alone())
        values = self._readout(self.trunk(graph)) - alone[graph.species]
        values = self.scale.value * values + self.shift.value[graph.species]
        return jnp.where(graph.atom_mask, values, 0.0)

    def _readout(
        self, features: list[Float[Array, "atoms _components _channels"]]
    ) -> Float[Array, " atoms"]:
        """Of the scalars after each layer."""
        values = jax.vmap(self.last)(features[-1][:, 0])[:, 0]
        for layer, found, weight in zip(self.trunk.layers, features, self.linear, strict=False):
            scalar = places(layer.after)[layer.after.index(SCALAR)].start
            values = values + found[:, scalar] @ weight
        return values

    def __call__(self, graph: Graph) -> Float[Array, " components"]:
        """The energy of each component, eV."""
        return total(graph, self.atomic(graph))


class Tensor(eqx.Module):
    """A Cartesian tensor of each component, as a sum over its atoms.

    `symmetry` are the indices and those that may be exchanged: "i" a vector (dipole), "ij=ji" a
    symmetric matrix (polarisability), "ijkl=jikl=ijlk=klij" an elasticity tensor. It is taken apart
    into irreps by e3nn-jax's reduced tensor products; the trunk is that of a potential. A dipole
    belongs to a neutral molecule: that of a charged one depends on the origin.
    """

    trunk: Trunk
    weights: tuple[Float[Array, "channels _copies"], ...]
    scale: Constant
    symmetry: str = eqx.field(static=True)

    def __init__(
        self,
        species: int,
        cutoff: float,
        symmetry: str,
        *,
        scale: checks.Numbers = 1.0,
        key: PRNGKeyArray,
        **trunk: Any,
    ):
        """`trunk` is what `Trunk` takes, but `after`. Raises ValueError for indices that are not
        understood and for irreps that the trunk cannot reach."""
        checks.positive("scale", scale)
        irreps = _basis(symmetry)[0]
        keys = jax.random.split(key)
        after = [irrep for _, irrep in irreps]
        self.trunk = Trunk(species, cutoff, after=after, key=keys[0], **trunk)
        channels = self.trunk.embedding.shape[1]
        self.weights = tuple(
            jax.random.normal(k, (channels, copies)) / channels**0.5
            for k, (copies, _) in zip(jax.random.split(keys[1], len(irreps)), irreps, strict=True)
        )
        self.scale, self.symmetry = Constant(jnp.asarray(scale, dtype=float)), symmetry

    def __call__(self, graph: Graph) -> Float[Array, "components *indices"]:
        irreps, basis = _basis(self.symmetry)
        layer, features = self.trunk.layers[-1], self.trunk(graph)[-1]
        where = dict(zip(layer.after, places(layer.after), strict=True))
        parts = [
            jnp.einsum("nmk,kc->ncm", features[:, where[irrep]], weight).reshape(len(features), -1)
            for (_, irrep), weight in zip(irreps, self.weights, strict=True)
        ]
        summed = total(graph, self.scale.value * jnp.concatenate(parts, axis=1))
        return jnp.tensordot(summed, jnp.asarray(basis, summed.dtype), axes=(1, basis.ndim - 1))


@lru_cache
def _basis(symmetry: str) -> tuple[tuple[tuple[int, Irrep], ...], np.ndarray]:
    """The irreps of a tensor with copies of each, and its components in the basis of them."""
    if set(symmetry) == {"i"}:
        return ((1, Irrep(1, -1)),), np.eye(3)
    vectors: dict[str, Any] = dict.fromkeys(set(symmetry) & set("ijkl"), "1o")
    try:
        found = e3nn.reduced_tensor_product_basis(symmetry, **vectors)
    except Exception as error:  # noqa: BLE001 - whatever e3nn-jax says of the indices
        raise ValueError(
            "symmetry must name up to four indices i, j, k, l and those that may be exchanged, "
            f"like 'i', 'ij=ji' or 'ijkl=jikl=ijlk=klij', got {symmetry!r}"
        ) from error
    found = found.regroup()
    return tuple((copies, irrep) for copies, irrep in found.irreps), np.asarray(found.array)

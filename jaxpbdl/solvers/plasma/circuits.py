"""Flux of circular currents, and coils made of them.

A filament of unit current at `(R_c, Z_c)` makes the flux per radian

    G = mu_0 / (2 pi) sqrt(R R_c) / k ((2 - k^2) K(k) - 2 E(k))

(J. D. Jackson, Classical Electrodynamics, 3rd ed., section 5.5). By the arithmetic-geometric mean
(Abramowitz and Stegun 17.6) of the largest and the smallest distance to the ring, D and d,

    G = mu_0 / 8 sum_(n >= 1) 2^n c_n^2 / M(D, d),   c_1 = (D - d) / 2,   c_n+1 = c_n^2 / (4 a_n+1)

which subtracts nothing, so that a far filament is as accurate as a near one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.checks import Numbers

MU_0 = 4e-7 * np.pi
"""Of the vacuum, in H/m."""
HALVINGS = 7
"""Of the gap between the two means: enough for d / D above 1e-6 in float64."""


def filament_flux(
    r: Float[Array, "..."],
    z: Float[Array, "..."],
    coil_r: Float[Array, "..."],
    coil_z: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Poloidal flux per radian (Wb/rad per ampere) at `(r, z)` of one turn at `(coil_r, coil_z)`;
    the arrays broadcast. Infinite on the filament, where it must not be used."""
    height = (z - coil_z) ** 2
    largest = jnp.sqrt((r + coil_r) ** 2 + height)
    smallest = jnp.sqrt((r - coil_r) ** 2 + height)
    c = 2 * r * coil_r / (largest + smallest)
    a, b = (largest + smallest) / 2, jnp.sqrt(largest * smallest)
    total, factor = 2 * c**2, 2.0
    for _ in range(HALVINGS):
        a, b = (a + b) / 2, jnp.sqrt(a * b)
        c, factor = c**2 / (4 * a), 2 * factor
        total = total + factor * c**2
    return MU_0 / 8 * total / a


class Circuit(NamedTuple):
    """Filaments that one current runs through."""

    r: Float[Array, " n"]
    z: Float[Array, " n"]
    turns: Float[Array, " n"]
    """Of each filament, negative where the current runs the other way."""


def filaments(r: Numbers, z: Numbers, turns: Numbers = 1.0) -> Circuit:
    """A circuit of filaments at `(r, z)` in metres, `turns` one number or one each.

    **Raises** ValueError for a radius that is not above zero and values that are not finite.
    """
    checks.positive("r", r)
    checks.finite("z", z)
    checks.finite("turns", turns)
    r, z = jnp.broadcast_arrays(*(jnp.atleast_1d(checks.as_floats(one)) for one in (r, z)))
    return Circuit(r, z, jnp.broadcast_to(checks.as_floats(turns), r.shape))


def rectangular(
    r: float, z: float, width: float, height: float, turns: float = 1.0, points: int = 4
) -> Circuit:
    """A circuit whose current is spread evenly over a rectangle about `(r, z)`: Gauss's rule with
    `points` filaments along each side.

    **Raises** ValueError for sides that are not above zero or that reach the axis of the torus.
    """
    for name, value in (("width", width), ("height", height), ("r - width / 2", r - width / 2)):
        checks.positive(name, value)
    nodes, weights = np.polynomial.legendre.leggauss(checks.count("points", points))
    across, along = np.meshgrid(nodes, nodes, indexing="ij")
    shares = np.outer(weights, weights) / 4
    return filaments(
        (r + width / 2 * across).ravel(), (z + height / 2 * along).ravel(), turns * shares.ravel()
    )


def joined(circuits: Sequence[Circuit]) -> Circuit:
    """All filaments of several as one circuit: coils in series."""
    return Circuit(*(jnp.concatenate(parts) for parts in zip(*circuits, strict=True)))


class Coils(eqx.Module):
    """All filaments of a machine, and the turns that each circuit (row) winds about each."""

    r: Float[Array, " filaments"]
    z: Float[Array, " filaments"]
    turns: Float[Array, "circuits filaments"]

    @property
    def count(self) -> int:
        """Of the circuits."""
        return len(self.turns)

    def flux(self, r: Float[Array, "*points"], z: Float[Array, "*points"]) -> Array:
        """Flux per ampere of each circuit `(circuits, *points)`; filament by filament, so that
        memory is that of the result."""

        @jax.checkpoint
        def added(total: Array, filament: tuple[Array, Array, Array]) -> tuple[Array, None]:
            coil_r, coil_z, turns = filament
            return total + jnp.multiply.outer(turns, filament_flux(r, z, coil_r, coil_z)), None

        start = jnp.zeros((self.count, *r.shape), r.dtype)
        return lax.scan(added, start, (self.r, self.z, self.turns.T))[0]


def coils(*circuits: Circuit) -> Coils:
    """The coils of a machine, one current for each circuit.

    **Raises** ValueError for none.
    """
    if not circuits:
        raise ValueError("circuits must be at least one, got none")
    sizes = [len(circuit.r) for circuit in circuits]
    everything = joined(circuits)
    owner = np.repeat(np.arange(len(circuits)), sizes)
    belongs = owner == np.arange(len(circuits))[:, None]
    return Coils(everything.r, everything.z, jnp.where(belongs, everything.turns, 0.0))

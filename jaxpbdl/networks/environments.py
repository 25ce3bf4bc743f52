"""What an atom sees of its neighbours, as numbers that no rotation, reflection, translation or
order of the atoms changes: the representation FCHL19.

Radial and angular distributions of the neighbours, resolved by element, after Christensen,
Bratholm, Faber and von Lilienfeld, J. Chem. Phys. 152 (2020) 044107. For atom `i`, neighbours of
one element at distances `r` and a grid `R` of radii,

    sum_j  f(r) r^-N2 LogNormal(R; mu, s),   mu = ln(r / sqrt(1 + w / r^2)),  s^2 = ln(1 + w / r^2)

and for pairs of neighbours of two elements, with the angle `theta` between them at `i`,

    sum_{j<k}  f f f c3 (1 + 3 cos cos cos) / (r_ij r_ik r_jk)^N3
               exp(-eta (R - (r_ij + r_ik) / 2)^2) sqrt(eta / pi)
               2 exp(-pi^2 / 2) (cos theta, sin theta)

with the three cosines of the triangle (Axilrod and Teller) and the smooth cutoff
`f(r) = (1 + cos(pi r / cutoff)) / 2`. Exponents, widths and weights are those of the paper.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxpbdl import checks

WIDTH, POWER = 0.32, 1.8
SHARPNESS, WEIGHT, POWER_OF_THREE = 2.7, 13.4, 0.57
CLOSEST = 0.1
"""Angstrom; atoms closer than this are one atom written twice."""


class Environments(eqx.Module):
    """One molecule `(numbers, positions)` -> features of each atom, Angstrom throughout.

    **Arguments:**

    - `elements`: atomic numbers that may occur; the features are resolved by them.
    - `cutoff`: beyond it an atom sees nothing.
    - `radii`, `angular_radii`: points of the grids in the two distributions.

    An atom of number 0 is padding: it is not seen, and its features are zero. A call is smooth in
    the positions, and needs distinct ones.
    """

    cutoff: Float[Array, ""]
    elements: tuple[int, ...] = eqx.field(static=True)
    radii: int = eqx.field(static=True)
    angular_radii: int = eqx.field(static=True)

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float = 8.0,
        radii: int = 24,
        angular_radii: int = 20,
    ):
        """Raises ValueError for a repeated or impossible element or a cutoff that is not > 0."""
        self.elements = tuple(int(element) for element in elements)
        if len(set(self.elements)) != len(elements) or not all(0 < z < 119 for z in self.elements):
            raise ValueError(
                f"elements must be different atomic numbers from 1 to 118, got {elements}"
            )
        checks.positive("cutoff", cutoff)
        checks.counts(radii=radii, angular_radii=angular_radii)
        self.cutoff, self.radii, self.angular_radii = jnp.asarray(cutoff), radii, angular_radii

    @property
    def size(self) -> int:
        """Features of one atom."""
        kinds = len(self.elements)
        return kinds * self.radii + kinds * (kinds + 1) * self.angular_radii

    def check(self, numbers: ArrayLike, positions: ArrayLike) -> None:
        """Raise ValueError for an unknown element, another shape, or two atoms in one place, in one
        molecule or many along further axes."""
        checks.shape("positions", positions, (*jnp.shape(numbers), 3))
        if not checks.is_concrete((numbers, positions)):
            return
        numbers, positions = np.asarray(numbers), np.asarray(positions)
        unknown = sorted(set(numbers.ravel().tolist()) - {0, *self.elements})
        if unknown:
            raise ValueError(f"atomic numbers must be of {self.elements} (0 pads), got {unknown}")
        checks.finite("positions", positions)
        # One molecule at a time: all their distances at once would not fit.
        flat = numbers.reshape(-1, numbers.shape[-1]), positions.reshape(-1, *positions.shape[-2:])
        for index, (kinds, places) in enumerate(zip(*flat, strict=True)):
            places = places[kinds > 0]
            apart = np.linalg.norm(places[:, None] - places, axis=-1)
            apart[np.diag_indices(len(apart))] = np.inf
            if apart.size and apart.min() < CLOSEST:
                raise ValueError(
                    f"atoms must be at least {CLOSEST} Angstrom apart, got {apart.min():.3g} in "
                    f"molecule {index}; are the positions in Angstrom?"
                )

    def __call__(
        self, numbers: Int[Array, " atoms"], positions: Float[Array, "atoms 3"]
    ) -> Float[Array, "atoms features"]:
        self.check(numbers, positions)
        kinds = (jnp.asarray(numbers)[:, None] == jnp.asarray(self.elements)).astype(
            positions.dtype
        )
        there = kinds.sum(1)
        steps = positions[None] - positions[:, None]
        pairs = there[:, None] * there * (1 - jnp.eye(len(there)))
        # Atoms that are not there, and an atom and itself, are far away: no gradient of 1 / 0.
        squares = jnp.where(pairs > 0, jnp.sum(steps**2, -1), 4 * self.cutoff**2)
        r = jnp.sqrt(squares)
        fade = jnp.where(r < self.cutoff, 0.5 * (1 + jnp.cos(jnp.pi * r / self.cutoff)), 0.0)
        features = [self._radial(r, fade, kinds), self._angular(steps, r, fade, kinds)]
        return jnp.concatenate(features, axis=1).astype(positions.dtype) * there[:, None]

    def _radial(self, r: Array, fade: Array, kinds: Array) -> Float[Array, "atoms features"]:
        grid = self.cutoff * jnp.arange(1, self.radii + 1) / self.radii
        variance = jnp.log1p(WIDTH / r**2)[..., None]
        middle = jnp.log(r)[..., None] - 0.5 * variance
        bumps = jnp.exp(-((jnp.log(grid) - middle) ** 2) / (2 * variance))
        bumps = bumps / (grid * jnp.sqrt(2 * jnp.pi * variance))
        seen = bumps * (fade * r**-POWER)[..., None]
        return jnp.einsum("ijr,jz->izr", seen, kinds).reshape(len(r), -1)

    def _angular(
        self, steps: Array, r: Array, fade: Array, kinds: Array
    ) -> Float[Array, "atoms features"]:
        grid = self.cutoff * jnp.arange(1, self.angular_radii + 1) / self.angular_radii
        ij, ik, jk = r[:, :, None], r[:, None, :], r[None]
        cosine = jnp.einsum("ijx,ikx->ijk", steps, steps) / (ij * ik)
        others = (ij**2 + jk**2 - ik**2) * (ik**2 + jk**2 - ij**2) / (4 * ij * ik * jk**2)
        triple = 1 + 3 * cosine * others
        weight = WEIGHT * jnp.sqrt(SHARPNESS / jnp.pi) * triple / (ij * ik * jk) ** POWER_OF_THREE
        weight = weight * fade[:, :, None] * fade[:, None, :] * fade[None]
        # The sine by the area of the triangle, which has no infinite slope but where it is flat.
        across = jnp.sum(jnp.cross(steps[:, :, None], steps[:, None, :]) ** 2, -1)
        flat = across < 1e-12
        sine = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, across))) / (ij * ik)
        angles = 2 * np.exp(-(np.pi**2) / 2) * weight * jnp.stack([cosine, sine])
        bumps = jnp.exp(-SHARPNESS * (grid - (ij + ik)[..., None] / 2) ** 2)
        # Both orders of a pair are summed, so a pair of one element counts twice.
        one_side = jnp.einsum("cijk,ijkr,kz->cijrz", angles, bumps, kinds)
        both = jnp.einsum("cijrz,jy->iyzcr", one_side, kinds)
        first, second = np.triu_indices(len(self.elements))
        once = jnp.asarray(np.where(first == second, 0.5, 1.0), both.dtype)
        pairs = both[:, first, second] * once[:, None, None]
        return pairs.reshape(len(r), -1)


@eqx.filter_jit
def features_of(
    environments: Environments,
    numbers: Int[Array, "molecules atoms"],
    positions: Float[Array, "molecules atoms 3"],
    batch: int = 16,
) -> Float[Array, "molecules atoms features"]:
    """The features of many molecules, padded to one number of atoms, `batch` of them at a time."""
    return jax.lax.map(lambda pair: environments(*pair), (numbers, positions), batch_size=batch)

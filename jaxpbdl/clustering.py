"""Particles to jets by sequential recombination, exactly and softly; e+e- collisions.

Again and again the two nearest particles become one, the sum of their momenta: until `jets` are
left (**exclusive**), or with a distance to the beam besides, which makes a jet of a particle that
is nearer to it than to any other (**inclusive**).

    Durham       d_ij = 2 min(E_i^2, E_j^2) (1 - cos theta_ij)
    generalised  d_ij = min(E_i^2p, E_j^2p) (1 - cos theta_ij) / (1 - cos R),  d_iB = E_i^2p

with `3 + cos R` in place of `1 - cos R` for R beyond pi (Catani et al., Phys. Lett. B 269 (1991)
432; Cacciari, Salam, Soyez, "FastJet user manual", Eur. Phys. J. C 72 (2012) 1896, section 4.5).
Momenta are `(particles, 4)`: x, y, z and energy, in any one unit; padding is masked out. The
gradient of the exact answer is that of sums of momenta: which particles are summed is constant.
`jaxpbdl.soft_clustering` has the answer that also knows how the choice changes.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxpbdl import checks

Momenta = Float[Array, "particles 4"]
Mask = Bool[Array, " particles"]
Distance = Callable[[Float[Array, "4"], Float[Array, "4"]], Float[Array, ""]]
Beam = Callable[[Float[Array, "4"]], Float[Array, ""]]


class Clusters(NamedTuple):
    """Jets in the order of falling transverse momentum, zeros beyond their number, and the jet that
    each particle went to (-1 in the padding)."""

    momenta: Float[Array, "most 4"]
    jet: Int[Array, " particles"]
    number: Int[Array, ""]


def opening(first: Float[Array, "4"], second: Float[Array, "4"]) -> Float[Array, ""]:
    """`1 - cos theta`, by half the squared distance of the unit vectors, which does not cancel."""
    unit = lambda p: p[:3] / jnp.maximum(jnp.linalg.norm(p[:3]), jnp.finfo(p.dtype).tiny)  # noqa: E731
    return jnp.sum((unit(first) - unit(second)) ** 2) / 2


def durham(first: Float[Array, "4"], second: Float[Array, "4"]) -> Float[Array, ""]:
    """The distance of the Durham algorithm, in squared units of energy."""
    return 2 * jnp.minimum(first[3], second[3]) ** 2 * opening(first, second)


def generalised(power: float, radius: float) -> tuple[Distance, Beam]:
    """The distance of two particles and that to the beam, of the generalised kT algorithm.

    Raises ValueError for a radius that is not between zero and 3 pi.
    """
    if not 0 < radius < 3 * jnp.pi:
        raise ValueError(f"radius must lie between 0 and 3 pi, got {radius}")
    unit = 1 - jnp.cos(radius) if radius < jnp.pi else 3 + jnp.cos(radius)

    def pair(first: Array, second: Array) -> Array:
        smaller = jnp.minimum(beam(first), beam(second))
        return smaller * opening(first, second) / unit

    def beam(one: Array) -> Array:
        return one[3] ** (2 * power)

    return pair, beam


def exclusive(
    momenta: Momenta, jets: int, distance: Distance = durham, mask: Mask | None = None
) -> Clusters:
    """Join until `jets` are left; fewer particles than that stay as they are.

    Raises ValueError for momenta of another shape, or fewer than one jet.
    """
    checks.count("jets", jets)
    return _cluster(momenta, jets, distance, None, mask)


def inclusive(
    momenta: Momenta, distance: Distance, beam: Beam, mask: Mask | None = None
) -> Clusters:
    """Join until every particle has become part of a jet; cut soft jets afterwards."""
    return _cluster(momenta, None, distance, beam, mask)


def transverse(momenta: Float[Array, "*jets 4"]) -> Float[Array, "*jets"]:
    """Transverse momentum."""
    return jnp.hypot(momenta[..., 0], momenta[..., 1])


def mass(momenta: Float[Array, "*jets 4"]) -> Float[Array, "*jets"]:
    """Invariant mass, zero where rounding has made its square negative."""
    square = momenta[..., 3] ** 2 - jnp.sum(momenta[..., :3] ** 2, axis=-1)
    return jnp.sqrt(jnp.where(square > 0, square, 1)) * (square > 0)


def pairs(momenta: Momenta, distance: Distance) -> Float[Array, "particles particles"]:
    """All distances."""
    return jax.vmap(lambda a: jax.vmap(lambda b: distance(a, b))(momenta))(momenta)


def masked(momenta: Momenta, mask: Mask | None) -> tuple[Momenta, Mask]:
    """Momenta without what stands in the padding, and the mask."""
    if momenta.ndim != 2 or momenta.shape[1] != 4:
        raise ValueError(f"momenta of one event have shape (particles, 4), got {momenta.shape}")
    checks.real("momenta", momenta)
    mask = jnp.ones(len(momenta), bool) if mask is None else jnp.asarray(mask)
    checks.shape("mask", mask, momenta.shape[:1])
    return jnp.where(mask[:, None], momenta, jnp.asarray([0.0, 0.0, 1.0, 1.0])), mask


def _cluster(
    momenta: Momenta, jets: int | None, distance: Distance, beam: Beam | None, mask: Mask | None
) -> Clusters:
    momenta, mask = masked(momenta, mask)
    count = len(momenta)
    index = jnp.arange(count)
    given = lax.stop_gradient(momenta)

    def of(one: Array, others: Array) -> Array:
        return jax.vmap(lambda other: distance(one, other))(others)

    # Above the diagonal only, and nothing that is gone.
    upper = (index[:, None] < index) & mask[:, None] & mask
    start = (
        given,
        mask,  # what still takes part
        index,  # the particle into which each has gone
        jnp.where(upper, pairs(given, distance), jnp.inf),
    )

    def join(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        now, active, parent, table = state
        at = jnp.argmin(table)
        first, second = at // count, at % count
        nearest = table[first, second]
        if beam is None:
            ready, alone = jnp.sum(active) > (jets or 0), jnp.asarray(False)
        else:
            to_beam = jnp.where(active, jax.vmap(beam)(now), jnp.inf)
            ready, alone = jnp.any(active), jnp.min(to_beam) < nearest
            first = jnp.where(alone, jnp.argmin(to_beam), first)
        merging = ready & ~alone & jnp.isfinite(nearest)
        gone = jnp.where(alone, first, second)
        merged = now.at[first].add(jnp.where(merging, now[second], 0))
        active = active.at[gone].set(jnp.where(ready, False, active[gone]))
        parent = jnp.where(merging & (parent == second), first, parent)
        row = jnp.where(
            active & active[first] & (index != first), of(merged[first], merged), jnp.inf
        )
        fresh = table.at[first].set(jnp.where(index > first, row, jnp.inf))
        fresh = fresh.at[:, first].set(jnp.where(index < first, row, fresh[:, first]))
        fresh = fresh.at[gone].set(jnp.inf).at[:, gone].set(jnp.inf)
        return merged, active, parent, jnp.where(ready, fresh, table)

    _, _, parent, _ = lax.fori_loop(0, count, join, start)
    # Sums once more from the start, for a gradient without the loop.
    member = (parent[:, None] == index) & mask[:, None]
    sums = jnp.einsum("ij,ic->jc", member.astype(momenta.dtype), momenta)
    there = jnp.any(member, axis=0)
    most = count if jets is None else min(jets, count)
    order = jnp.argsort(jnp.where(there, -transverse(lax.stop_gradient(sums)), jnp.inf))
    rank = jnp.argsort(order)
    kept = jnp.where(there[order][:, None], sums[order], 0)[:most]
    return Clusters(kept, jnp.where(mask, rank[parent], -1), jnp.sum(there))

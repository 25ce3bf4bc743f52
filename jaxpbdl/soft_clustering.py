"""Sequential recombination that can be differentiated through its choices.

The exact algorithm (`jaxpbdl.clustering`) joins one pair a step. Here a step joins all pairs a
little: pair `ij` by an amount `t_ij`, all amounts adding to one, and those of near pairs largest,

    t_ij = min(a_i a_j, c d_ij^(-1/temperature) s_ij),   sum_ij t_ij = 1 determines c.

`a_i` is how far particle `i` still exists: one at first, and `a_j` falls by what `i` takes over
from `j`, while the momentum that `i` has, as far as it exists, grows by `p_j t_ij / a_i`. The
softer of two goes to the harder, which `s_ij`, a sigmoid of the difference of the logarithms of
their energies over the temperature, says softly. Hence

- the total momentum stays, whatever the temperature, and the order of the particles is of no
  account;
- as the temperature falls to zero the jets tend to the exact ones, as `exp(-gap / temperature)`,
  where the gap is the smallest difference of the logarithms of two distances, or of the energies of
  two that are joined, between which a choice is made that matters: pairs that will be joined in
  either order are joined alike. In events of fifty particles gaps of 1e-4 occur;
- the limit `a_i a_j` uses up what a step has left over before the next pair comes.

The idea of a soft choice is that of softmax; this form of it is the toolkit's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxpbdl import checks
from jaxpbdl.clustering import Distance, Mask, Momenta, durham, masked, pairs, transverse
from jaxpbdl.relaxations import soft_step

GONE = 1e-12
"""How far a particle exists that no longer counts."""
HALVINGS = 50
EXTRA = 1.25
"""Steps in units of the joins that are left: where pairs compete, a step joins less than one."""


class SoftClusters(NamedTuple):
    """Jets in the order of falling transverse momentum, how far each exists (one, in the limit),
    and the momentum that is in none of them."""

    momenta: Float[Array, "jets 4"]
    existence: Float[Array, " jets"]
    rest: Float[Array, "4"]


def soft_exclusive(
    momenta: Momenta,
    jets: int,
    temperature: Float[Array, ""] | float,
    distance: Distance = durham,
    mask: Mask | None = None,
) -> SoftClusters:
    """Join softly until `jets` are left.

    Take float64 below a temperature of 0.01. Raises ValueError for a temperature that is not above
    zero, more jets than particles, or momenta of another shape.
    """
    checks.positive("temperature", temperature)
    checks.count("jets", jets)
    momenta, mask = masked(momenta, mask)
    if jets > len(momenta):
        raise ValueError(f"jets must be at most {len(momenta)}, the particles, got {jets}")

    def step(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        return _join(*state, jets, temperature, distance), None

    steps = int(EXTRA * (len(momenta) - jets)) + 1
    start = (momenta, mask.astype(momenta.dtype))
    (now, existence), _ = lax.scan(jax.checkpoint(step), start, None, length=steps)
    held = existence[:, None] * now
    order = jnp.argsort(-existence * transverse(lax.stop_gradient(now)))[:jets]
    kept = held[order]
    return SoftClusters(kept, existence[order], jnp.sum(held, axis=0) - jnp.sum(kept, axis=0))


def _join(
    now: Momenta, existence: Array, jets: int, temperature: Array | float, distance: Distance
) -> tuple[Array, Array]:
    """One step: momenta of what exists, and how far it does."""
    count = len(now)
    there = existence > GONE
    alive = jnp.where(there, existence, 1)
    safe = jnp.where(there[:, None], now, jnp.arange(1.0, 5.0))
    target = jnp.clip(jnp.sum(existence) - jets, 0.0, 1.0)
    apart = there[:, None] & there & ~jnp.eye(count, dtype=bool)
    near = jnp.log(jnp.maximum(pairs(safe, distance), jnp.finfo(now.dtype).tiny))
    limit = jnp.log(alive)[:, None] + jnp.log(alive)
    amounts = _shared_out(-near / temperature, limit, jnp.triu(apart), target)
    energies = jnp.log(safe[:, 3])
    harder = soft_step(energies[:, None] - energies, temperature)
    # The share of j that goes to i; several may ask, and get no more than there is.
    taken = (amounts + amounts.T) * harder / alive
    taken = taken / jnp.maximum(jnp.sum(taken, axis=0), 1)
    stays = 1 - jnp.sum(taken, axis=0)
    # What comes to one that itself goes on to another goes along with it.
    passing = jnp.linalg.solve(jnp.eye(count) - taken, alive[:, None] * safe)
    return jnp.where(there[:, None], passing / alive[:, None], now), existence * stays


def _shared_out(priority: Array, limit: Array, both: Array, target: Array) -> Array:
    """`min(exp(limit), exp(priority + level))` over pairs, with the level at which they add to the
    target: found by halving, and its gradient by one step of Newton's method."""

    def amounts(level: Array) -> Array:
        return jnp.where(both, jnp.exp(jnp.where(both, jnp.minimum(limit, priority + level), 0)), 0)

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        enough = jnp.sum(amounts(middle)) >= target
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    fixed = lax.stop_gradient(limit - priority)
    high = jnp.max(jnp.where(both, fixed, -jnp.inf))
    low = jnp.min(jnp.where(both, fixed, jnp.inf)) - 40.0
    usable = jnp.isfinite(high)
    ends = (jnp.where(usable, low, 0.0), jnp.where(usable, high, 0.0))
    level = lax.stop_gradient(lax.fori_loop(0, HALVINGS, halve, ends)[1])
    at = amounts(level)
    free = jnp.where(both & (priority + level < limit), at, 0)
    slope = lax.stop_gradient(jnp.sum(free))
    change = jnp.where(slope > 0, (target - jnp.sum(at)) / jnp.where(slope > 0, slope, 1), 0)
    return jnp.where(target > 0, amounts(level + jnp.clip(change, -1, 1)), 0)

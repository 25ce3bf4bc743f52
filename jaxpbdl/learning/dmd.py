"""Dynamic mode decomposition: the best linear step of low rank, fitted to snapshots."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.step import Step


class LinearStep(Step):
    """c -> propagator c + offset for the coefficients c = modes^T (state - mean) of a state;
    created by `dynamic_modes`.

    Between steps only the `rank` coefficients are carried.
    """

    trainable_fields = ()

    mean: Float[Array, "*state"]
    modes: Float[Array, "rank *state"]
    propagator: Float[Array, "rank rank"]
    offset: Float[Array, " rank"]

    def enter(self, state: Float[Array, "*state"]) -> Float[Array, " rank"]:
        return jnp.tensordot(self.modes, state - self.mean, axes=state.ndim)

    def advance(self, working: Float[Array, " rank"]) -> Float[Array, " rank"]:
        return self.propagator @ working + self.offset

    def leave(self, working: Float[Array, " rank"]) -> Float[Array, "*state"]:
        return self.mean + jnp.tensordot(working, self.modes, axes=1)

    def check(self, state: PyTree) -> None:
        """Refuse a state of another shape or with values that are not finite."""
        checks.shape("state", state, self.mean.shape)
        checks.finite("state", state)


def dynamic_modes(snapshots: Float[Array, "snapshots *state"], rank: int) -> LinearStep:
    """The linear step of rank `rank` that maps each snapshot closest to the next, about their mean.

    The snapshots are projected on their `rank` leading proper orthogonal modes, where the
    propagator is a least-squares fit (Schmid, J. Fluid Mech. 656 (2010) 5). The offset is fitted
    along: the mean of a record that holds no whole number of periods is not where the flow rests.

    **Raises:** ValueError if `rank` is below 1, above the number of pairs of snapshots or above the
    size of a state.
    """
    rank = checks.count("rank", rank)
    checks.real("snapshots", snapshots)
    checks.finite("snapshots", snapshots)
    snapshots = jnp.asarray(snapshots)
    if snapshots.ndim < 2:
        raise ValueError(
            f"snapshots must have an axis of snapshots and those of a state, got {snapshots.shape}"
        )
    if rank > len(snapshots) - 1:
        raise ValueError(
            f"rank must be at most the number of pairs of snapshots, {len(snapshots) - 1}, got "
            f"{rank}"
        )
    size = snapshots[0].size
    if rank > size:
        raise ValueError(f"rank must be at most the size of a state, {size}, got {rank}")
    mean = jnp.mean(snapshots, axis=0)
    fluctuations = (snapshots - mean).reshape(len(snapshots), -1)
    _, _, modes = jnp.linalg.svd(fluctuations, full_matrices=False)
    modes = modes[:rank]
    coefficients = fluctuations @ modes.T
    before = jnp.pad(coefficients[:-1], ((0, 0), (0, 1)), constant_values=1.0)
    fitted = jnp.linalg.lstsq(before, coefficients[1:])[0]
    return LinearStep(mean, modes.reshape(rank, *snapshots.shape[1:]), fitted[:-1].T, fitted[-1])

"""What all ensemble methods share: members along the first axis, states as vectors."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from jaxpbdl import checks


def centred(
    members: Float[Array, "members n"],
) -> tuple[Float[Array, " n"], Float[Array, "members n"]]:
    """The mean, and what is left of each member."""
    mean = jnp.mean(members, axis=0)
    return mean, members - mean


def deviation(members: Float[Array, "members n"]) -> Float[Array, " n"]:
    """The standard deviation of each value."""
    return jnp.std(members, axis=0, ddof=1)


def inflated(members: Float[Array, "members n"], factor: float) -> Float[Array, "members n"]:
    """Members `factor` times as far from their mean."""
    mean, apart = centred(members)
    return mean + factor * apart


def rotation(key: PRNGKeyArray, members: int, dtype: jnp.dtype) -> Float[Array, "members members"]:
    """A random orthogonal matrix that keeps sums: the mean and the covariance of an ensemble stay,
    its members change (Sakov and Oke, Mon. Weather Rev. 136 (2008) 1042)."""
    # The first vector of the basis has equal entries, the others sums of zero.
    flat = np.linalg.qr(np.concatenate([np.ones((members, 1)), np.eye(members)[:, 1:]], axis=1))[0]
    basis = jnp.asarray(flat, dtype)
    square, upper = jnp.linalg.qr(jax.random.normal(key, (members - 1, members - 1), dtype))
    # Signs of the diagonal make the distribution uniform over all orthogonal matrices.
    square = square * jnp.sign(jnp.diagonal(upper))
    return basis[:, :1] @ basis[:, :1].T + basis[:, 1:] @ square @ basis[:, 1:].T


def processed(
    members: Float[Array, "members n"], key: PRNGKeyArray, inflation: float, rotate: bool
) -> Float[Array, "members n"]:
    """Inflation, and a random rotation if it is wanted."""
    if rotate:
        mean, apart = centred(members)
        members = mean + rotation(key, len(members), members.dtype) @ apart
    return inflated(members, inflation)


def check_ensemble(members: int, inflation: float) -> None:
    """Refuse fewer than two members and an inflation below one."""
    checks.count("members", members, 2)
    check_inflation(inflation)


def check_inflation(inflation: float) -> None:
    """Refuse an inflation below one."""
    checks.finite("inflation", inflation)
    if checks.is_concrete(inflation) and inflation < 1:
        raise ValueError(f"inflation must be >= 1, got {inflation}")

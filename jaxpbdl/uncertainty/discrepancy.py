"""What an equation lacks, as an unknown function beside its parameters.

    du/dt = known terms(u; parameters) + delta(u, x, ...),   delta a Gaussian process

(Kennedy and O'Hagan, J. R. Stat. Soc. B 63 (2001) 425, who add it to what is measured). A model
that is wrong and does not know it gives parameters that make up for what it lacks, and intervals
that shrink around them. With a discrepancy they stay wide enough, if the data can tell the two
apart; where they cannot, no amount of data helps (Brynjarsdottir and O'Hagan, Inverse Problems 30
(2014) 114007), and `confounded` says so.
"""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.inference import parameters
from jaxpbdl.uncertainty.kernels import Kernel
from jaxpbdl.uncertainty.posterior import Gaussian

JITTER = 1e-5
"""Relative to the variance: kernels of close points are singular to rounding."""
LIMIT = 0.99
"""The share of a variance beyond which a parameter and a discrepancy are not told apart."""


class Expansion(eqx.Module):
    """`sum_j weight_j k(x, x_j)`."""

    kernel: Kernel
    points: Float[Array, "points dim"]
    weights: Float[Array, " points"]

    def __call__(self, x: Float[Array, "n dim"]) -> Float[Array, " n"]:
        """The values at `x`."""
        return self.kernel(x, self.points).astype(x.dtype) @ self.weights


class Discrepancy(eqx.Module):
    """A function with the prior of a Gaussian process, by its values at `points`:

        delta(x) = k(x, X) L^-T white,   L L^T = k(X, X),   white standard normal

    `white` is the unknown, and its own prior (`prior=lambda p: p.delta.white` of `infer`). Between
    points a Gaussian process's mean; take points closer than the kernel's length.
    """

    trainable_fields = ("white",)

    kernel: Kernel
    points: Float[Array, "points dim"]
    white: Float[Array, " points"]

    def __init__(self, kernel: Kernel, points: Float[Array, "points dim"]):
        """Starts at zero."""
        self.kernel, self.points = kernel, points
        self.white = jnp.zeros(len(points), points.dtype)

    def function(self) -> "Expansion":
        """The same function with its weights computed once, for a solver that asks at each step."""
        gram = self.kernel(self.points, self.points).astype(self.points.dtype)
        gram += JITTER * jnp.mean(jnp.diagonal(gram)) * jnp.eye(len(gram), dtype=gram.dtype)
        factor = jnp.linalg.cholesky(gram)
        weights = solve_triangular(factor, self.white, lower=True, trans=1)
        return Expansion(self.kernel, self.points, weights)

    def __call__(self, x: Float[Array, "n dim"]) -> Float[Array, " n"]:
        """The values at `x`."""
        return self.function()(x)


def confounded(found: Gaussian) -> PyTree:
    """The share of each parameter's variance that is there because of the discrepancies among the
    unknowns: `1 - variance with them known / variance`.

    Near one, parameter and discrepancy explain the same in the data. Outside of jit a warning names
    the parameters beyond 0.99, whose standard error a discrepancy makes ten times as large: only a
    prior that tells the two apart, or data where the discrepancy vanishes, can help.

    **Arguments:** `found`, of `infer` or `laplace`, with a `Discrepancy` among its unknowns.

    **Returns** a tree like the unknowns; zero for what is no unknown, and for discrepancies.

    **Raises** ValueError if there is no discrepancy, or nothing else.
    """
    params, rest = parameters.split(found.values)
    flat, _ = ravel_pytree(params)
    marks = jax.tree.map(_marks, params, is_leaf=_is_discrepancy)
    own = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(marks)]).astype(bool)
    if own.all() or not own.any():
        raise ValueError("the unknowns must hold a Discrepancy and something else")
    known = jnp.linalg.inv(jnp.linalg.inv(found.covariance)[np.ix_(~own, ~own)])
    variance = jnp.diagonal(found.covariance)[~own]
    share = jnp.zeros_like(flat).at[~own].set(1 - jnp.diagonal(known) / variance)
    if checks.is_concrete(share):
        names = [n for n, part in zip(parameters.names(params), share, strict=True) if part > LIMIT]
        if names:
            warnings.warn(
                f"the data cannot tell {', '.join(names)} from the discrepancy: its standard error "
                "would be less than a tenth of what it is if the discrepancy were known",
                stacklevel=2,
            )
    return parameters.filled(share, params, rest)


def _is_discrepancy(node: object) -> bool:
    return isinstance(node, Discrepancy)


def _marks(node: object) -> PyTree:
    """Whether each number belongs to a discrepancy."""
    return jax.tree.map(lambda leaf: np.full(np.shape(leaf), _is_discrepancy(node)), node)

"""The covariance of parameters from the Jacobian of what is measured."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.inference import parameters


class Bound(NamedTuple):
    """What no unbiased estimate goes below."""

    covariance: Float[Array, "n n"]
    """Rows in the order of `jax.flatten_util.ravel_pytree` of the trainable arrays."""
    standard_errors: PyTree
    """As the parameters; zero for arrays that are not trained."""


class Normal(NamedTuple):
    """The normal equations of a linear least-squares problem, through the singular values
    `left diag(values) right` of the Jacobian with columns of length one."""

    left: Float[Array, "m k"]
    values: Float[Array, " k"]
    right: Float[Array, "k n"]
    lengths: Float[Array, " n"]
    kept: Bool[Array, " k"]

    def determined(self) -> Bool[Array, " n"]:
        """Whether the data determine each parameter: it is no part of a combination that they do
        not see."""
        seen = jnp.sum(jnp.where(self.kept[:, None], self.right**2, 0), axis=0)
        return 1 - seen < jnp.sqrt(jnp.finfo(seen.dtype).eps)

    def covariance(self) -> Float[Array, "n n"]:
        """`(J^T J)^-1`. A parameter that the data do not determine has an infinite variance, and
        zero for its covariances, which are not defined."""
        inverse = jnp.where(self.kept, 1 / jnp.where(self.kept, self.values, 1), 0)
        root = inverse[:, None] * self.right / self.lengths
        known = self.determined()
        finite = jnp.where(known[:, None] & known, root.T @ root, 0)
        return finite + jnp.diag(jnp.where(known, 0, jnp.inf))


def decompose(jacobian: Float[Array, "m n"]) -> Normal:
    """Lengths of the columns are taken out first, so that units do not decide on the rank."""
    lengths = jnp.linalg.norm(jacobian, axis=0)
    lengths = jnp.where(lengths > 0, lengths, 1)
    left, values, right = jnp.linalg.svd(jacobian / lengths, full_matrices=False)
    smallest = 10 * jnp.finfo(jacobian.dtype).eps * max(jacobian.shape) ** 0.5
    # Not `values > smallest * ...`: what is not a number must not be left out silently.
    return Normal(left, values, right, lengths, ~(values <= smallest * values[0]))


def standard_errors(covariance: Float[Array, "n n"], params: PyTree, rest: PyTree) -> PyTree:
    """As the parameters: zero for arrays that are not trained."""
    return parameters.filled(jnp.sqrt(jnp.diagonal(covariance)), params, rest)


def cramer_rao(model: Callable[[PyTree], PyTree], values: PyTree, noise: PyTree) -> Bound:
    """The covariance that no unbiased estimate of the parameters goes below (Cramer and Rao).

        (J^T J)^-1,   J = d(model / noise) / d(parameters)

    for measurements `model(parameters)` with independent Gaussian noise; an efficient estimate
    reaches it where the model is linear over the size of the errors.

    **Arguments**

    - `model`: parameters -> measurements, or residuals, any pytree of real arrays.
    - `values`: the parameters at which the bound is wanted, a pytree; its `trainable` arrays are
      the unknowns.
    - `noise`: the standard deviation of the measurements, a number, or a tree like them.

    **Returns** the covariance and the standard errors. Where the measurements do not determine a
    parameter, its standard error is infinite, and outside of jit a warning names it.

    **Raises** ValueError for a noise that is not above 0 or whose shape does not fit.
    """
    params, rest = parameters.split(values)
    check_noise(noise)
    bound, determined = _cramer_rao(model, params, rest, noise)
    warn_undetermined("cramer_rao", determined, params)
    return bound


@eqx.filter_jit
def _cramer_rao(
    model: Callable[[PyTree], PyTree], params: PyTree, rest: PyTree, noise: PyTree
) -> tuple[Bound, Array]:
    flat, unravel = ravel_pytree(params)

    def weighted(flat: Array) -> Array:
        return flattened(model(eqx.combine(unravel(flat), rest)), noise)

    normal = decompose(jax.jacfwd(weighted)(flat))
    covariance = normal.covariance()
    return Bound(covariance, standard_errors(covariance, params, rest)), normal.determined()


def flattened(measured: PyTree, noise: PyTree) -> Float[Array, " m"]:
    """Measurements in units of their noise, as one vector."""
    if jax.tree.structure(noise) != jax.tree.structure(measured):
        if not jax.tree_util.all_leaves([noise]):
            raise ValueError(
                "noise must be a number, an array or a tree like the residuals, "
                f"{jax.tree.structure(measured)}, got {jax.tree.structure(noise)}"
            )
        noise = jax.tree.map(lambda _: noise, measured)

    def divide(value: ArrayLike, deviation: ArrayLike) -> Array:
        value = jnp.asarray(value)
        checks.real("residuals", value)
        if not _broadcasts(jnp.shape(deviation), value.shape):
            raise ValueError(
                f"noise must broadcast to the residuals' shape {value.shape}, got "
                f"{jnp.shape(deviation)}"
            )
        return value / jnp.asarray(deviation, value.dtype)

    return ravel_pytree(jax.tree.map(divide, measured, noise))[0]


def check_noise(noise: PyTree) -> None:
    """Refuse standard deviations that are not finite and above zero."""
    for leaf in jax.tree.leaves(noise):
        checks.positive("noise", leaf)


def warn_undetermined(who: str, determined: Bool[Array, " n"], params: PyTree) -> None:
    """Name the parameters that the data do not determine, unless inside jit."""
    if not checks.is_concrete(determined) or bool(jnp.all(determined)):
        return
    known = np.asarray(determined)
    missing = [name for name, seen in zip(parameters.names(params), known, strict=True) if not seen]
    some = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    warnings.warn(
        f"{who}: the data do not determine {some}, alone or in a combination: the standard error "
        "is infinite. Hold one of them fixed, or measure what tells them apart",
        stacklevel=3,
    )


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    sizes = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(a in (1, b) for a, b in sizes)

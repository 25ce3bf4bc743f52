"""`least_squares`: parameters from noisy data, with their covariance."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxpbdl import checks
from jaxpbdl.inference import parameters
from jaxpbdl.inference.covariance import (
    Normal,
    check_noise,
    decompose,
    flattened,
    standard_errors,
    warn_undetermined,
)

CLOSE = 0.01
"""Standard errors by which the next Gauss-Newton step may still move a converged estimate."""


class Estimate(NamedTuple):
    """What `least_squares` found, for `m` residuals and `n` parameters."""

    values: PyTree
    """The parameters, with everything else that `start` held."""
    covariance: Float[Array, "n n"]
    """Rows in the order of `jax.flatten_util.ravel_pytree` of the trainable arrays."""
    standard_errors: PyTree
    """As `values`; zero for arrays that are not trained."""
    chi2: Float[Array, ""]
    """The sum of the squares of the residuals over the noise; about `m - n` for a model that is
    right and a noise that is known. Without `noise`, the sum of the squares."""
    residual_rms: Float[Array, ""]
    """The root mean square of the residuals over the noise (of the residuals, without `noise`)."""
    converged: Bool[Array, ""]
    steps: Int[Array, ""]


def least_squares(
    residuals: Callable[[PyTree], PyTree],
    start: PyTree,
    *,
    noise: PyTree | None = None,
    steps: int = 200,
    tolerance: float | None = None,
    progress: bool = False,
) -> Estimate:
    """The `trainable` arrays of `start` that minimise the sum of squares, and how sure they are.

        minimum of sum_i (r_i / noise_i)^2,   covariance = s^2 (J^T J)^-1,   J = d(r / noise)

    with `s = 1` where the noise is given, else `s^2` the sum of squares over `m - n`. By the
    Levenberg-Marquardt method of optimistix, the parameters in units of the lengths of the first
    Jacobian's columns (More 1978), so that their sizes do not matter. The covariance is that of
    the model linearised at the minimum.

    Goes through jit and vmap. Bounds: fit the logarithm of what must be positive.

    **Arguments**

    - `residuals`: `residuals(parameters)`, model minus data: any pytree of real arrays.
    - `start`: any pytree; numbers, dictionaries and modules may be mixed.
    - `noise`: standard deviation of the data, a number, an array that broadcasts to each
      residual, or a tree like the residuals. None: the same for all, estimated from what is left.
    - `steps`: the largest number of evaluations of the residuals with their derivatives.
    - `tolerance`: change of the parameters in the units above at which the iteration ends; by
      default the machine epsilon to the power 2/3.
    - `progress`: print each step.

    **Returns** an `Estimate`. It has converged if the next Gauss-Newton step would move it by less
    than a hundredth of the standard errors. A parameter that the data do not determine has an
    infinite standard error. Outside of jit both come with a warning, which names the parameters.

    **Raises** ValueError for residuals that are not real, no more residuals than parameters
    without `noise`, a noise that is not above 0 or does not fit, `steps` below 1 or a `tolerance`
    that is not above 0.
    """
    steps = checks.count("steps", steps)
    if tolerance is not None:
        checks.positive("tolerance", tolerance)
    if noise is not None:
        check_noise(noise)
    params, rest = parameters.split(start)
    found, determined = _least_squares(residuals, params, rest, noise, steps, tolerance, progress)
    warn_undetermined("least_squares", determined, params)
    if checks.is_concrete(found.converged) and not bool(found.converged):
        warnings.warn(_advice(found), stacklevel=2)
    return found


@eqx.filter_jit
def _least_squares(
    residuals: Callable[[PyTree], PyTree],
    params: PyTree,
    rest: PyTree,
    noise: PyTree | None,
    steps: int,
    tolerance: float | None,
    progress: bool,
) -> tuple[Estimate, Array]:
    flat, unravel = ravel_pytree(params)

    def weighted(flat: Array) -> Array:
        whole = residuals(eqx.combine(unravel(flat), rest))
        return flattened(whole, 1.0 if noise is None else noise)

    count = jax.eval_shape(weighted, flat).size
    if noise is None and count <= flat.size:
        raise ValueError(
            f"the noise of {count} residuals with {flat.size} parameters cannot be estimated: "
            f"there must be more than {flat.size} residuals, or give noise"
        )
    flat, size, taken = _levenberg_marquardt(weighted, flat, steps, tolerance, progress)
    left, slopes = _with_jacobian(weighted, flat)
    normal = decompose(slopes)
    chi2 = jnp.sum(left**2)
    variance = chi2 / (count - flat.size) if noise is None else jnp.ones_like(chi2)
    covariance = variance * normal.covariance()
    found = Estimate(
        values=eqx.combine(unravel(flat), rest),
        covariance=covariance,
        standard_errors=standard_errors(covariance, params, rest),
        chi2=chi2,
        residual_rms=jnp.sqrt(chi2 / count),
        converged=_at_minimum(normal, left, variance, size),
        steps=taken,
    )
    return found, normal.determined()


def _levenberg_marquardt(
    weighted: Callable[[Array], Array],
    flat: Float[Array, " n"],
    steps: int,
    tolerance: float | None,
    progress: bool,
) -> tuple[Float[Array, " n"], Float[Array, ""], Int[Array, ""]]:
    """The parameters at the minimum, the size of the residuals at the start, and the steps.

    A unit of each parameter moves the residuals, which start with length one, by about one.
    """
    small = float(jnp.finfo(flat.dtype).eps) ** (2 / 3) if tolerance is None else tolerance
    first, slopes = _with_jacobian(weighted, flat)
    size = jnp.linalg.norm(first)
    size = jax.lax.stop_gradient(jnp.where(size > 0, size, 1))
    lengths = jnp.linalg.norm(slopes, axis=0)
    unit = jax.lax.stop_gradient(size / jnp.where(lengths > 0, lengths, size))
    method = optimistix.LevenbergMarquardt(rtol=small, atol=small, verbose=progress)
    solved = optimistix.least_squares(
        lambda scaled, _: weighted(scaled * unit) / size,
        method,
        flat / unit,
        max_steps=steps,
        throw=False,
    )
    return solved.value * unit, size, solved.stats["num_steps"]


def _with_jacobian(
    weighted: Callable[[Array], Array], flat: Float[Array, " n"]
) -> tuple[Float[Array, " m"], Float[Array, "m n"]]:
    """The residuals and their Jacobian from one evaluation: residuals may take long to compile."""

    def twice(flat: Array) -> tuple[Array, Array]:
        found = weighted(flat)
        return found, found

    slopes, found = jax.jacfwd(twice, has_aux=True)(flat)
    return found, slopes


def _at_minimum(
    normal: Normal, left: Float[Array, " m"], variance: Float[Array, ""], size: Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether the part of the residuals that a Gauss-Newton step would take away is small beside
    the noise (Bates and Watts, Technometrics 23 (1981) 179), or nothing beside the start."""
    part = jnp.where(normal.kept, normal.left.T @ left, 0)
    small = CLOSE * jnp.sqrt(variance * len(normal.lengths))
    nothing = jnp.finfo(left.dtype).eps ** (2 / 3) * size
    return jnp.linalg.norm(part) <= jnp.maximum(small, nothing)


def _advice(found: Estimate) -> str:
    return (
        f"least_squares did not converge: after {int(found.steps)} steps the root mean square of "
        f"the residuals over their noise is {float(found.residual_rms):.6g}; raise steps, start "
        "nearer, or look whether the residuals are finite and smooth"
    )

"""Updates that invert what they can: half-inverse gradients and scale-invariant physics.

The Jacobian J = U S V^T of all outputs of a batch by the parameters takes the gradient g of the
loss by the outputs to an update of the parameters,

    -V S^(-power) U^T g,   power -1: gradient descent, 1: Gauss-Newton, 1/2: half-inverse gradients

(Schnell, Holl and Thuerey, ICLR 2022). With the small Gram matrix J J^T = U S^2 U^T this is
-J^T U (S^2)^(-(1 + power) / 2) U^T g, and no singular value decomposition of J is needed.

A scale-invariant update does so for the physics alone, which is inverted exactly, and leaves the
network to its optimiser (Holl, Koltun and Thuerey, NeurIPS 2022): the network is drawn to where an
inverse simulator would move its output.

Both are losses for `fit`: their value is the loss, their gradient minus the update.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from jaxpbdl import checks
from jaxpbdl.learning.update import split

TRUNCATION = 1e-6
"""Singular values below this, relative to the largest, are left out."""


def half_inverse(
    jacobian: Float[Array, "outputs parameters"],
    gradient: Float[Array, " outputs"],
    truncation: float = TRUNCATION,
    power: float = 0.5,
) -> Float[Array, " parameters"]:
    """V S^(-power) U^T gradient, of the Jacobian U S V^T.

    **Arguments:**

    - `gradient`: of the loss by the outputs.
    - `truncation`: in [0, 1). The decomposition knows squares of singular values to rounding
      errors, so that those below about `sqrt(outputs eps)` are left out in any case.
    - `power`: in [-1, 1], see the head of this file.

    The Gram matrix is decomposed in float64 where JAX has it enabled.

    **Raises:** ValueError for a truncation or a power outside its range.
    """
    if not 0 <= truncation < 1:
        raise ValueError(f"truncation must be in [0, 1), got {truncation}")
    if not -1 <= power <= 1:
        raise ValueError(f"power must be in [-1, 1], got {power}")
    wide = jacobian.astype(float)
    squares, left = jnp.linalg.eigh(wide @ wide.T)
    least = max(truncation**2, len(wide) * float(jnp.finfo(squares.dtype).eps))
    kept = (squares > least * squares[-1]) & (squares > 0)
    factors = jnp.where(kept, jnp.where(kept, squares, 1.0) ** (-(1 + power) / 2), 0.0)
    return ((left @ (factors * (gradient @ left))) @ wide).astype(jacobian.dtype)


def half_inverse_loss(
    output: Callable[[PyTree, PyTree], Array],
    misfit: Callable[[Array, PyTree], Array],
    truncation: float = TRUNCATION,
    power: float = 0.5,
) -> Callable[[PyTree, PyTree], Array]:
    """A loss for `fit` whose gradient is the half-inverse one; to go with `optax.sgd(1.0)`.

    **Arguments:**

    - `output`: `output(model, sample)`, of one sample of the batch.
    - `misfit`: `misfit(outputs, batch)`, a scalar of the outputs of the batch, `(samples, ..)`.
    - `truncation`, `power`: as of `half_inverse`.

    **Returns** `loss(model, batch)`, the samples of the batch along the first axis of its arrays.
    Its gradient costs one backward pass for each number of an output.
    """
    half_inverse(jnp.ones((1, 1)), jnp.ones(1), truncation, power)  # refuses what it must

    def loss(model: PyTree, batch: PyTree) -> Array:
        params, constants, static = split(model)
        vector, unravel = ravel_pytree(params)
        still = jax.lax.stop_gradient(vector)

        def one(vector: Array, sample: PyTree) -> Array:
            return output(eqx.combine(unravel(vector), constants, static), sample)

        outputs = jax.vmap(one, in_axes=(None, 0))(still, batch)
        value, gradient = jax.value_and_grad(misfit)(outputs, batch)
        rows = jax.vmap(jax.jacrev(one), in_axes=(None, 0))(still, batch)
        direction = half_inverse(
            rows.reshape(gradient.size, vector.size), gradient.ravel(), truncation, power
        )
        return _with_gradient(value, vector, direction)

    return loss


def scale_invariant_loss(
    prediction: Callable[[PyTree, PyTree], Array],
    inverse: Callable[[Array, PyTree], Array],
    misfit: Callable[[Array, PyTree], Array],
) -> Callable[[PyTree, PyTree], Array]:
    """A loss for `fit` by which a network follows an inverse simulator; for any optimiser.

    **Arguments:**

    - `prediction`: `prediction(model, batch)`, what the network says of the parameters of physics,
      `(samples, ..)`.
    - `inverse`: `inverse(x, batch)`, where an inverse simulator would move that, an array of the
      same shape: the physics run backwards from outputs that lie nearer to those observed.
    - `misfit`: `misfit(x, batch)`, the loss that is reported.

    **Returns** `loss(model, batch)`, with the gradient of the mean over samples of
    `|x - inverse(x)|^2 / 2`, the inverse held.
    """

    def loss(model: PyTree, batch: PyTree) -> Array:
        x = prediction(model, batch)
        still = jax.lax.stop_gradient(x)
        moved = inverse(still, batch)
        checks.shape("inverse(x, batch)", moved, still.shape)
        return _with_gradient(misfit(still, batch), x, (still - moved) / len(still))

    return loss


def _with_gradient(value: Array, x: Array, gradient: Array) -> Array:
    """The value, and a gradient by x."""
    gradient = jax.lax.stop_gradient(gradient)
    return value + jnp.sum(gradient * (x - jax.lax.stop_gradient(x)))

"""Losses of maps between functions: pairs of an input and an output, one at a time;
and what an equation says of the outputs where there are none to compare with.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxpbdl.fields.derivatives import Judge
from jaxpbdl.fields.sampling import Points
from jaxpbdl.learning.collocation import residual_loss
from jaxpbdl.learning.losses import one_step
from jaxpbdl.step import AnyStep

Pairs = tuple[Float[Array, "batch *input"], Float[Array, "batch *output"]]


def relative_l2_loss(model: Callable[[Array], Array], pairs: Pairs) -> Float[Array, ""]:
    """The mean over a batch of `|model(a) - u| / |u|`, norms over all points and channels.

    Every sample counts alike whatever its size: what tables of neural operators report.
    """
    inputs, outputs = pairs
    return jnp.mean(_relative(jax.vmap(model)(inputs) - outputs, outputs))


def relative_h1_loss(model: Callable[[Array], Array], pairs: Pairs) -> Float[Array, ""]:
    """The same in the norm `|u|^2 + |grad u|^2` of fields `(channels, *grid)` on the unit box.

    The gradient is the difference of neighbouring points inside the box, so nothing is assumed at
    its boundary.
    """
    inputs, outputs = pairs
    return jnp.mean(_relative(jax.vmap(model)(inputs) - outputs, outputs, gradient=True))


def operator_residual_loss(
    equation: Judge,
    operator: Callable[[Array], Callable[[Float[Array, " dim"]], Array]],
    inputs: Float[Array, "batch *input"],
    points: Points,
    *,
    chunk: int = 256,
) -> Float[Array, ""]:
    """The mean over inputs of `residual_loss` of the field `operator(input)`: no solutions are
    needed, only inputs (Wang, Wang, Perdikaris, Science Advances 7 (2021) eabi8605; Li et al.,
    arXiv:2111.03794).

    A `DeepONet` is such an operator as it is; for one that gives values on a grid see
    `defect_loss`. Gradients reach the operator and the parameters of the equation. Errors are those
    of `residual_loss`.
    """

    def of(one: Array) -> Array:
        return residual_loss(equation, operator(one), points, chunk=chunk)

    return jnp.mean(jax.vmap(of)(inputs))


def defect_loss(
    step: AnyStep,
    operator: Callable[[Array], Array],
    states: Float[Array, "batch *state"],
) -> Float[Array, ""]:
    """What a solver's step leaves of the histories `operator(state)`, of shape `(times, *state)`,
    that begin with the states:

        root mean square of u(t_{i+1}) - step(u(t_i)),   u(t_0) = state

    over inputs and times; `step` leads from one of the times to the next. It is the residual of the
    equation as the solver discretises it, so no solution is needed. An exponential step weighs a
    fast decaying wave by what it does to the state, where a derivative in time would weigh it by
    its rate: rough states do not drown the rest.
    """
    ahead = jax.vmap(operator)(states)
    histories = jnp.concatenate([states[:, None], ahead], axis=1)
    return jnp.sqrt(jnp.maximum(one_step(step, histories), jnp.finfo(ahead.dtype).tiny))


def _relative(error: Array, truth: Array, gradient: bool = False) -> Array:
    """One number a sample."""

    def energy(field: Array) -> Array:
        axes = tuple(range(1, field.ndim))
        total = jnp.mean(field**2, axes)
        for axis in axes[1:] if gradient else ():
            slope = jnp.diff(field, axis=axis) * field.shape[axis]
            total = total + jnp.mean(slope**2, axes)
        return total

    # The square root has no slope at zero: a perfect prediction would give NaN.
    tiny = jnp.finfo(error.dtype).tiny
    return jnp.sqrt(jnp.maximum(energy(error) / jnp.maximum(energy(truth), tiny), tiny))
